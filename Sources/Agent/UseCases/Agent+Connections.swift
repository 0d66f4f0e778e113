import API
import Policy

extension Agent {
    /// Looks at what was heard of connections, and tells the audit trail.
    public func connectionsHeard() async {
        let notices = await committer.notices(of: connections.take())
        guard !notices.isEmpty else { return }
        await logged("record connections") {
            try await committer.submit { _, _ throws(Problem) in
                Submission(events: notices.map(Event.noted)) {}
            }
        }
    }
}

extension Committer {
    /// What the audit trail is to be told of connections that grants let in.
    func notices(of news: [ConnectionNews]) -> [Notice] {
        let now = clocks.now()
        var notices: [Notice] = []
        for news in news {
            switch news {
            case .began(let connection, let isFar):
                guard let grant = plan.grant(lettingIn: connection, isFar: isFar) else { continue }
                book.noteConnection(of: grant.id, at: now.wall)
                connectionBook.begin(connection, grant, at: now)
                note(.connectionBegan, connection, grant, nil, &notices, at: now)
            case .closed(let connection): connectionBook.close(connection, at: now)
            case .forgotten(let connection, let received, let sent):
                guard let known = connectionBook.takeOut(connection, at: now) else { continue }
                let detail = known.duration.map { time in
                    "lasted \(time.coarse)"
                        + (received.map { "; \($0.text) in" } ?? "")
                        + (sent.map { ", \($0.text) out" } ?? "")
                }
                note(.connectionEnded, connection, known.grant, detail, &notices, at: now)
            case .missed: break
            }
        }
        return notices
    }

    private func note(
        _ kind: AuditKind,
        _ connection: SeenConnection,
        _ grant: Grant,
        _ detail: String?,
        _ notices: inout [Notice],
        at now: Moment
    ) {
        let (left, isTold) = connectionBook.takeRow(of: grant.id, at: now.boot)
        guard isTold else { return }
        let ends = "from port \(connection.sourcePort) to \(connection.destination)"
        let missing = left > 0 ? "\(left) events of connections before were not recorded" : nil
        let port = connection.transport.portProtocol.rawValue
        notices.append(
            Notice(
                kind,
                about: grant,
                policy: grant.policy,
                port: "\(connection.port)/\(port)",
                source: connection.source.description,
                detail: [ends, detail, missing].compactMap(\.self).joined(separator: "; ")
            )
        )
    }
}

extension Traffic {
    /// `12 packets, 3400 bytes`.
    fileprivate var text: String { "\(packets) packets, \(bytes) bytes" }
}

extension Duration {
    /// Whole seconds, or milliseconds where it is less than ten of them.
    fileprivate var coarse: String {
        let milliseconds = wholeMilliseconds
        return milliseconds < 10_000
            ? "\(milliseconds)ms" : Duration.seconds(milliseconds / 1000).compactDescription
    }
}
