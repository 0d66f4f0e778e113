public import API
public import Policy

/// Who makes a request, and what this person may do.
public struct Caller: Hashable, Sendable {
    /// Who it is, as the kernel told it when the connection was accepted.
    public var identity: Identity
    /// Never empty: without any role there is no access.
    public var roles: Set<Role>

    /// Makes a caller.
    public init(identity: Identity, roles: Set<Role>) {
        self.identity = identity
        self.roles = roles
    }
}

/// What stands behind the routes.
///
/// The server has checked that one of the caller's roles allows the route before it calls any of
/// these; whose requests and grants the caller may see and change is for the service to decide.
/// A `Problem` that is thrown is the answer; any other error is answered as an internal one.
public protocol AccessService: Sendable {
    /// The roles of somebody who connected.
    func roles(of identity: Identity) async -> Set<Role>

    /// Answers `GET /v1/status`.
    func status() async throws -> StatusDocument

    /// Answers `GET /v1/policies`.
    func policies(for caller: Caller) async throws -> PolicyList

    /// Answers `GET /v1/policies/{name}`.
    func policy(named name: String, for caller: Caller) async throws -> PolicyDocument

    /// Answers `POST /v1/policies/reload`.
    func reload(by caller: Caller) async throws -> PolicyList

    /// Answers `POST /v1/policies/check`: what the text would be as a policy file.
    func check(policyText: String) async throws -> PolicyList

    /// Answers `POST /v1/requests`.
    func open(_ ask: Ask, idempotencyKey: String?, by caller: Caller) async throws
        -> RequestDocument

    /// Answers `GET /v1/requests/{id}`.
    func request(id: Int64, for caller: Caller) async throws -> RequestDocument

    /// Answers `GET /v1/requests`.
    func requests(_ filter: RequestFilter, for caller: Caller) async throws -> RequestList

    /// Answers `POST /v1/requests/{id}/revoke`.
    func revoke(request id: Int64, by caller: Caller) async throws -> RequestDocument

    /// Answers `POST /v1/requests/{id}/extend`.
    func extend(request id: Int64, by addition: Duration, by caller: Caller) async throws
        -> RequestDocument

    /// Answers `GET /v1/grants`.
    func grants(_ filter: RequestFilter, includeEnded: Bool, for caller: Caller) async throws
        -> GrantList

    /// Answers `DELETE /v1/grants/{id}`.
    func close(grant id: Grant.ID, by caller: Caller) async throws -> GrantDocument
}
