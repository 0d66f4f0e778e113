internal import GRDB
internal import GRDBSQLite
internal import Policy

extension Database {
    /// Runs a statement, compiled once for each connection; answers the first row there is.
    ///
    /// Straight through SQLite: GRDB's own way of handing over a row of the audit trail costs more
    /// than writing it.
    @discardableResult
    func run(_ sql: String, _ fields: [Field] = []) throws -> [Field] {
        var first: [Field] = []
        try each(sql, fields) { row in
            first = row
            return false
        }
        return first
    }

    /// Runs a statement, and hands over its rows as long as `take` answers true.
    func each(
        _ sql: String,
        _ fields: [Field] = [],
        _ take: (_ row: [Field]) throws -> Bool
    ) throws {
        let statement = unsafe try cachedStatement(sql: sql).sqliteStatement
        // The texts one behind the other: there they stay until SQLite is done, and it need not
        // copy each.
        var texts: [UInt8] = []
        texts.reserveCapacity(512)
        for case .text(let text) in fields { texts.append(text: text) }
        try unsafe texts.withUnsafeBytes { texts in
            defer {
                unsafe sqlite3_reset(statement)
                unsafe sqlite3_clear_bindings(statement)
            }
            try unsafe bind(fields, texts, statement, sql)
            while true {
                switch unsafe sqlite3_step(statement) {
                case SQLITE_DONE: return
                case SQLITE_ROW: guard try unsafe take(row(of: statement)) else { return }
                case let code: throw error(code, sql)
                }
            }
        }
    }

    private func bind(
        _ fields: [Field],
        _ texts: UnsafeRawBufferPointer,
        _ statement: OpaquePointer,
        _ sql: String
    ) throws {
        var texts = unsafe texts[...]
        for (index, field) in fields.enumerated() {
            let place = CInt(index + 1)
            let code: CInt
            switch field {
            case .null: code = unsafe sqlite3_bind_null(statement, place)
            case .integer(let number): code = unsafe sqlite3_bind_int64(statement, place, number)
            case .text(let text):
                let bytes = unsafe UnsafeRawBufferPointer(rebasing: texts.prefix(text.utf8.count))
                unsafe texts = unsafe texts.dropFirst(bytes.count)
                // Not null for a text without bytes, which would be bound as NULL.
                let start = unsafe bytes.baseAddress ?? UnsafeRawPointer(statement)
                // nil: the bytes stay where they are (SQLITE_STATIC).
                code = unsafe sqlite3_bind_text(
                    statement,
                    place,
                    start.assumingMemoryBound(to: CChar.self),
                    CInt(bytes.count),
                    nil
                )
            case .bytes(let bytes): code = unsafe bind(bytes, statement, place)
            }
            guard code == SQLITE_OK else { throw error(code, sql) }
        }
    }

    private func bind(_ bytes: [UInt8], _ statement: OpaquePointer, _ place: CInt) -> CInt {
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe sqlite3_bind_blob(
                statement,
                place,
                bytes.baseAddress,
                CInt(bytes.count),
                Self.copies
            )
        }
    }

    /// SQLITE_TRANSIENT: SQLite makes its own copy before it returns.
    private static var copies: sqlite3_destructor_type {
        unsafe unsafeBitCast(-1, to: sqlite3_destructor_type.self)
    }

    private func row(of statement: OpaquePointer) -> [Field] {
        unsafe (0..<sqlite3_column_count(statement)).map { column in
            switch unsafe sqlite3_column_type(statement, column) {
            case SQLITE_INTEGER: return unsafe .integer(sqlite3_column_int64(statement, column))
            case SQLITE_TEXT:
                let start = unsafe sqlite3_column_text(statement, column)
                let count = unsafe Int(sqlite3_column_bytes(statement, column))
                let bytes = unsafe UnsafeBufferPointer(start: start, count: count)
                return unsafe .text(String(decoding: bytes, as: UTF8.self))
            case SQLITE_BLOB:
                let start = unsafe sqlite3_column_blob(statement, column)
                let count = unsafe Int(sqlite3_column_bytes(statement, column))
                return unsafe .bytes(Array(UnsafeRawBufferPointer(start: start, count: count)))
            default: return .null
            }
        }
    }

    private func error(_ code: CInt, _ sql: String) -> DatabaseError {
        DatabaseError(
            resultCode: ResultCode(rawValue: code),
            message: lastErrorMessage,
            sql: sql
        )
    }
}
