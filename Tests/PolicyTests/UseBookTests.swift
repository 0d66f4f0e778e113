import Policy
import TestSupport
import Testing

/// What grants let in, added up.
struct UseBookTests {
    private let key: ElementKey
    private let one = Grant.ID(request: 1, ordinal: 1)
    private let two = Grant.ID(request: 2, ordinal: 1)

    init() throws {
        key = ElementKey(source: try CIDR(parsing: "10.0.0.5"), transport: .tcp, port: 22)
    }

    private func traffic(_ packets: UInt64) -> Traffic {
        Traffic(packets: packets, bytes: packets * 60)
    }

    private func at(_ second: Int64) -> Timestamp { Timestamp(milliseconds: second * 1000) }

    private func grant(_ id: Grant.ID) throws -> Grant {
        Grant(
            id: id,
            policy: "ssh",
            port: try PortRange(parsing: "22/tcp"),
            source: key.source,
            requester: Requester(subject: .local(uid: 1000), name: "alice"),
            startsAt: at(0),
            end: GrantEnd(expiresAt: at(60), deadline: BootTime(milliseconds: 60_000))
        )
    }

    @Test func addsOnlyWhatIsNew() {
        var book = UseBook()
        book.note(key, shows: traffic(0), of: [one], at: at(1))
        #expect(book[one] == nil)
        book.note(key, shows: traffic(2), of: [one], at: at(2))
        book.note(key, shows: traffic(2), of: [one], at: at(3))
        book.note(key, shows: traffic(5), of: [one], at: at(4))
        #expect(book[one]?.traffic == traffic(5))
        #expect(book[one]?.firstAt == at(2))
        #expect(book[one]?.lastAt == at(4))
    }

    @Test func addsUpWhereACounterBeginsAnew() {
        var book = UseBook()
        book.note(key, shows: traffic(5), of: [one], at: at(1))
        let (before, after) = (BootTime(milliseconds: 1), BootTime(milliseconds: 2))
        book.restart([.move(key, from: before, until: after, label: "")])
        book.note(key, shows: traffic(7), of: [one], at: at(2))
        #expect(book[one]?.traffic == traffic(12))
        book.restartAll()
        book.note(key, shows: traffic(7), of: [one], at: at(3))
        #expect(book[one]?.traffic == traffic(19))
        // Without anybody's telling: less than before can only be a new beginning.
        book.note(key, shows: traffic(1), of: [one], at: at(4))
        #expect(book[one]?.traffic == traffic(20))
    }

    @Test func countsWhatIsSharedForEachAndNothingOfBefore() {
        var book = UseBook()
        book.note(key, shows: traffic(3), of: [one], at: at(1))
        book.note(key, shows: traffic(5), of: [one, two], at: at(2))
        #expect(book[one]?.traffic == traffic(5))
        #expect(book[two]?.traffic == traffic(2))
    }

    @Test func doesNotCountTwiceWhatIsReadWhileItBeginsAnew() {
        var book = UseBook()
        book.note(key, shows: traffic(3), of: [one], at: at(1))
        book.hold(key)
        // Made anew already, or not yet: nobody knows.
        book.note(key, shows: traffic(1), of: [one], at: at(2))
        #expect(book[one]?.traffic == traffic(3))
        book.restart([.close(key, from: BootTime(milliseconds: 1))])
        book.release()
        book.note(key, shows: traffic(2), of: [one], at: at(3))
        #expect(book[one]?.traffic == traffic(5))
    }

    @Test func tellsNewsOnceAndWhatTheElementsCountOfIt() throws {
        var book = UseBook()
        var plan = Plan(live: [try grant(one)])
        book.note(key, shows: traffic(3), of: [one], at: at(1))
        book.restartAll()
        book.note(key, shows: traffic(2), of: [one], at: at(2))
        #expect(
            book.takeNews(of: plan) == [
                .used(
                    one,
                    GrantUse(
                        traffic: traffic(5),
                        firstAt: at(1),
                        lastAt: at(2),
                        counted: traffic(2)
                    ),
                    isFinal: false
                )
            ]
        )
        #expect(book.takeNews(of: plan).isEmpty)
        _ = plan.apply([.ended(one, .expired, at: at(60), by: nil)])
        let use = GrantUse(traffic: traffic(5), firstAt: at(1), lastAt: at(2))
        #expect(book.takeFinal([one]) == [.used(one, use, isFinal: true)])
        // Until it is recorded, nobody reads less of it.
        #expect(book[one] == use)
        #expect(book.takeFinal([one]).isEmpty)
        book.forget([one])
        #expect(book[one] == nil)
        #expect(!book.hasFinals)
    }

    @Test func whatWasNeverReadIsNotCalledUnused() {
        var book = UseBook()
        book.noteEndRead(of: one)
        #expect(book.takeFinal([one, two]) == [.used(one, GrantUse(), isFinal: true)])
    }

    @Test(
        arguments: [
            // What an earlier run recorded, what of it the elements counted, what they show now.
            (5, 2, 4, 7), (5, 2, 2, 5), (5, 2, 0, 5), (5, 2, 1, 6), (5, 0, 3, 8), (0, 0, 3, 3),
        ] as [(UInt64, UInt64, UInt64, UInt64)]
    )
    func takesOverFromAnEarlierRun(
        recorded: UInt64,
        counted: UInt64,
        shown: UInt64,
        sum: UInt64
    ) throws {
        var book = UseBook()
        let before = GrantUse(
            traffic: traffic(recorded),
            firstAt: at(1),
            lastAt: at(2),
            counted: traffic(counted)
        )
        book.takeOver(one, recorded: recorded == 0 ? nil : before, shows: traffic(shown), at: at(9))
        #expect(book[one]?.traffic == traffic(sum))
        #expect(book[one]?.firstAt == (recorded == 0 ? at(9) : at(1)))
        #expect(book[one]?.lastAt == (sum == recorded ? at(2) : at(9)))
        // The elements are made anew.
        book.note(key, shows: traffic(1), of: [one], at: at(10))
        #expect(book[one]?.traffic == traffic(sum + 1))
        #expect(book.takeNews(of: Plan(live: [try grant(one)])).count == 1)
    }

    @Test func whoseEndIsNearIsToldOnce() throws {
        var plan = Plan(live: [try grant(one), try grant(two)])
        #expect(plan.nextUntoldDeadline == BootTime(milliseconds: 60_000))
        #expect(plan.takeEnding(by: BootTime(milliseconds: 59_999)).isEmpty)
        #expect(plan.takeEnding(by: BootTime(milliseconds: 60_000)) == [one, two])
        #expect(plan.takeEnding(by: BootTime(milliseconds: 60_000)).isEmpty)
        #expect(plan.nextUntoldDeadline == nil)
        #expect(plan.nextDeadline == BootTime(milliseconds: 60_000))
        let later = GrantEnd(expiresAt: at(90), deadline: BootTime(milliseconds: 90_000))
        let person = Person(
            subject: .local(uid: 1000),
            name: "alice",
            origin: .process(.init(pid: 1))
        )
        _ = plan.apply([.extended(one, from: later, until: later, by: person)])
        #expect(plan.nextUntoldDeadline == BootTime(milliseconds: 90_000))
        #expect(plan.takeEnded(at: BootTime(milliseconds: 60_000)) == [two])
        _ = plan.apply([.ended(two, .expired, at: at(60), by: nil)])
        #expect(plan.nextDeadline == BootTime(milliseconds: 90_000))
        #expect(plan.takeEnded(at: BootTime(milliseconds: 90_000)) == [one])
    }
}
