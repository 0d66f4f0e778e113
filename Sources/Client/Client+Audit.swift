public import API
import NIOCore
import NIOHTTP1
public import Policy

extension Client {
    /// Events of the audit trail, newest first; at most as many as the filter says.
    public func audit(_ filter: AuditFilter) throws(ClientError) -> AuditPage {
        try get("/v1/audit", parameters(filter) + [("limit", String(filter.limit))])
    }

    /// Hands on all events that meet a filter, oldest first, as they come.
    ///
    /// - Parameters:
    ///   - filter: The conditions; its limit does not count.
    ///   - type: The media type of what is handed on: `application/jsonl` or `text/csv`.
    ///   - body: Takes the next bytes.
    /// - Throws: ``ClientError``, or what `body` throws.
    public func audit(
        _ filter: AuditFilter,
        as type: String,
        _ body: (_ bytes: [UInt8]) throws -> Void
    ) throws {
        let target = target("/v1/audit", parameters(filter))
        var call = Call(method: .GET, target: target)
        call.headers.add(name: "accept", value: type)
        // Where few events of many are wanted, the next may be far.
        let reply = try connection.stream(call, eachPartWithin: .seconds(60)) {
            try body(Array($0.readableBytesView))
        }
        guard reply.isDone else { throw refusal(reply) }
        guard reply.type?.hasPrefix(type) ?? false else { throw unreadable(reply) }
    }

    /// Goes through the whole audit trail; `head` is a hash that was the newest once.
    public func verifyAudit(head: String? = nil) throws(ClientError) -> AuditVerification {
        // A second for some 200,000 events.
        let target = target("/v1/audit/verify", [("head", head)])
        return try exchange(Call(method: .GET, target: target, patience: .seconds(600)))
    }

    /// What was refused on managed ports, the latest first.
    public func refused(since instant: Timestamp? = nil) throws(ClientError) -> RefusedList {
        try get("/v1/refused", [("since", instant?.description)])
    }

    /// What happens from now on, or since the event of this id.
    public func events(after id: String? = nil) throws(ClientError) -> EventStream {
        var call = Call(method: .GET, target: "/v1/events")
        if let id { call.headers.add(name: "last-event-id", value: id) }
        let events = try connection.events(call)
        if let reply = events.refusal { throw refusal(reply) }
        return events
    }

    private func parameters(_ filter: AuditFilter) -> [(name: String, value: String?)] {
        [
            ("since", filter.since?.description), ("until", filter.until?.description),
            ("policy", filter.policy), ("user", filter.user), ("event", filter.event?.rawValue),
            ("source", filter.source), ("request", filter.request.map { String($0) }),
        ]
    }
}
