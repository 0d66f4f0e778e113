import API
import Access
import Policy
import Server
import Synchronization

/// A service that answers at once and remembers what it was asked.
final class RecordingService: AccessService {
    /// What was asked, with the arguments that the request decided.
    enum Asked: Hashable {
        case status
        case delegation(String)
        case discover
        case examine
        case policies
        case policy(String)
        case reload
        case change(String, JSONValue?, Precondition, keepingGrants: Bool)
        case open(Ask, key: String?)
        case preview(Ask)
        case request(Int64)
        case requests(RequestFilter)
        case approve(Int64, ApproveBody)
        case deny(Int64, String)
        case cancel(Int64)
        case revoke(Int64, String? = nil)
        case extend(Int64, Duration, Grounds)
        case grants(RequestFilter, includeEnded: Bool)
        case closeGrant(Grant.ID)
        case audit(AuditFilter)
        case allAudit(AuditFilter)
        case verifyAudit(head: String?)
        case events(after: Int64?)
    }

    private struct State {
        var asked: [Asked] = []
        var callers: [Caller] = []
        var refusals: [Refusal] = []
    }

    private let state = Mutex(State())
    private let roles: @Sendable (Identity) -> Set<Role>
    private let delegates: [Delegate]
    private let users: AsyncStream<[String]>
    private let rows: AuditRows
    private let events: @Sendable () -> StreamedEvents
    /// Runs within each call, where a test needs time to pass or an error.
    private let during: @Sendable () async throws -> Void

    init(
        roles: @escaping @Sendable (Identity) -> Set<Role> = { _ in [.admin] },
        delegates: [Delegate] = [],
        delegateUsers: AsyncStream<[String]>? = nil,
        rows: AuditRows = AsyncThrowingStream { $0.finish() },
        events: @escaping @Sendable () -> StreamedEvents = { AsyncThrowingStream { $0.finish() } },
        during: @escaping @Sendable () async throws -> Void = {}
    ) {
        self.roles = roles
        self.delegates = delegates
        users = delegateUsers ?? AsyncStream { $0.yield(delegates.map(\.user)) }
        self.rows = rows
        self.events = events
        self.during = during
    }

    var asked: [Asked] { state.withLock { $0.asked } }
    var callers: [Caller] { state.withLock { $0.callers } }
    var refusals: [Refusal] { state.withLock { $0.refusals } }

    private func note(_ asked: Asked, _ caller: Caller? = nil) async throws {
        state.withLock {
            $0.asked.append(asked)
            if let caller { $0.callers.append(caller) }
        }
        try await during()
    }

    func roles(of identity: Identity) -> Set<Role> { roles(identity) }

    func delegate(runningAs user: String) async -> Delegate? {
        delegates.first { $0.user == user }
    }

    func delegateUsers() async -> AsyncStream<[String]> { users }

    func delegation(of delegate: Delegate) async -> DelegationDocument {
        try? await note(.delegation(delegate.name))
        return DelegationDocument(delegate, groups: ["corp": ["ops"]])
    }

    func note(_ refusal: Refusal) async { state.withLock { $0.refusals.append(refusal) } }

    func status(for caller: Caller) async throws -> StatusDocument {
        try await note(.status, caller)
        return Samples.status
    }

    func discover(for caller: Caller) async throws -> DiscoverDocument {
        try await note(.discover, caller)
        return Samples.discovery
    }

    func examine(for caller: Caller) async throws -> DoctorDocument {
        try await note(.examine, caller)
        return Samples.examination
    }

    func policies(for caller: Caller) async throws -> PolicyList {
        try await note(.policies, caller)
        return Samples.policies
    }

    func policy(
        named name: String,
        for caller: Caller
    ) async throws -> (policy: PolicyDocument, tag: String) {
        try await note(.policy(name), caller)
        return (Samples.policy, Samples.tag)
    }

    func change(
        policy name: String,
        to definition: JSONValue?,
        if condition: Precondition,
        keepingGrants: Bool,
        by caller: Caller
    ) async throws -> PolicyChanged {
        try await note(
            .change(name, definition, condition, keepingGrants: keepingGrants),
            caller
        )
        return PolicyChanged(
            document: Samples.policyChange,
            tag: definition == nil ? nil : Samples.tag,
            isNew: condition == .isAbsent
        )
    }

    func reload(by caller: Caller) async throws -> PolicyList {
        try await note(.reload, caller)
        return Samples.policies
    }

    func open<Answer: Sendable>(
        _ ask: Ask,
        idempotencyKey: String?,
        by caller: Caller,
        render: @escaping @Sendable (Opened) throws -> Answer
    ) async throws -> Answer {
        try await note(.open(ask, key: idempotencyKey), caller)
        var request = Samples.request
        if idempotencyKey?.hasPrefix("waits") == true { request.state = .pending }
        return try render(
            Opened(request: request, isNew: idempotencyKey?.hasSuffix("used") != true)
        )
    }

    func open(
        _ ask: Ask,
        idempotencyKey: String?,
        by caller: Caller,
        render: @escaping @Sendable (Opened) throws -> @Sendable () -> Void,
        fail: @escaping @Sendable (any Error) -> Void
    ) {
        Task {
            do {
                let key = idempotencyKey
                let give = try await open(ask, idempotencyKey: key, by: caller, render: render)
                give()
            } catch {
                fail(error)
            }
        }
    }

    func preview(_ ask: Ask, for caller: Caller) async throws -> PreviewDocument {
        try await note(.preview(ask), caller)
        return Samples.preview
    }

    func request(id: Int64, for caller: Caller) async throws -> RequestDocument {
        try await note(.request(id), caller)
        return Samples.request
    }

    func requests(_ filter: RequestFilter, for caller: Caller) async throws -> RequestList {
        try await note(.requests(filter), caller)
        return Samples.requests
    }

    func approve(request id: Int64, _ body: ApproveBody, by caller: Caller) async throws
        -> RequestDocument
    {
        try await note(.approve(id, body), caller)
        return Samples.request
    }

    func deny(request id: Int64, reason: String, by caller: Caller) async throws
        -> RequestDocument
    {
        try await note(.deny(id, reason), caller)
        return Samples.request
    }

    func cancel(request id: Int64, by caller: Caller) async throws -> RequestDocument {
        try await note(.cancel(id), caller)
        return Samples.request
    }

    func revoke(request id: Int64, reason: String?, by caller: Caller) async throws
        -> RequestDocument
    {
        try await note(.revoke(id, reason), caller)
        return Samples.request
    }

    func extend(
        request id: Int64,
        by addition: Duration,
        for grounds: Grounds,
        by caller: Caller
    ) async throws -> RequestDocument {
        try await note(.extend(id, addition, grounds), caller)
        var request = Samples.request
        if grounds.ticket == "waits" { request.state = .pending }
        return request
    }

    func grants(_ filter: RequestFilter, includeEnded: Bool, for caller: Caller) async throws
        -> GrantList
    {
        try await note(.grants(filter, includeEnded: includeEnded), caller)
        return Samples.grants
    }

    func close(grant id: Grant.ID, by caller: Caller) async throws -> GrantDocument {
        try await note(.closeGrant(id), caller)
        return Samples.grant
    }

    func audit(_ filter: AuditFilter, for caller: Caller) async throws -> AuditPage {
        try await note(.audit(filter), caller)
        return AuditPage(events: [Samples.auditRow], next: "16")
    }

    func allAudit(_ filter: AuditFilter, for caller: Caller) async throws -> AuditRows {
        try await note(.allAudit(filter), caller)
        return rows
    }

    func events(after: Int64?, for caller: Caller) async throws -> StreamedEvents {
        try await note(.events(after: after), caller)
        return events()
    }

    func verifyAudit(head: String?, for caller: Caller) async throws -> AuditVerification {
        try await note(.verifyAudit(head: head), caller)
        return Samples.verification
    }
}
