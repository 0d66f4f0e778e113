internal import Linux
internal import Policy
internal import Synchronization
internal import SystemPackage

/// The newest things recorded.
struct Marks: Hashable {
    /// The number of the newest audit row; 0 where there is none.
    var sequence: Int64 = 0
    /// The hash of the newest audit row.
    var hash = AuditRow.firstHash
    /// The number of the newest request; 0 where there is none.
    var request: Int64 = 0
}

/// Room on the disk that was taken beforehand, for what must last even when there is no other.
///
/// The file is only written in place. It begins with the marks of the newest commit: what they tell
/// of and the ledger does not have was lost. Behind them are entries with ends of grants that the
/// ledger could not take; the first that does not check ends them.
///
///     marks   check | "sallyres" | newest audit row | newest request | 64 digits of the row's hash
///     entry   check | fill | count of bytes | fields
///     field   0, or 1 | number, or 2 | count of bytes | UTF-8
///
/// Numbers are 8 bytes, the highest first; a check is the FNV-1a hash of what follows it. The
/// entries that belong together have one number as their fill: older ones behind them are not read.
final class Reserve: Sendable {
    /// Bytes of the file: 100,000 ends, or 7,000 if each is by somebody else.
    static let size = 1 << 20
    /// Bytes of the part with the marks.
    private static let start = 4096
    /// Bytes at the end that only the last entry may use.
    private static let rest = 256
    private static let magic = Array("sallyres".utf8)

    /// Ends that are kept.
    enum Entry: Hashable {
        case ended([Grant.ID], EndReason, at: Timestamp, by: Person?)
        /// A grant ends as it did before an extension.
        case takenBack(Grant.ID, GrantEnd)
        /// There was no room to tell them singly: all that were live then, up to this request.
        case everything(upTo: Int64, at: Timestamp)

        var at: Timestamp {
            switch self {
            case .ended(_, _, let at, _), .everything(_, let at): at
            case .takenBack(_, let end): end.expiresAt
            }
        }
    }

    private struct State {
        var fill = Int64.random(in: 1 ... .max)
        /// Where the next entry goes.
        var next = Reserve.start
        /// Whether the last entry says everything.
        var isFull = false
    }

    let path: String
    private let file: Descriptor
    private let state: Mutex<State>

    /// Opens the file, and takes the room where it is missing.
    ///
    /// - Returns: What an earlier run left in it; no marks where they do not check.
    /// - Throws: `full` where there is no room.
    static func open(
        _ path: String
    ) throws(LedgerError) -> (reserve: Reserve, marks: Marks?, entries: [Entry]) {
        let file = try using(path) { () throws(SystemError) in
            let file = try Descriptor.open(path, .readWrite, options: [.create, .noFollow])
            try file.fill(upTo: size)
            return file
        }
        let bytes = try using(path) { () throws(SystemError) in
            try file.readAll(atMost: 2 * size)
        }
        var state = State()
        let entries = readEntries(bytes, &state)
        return (Reserve(path: path, file: file, state: state), readMarks(bytes), entries)
    }

    private init(path: String, file: consuming Descriptor, state: State) {
        self.path = path
        self.file = file
        self.state = Mutex(state)
    }

    deinit {
        // Marks that a crash of the machine takes back tell of less, but of nothing wrong.
        try? file.synchronizeData()
    }

    /// Notes what is recorded: this outlives the process, and the machine after the next `keep`.
    func mark(_ marks: Marks) throws(LedgerError) {
        var bytes = Self.magic
        bytes.append(marks.sequence)
        bytes.append(marks.request)
        bytes.append(contentsOf: marks.hash.utf8)
        try write(Self.checked(bytes), at: 0)
    }

    /// Keeps the ends among events, and those that extensions were to move; they are on the disk
    /// when this returns.
    ///
    /// - Parameters:
    ///   - events: What happened.
    ///   - newest: The newest request: those up to it end if there is no room to tell which.
    /// - Throws: `LedgerError` where they are not.
    func keep(_ events: [Event], upTo newest: Int64) throws(LedgerError) {
        var state = self.state.withLock { $0 }
        for entry in Self.entries(of: events) where !state.isFull {
            var bytes = Self.encode(entry, fill: state.fill)
            if state.next + bytes.count > Self.size - Self.rest {
                bytes = Self.encode(.everything(upTo: newest, at: entry.at), fill: state.fill)
                state.isFull = true
            }
            try write(bytes, at: state.next)
            state.next += bytes.count
        }
        try synchronize()
        self.state.withLock { [state] in $0 = state }
    }

    /// What of events is kept, those ends together that differ in nothing but the grant.
    private static func entries(of events: [Event]) -> [Entry] {
        var entries: [Entry] = []
        for event in events {
            switch event {
            case .ended(let id, let reason, let at, let actor, _):
                if case .ended(let ids, reason, at, actor) = entries.last {
                    entries[entries.count - 1] = .ended(ids + [id], reason, at: at, by: actor)
                } else {
                    entries.append(.ended([id], reason, at: at, by: actor))
                }
            case .takenBack(let id, let end): entries.append(.takenBack(id, end))
            default: break
            }
        }
        return entries
    }

    /// Forgets all entries, durably: the ledger has what they say.
    func empty() throws(LedgerError) {
        guard state.withLock({ $0.next }) > Self.start else { return }
        try write([UInt8](repeating: 0, count: Self.head), at: Self.start)
        try synchronize()
        state.withLock { $0 = State() }
    }

    private func write(_ bytes: [UInt8], at offset: Int) throws(LedgerError) {
        try using(path) { () throws(SystemError) in try file.write(bytes, at: offset) }
    }

    func synchronize() throws(LedgerError) {
        try using(path) { () throws(SystemError) in try file.synchronizeData() }
    }
}

extension Descriptor {
    /// Makes a file as long as this, with zeros that are on the disk: writing there needs no room.
    ///
    /// Page by page: what is written at once, the kernel keeps as one large page, and then looks
    /// through all of it at each small write (50 us a commit with ext4 in Linux 6.18).
    func fill(upTo size: Int) throws(SystemError) {
        var length = Int(try status().size)
        guard length < size else { return }
        let zeros = [UInt8](repeating: 0, count: 4096)
        while length < size {
            let part = min(4096 - length % 4096, size - length)
            try write(Array(zeros.prefix(part)), at: length)
            length += part
        }
        try synchronize()
    }
}

// MARK: The bytes

extension Reserve {
    /// Bytes in front of an entry's fields.
    private static let head = 24

    private static func readMarks(_ bytes: [UInt8]) -> Marks? {
        var rest = bytes.dropFirst(8)
        guard bytes.prefix(8) == checked(Array(rest.prefix(88))).prefix(8),
            rest.starts(with: magic)
        else { return nil }
        rest = rest.dropFirst(magic.count)
        let (sequence, request) = (rest.takeInteger() ?? 0, rest.takeInteger() ?? 0)
        let hash = String(decoding: rest.prefix(64), as: UTF8.self)
        return Marks(sequence: sequence, hash: hash, request: request)
    }

    private static func encode(_ entry: Entry, fill: Int64) -> [UInt8] {
        let fields: [Field]
        switch entry {
        case .ended(let ids, let reason, let at, let actor):
            fields =
                [.text(reason.rawValue), Field(at)]
                + Person.columns.of { $0 }.map { $0.field(actor) }
                + ids.flatMap { [.integer($0.request), Field($0.ordinal)] }
        case .takenBack(let id, let end):
            fields = [
                .text(AuditKind.takenBack.rawValue), Field(end.expiresAt),
                .integer(end.deadline.milliseconds), .integer(id.request), Field(id.ordinal),
            ]
        case .everything(let request, let at):
            fields = [.integer(request), Field(at)]
        }
        let content = fields.reduce(into: [UInt8]()) { $0.append($1) }
        var bytes: [UInt8] = []
        bytes.append(fill)
        bytes.append(Int64(content.count))
        return checked(bytes + content)
    }

    private static func readEntries(_ bytes: [UInt8], _ state: inout State) -> [Entry] {
        var entries: [Entry] = []
        while true {
            var rest = bytes.dropFirst(state.next)
            let check = rest.prefix(8)
            rest = rest.dropFirst(8)
            let checkedPart = rest
            guard let fill = rest.takeInteger(), let count = rest.takeInteger(),
                count > 0, count <= rest.count,
                check == checked(Array(checkedPart.prefix(16 + Int(count)))).prefix(8),
                entries.isEmpty || fill == state.fill
            else { return entries }
            var content = rest.prefix(Int(count))
            var fields: [Field] = []
            while let field = content.takeField() { fields.append(field) }
            guard let entry = entry(of: fields) else { return entries }
            entries.append(entry)
            state.fill = fill
            state.next += head + Int(count)
            if case .everything = entry { state.isFull = true }
        }
    }

    private static func entry(of fields: [Field]) -> Entry? {
        guard fields.count >= 2, let at = fields[1].integer.map(Timestamp.init(milliseconds:))
        else { return nil }
        if let request = fields[0].integer { return .everything(upTo: request, at: at) }
        if fields[0].text == AuditKind.takenBack.rawValue {
            let numbers = fields.compactMap(\.integer)
            guard numbers.count == 4 else { return nil }
            return .takenBack(
                Grant.ID(request: numbers[2], ordinal: Int(numbers[3])),
                GrantEnd(expiresAt: at, deadline: BootTime(milliseconds: numbers[1]))
            )
        }
        let persons = 2..<2 + Person.columns.count
        guard fields.count > persons.upperBound,
            let reason = fields[0].text.flatMap(EndReason.init(rawValue:))
        else { return nil }
        let numbers = fields[persons.upperBound...].compactMap(\.integer)
        let ids = stride(from: 0, to: numbers.count - 1, by: 2).map {
            Grant.ID(request: numbers[$0], ordinal: Int(numbers[$0 + 1]))
        }
        return .ended(ids, reason, at: at, by: Person(fields[persons]))
    }

    /// The bytes behind their check.
    private static func checked(_ bytes: [UInt8]) -> [UInt8] {
        var check: [UInt8] = []
        check.append(Int64(bitPattern: bytes.fnv1a))
        return check + bytes
    }
}

extension [UInt8] {
    /// Appends a number in 8 bytes, the highest first.
    fileprivate mutating func append(_ number: Int64) {
        for shift in stride(from: 56, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: number >> Int64(shift)))
        }
    }

    /// Appends 0; 1 and a number; or 2, the count of bytes and a text in UTF-8.
    ///
    /// Ends have no other fields.
    fileprivate mutating func append(_ field: Field) {
        switch field {
        case .null, .bytes: append(0 as UInt8)
        case .integer(let number):
            append(1 as UInt8)
            append(number)
        case .text(let text):
            append(2 as UInt8)
            append(Int64(text.utf8.count))
            append(contentsOf: text.utf8)
        }
    }
}

extension ArraySlice<UInt8> {
    fileprivate mutating func takeInteger() -> Int64? {
        guard count >= 8 else { return nil }
        defer { self = dropFirst(8) }
        return prefix(8).reduce(0) { $0 << 8 | Int64($1) }
    }

    fileprivate mutating func takeField() -> Field? {
        switch popFirst() {
        case 0: return .null
        case 1: return takeInteger().map(Field.integer)
        case 2:
            guard let length = takeInteger(), (0...Int64(count)).contains(length) else {
                return nil
            }
            defer { self = dropFirst(Int(length)) }
            return .text(String(decoding: prefix(Int(length)), as: UTF8.self))
        default: return nil
        }
    }
}
