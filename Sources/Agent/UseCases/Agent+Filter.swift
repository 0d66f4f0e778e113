import API
import Access
import Ledger
import Linux
import Policy
import Settings

extension Agent {
    /// What meets a filter; a policy or a person that does not exist is an error, not an empty list.
    ///
    /// Who only is a requester sees but their own, and a delegate's people only what is under its
    /// policies.
    ///
    /// A name means a user of this host where there is one, whatever others call themselves; else the
    /// one remote person of that name. Names are only looked for where nothing was found.
    ///
    /// Of a long past only so much is looked at that an answer comes soon.
    ///
    /// - Returns: What was found, and the request before which the search has to go on where that is
    ///   less than the filter's limit; nil where it is through.
    func matching<Item>(
        _ filter: RequestFilter,
        inPast isPast: Bool,
        for caller: Caller,
        _ read: (LedgerFilter) async throws(LedgerError) -> [Item]
    ) async throws -> ([Item], rest: Int64?) {
        var wanted = try filter.forLedger(caller)
        let newest = min(filter.before.map { $0 - 1 } ?? .max, ledger.newestRequest)
        if isPast, newest > Self.mostLookedAt { wanted.after = newest - Self.mostLookedAt }
        let rest = wanted.after.map { $0 + 1 }
        let found = try await reading { () throws(LedgerError) in try await read(wanted) }
        guard found.isEmpty else { return (found, rest) }
        if let policy = filter.policy { try await require(policy: policy, for: caller) }
        guard caller.maySeeAll else { return ([], rest) }
        if let name = wanted.name, let subject = try await remotePerson(named: name, for: caller) {
            (wanted.name, wanted.subject) = (nil, subject)
            return (try await reading { () throws(LedgerError) in try await read(wanted) }, rest)
        }
        if let subject = wanted.subject { try await require(subject, for: caller) }
        return ([], rest)
    }

    /// Requests that are looked at for one page: some 50 ms.
    private static let mostLookedAt: Int64 = 50_000

    /// Throws where neither the configuration nor, to who sees all, the ledger knows the policy.
    private func require(policy name: String, for caller: Caller) async throws {
        let policies = await committer.configuration.policies.filter(caller.mayAsk(under:))
        var names = policies.map(\.name)
        if names.contains(name) { return }
        if caller.maySeeAll {
            let past = try await reading { () throws(LedgerError) in try await ledger.policies() }
            names += past.filter {
                !names.contains($0) && caller.identity.via?.mayAsk(under: $0) != false
            }
            if names.contains(name) { return }
        }
        throw Problem(noPolicy: name, among: names)
    }

    /// The one remote person of a name; nil where the name is that of a user of this host.
    private func remotePerson(named name: String, for caller: Caller) async throws -> Subject? {
        let subjects = try await reading { () throws(LedgerError) in
            if let policies = caller.identity.via?.policies {
                try await ledger.people(named: name, under: policies)
            } else {
                try await ledger.people(named: name)
            }
        }
        if subjects.contains(where: { $0.uid != nil }) { return nil }
        let isUser = await onOwnThread { NameService.primaryGroup(ofUser: name) != nil }
        if isUser == true { return nil }
        guard let subject = subjects.first else {
            throw try await noPerson("named \"\(printable(name))\"", like: name, for: caller)
        }
        guard subjects.count == 1 else {
            throw Problem(
                .badRequest,
                "cannot tell who \(printable(name)) is; name one of: \(listed(subjects))"
            )
        }
        return subject
    }

    /// Throws where nobody knows somebody.
    private func require(_ subject: Subject, for caller: Caller) async throws {
        let filter = LedgerFilter(
            policies: caller.identity.via?.policies,
            subject: subject,
            limit: 1
        )
        let isKnown = try await reading { () throws(LedgerError) in
            guard try await ledger.knows(subject) else { return false }
            if filter.policies == nil { return true }
            return try await !ledger.requests(filter).isEmpty
        }
        if isKnown { return }
        if let uid = subject.uid, await onOwnThread({ NameService.user(uid) != nil }) == true {
            return
        }
        throw try await noPerson("\(subject)", like: "", for: caller)
    }

    /// The problem that there is nobody like that, with who asked last.
    private func noPerson(
        _ text: String,
        like name: String,
        for caller: Caller
    ) async throws -> Problem {
        let filter = LedgerFilter(policies: caller.identity.via?.policies)
        let newest = try await reading { () throws(LedgerError) in
            try await ledger.requests(filter)
        }
        let people = Dictionary(
            newest.map { ($0.requester.subject, $0.requester.name) },
            uniquingKeysWith: { newer, _ in newer }
        )
        let names = people.map { $0.uid == nil ? "\($1) (\($0))" : $1 }.sorted()
        let meant = nearest(to: name, among: people.values).map { "did you mean \($0)? " } ?? ""
        return Problem(
            .notFound,
            "this host has no user \(text), and nobody like that has asked for access; \(meant)"
                + "asked lately: \(names.isEmpty ? "nobody" : listed(names))"
        )
    }
}

extension Problem {
    /// There is no policy of a name; these are there.
    init(noPolicy name: String, among names: [String]) {
        let meant = nearest(to: name, among: names).map { "did you mean \($0)? " } ?? ""
        self.init(
            .notFound,
            "there is no policy \"\(printable(name))\"; \(meant)there are: "
                + (names.isEmpty ? "none" : listed(names))
        )
    }
}

extension RequestFilter {
    /// The conditions as the ledger takes them.
    fileprivate func forLedger(_ caller: Caller) throws(Problem) -> LedgerFilter {
        var wanted = LedgerFilter(
            policy: policy,
            policies: caller.identity.via?.policies,
            before: before,
            limit: limit
        )
        if let requester {
            if requester.contains(":") {
                do {
                    wanted.subject = try Subject(parsing: requester)
                } catch {
                    throw Problem(
                        .badRequest,
                        "cannot read query parameter requester: \(error.message); a user of this "
                            + "host can be named by the name alone"
                    )
                }
            } else {
                wanted.name = requester
            }
        }
        guard !caller.maySeeAll else { return wanted }
        let own = caller.identity
        guard requester == nil || wanted.subject == own.subject || wanted.name == own.name else {
            throw Problem(
                .notPermitted,
                "cannot list what others asked for: a requester sees only their own"
            )
        }
        (wanted.subject, wanted.name) = (own.subject, nil)
        return wanted
    }
}
