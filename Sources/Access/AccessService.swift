public import API
public import Policy

/// The use cases: what stands behind every way in.
///
/// Whoever calls one of these has required the ``Operation`` of the caller; whose requests and
/// grants the caller may see and change is for the service to decide. A `Problem` that is thrown is
/// the answer; any other error is a fault of the agent's own.
public protocol AccessService: Sendable {
    /// The roles of somebody who connected; nobody waits for them.
    func roles(of identity: Identity) -> Set<Role>

    /// The delegate that runs as a user of this host; nil where none does.
    func delegate(runningAs user: String) async -> Delegate?

    /// The users that delegates run as: now, and again whenever the configuration was read.
    func delegateUsers() async -> AsyncStream<[String]>

    /// What a delegate is told of the configuration: whose people and which groups mean anything.
    func delegation(of delegate: Delegate) async -> DelegationDocument

    /// Tells the audit trail that somebody was refused before any of the functions below was asked.
    ///
    /// Nobody waits for it, and in a flood of them most are only counted.
    func note(_ refusal: Refusal) async

    /// The agent, the gate and the policies with their figures, and what the caller may do.
    func status(for caller: Caller) async throws -> StatusDocument

    /// What of the host takes connections, and whether it is managed.
    ///
    /// - Throws: A `Problem` where the kernel does not let it be read, or where the caller may see but
    ///   some policies.
    func discover(for caller: Caller) async throws -> DiscoverDocument

    /// What on the host would defeat the gate, or leads past it.
    ///
    /// - Throws: As ``discover(for:)``.
    func examine(for caller: Caller) async throws -> DoctorDocument

    /// All policies.
    func policies(for caller: Caller) async throws -> PolicyList

    /// One policy, and the tag of what it is now.
    func policy(
        named name: String,
        for caller: Caller
    ) async throws -> (policy: PolicyDocument, tag: String)

    /// Changes a policy in its file and puts it in force.
    ///
    /// - Parameters:
    ///   - name: The policy's name.
    ///   - definition: An object with the keys of the policy file, `name` left out or the same; nil
    ///     to remove the policy.
    ///   - condition: What must hold of the policy as it is.
    ///   - keepingGrants: Whether live grants that it allows no longer go on to their end.
    ///   - caller: Who wants it.
    /// - Returns: What was done.
    /// - Throws: `Problem`; then nothing was changed, but that the ledger could not record it.
    func change(
        policy name: String,
        to definition: JSONValue?,
        if condition: Precondition,
        keepingGrants: Bool,
        by caller: Caller
    ) async throws -> PolicyChanged

    /// Reads the configuration again; answers the policies in force then.
    func reload(by caller: Caller) async throws -> PolicyList

    /// Opens what is asked for, all of it or nothing; where others have to agree, or the start lies
    /// ahead, it waits.
    ///
    /// - Parameters:
    ///   - ask: What is asked for.
    ///   - idempotencyKey: A repetition under the same key answers the first request.
    ///   - caller: Who asks.
    ///   - render: Makes the answer; called while the disk is at work, so that nobody waits for it.
    ///     The answer is given only once all is durable and in the kernel.
    /// - Returns: What `render` made.
    /// - Throws: A `Problem` where nothing was opened, or what `render` threw.
    func open<Answer: Sendable>(
        _ ask: Ask,
        idempotencyKey: String?,
        by caller: Caller,
        render: @escaping @Sendable (Opened) throws -> Answer
    ) async throws -> Answer

    /// The same for whoever is on the thread that everything runs on, and has no task to wait in.
    ///
    /// - Parameters:
    ///   - ask: What is asked for.
    ///   - idempotencyKey: A repetition under the same key answers the first request.
    ///   - caller: Who asks.
    ///   - render: Makes the answer while the disk is at work; what it returns gives the answer, and
    ///     is called, on any thread, only once all is durable and in the kernel.
    ///   - fail: Called, on any thread, instead of that.
    func open(
        _ ask: Ask,
        idempotencyKey: String?,
        by caller: Caller,
        render: @escaping @Sendable (Opened) throws -> @Sendable () -> Void,
        fail: @escaping @Sendable (any Error) -> Void
    )

    /// What would be opened if it was asked for now.
    ///
    /// Nothing changes, and nothing is recorded.
    ///
    /// - Throws: The `Problem` that ``open(_:idempotencyKey:by:render:)`` would.
    func preview(_ ask: Ask, for caller: Caller) async throws -> PreviewDocument

    /// One request.
    func request(id: Int64, for caller: Caller) async throws -> RequestDocument

    /// Requests, newest first.
    func requests(_ filter: RequestFilter, for caller: Caller) async throws -> RequestList

    /// Agrees to a pending request, which opens where enough people have.
    func approve(request id: Int64, _ body: ApproveBody, by caller: Caller) async throws
        -> RequestDocument

    /// Makes a waiting request come to nothing, for a reason that the requester is told.
    func deny(request id: Int64, reason: String, by caller: Caller) async throws -> RequestDocument

    /// Takes a waiting request back.
    func cancel(request id: Int64, by caller: Caller) async throws -> RequestDocument

    /// Ends all live grants of a request, for a reason where one is given.
    func revoke(request id: Int64, reason: String?, by caller: Caller) async throws
        -> RequestDocument

    /// Moves the end of a request's live grants; where others have to agree, answers the request
    /// that waits for it.
    func extend(
        request id: Int64,
        by addition: Duration,
        for grounds: Grounds,
        by caller: Caller
    ) async throws -> RequestDocument

    /// Grants, those of the newest request first.
    func grants(_ filter: RequestFilter, includeEnded: Bool, for caller: Caller) async throws
        -> GrantList

    /// Ends one grant.
    func close(grant id: Grant.ID, by caller: Caller) async throws -> GrantDocument

    /// Events of the audit trail, newest first; the filter's scope is for the service to set.
    func audit(_ filter: AuditFilter, for caller: Caller) async throws -> AuditPage

    /// All events of the audit trail that meet a filter, but for its page and limit, oldest first.
    func allAudit(_ filter: AuditFilter, for caller: Caller) async throws -> AuditRows

    /// Goes through the whole audit trail, and says what in it is not as it was recorded.
    ///
    /// - Parameters:
    ///   - head: A hash that was the head once; nil for none.
    ///   - caller: Who wants to know.
    /// - Returns: What it came to, faults included.
    /// - Throws: A `Problem` where the ledger cannot be read.
    func verifyAudit(head: String?, for caller: Caller) async throws -> AuditVerification

    /// What is recorded from now on, or after an event, and which grants end soon.
    ///
    /// - Parameters:
    ///   - after: The number of the last event that the caller knows; nil to begin now.
    ///   - caller: Who listens.
    /// - Returns: What the caller may see, for as long as it is kept.
    /// - Throws: A `Problem` where the caller listens too often already.
    func events(after: Int64?, for caller: Caller) async throws -> StreamedEvents
}

/// Events as they happen, some at a time.
public typealias StreamedEvents = any AsyncSequence<[StreamedEvent], any Error> & Sendable

/// Events of the audit trail, some at a time, which are read when they are asked for.
public typealias AuditRows = any AsyncSequence<[AuditRow], any Error> & Sendable

/// What must hold of a policy before it is changed (RFC 9110, section 13.1).
public enum Precondition: Hashable, Sendable {
    case none
    /// It is there.
    case exists
    /// It is what one of these tags stands for.
    case matches(tags: Set<String>)
    /// There is none of the name.
    case isAbsent
}

/// The answer to a change of a policy.
public struct PolicyChanged: Sendable {
    /// What was done.
    public var document: PolicyChangeDocument
    /// The tag of the policy as it is now; nil where it was removed.
    public var tag: String?
    /// Whether there was none of the name.
    public var isNew: Bool

    /// Takes the parts.
    public init(document: PolicyChangeDocument, tag: String?, isNew: Bool) {
        self.document = document
        self.tag = tag
        self.isNew = isNew
    }
}

/// The answer to a request for access.
public struct Opened: Sendable {
    /// The request.
    public var request: RequestDocument
    /// Whether the call made it; false where an earlier call with the same key did.
    public var isNew: Bool

    /// Takes both.
    public init(request: RequestDocument, isNew: Bool) {
        self.request = request
        self.isNew = isNew
    }
}
