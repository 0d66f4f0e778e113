import API
import Linux
import Policy

extension RemotePerson {
    /// How far the clocks of two hosts may be apart, in seconds.
    private static let skew: Int64 = 60

    /// The person as an identity.
    func identity(through delegate: Delegate) -> Identity {
        Identity(
            subject: subject,
            name: name,
            groups: groups,
            via: delegate,
            origin: .client(address: address, session: session)
        )
    }

    /// Throws where the delegate may not speak for the person.
    ///
    /// - Parameters:
    ///   - delegate: Who speaks.
    ///   - now: The wall clock, in seconds since 1970.
    /// - Throws: A `Problem`: the issuer is not one of the delegate's, or the login is too old.
    func require(of delegate: Delegate, at now: Int64) throws(Problem) {
        guard delegate.issuers.contains(issuer) else {
            throw Problem(
                .notPermitted,
                "cannot let \(name) in: \(delegate.name) may not speak for people of \(issuer)"
            )
        }
        let age = now.subtractingReportingOverflow(loggedInAt)
        guard !age.overflow, age.partialValue <= delegate.maxLoginAge.components.seconds else {
            throw Problem(
                .notAuthenticated,
                "cannot let \(name) in: the login is older than "
                    + "\(delegate.maxLoginAge.compactDescription); log in again"
            )
        }
        guard age.partialValue >= -Self.skew else {
            throw Problem(
                .notAuthenticated,
                "cannot let \(name) in: the login lies ahead; compare the clocks"
            )
        }
    }
}

extension Int64 {
    /// The wall clock in seconds since 1970.
    static var now: Int64 { SystemClock.wall.milliseconds / 1000 }
}

/// Somebody asked for access more often than their delegate's limits allow.
struct TooOften: Error, CustomStringConvertible {
    var description: String
    /// Whole seconds until the next request is taken.
    var retryAfter: Int
}

/// Counts how often delegates and their people ask for access in a minute.
struct RateLimiter {
    private static let minute: Duration = .seconds(60)

    /// When each delegate's people asked within the last minute, the first one first: never more
    /// than a delegate may ask in that time.
    private var asked: [String: [(at: ContinuousClock.Instant, who: Subject)]] = [:]

    /// Counts a request.
    ///
    /// - Throws: ``TooOften``; such a request is not counted.
    mutating func admit(
        _ subject: Subject,
        through delegate: Delegate,
        at now: ContinuousClock.Instant = .now
    ) throws(TooOften) {
        var recent = (asked[delegate.name] ?? []).filter { now - $0.at < Self.minute }
        let own = recent.filter { $0.who == subject }
        let limits = delegate.limits
        for (times, limit, whom) in [
            (own, limits.perPersonPerMinute, "one person"),
            (recent, limits.requestsPerMinute, "all"),
        ] where times.count >= limit {
            // The limit is at least one.
            let left = times.first.map { Self.minute - (now - $0.at) } ?? Self.minute
            throw TooOften(
                description: "cannot ask for access again yet: \(delegate.name) takes "
                    + "\(limit) requests a minute of \(whom)",
                retryAfter: Int(left.components.seconds) + 1
            )
        }
        recent.append((now, subject))
        asked[delegate.name] = recent
    }
}
