import Ledger
import Policy

extension Recovered {
    /// What of the recovered grants is still live, and what is to be recorded: how the others have
    /// ended, and what this boot's clock will show at the end of those that go on.
    ///
    /// A grant is never reopened after its end and never lengthened. Within one boot the time since
    /// boot tells how much is left, whatever was done to the wall clock. After a boot only the wall
    /// clock can tell; one that shows less than what the ledger has recorded cannot be trusted, and
    /// ends them all.
    func settled(at now: Moment) -> (live: [Grant], events: [Event]) {
        let isClockTrusted = lastRecordedAt.map { now.wall >= $0 } ?? true
        var stillLive: [Grant] = []
        var events: [Event] = []
        for recovered in live {
            var grant = recovered.grant
            let byWallClock = now.boot + (grant.end.expiresAt - now.wall)
            let isShortened = recovered.isOfThisBoot && byWallClock < grant.end.deadline
            if isShortened || !recovered.isOfThisBoot { grant.end.deadline = byWallClock }
            if !recovered.isOfThisBoot && (!isClockTrusted || now.wall < grant.startsAt) {
                events.append(.ended(grant.id, .clockUntrusted, at: now.wall, by: nil))
            } else if grant.end.deadline <= now.boot {
                let at = min(grant.end.expiresAt, now.wall)
                events.append(.ended(grant.id, .expired, at: at, by: nil))
            } else {
                stillLive.append(grant)
                // From here on the wall clock can be set back without lengthening it.
                if isShortened {
                    events.append(.shortened(grant.id, deadline: grant.end.deadline))
                } else if !recovered.isOfThisBoot {
                    events.append(.carriedOver(grant.id, deadline: grant.end.deadline))
                }
            }
        }
        return (stillLive, events)
    }
}
