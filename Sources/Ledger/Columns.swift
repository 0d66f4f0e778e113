internal import GRDB
internal import Policy

/// A value of a column, as SQLite stores it.
enum Field: Hashable, Sendable {
    case null
    case integer(Int64)
    case text(String)
    case bytes([UInt8])

    init(_ text: String?) { self = text.map(Field.text) ?? .null }

    init(_ number: (some FixedWidthInteger)?) {
        self = number.map { .integer(Int64(truncatingIfNeeded: $0)) } ?? .null
    }

    init(_ instant: Timestamp?) { self.init(instant?.milliseconds) }

    var integer: Int64? { if case .integer(let number) = self { number } else { nil } }
    var text: String? { if case .text(let text) = self { text } else { nil } }
    var bytes: [UInt8]? { if case .bytes(let bytes) = self { bytes } else { nil } }
}

extension Row {
    /// Some columns that follow one another.
    func fields(_ range: Range<Int>) throws -> ArraySlice<Field> {
        try range.map { index in
            let value: DatabaseValue = try decode(atIndex: index)
            return switch value.storage {
            case .int64(let number): .integer(number)
            case .string(let text): .text(text)
            default: .null
            }
        }[...]
    }
}

/// A column of a table, and what a value has in it.
struct Column<Value>: Sendable {
    let name: String
    /// Type and constraints.
    let type: String
    let field: @Sendable (Value) -> Field

    init(_ name: String, _ type: String, _ field: @escaping @Sendable (Value) -> Field) {
        self.name = name
        self.type = type
        self.field = field
    }
}

extension [Column<Person>] {
    /// The same columns for something that knows a person, or none.
    func of<Value>(_ person: @escaping @Sendable (Value) -> Person?) -> [Column<Value>] {
        map { column in
            Column<Value>(column.name, column.type) { person($0).map(column.field) ?? .null }
        }
    }
}

extension Person {
    /// What is recorded of a person, wherever one is.
    static let columns: [Column<Person>] = [
        Column("subject", "TEXT") { .text($0.subject.description) },
        Column("name", "TEXT") { .text($0.name) },
        Column("via", "TEXT") { Field($0.via) },
        Column("pid", "INTEGER") { Field($0.process?.pid) },
        Column("process_start", "INTEGER") { Field($0.process?.startedAt) },
        Column("login_uid", "INTEGER") { Field($0.process?.login?.uid) },
        Column("login_name", "TEXT") { Field($0.process?.login?.name) },
        Column("address", "TEXT") { Field($0.client?.address.description) },
        Column("session", "TEXT") { Field($0.client?.session) },
    ]

    /// Reads back what `columns` wrote; nil where something else stands there.
    init?(_ fields: ArraySlice<Field>) {
        guard fields.count == Self.columns.count else { return nil }
        let fields = Array(fields)
        guard let subject = fields[0].text.flatMap({ try? Subject(parsing: $0) }),
            let name = fields[1].text
        else { return nil }
        let origin: Origin
        if let address = fields[7].text {
            guard let address = try? IPAddress(parsing: address), let session = fields[8].text
            else { return nil }
            origin = .client(address: address, session: session)
        } else {
            guard let pid = fields[3].integer.flatMap(Int32.init(exactly:)) else { return nil }
            let login = fields[5].integer.flatMap(UInt32.init(exactly:)).map { uid in
                Origin.Login(uid: uid, name: fields[6].text ?? String(uid))
            }
            let startedAt = fields[4].integer.map(UInt64.init(bitPattern:))
            origin = .process(Origin.Process(pid: pid, startedAt: startedAt, login: login))
        }
        self.init(subject: subject, name: name, via: fields[2].text, origin: origin)
    }

    private var process: Origin.Process? {
        if case .process(let process) = origin { process } else { nil }
    }

    private var client: (address: IPAddress, session: String)? {
        if case .client(let address, let session) = origin { (address, session) } else { nil }
    }
}
