public import Policy

/// On which terms the gate or its policies are changed.
public struct ChangeTerms: Hashable, Sendable {
    /// The session that the caller works in, as the client says; nil where it is none.
    public var session: OwnSession?
    /// Whether the change is made even where it closes the port of that session.
    public var isForced: Bool
    /// Whether live grants that are allowed no longer go on to their end.
    public var keepsGrants: Bool
    /// After how long the change is undone unless somebody confirms it; nil where it is for good.
    public var confirmWithin: Duration?

    /// How long a confirmation may be waited for.
    public static let confirmationTimes: ClosedRange<Duration> = .seconds(1) ... .seconds(3_600)

    /// Takes the parts.
    public init(
        session: OwnSession? = nil,
        isForced: Bool = false,
        keepsGrants: Bool = false,
        confirmWithin: Duration? = nil
    ) {
        self.session = session
        self.isForced = isForced
        self.keepsGrants = keepsGrants
        self.confirmWithin = confirmWithin
    }
}
