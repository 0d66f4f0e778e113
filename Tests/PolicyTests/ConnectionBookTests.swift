import Policy
import TestSupport
import Testing

/// The connections that grants let in, in bounds.
struct ConnectionBookTests {
    private func connection(_ source: String, port: UInt16 = 22, number: UInt32 = 1) throws
        -> SeenConnection
    {
        SeenConnection(
            source: try IPAddress(parsing: source),
            sourcePort: 40_000,
            destination: try IPAddress(parsing: source.contains(":") ? "2001:db8::1" : "192.0.2.1"),
            transport: .tcp,
            port: port,
            number: number
        )
    }

    private func grant(
        _ request: Int64,
        from source: String,
        port: String = "22/tcp"
    ) throws -> Grant {
        Grant(
            id: Grant.ID(request: request, ordinal: 1),
            policy: "ssh",
            port: try PortRange(parsing: port),
            source: try CIDR(parsing: source),
            requester: Requester(subject: .local(uid: 1000), name: "alice"),
            startsAt: Timestamp(milliseconds: 0),
            end: GrantEnd(
                expiresAt: Timestamp(milliseconds: 60_000),
                deadline: BootTime(milliseconds: 60_000)
            )
        )
    }

    private func at(_ second: Int64) -> Moment {
        Moment(
            wall: Timestamp(milliseconds: second * 1000),
            boot: BootTime(milliseconds: second * 1000)
        )
    }

    @Test func theNarrowestGrantLetsAConnectionIn() throws {
        let plan = try Plan(live: [
            grant(1, from: "198.51.100.0/24"), grant(2, from: "198.51.100.7"),
            grant(3, from: "198.51.100.7"), grant(4, from: "2001:db8:7::/48"),
            grant(5, from: "0.0.0.0/0", port: "80-81/any"),
        ])
        func letIn(_ source: String, _ port: UInt16 = 22) throws -> Int64? {
            plan.grant(lettingIn: try connection(source, port: port), isFar: false)?.id.request
        }
        #expect(try letIn("198.51.100.7") == 3)
        #expect(try letIn("198.51.100.8") == 1)
        #expect(try letIn("203.0.113.1") == nil)
        #expect(try letIn("203.0.113.1", 81) == 5)
        #expect(try letIn("2001:db8:7::9") == 4)
        #expect(try letIn("2001:db8:8::9") == nil)
    }

    @Test func tellsHowLongAConnectionLasted() throws {
        var book = ConnectionBook()
        let one = try connection("198.51.100.7")
        book.begin(one, try grant(1, from: "198.51.100.7"), at: at(10))
        #expect(book.takeOut(try connection("198.51.100.7", number: 2), at: at(11)) == nil)
        book.close(one, at: at(25))
        book.close(one, at: at(26))
        #expect(book.takeOut(one, at: at(145))?.duration == .seconds(15))
        #expect(book.takeOut(one, at: at(146)) == nil)
        // UDP is never closed.
        book.begin(one, try grant(1, from: "198.51.100.7"), at: at(10))
        #expect(book.takeOut(one, at: at(40))?.duration == .seconds(30))
    }

    @Test func aFloodFillsNeitherMemoryNorTrail() throws {
        var book = ConnectionBook()
        let grant = try grant(1, from: "198.51.100.7")
        var rows = 0
        for number in 0..<20_000 {
            book.begin(try connection("198.51.100.7", number: UInt32(number)), grant, at: at(1))
            if book.takeRow(of: grant.id, at: at(1).boot).isTold { rows += 1 }
            #expect(book.count <= ConnectionBook.most)
        }
        #expect(rows == ConnectionBook.mostRowsOfGrant)
        let next = book.takeRow(of: grant.id, at: at(61).boot)
        #expect(next.isTold && next.left == 20_000 - rows)
        for request in 2...100 {
            let id = Grant.ID(request: Int64(request), ordinal: 1)
            rows += book.takeRow(of: id, at: at(61).boot).isTold ? 1 : 0
        }
        #expect(rows == ConnectionBook.mostRowsOfGrant + 59)
    }

    @Test func aConnectionThatWasHeardOfSaysWhenAGrantWasUsed() throws {
        var book = UseBook()
        let key = try grant(1, from: "198.51.100.7").elementKeys[0]
        let id = Grant.ID(request: 1, ordinal: 1)
        book.noteConnection(of: id, at: at(5).wall)
        #expect(book[id]?.firstAt == at(5).wall && book[id]?.traffic == Traffic())
        book.note(key, shows: Traffic(packets: 1, bytes: 60), of: [id], at: at(9).wall)
        #expect(book[id]?.lastAt == at(5).wall && book[id]?.traffic.packets == 1)
        // Of more packets than that it is not known when they came.
        book.noteConnection(of: id, at: at(20).wall)
        book.note(key, shows: Traffic(packets: 4, bytes: 240), of: [id], at: at(30).wall)
        #expect(book[id]?.lastAt == at(30).wall && book[id]?.firstAt == at(5).wall)
    }
}
