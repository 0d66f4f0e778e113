public import Policy

/// What the agent answers instead of a result: RFC 9457 `application/problem+json`.
public struct Problem: Error, Codable, Hashable, Sendable {
    /// The kinds of problem, whose raw values are stable: scripts compare them.
    public enum Code: String, Codable, Hashable, Sendable, CaseIterable {
        /// The body or a parameter is not of the form the route takes.
        case badRequest = "bad-request"
        /// The request breaks a policy; `violations` names every limit it breaks.
        case outsidePolicy = "outside-policy"
        /// A delegate did not say who asks, or the person logged in too long ago.
        case notAuthenticated = "not-authenticated"
        /// The caller's roles do not allow this.
        case notPermitted = "not-permitted"
        /// No such request, grant, policy or route.
        case notFound = "not-found"
        /// The route exists but not for this method.
        case methodNotAllowed = "method-not-allowed"
        /// The request or grant is not in a state that allows this.
        case wrongState = "wrong-state"
        /// A change waits for its confirmation, and nothing else is changed before that.
        case changeUnconfirmed = "change-unconfirmed"
        /// The change would close the port of the caller's own session.
        case wouldLockOut = "would-lock-out"
        /// The gate was taken away: nothing is opened.
        case gateDisarmed = "gate-disarmed"
        /// The `Idempotency-Key` was used for a different request before.
        case idempotencyConflict = "idempotency-conflict"
        /// The body is larger than the agent reads.
        case bodyTooLarge = "body-too-large"
        /// What is to be changed is not what the caller thinks it is (`If-Match`, `If-None-Match`).
        case changedMeanwhile = "changed-meanwhile"
        /// The body is not of a type that the route takes.
        case unsupportedMediaType = "unsupported-media-type"
        /// A policy or configuration file was refused; `violations` names each place.
        case configurationInvalid = "configuration-invalid"
        /// The file of a policy could not be written; nothing was changed.
        case configurationNotWritten = "configuration-not-written"
        /// Too many requests in a minute.
        case rateLimited = "rate-limited"
        /// The ledger cannot be written or read; nothing was opened.
        case ledgerUnavailable = "ledger-unavailable"
        /// The kernel refused the change.
        case kernelRefused = "kernel-refused"
        /// A fault of the agent's own.
        case internalError = "internal-error"

        /// The HTTP status (RFC 9110) this kind is answered with.
        public var status: Int {
            switch self {
            case .badRequest: 400
            case .notAuthenticated: 401
            case .notPermitted: 403
            case .notFound: 404
            case .methodNotAllowed: 405
            case .wrongState, .changeUnconfirmed, .wouldLockOut, .gateDisarmed,
                .idempotencyConflict:
                409
            case .changedMeanwhile: 412
            case .bodyTooLarge: 413
            case .unsupportedMediaType: 415
            case .outsidePolicy, .configurationInvalid: 422
            case .rateLimited: 429
            case .internalError: 500
            case .configurationNotWritten, .ledgerUnavailable, .kernelRefused: 503
            }
        }

        /// A short summary that is the same for every problem of this kind.
        public var title: String {
            switch self {
            case .badRequest: "The request is malformed"
            case .outsidePolicy: "The request is outside policy"
            case .notAuthenticated: "Not authenticated"
            case .notPermitted: "Not permitted"
            case .notFound: "Not found"
            case .methodNotAllowed: "Method not allowed"
            case .wrongState: "Not possible in this state"
            case .changeUnconfirmed: "A change waits for its confirmation"
            case .wouldLockOut: "It would lock you out"
            case .gateDisarmed: "The gate is disarmed"
            case .idempotencyConflict: "The idempotency key belongs to another request"
            case .bodyTooLarge: "The body is too large"
            case .changedMeanwhile: "It was changed meanwhile"
            case .unsupportedMediaType: "The body is of a type not taken here"
            case .configurationInvalid: "The configuration is invalid"
            case .configurationNotWritten: "The configuration cannot be written"
            case .rateLimited: "Too many requests"
            case .ledgerUnavailable: "The ledger is not available"
            case .kernelRefused: "The kernel refused the change"
            case .internalError: "Internal error"
            }
        }
    }

    /// The kind of problem.
    public var code: Code
    /// The HTTP status, as in the response line.
    public var status: Int
    /// The summary of the kind.
    public var title: String
    /// What happened this time, for the person who meets it.
    public var detail: String
    /// Every limit that was exceeded or place that is wrong; absent where there is none.
    public var violations: [Violation]?

    /// Makes a problem of a kind, whose status and title follow from it.
    public init(_ code: Code, _ detail: String, violations: [Violation]? = nil) {
        self.code = code
        self.status = code.status
        self.title = code.title
        self.detail = detail
        self.violations = violations
    }
}
