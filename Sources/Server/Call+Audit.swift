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
        let (since, until) = (try instant("since"), try instant("until"))
        if let since, let until, since >= until {
            throw Problem(
                .badRequest,
                "cannot read query parameter until=\(until): it is not after since=\(since)"
            )
        }
        return AuditFilter(
            since: since,
            until: until,
            policy: try text("policy"),
            user: try text("user"),
            event: try parameter(
                "event",
                "one of \(AuditKind.allCases.map(\.rawValue).joined(separator: ", "))",
                AuditKind.init(rawValue:)
            ),
            source: try parameter("source", "an address or range, like 192.0.2.1") {
                (try? CIDR(parsing: $0))?.description
            },
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

    private func instant(_ name: String) throws(Problem) -> Timestamp? {
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

    /// What the header `Accept` prefers of these (RFC 9110, section 12.5.1), of what it prefers
    /// alike the first that it names; pages where it takes none.
    init(_ headers: HTTPHeaders) {
        let ranges = headers[canonicalForm: "accept"].map { AcceptedRange($0) }
        let choices = Self.allCases.compactMap { format -> (Self, quality: Double, place: Int)? in
            let fitting = ranges.enumerated().filter { $0.element.includes(format.rawValue) }
            // The range that says most of a type is the one that counts for it.
            guard let best = fitting.max(by: { $0.element.type.count < $1.element.type.count }),
                best.element.quality > 0
            else { return nil }
            return (format, best.element.quality, best.offset)
        }
        self = choices.max { ($0.quality, -$0.place) < ($1.quality, -$1.place) }?.0 ?? .page
    }

    private struct AcceptedRange {
        /// As it is matched: `text/csv`, `text/`, or nothing for all.
        let type: String
        let quality: Double

        init(_ text: Substring) {
            let parts = text.split(separator: ";").map { $0.filter { $0 != " " }.lowercased() }
            let range = parts.first ?? ""
            type = range == "*/*" ? "" : range.hasSuffix("/*") ? String(range.dropLast()) : range
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }
            // One that cannot be read is not there.
            quality = weight.map { Double($0.dropFirst(2)) ?? 1 } ?? 1
        }

        func includes(_ other: String) -> Bool {
            type.isEmpty || type.hasSuffix("/") ? other.hasPrefix(type) : other == type
        }
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
