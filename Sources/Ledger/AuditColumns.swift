internal import Crypto
internal import Policy

extension AuditRow {
    /// The row in the one order there is: the table and what is written go by it.
    ///
    /// `uid` follows from the subject, and `grant` is a number beside that of its request.
    static let columns: [Column<AuditRow>] = [
        Column("id", "INTEGER PRIMARY KEY") { .integer($0.sequence) },
        Column("at", "INTEGER NOT NULL") { Field($0.at) },
        Column("event", "TEXT NOT NULL") { .text($0.event) },
        Column("subject", "TEXT") { Field($0.subject) },
        Column("name", "TEXT") { Field($0.name) },
        Column("pid", "INTEGER") { Field($0.pid) },
        Column("login", "TEXT") { Field($0.login) },
        Column("via", "TEXT") { Field($0.via) },
        Column("address", "TEXT") { Field($0.address) },
        Column("session", "TEXT") { Field($0.session) },
        Column("request", "INTEGER") { Field($0.request.flatMap { Int64($0) }) },
        Column("ordinal", "INTEGER") { Field($0.grant.flatMap(Grant.ID.init)?.ordinal) },
        Column("requester", "TEXT") { Field($0.requester) },
        Column("requester_name", "TEXT") { Field($0.requesterName) },
        Column("policy", "TEXT") { Field($0.policy) },
        Column("port", "TEXT") { Field($0.port) },
        Column("host", "TEXT") { Field($0.host) },
        Column("source", "TEXT") { Field($0.source) },
        Column("reason", "TEXT") { Field($0.reason) },
        Column("ticket", "TEXT") { Field($0.ticket) },
        Column("outcome", "TEXT") { Field($0.outcome) },
        Column("detail", "TEXT") { Field($0.detail) },
        Column("hash", "TEXT NOT NULL") { .text($0.hash) },
    ]

    static let columnNames = columns.map(\.name).joined(separator: ", ")

    /// Reads back what `columns` wrote.
    ///
    /// Whatever stands there is read as far as it can be, for the hash to tell.
    init(_ fields: [Field]) {
        self.init(
            sequence: fields[0].integer ?? 0,
            at: Timestamp(milliseconds: fields[1].integer ?? 0),
            event: fields[2].text ?? ""
        )
        subject = fields[3].text
        uid = subject.flatMap { try? Subject(parsing: $0) }?.uid
        name = fields[4].text
        pid = fields[5].integer.map(Int32.init(truncatingIfNeeded:))
        login = fields[6].text
        via = fields[7].text
        address = fields[8].text
        session = fields[9].text
        request = fields[10].integer.map { String($0) }
        if let request, let ordinal = fields[11].integer { grant = "\(request).\(ordinal)" }
        requester = fields[12].text
        requesterName = fields[13].text
        policy = fields[14].text
        port = fields[15].text
        host = fields[16].text
        source = fields[17].text
        reason = fields[18].text
        ticket = fields[19].text
        outcome = fields[20].text
        detail = fields[21].text
        hash = fields[22].text ?? ""
    }

    /// What the hash is where the event before has this one.
    func hash(after previous: String) -> String {
        var bytes: [UInt8] = []
        // An event has some 300 bytes.
        bytes.reserveCapacity(512)
        bytes.append(text: previous)
        bytes.append(UInt8(ascii: "\n"))
        appendCanonicalForm(to: &bytes)
        let hash = SHA256.hash(data: bytes)
        bytes.removeAll(keepingCapacity: true)
        for byte in hash {
            bytes.append(Self.digit(byte >> 4))
            bytes.append(Self.digit(byte & 15))
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value + (value < 10 ? UInt8(ascii: "0") : UInt8(ascii: "a") - 10)
    }
}
