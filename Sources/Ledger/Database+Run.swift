internal import GRDB
internal import GRDBSQLite

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
        defer {
            unsafe sqlite3_reset(statement)
            unsafe sqlite3_clear_bindings(statement)
        }
        for (index, field) in fields.enumerated() {
            let place = CInt(index + 1)
            let code =
                switch field {
                case .null: unsafe sqlite3_bind_null(statement, place)
                case .integer(let number): unsafe sqlite3_bind_int64(statement, place, number)
                case .text(let text): unsafe bind(text, statement, place)
                }
            guard code == SQLITE_OK else { throw error(code, sql) }
        }
        while true {
            switch unsafe sqlite3_step(statement) {
            case SQLITE_DONE: return
            case SQLITE_ROW: guard try unsafe take(row(of: statement)) else { return }
            case let code: throw error(code, sql)
            }
        }
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
            default: return .null
            }
        }
    }

    private func bind(_ text: String, _ statement: OpaquePointer, _ place: CInt) -> CInt {
        // SQLITE_TRANSIENT: SQLite makes its own copy before this returns.
        let copies = unsafe unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        var text = text
        return text.withUTF8 { bytes in
            unsafe bytes.withMemoryRebound(to: CChar.self) { bytes in
                // Not null for a text without bytes, which would be bound as NULL.
                let start = unsafe bytes.baseAddress ?? UnsafePointer(bitPattern: 1)
                return unsafe sqlite3_bind_text(
                    statement,
                    place,
                    start,
                    CInt(bytes.count),
                    copies
                )
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
