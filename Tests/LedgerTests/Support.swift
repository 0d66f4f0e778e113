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
        try Ledger(directory: state, bootID: bootID)
    }
}

let noon = Timestamp(milliseconds: 1_770_000_000_000)
let alice = Identity(uid: 1000, user: "alice", groups: [], pid: 4242)
let root = Identity(uid: 0, user: "root", groups: [], pid: 77)

func minutes(_ count: Int) -> Timestamp { noon + .seconds(60 * count) }

/// A request of one grant for each policy, made `minute` minutes after noon.
func request(
    _ id: Int64,
    policies: [String] = ["ssh"],
    user: String = "alice",
    uid: UInt32 = 1000,
    minute: Int = 0,
    key: String? = nil
) throws -> AccessRequest {
    let requester = Requester(uid: uid, user: user)
    let port = try PortRange(parsing: "22/tcp")
    let source = try CIDR(parsing: "2001:db8::/64")
    return AccessRequest(
        id: id,
        requester: requester,
        pid: 4242,
        reason: "deploy",
        ticket: "OPS-1",
        createdAt: minutes(minute),
        idempotencyKey: key,
        grants: policies.enumerated().map { index, policy in
            Grant(
                id: Grant.ID(request: id, ordinal: index + 1),
                policy: policy,
                port: port,
                source: source,
                requester: requester,
                startsAt: minutes(minute),
                expiresAt: minutes(minute + 60),
                deadline: 3_600_000 + Int64(index)
            )
        }
    )
}

func id(_ text: String) throws -> Grant.ID { try Grant.ID(parsing: text) }

extension Ledger {
    /// Does what `commit` does on the calling thread, for tests that are synchronous.
    func commitBlocking(_ changes: [LedgerChange], at: Timestamp) throws(LedgerError) {
        do {
            try pool.writeWithoutTransaction { db in
                try Self.commit(changes, at: at, boot: boot, db)
            }
        } catch {
            throw LedgerError(error, cannot: "write", path: path)
        }
    }

    /// Moves the log into the database, as a commit does now and then.
    func checkpoint() throws {
        try pool.writeWithoutTransaction { db in _ = try db.checkpoint(.passive) }
    }
}
