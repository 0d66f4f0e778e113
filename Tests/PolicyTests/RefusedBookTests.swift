import Policy
import TestSupport
import Testing

/// What was refused, in bounds.
struct RefusedBookTests {
    private func attempt(
        _ source: String,
        port: UInt16 = 22,
        on destination: String = "192.0.2.1",
        _ transport: Transport = .tcp
    ) throws -> RefusedAttempt {
        RefusedAttempt(
            source: try IPAddress(parsing: source),
            destination: try IPAddress(parsing: destination),
            transport: transport,
            port: port
        )
    }

    private func at(_ second: Int64) -> Moment {
        Moment(
            wall: Timestamp(milliseconds: second * 1000),
            boot: BootTime(milliseconds: 5_000_000 + second * 1000)
        )
    }

    private func text(_ attempts: RefusedAttempts) -> String {
        "\(attempts.source) \(attempts.port) \(attempts.destination.map { "\($0)" } ?? "-") "
            + "\(attempts.firstAt.milliseconds / 1000)-\(attempts.lastAt.milliseconds / 1000) "
            + "\(attempts.count)"
    }

    @Test func countsBySourcePortAndDestination() throws {
        var book = RefusedBook()
        book.note(try attempt("198.51.100.7"), at: at(1))
        book.note(try attempt("198.51.100.7"), at: at(5))
        book.note(try attempt("198.51.100.7", on: "192.0.2.2"), at: at(2))
        book.note(try attempt("198.51.100.7", port: 53, .udp), at: at(3))
        book.note(try attempt("2001:db8::7", on: "2001:db8::1"), at: at(4))
        #expect(
            book.attempts().map(text) == [
                "198.51.100.7/32 22/tcp 192.0.2.1 1-5 2",
                "2001:db8::7/128 22/tcp 2001:db8::1 4-4 1",
                "198.51.100.7/32 53/udp 192.0.2.1 3-3 1",
                "198.51.100.7/32 22/tcp 192.0.2.2 2-2 1",
            ]
        )
        #expect(book.attempts(since: at(4).wall).count == 2)
        #expect(book.attempts(since: at(6).wall).isEmpty)
        #expect(book.count == 5)
    }

    /// As policies write it: they have no word for SCTP alone.
    @Test func tellsOfWhatIsNeitherTCPNorUDP() throws {
        var book = RefusedBook()
        book.note(try attempt("198.51.100.7"), at: at(1))
        book.note(try attempt("198.51.100.7", .sctp), at: at(1))
        book.note(try attempt("198.51.100.7", .udpLite), at: at(1))
        #expect(
            Set(book.attempts().map(text)) == [
                "198.51.100.7/32 22/tcp 192.0.2.1 1-1 1", "198.51.100.7/32 22/any 192.0.2.1 1-1 2",
            ]
        )
    }

    @Test func aFloodOfSourcesStaysInBounds() throws {
        var book = RefusedBook()
        for number in 0..<60_000 {
            let source = "10.\(number / 256 % 256).\(number % 256).\(number / 65_536 * 7 + 1)"
            book.note(try attempt(source, port: UInt16(number % 7 + 1)), at: at(1))
            book.note(
                try attempt("2001:db8:\(String(number, radix: 16))::1", on: "::2"),
                at: at(1)
            )
        }
        let all = book.attempts()
        #expect(all.count <= RefusedBook.mostSources + RefusedBook.mostNetworks + 4)
        #expect(all.reduce(0) { $0 + $1.count } == 120_000)
        #expect(all.contains { $0.source.prefixLength == 24 && $0.destination == nil })
        #expect(all.contains { $0.source.prefixLength == 48 })
        #expect(all.contains { text($0).hasPrefix("0.0.0.0/0 1-65535/tcp - ") })
        #expect(all.contains { text($0).hasPrefix("::/0 1-65535/tcp - ") })
        // Whom it knows already it still tells apart.
        let known = try #require(all.first { $0.source.prefixLength == 32 })
        book.note(
            RefusedAttempt(
                source: known.source.address,
                destination: try #require(known.destination),
                transport: .tcp,
                port: known.port.lower
            ),
            at: at(2)
        )
        #expect(book.attempts().first?.source == known.source)
        // After a day it has room again.
        book.note(try attempt("192.0.2.77"), at: at(24 * 3_600 + 10))
        #expect(book.attempts().map(text) == ["192.0.2.77/32 22/tcp 192.0.2.1 86410-86410 1"])
    }

    @Test func theTrailIsToldAtOnceAndThenOnceAnHour() throws {
        var book = RefusedBook()
        func told(_ second: Int64) -> [String] {
            guard book.isRoundDue(at: at(second).boot) else { return ["not due"] }
            return book.takeNews(at: at(second).boot).news.map { "\($0.source) \($0.count)" }
        }
        book.note(try attempt("198.51.100.7"), at: at(0))
        #expect(told(0) == ["198.51.100.7/32 1"])
        book.note(try attempt("198.51.100.7"), at: at(1))
        book.note(try attempt("198.51.100.8"), at: at(1))
        #expect(told(59) == ["not due"])
        #expect(told(60) == ["198.51.100.8/32 1"])
        book.note(try attempt("198.51.100.7"), at: at(61))
        #expect(told(3_599) == [])
        #expect(told(3_660) == ["198.51.100.7/32 2"])
        #expect(told(9_000) == [])
    }

    @Test func ofManySourcesTheTrailIsToldOfTheLoudest() throws {
        var book = RefusedBook()
        for number in 1...30 {
            for _ in 0..<number { book.note(try attempt("198.51.100.\(number)"), at: at(0)) }
        }
        let (news, left) = book.takeNews(at: at(0).boot)
        #expect(news.map(\.count) == [30, 29, 28, 27, 26, 25, 24, 23, 22, 21])
        #expect(left == (20, 210))
        #expect(book.takeNews(at: at(7200).boot).news.isEmpty)
    }
}
