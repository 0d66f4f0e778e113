import Ledger
import Policy

extension Recovered {
    /// What of the recovered grants is still live, and what of it is to be recorded: how the others
    /// have ended, and what this boot's clock will show at the end of those of an earlier boot.
    ///
    /// A grant is never reopened after its end and never lengthened. Within one boot the time since
    /// boot tells how much is left, whatever was done to the wall clock. After a boot only the wall
    /// clock can tell; one that shows less than what the ledger has recorded cannot be trusted, and
    /// ends them all.
    func settled(at now: Moment) -> (live: [Grant], changes: [LedgerChange]) {
        let isClockTrusted = lastRecordedAt.map { now.wall >= $0 } ?? true
        var stillLive: [Grant] = []
        var changes: [LedgerChange] = []
        for recovered in live {
            var grant = recovered.grant
            let left = grant.expiresAt.milliseconds - now.wall.milliseconds
            let byWallClock = now.boot + left
            grant.deadline = recovered.isOfThisBoot ? min(grant.deadline, byWallClock) : byWallClock
            if !recovered.isOfThisBoot && (!isClockTrusted || now.wall < grant.startsAt) {
                changes.append(.end(grant.id, .revoked, .clockUntrusted, at: now.wall, by: nil))
            } else if grant.deadline <= now.boot {
                let at = min(grant.expiresAt, now.wall)
                changes.append(.end(grant.id, .expired, .expired, at: at, by: nil))
            } else {
                stillLive.append(grant)
                // From here on the wall clock can be set back without lengthening it.
                if !recovered.isOfThisBoot {
                    changes.append(.carryOver(grant.id, deadline: grant.deadline))
                }
            }
        }
        return (stillLive, changes)
    }
}
