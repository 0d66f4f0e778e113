import Glibc
import GRDB
import Policy
import Testing
import TestSupport

@testable import Ledger

extension TemporaryFolder {
    var state: String { path + "/state" }
    var file: String { state + "/ledger.sqlite" }

    func open(bootID: String = "boot-1") throws(LedgerError) -> Ledger {
        try openLedger(state, bootID: bootID)
    }
}

/// Opens a ledger as soon as the one before is let go of, which its own thread may still hold.
private func openLedger(_ state: String, bootID: String) throws(LedgerError) -> Ledger {
    let end = ContinuousClock.now + .seconds(20)
    while true {
        do throws(LedgerError) {
            return try Ledger(directory: state, bootID: bootID)
        } catch {
            guard error.code == .locked, ContinuousClock.now < end else { throw error }
            usleep(1000)
        }
    }
}

let noon = Timestamp(milliseconds: 1_770_000_000_000)
let alice = person(1000, "alice", pid: 4242)
let bob = person(1001, "bob", pid: 4343)
let root = person(0, "root", pid: 77)

func person(_ uid: UInt32, _ name: String, pid: Int32) -> Person {
    Person(subject: .local(uid: uid), name: name, origin: .process(.init(pid: pid)))
}

/// Somebody of each kind, every field of whom says something.
func people() throws -> [Person] {
    [
        alice,
        Person(
            subject: .local(uid: 0),
            name: "root",
            origin: .process(
                .init(pid: 7, startedAt: .max - 1, login: .init(uid: 1000, name: "alice"))
            )
        ),
        Person(
            subject: try Subject(issuer: "corp", id: "248289761001"),
            name: "Älice \u{1F6AA}",
            via: "portal",
            origin: .client(address: try IPAddress(parsing: "2001:db8::7"), session: "k3J9")
        ),
    ]
}

func minutes(_ count: Int) -> Timestamp { noon + .seconds(60 * count) }

/// A request of one grant for each policy, made `minute` minutes after noon.
func request(
    _ id: Int64,
    policies: [String] = ["ssh"],
    by person: Person = alice,
    minute: Int = 0,
    key: String? = nil
) throws -> AccessRequest {
    let port = try PortRange(parsing: "22/tcp")
    let source = try CIDR(parsing: "2001:db8::/64")
    return AccessRequest(
        id: id,
        requester: person,
        ask: Ask(
            targets: policies,
            sources: ["2001:db8::/64"],
            duration: "1h",
            reason: "deploy",
            ticket: "OPS-1"
        ),
        createdAt: minutes(minute),
        idempotencyKey: key,
        grants: policies.enumerated().map { index, policy in
            Grant(
                id: Grant.ID(request: id, ordinal: index + 1),
                policy: policy,
                port: port,
                source: source,
                requester: Requester(
                    subject: person.subject,
                    name: person.name,
                    via: person.via
                ),
                startsAt: minutes(minute),
                end: end(minute: minute + 60, deadline: 3_600_000 + Int64(index))
            )
        }
    )
}

func end(minute: Int, deadline: Int64) -> GrantEnd {
    GrantEnd(expiresAt: minutes(minute), deadline: BootTime(milliseconds: deadline))
}

func expired(_ id: Grant.ID, at: Timestamp = noon) -> Event {
    .ended(id, .expired, at: at, by: nil)
}

func id(_ text: String) throws -> Grant.ID { try Grant.ID(parsing: text) }

extension Ledger {
    /// Does what `commit` does on the calling thread, for tests that are synchronous.
    func commitBlocking(_ events: [Event], at: Timestamp) throws(LedgerError) {
        do {
            try pool.writeWithoutTransaction { db in try record(events, at: at, db) }
        } catch {
            throw LedgerError(error, cannot: "write", path: path)
        }
    }

    /// Moves the log into the database, as a commit does now and then.
    func checkpoint() throws {
        try pool.writeWithoutTransaction { db in _ = try db.checkpoint(.passive) }
    }
}

/// A file system of its own that can be filled; root alone can have one.
final class SmallDisk: Sendable {
    let path: String

    init(bytes: Int) throws {
        path = "/tmp/sallyport-\(UInt64.random(in: 0 ... .max))"
        try #require(mkdir(path, 0o755) == 0)
        try #require(mount("tmpfs", path, "tmpfs", 0, "size=\(bytes),mode=0755") == 0)
    }

    deinit {
        umount2(path, CInt(MNT_DETACH))
        rmdir(path)
    }

    var state: String { path + "/state" }

    func open(bootID: String = "boot-1") throws(LedgerError) -> Ledger {
        try openLedger(state, bootID: bootID)
    }

    /// Leaves not a byte of the disk that is mounted there.
    static func fill(_ path: String) throws {
        let filler = Glibc.open(path + "/filler", O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0o600)
        try #require(filler >= 0)
        defer { close(filler) }
        let bytes = [UInt8](repeating: 0, count: 65_536)
        for size in [bytes.count, 1] { while write(filler, bytes, size) == size {} }
        try #require(errno == ENOSPC)
    }

    /// Not by removing the file, which a program that another test just starts may hold open.
    func makeRoom() throws { try #require(truncate(path + "/filler", 0) == 0) }
}
