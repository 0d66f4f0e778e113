extension PolicySet {
    /// What policy says to a request.
    public enum Decision: Hashable, Sendable {
        /// Open all of this for so long.
        case open([Opening], for: Duration)
        /// Open nothing: these limits are broken, all of them in the order of the fields.
        case refused([Violation])
        /// Open nothing: the caller may not ask for this, for the reason given.
        case notPermitted(String)
    }

    /// What policy says to an extension.
    public enum ExtensionDecision: Hashable, Sendable {
        /// Move the ends of the grants to these.
        case extend([NewEnd])
        /// Move nothing: these limits are broken.
        case refused([Violation])
        /// Move nothing: the caller may not ask for this, for the reason given.
        case notPermitted(String)
    }

    /// The end of a grant after an extension.
    public struct NewEnd: Hashable, Sendable {
        /// The grant.
        public var id: Grant.ID
        /// When it will end by the wall clock.
        public var expiresAt: Timestamp
        /// When it will end in milliseconds of `CLOCK_BOOTTIME`.
        public var deadline: Int64
    }

    public func decide(
        _ ask: Ask,
        by identity: Identity,
        at now: Timestamp,
        active: (_ policy: String) -> Int
    ) -> Decision {
        .notPermitted("not yet")
    }

    public func decideExtension(
        of grants: [Grant],
        by addition: Duration,
        requester identity: Identity,
        at now: Timestamp
    ) -> ExtensionDecision {
        .notPermitted("not yet")
    }
}
