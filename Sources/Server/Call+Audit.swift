import API
import NIOHTTP1
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

    /// The query parameters that choose events where all of them are wanted.
    func wholeAuditFilter() throws(Problem) -> AuditFilter {
        for name in ["before", "limit"] where query[name] != nil {
            throw Problem(
                .badRequest,
                "cannot take query parameter \(name): only application/json comes in pages"
            )
        }
        return try auditFilter()
    }

    /// The hash that a verification is to find.
    func head() throws(Problem) -> String? {
        try parameter("head", "a hash: 64 hexadecimal digits, in lower case") { text in
            let isHash =
                text.utf8.count == 64 && text.utf8.allSatisfy("0123456789abcdef".utf8.contains)
            return isHash ? text : nil
        }
    }

    func instant(_ name: String) throws(Problem) -> Timestamp? {
        try parameter(name, "an instant like 2026-12-01T17:00:00Z") {
            try? Timestamp(parsing: $0)
        }
    }
}

/// What the audit trail is sent as.
enum AuditFormat: String, CaseIterable {
    case page = "application/json"
    case lines = "application/jsonl"
    case table = "text/csv"

    /// The first of these in the header `Accept` (RFC 9110, section 12.5.1); pages where none is.
    init(_ headers: HTTPHeaders) {
        let wanted = headers[canonicalForm: "accept"].lazy
            .map { $0.prefix { $0 != ";" && $0 != " " }.lowercased() }
        self = wanted.compactMap(Self.init(rawValue:)).first ?? .page
    }
}

extension Answer {
    /// Events, oldest first, as lines of JSON or as a table.
    static func stream(
        _ rows: some AsyncSequence<[AuditRow], any Error> & Sendable,
        as format: AuditFormat
    ) -> Answer {
        let isTable = format == .table
        let parts = rows.map { rows in
            rows.reduce(into: [UInt8]()) { part, row in
                part +=
                    isTable
                    ? AuditCSV.line(of: row) : JSONWriter.text(of: row) + [UInt8(ascii: "\n")]
            }
        }
        return Answer(
            contentType: isTable ? "text/csv; charset=utf-8; header=present" : format.rawValue,
            stream: BodyStream(start: isTable ? AuditCSV.header : [], parts: parts)
        )
    }
}
