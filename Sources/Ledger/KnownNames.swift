internal import GRDB
public import Policy
internal import Synchronization

/// Who ever asked, and under which policies.
///
/// It is read once, when it is first asked for, and noted with each commit from then on: to say that
/// there never was such a name, all there is would have to be read each time.
struct KnownNames: Sendable {
    private(set) var policies: Set<String> = []
    /// Who went by a name.
    private(set) var people: [String: Set<Subject>] = [:]
    private(set) var subjects: Set<Subject> = []
    /// Whether it has what was recorded before it was made.
    fileprivate(set) var isWhole = false

    mutating func note(_ events: [Event]) {
        for event in events {
            switch event {
            case .asked(let request): note(request.requester, request.wait.policies)
            case .opened(let request): note(request.requester, request.grants.lazy.map(\.policy))
            default: continue
            }
        }
    }

    private mutating func note(_ person: Person, _ names: some Sequence<String>) {
        note(person.subject, named: person.name)
        policies.formUnion(names)
    }

    fileprivate mutating func note(_ subject: Subject, named name: String) {
        people[name, default: []].insert(subject)
        subjects.insert(subject)
    }

    fileprivate mutating func note(policies names: [String]) { policies.formUnion(names) }
}

extension Ledger {
    /// The names of all policies that something was asked for under.
    ///
    /// The first call reads all there is, a second for a million requests; later ones read nothing.
    public func policies() async throws(LedgerError) -> [String] {
        try await knownNames().policies.sorted()
    }

    /// Everybody who asked for access under a name, of this host or not, each once.
    ///
    /// The first call reads all there is, as ``policies()`` does.
    public func people(named name: String) async throws(LedgerError) -> [Subject] {
        let people = try await knownNames().people[name] ?? []
        return people.sorted { $0.description < $1.description }
    }

    /// Whether somebody ever asked for access.
    ///
    /// The first call reads all there is, as ``policies()`` does.
    public func knows(_ subject: Subject) async throws(LedgerError) -> Bool {
        try await knownNames().subjects.contains(subject)
    }

    private func knownNames() async throws(LedgerError) -> KnownNames {
        let known = self.known.withLock { known in
            // What is committed from here on is noted.
            known = known ?? KnownNames()
            return known
        }
        if let known, known.isWhole { return known }
        let (policies, people) = try await reading { db in
            let policies = try String.fetchAll(
                db,
                sql: ["live", "ended", "unopened"].map { "SELECT policy FROM \($0)" }
                    .joined(separator: " UNION ")
            )
            let people = try Row.fetchAll(db, sql: "SELECT DISTINCT subject, name FROM requests")
                .map { row -> (subject: Subject, name: String) in
                    let subject: String = try row.decode(atIndex: 0)
                    return (try Subject(parsing: subject), try row.decode(atIndex: 1))
                }
            return (policies, people)
        }
        return self.known.withLock { known in
            var whole = known ?? KnownNames()
            whole.note(policies: policies)
            for person in people { whole.note(person.subject, named: person.name) }
            whole.isWhole = true
            known = whole
            return whole
        }
    }
}
