import API
import Policy

extension Call {
    /// The query parameters that choose events.
    static let auditParameters: Set<String> = [
        "since", "until", "policy", "user", "event", "source", "request", "before", "limit",
    ]

    /// Reads them.
    func auditFilter() throws(Problem) -> AuditFilter {
        AuditFilter(
            since: try instant("since"),
            until: try instant("until"),
            policy: query["policy"],
            user: query["user"],
            event: try parameter(
                "event",
                "one of \(AuditKind.allCases.map(\.rawValue).joined(separator: ", "))",
                AuditKind.init(rawValue:)
            ),
            source: query["source"],
            request: try parameter("request", "the id of a request", Self.positive),
            before: try parameter("before", "the sequence number of an event", Self.positive),
            limit: try parameter("limit", "a number from 1 to 1000") {
                Self.positive($0).flatMap { $0 <= 1000 ? Int($0) : nil }
            } ?? 100
        )
    }

    private func instant(_ name: String) throws(Problem) -> Timestamp? {
        try parameter(name, "an instant like 2026-12-01T17:00:00Z") {
            try? Timestamp(parsing: $0)
        }
    }
}
