import API
import Gate
import Ledger
import Policy

/// An element that is about to be made anew or to go, and the grants that it counted for.
struct LastReading {
    var key: ElementKey
    var holders: [Grant.ID]
}

extension Committer {
    /// How long before its end a grant's elements are read: the kernel takes them away with what
    /// they counted.
    static let readAhead = Duration.milliseconds(200)
    /// What ends so much later is read along: less wakes.
    private static let readAlong = Duration.milliseconds(50)
    /// Live grants that are looked at now and then, and before a start makes their elements anew.
    ///
    /// Of more, only those that end. One takes some 8 microseconds.
    static let mostRead = 4_096
    /// Grants that are read in one go, before other work has a turn.
    private static let atOnce = 16

    /// Reads how the grants were used that end soon, once each.
    func readEnding() async {
        let ending = plan.takeEnding(by: clocks.now().boot + Self.readAhead + Self.readAlong)
        for (index, id) in ending.enumerated() {
            if readUse(of: id) { book.noteEndRead(of: id) }
            if index % Self.atOnce == Self.atOnce - 1 { await Task.yield() }
        }
    }

    /// Reads how live grants were used, where there are not too many, and records it.
    func readUses(atMost most: Int = mostRead) async throws {
        guard plan.count > 0, plan.count <= most else { return }
        for (index, id) in plan.allGrants.map(\.id).enumerated() {
            readUse(of: id)
            if index % Self.atOnce == Self.atOnce - 1 { await Task.yield() }
        }
        try await record(book.takeNews(of: plan))
    }

    /// Records how grants were used; where that cannot be, it is with what can be later.
    func record(_ uses: [Event]) async throws {
        guard !uses.isEmpty else { return }
        try await submit { _, _ throws(Problem) in Submission(events: uses) {} }
    }

    /// Reads how a live grant was used; answers whether all of its elements could be.
    @discardableResult
    func readUse(of id: Grant.ID) -> Bool {
        guard let grant = plan[id] else { return false }
        let keys = UseBook.keys(of: grant)
        for key in keys {
            guard let shown = try? gate.traffic(of: key) else { return false }
            book.note(key, shows: shown, of: plan.holders(of: key), at: clocks.now().wall)
        }
        return !keys.isEmpty
    }

    /// What a list tells of a grant: as the plan has it where it is live, and how it was used.
    func look(at ids: [Grant.ID]) -> [Grant.ID: (grant: Grant?, use: GrantUse?)] {
        ids.reduce(into: [:]) { found, id in
            let isRead = readUse(of: id)
            found[id] = (plan[id], book[id] ?? (isRead ? GrantUse() : nil))
        }
    }

    /// What counted for live grants and is lost with what events do to their elements.
    func lastReadings(before events: [Event]) -> [LastReading] {
        var readings: [LastReading] = []
        for event in events {
            switch event {
            // It was read before its end, and the kernel has taken it away.
            case .ended(_, .expired, _, _, _): break
            case .ended(let id, _, _, _, _), .extended(let id, _, _, _, _), .takenBack(let id, _),
                .shortened(let id, _):
                for key in plan[id].map(UseBook.keys) ?? [] {
                    readings.append(LastReading(key: key, holders: plan.holders(of: key)))
                }
            case .asked, .approved, .concluded, .opened, .used, .carriedOver, .noted: break
            }
        }
        return readings
    }

    /// The same for elements that a grant shares from now on with those that held them before.
    func lastReadings(
        of changes: [ElementChange],
        besides known: [LastReading],
        opening events: [Event]
    ) -> [LastReading] {
        var opened: Set<Grant.ID> = []
        return changes.compactMap { change in
            guard case .move(let key, _, _, _) = change, !known.contains(where: { $0.key == key })
            else { return nil }
            if opened.isEmpty {
                for case .opened(let request) in events {
                    opened.formUnion(request.grants.map(\.id))
                }
            }
            let before = plan.holders(of: key).filter { !opened.contains($0) }
            return LastReading(key: key, holders: before)
        }
    }

    /// Reads what is about to begin anew or to go.
    func read(_ readings: [LastReading]) {
        guard !readings.isEmpty else { return }
        let now = clocks.now().wall
        for reading in readings {
            if let shown = try? gate.traffic(of: reading.key) {
                book.note(reading.key, shows: shown, of: reading.holders, at: now)
                for id in reading.holders where plan[id] == nil { book.noteEndRead(of: id) }
            }
            book.hold(reading.key)
        }
    }

    /// Takes over how the live grants were used before the start, as it is recorded and as the
    /// elements of the earlier run show; answers what is to be recorded of those that have ended.
    func takeOver(_ recorded: [Grant.ID: GrantUse]) -> [Event] {
        let now = clocks.now().wall
        let isRead = plan.count <= Self.mostRead
        for grant in plan.allGrants where isRead || recorded[grant.id] != nil {
            let keys = isRead ? UseBook.keys(of: grant) : []
            let shown = keys.compactMap { try? gate.traffic(of: $0) }
            book.takeOver(
                grant.id,
                recorded: recorded[grant.id],
                shows: shown.reduce(into: Traffic()) {
                    $0.packets &+= $1.packets
                    $0.bytes &+= $1.bytes
                },
                at: now
            )
        }
        return recorded.filter { plan[$0.key] == nil }.map { id, use in
            .used(id, use, isFinal: true)
        }
    }
}
