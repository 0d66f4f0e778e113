public import API
import FoundationEssentials
import NIOCore
import NIOHTTP1
public import Policy

/// Speaks to the agent over its Unix socket, on one connection that is kept open.
///
/// Each function is one route of the API, blocks its thread until the answer or the end of its
/// time, and throws a ``ClientError``. Ids are texts, as in the documents.
public final class Client {
    let connection: Connection

    /// Makes a client; it connects with the first call.
    ///
    /// - Parameters:
    ///   - socket: the path of the agent's socket.
    ///   - timeout: how long any call may take, connecting included; nil for 5 s where something is
    ///     asked, 30 s where something is changed, and more where much is read.
    public init(socket: String, timeout: Duration? = nil) {
        connection = Connection(socket: socket, timeout: timeout)
    }

    /// The agent, the gate and the policies with their figures.
    public func status() throws(ClientError) -> StatusDocument {
        try get("/v1/status")
    }

    /// What of the host takes connections, and whether it is managed.
    public func discover() throws(ClientError) -> DiscoverDocument {
        // Of a host with very many rules and sockets; else it takes some milliseconds.
        try exchange(Call(method: .GET, target: "/v1/discover", patience: .seconds(30)))
    }

    /// What on the host would defeat the gate, or leads past it.
    public func doctor() throws(ClientError) -> DoctorDocument {
        try exchange(Call(method: .GET, target: "/v1/doctor", patience: .seconds(30)))
    }

    /// All policies.
    public func policies() throws(ClientError) -> PolicyList {
        try get("/v1/policies")
    }

    /// One policy.
    public func policy(named name: String) throws(ClientError) -> PolicyDocument {
        try get("/v1/policies/\(encoded(name))")
    }

    /// Makes the agent read its configuration again; answers the policies in force then.
    public func reload() throws(ClientError) -> PolicyList {
        try post("/v1/policies/reload")
    }

    /// What a policy must be that is to be changed.
    public enum Condition: Hashable, Sendable {
        /// Whatever it is, or nothing.
        case none
        /// There must be none.
        case isAbsent
        /// What it was when it had this tag.
        case isStill(tag: String)
    }

    /// One policy, with the tag of what it is now.
    public func taggedPolicy(
        named name: String
    ) throws(ClientError) -> (policy: PolicyDocument, tag: String) {
        let call = Call(method: .GET, target: "/v1/policies/\(encoded(name))")
        let reply = try connection.exchange(call)
        let policy: PolicyDocument = try document(of: reply, to: call)
        guard let tag = reply.tag, !tag.isEmpty else { throw unreadable(reply) }
        return (policy, tag)
    }

    /// Makes or changes a policy.
    ///
    /// - Parameters:
    ///   - name: The policy's name.
    ///   - definition: An object with the keys of the policy file.
    ///   - condition: What the policy must be.
    ///   - keepingGrants: Whether live grants that it allows no longer go on to their end.
    /// - Returns: What was changed.
    /// - Throws: ``ClientError``.
    public func set(
        policy name: String,
        to definition: JSONValue,
        if condition: Condition,
        keepingGrants: Bool
    ) throws(ClientError) -> PolicyChangeDocument {
        let body = ByteBuffer(string: definition.description)
        var headers: HTTPHeaders = [
            "content-type": "application/json", "content-length": String(body.readableBytes),
        ]
        switch condition {
        case .none: break
        case .isAbsent: headers.add(name: "if-none-match", value: "*")
        case .isStill(let tag): headers.add(name: "if-match", value: tag)
        }
        return try exchange(
            Call(
                method: .PUT,
                target: policyTarget(name, keepingGrants),
                headers: headers,
                body: body
            )
        )
    }

    /// Removes a policy.
    public func remove(
        policy name: String,
        keepingGrants: Bool
    ) throws(ClientError) -> PolicyChangeDocument {
        try exchange(Call(method: .DELETE, target: policyTarget(name, keepingGrants)))
    }

    private func policyTarget(_ name: String, _ keepingGrants: Bool) -> String {
        "/v1/policies/\(encoded(name))" + (keepingGrants ? "?keep_grants=true" : "")
    }

    /// Asks for access.
    ///
    /// A call repeated with the same `idempotencyKey` answers the request that the first one made.
    public func open(
        _ ask: Ask,
        idempotencyKey: String? = nil
    ) throws(ClientError) -> RequestDocument {
        var headers = HTTPHeaders()
        if let idempotencyKey { headers.add(name: "idempotency-key", value: idempotencyKey) }
        return try post("/v1/requests", try json(ask), headers: headers)
    }

    /// What would come of asking for access; nothing changes.
    public func tryOpening(_ ask: Ask) throws(ClientError) -> PreviewDocument {
        try post("/v1/requests?dry_run=true", try json(ask))
    }

    /// One request.
    public func request(id: String) throws(ClientError) -> RequestDocument {
        try get("/v1/requests/\(encoded(id))")
    }

    /// One page of requests, newest first.
    public func requests(_ filter: RequestFilter) throws(ClientError) -> RequestList {
        try get(
            "/v1/requests",
            [
                ("state", filter.state?.rawValue), ("policy", filter.policy),
                ("requester", filter.requester), ("before", filter.before.map(String.init)),
                ("limit", String(filter.limit)),
            ]
        )
    }

    /// Ends the grants of a request.
    public func revoke(request id: String) throws(ClientError) -> RequestDocument {
        try post("/v1/requests/\(encoded(id))/revoke")
    }

    /// Lets the grants of a request end later; answers another request where others have to agree.
    public func extend(
        request id: String,
        _ body: ExtendBody
    ) throws(ClientError) -> RequestDocument {
        try post("/v1/requests/\(encoded(id))/extend", try json(body))
    }

    /// Agrees to a request of somebody else.
    public func approve(
        request id: String,
        _ body: ApproveBody
    ) throws(ClientError) -> RequestDocument {
        try post("/v1/requests/\(encoded(id))/approve", try json(body))
    }

    /// Refuses a request of somebody else.
    public func deny(request id: String, reason: String) throws(ClientError) -> RequestDocument {
        try post("/v1/requests/\(encoded(id))/deny", try json(DenyBody(reason: reason)))
    }

    /// Takes back a request that waits.
    public func cancel(request id: String) throws(ClientError) -> RequestDocument {
        try post("/v1/requests/\(encoded(id))/cancel")
    }

    /// Live grants, one page of up to 1,024; of the filter state and limit do not count.
    public func grants(_ filter: RequestFilter) throws(ClientError) -> GrantList {
        try get(
            "/v1/grants",
            [
                ("policy", filter.policy), ("requester", filter.requester),
                ("before", filter.before.map { String($0) }),
            ]
        )
    }

    /// Hands on all live grants that meet a filter, a page at a time.
    public func eachPage(
        of filter: RequestFilter,
        _ body: ([GrantDocument]) throws -> Void
    ) throws {
        var filter = filter
        repeat {
            let page = try grants(filter)
            try body(page.grants)
            filter.before = page.next.flatMap { Int64($0) }
        } while filter.before != nil
    }

    /// Hands on all requests that meet a filter, a page at a time.
    public func eachPage(
        ofRequests filter: RequestFilter,
        _ body: ([RequestDocument]) throws -> Void
    ) throws {
        var filter = filter
        repeat {
            let page = try requests(filter)
            try body(page.requests)
            filter.before = page.next.flatMap { Int64($0) }
        } while filter.before != nil
    }

    /// Ends one grant.
    public func close(grant id: String) throws(ClientError) -> GrantDocument {
        try exchange(Call(method: .DELETE, target: "/v1/grants/\(encoded(id))"))
    }
}

extension Client {
    func get<Document: Decodable>(
        _ path: String,
        _ query: [(name: String, value: String?)] = []
    ) throws(ClientError) -> Document {
        try exchange(Call(method: .GET, target: target(path, query)))
    }

    func target(_ path: String, _ query: [(name: String, value: String?)]) -> String {
        let pairs = query.compactMap { pair in pair.value.map { "\(pair.name)=\(encoded($0))" } }
        return pairs.isEmpty ? path : "\(path)?\(pairs.joined(separator: "&"))"
    }

    private func post<Document: Decodable>(
        _ path: String,
        _ body: ByteBuffer = ByteBuffer(),
        headers: HTTPHeaders = [:]
    ) throws(ClientError) -> Document {
        var headers = headers
        if body.readableBytes > 0 { headers.add(name: "content-type", value: "application/json") }
        headers.add(name: "content-length", value: String(body.readableBytes))
        return try exchange(Call(method: .POST, target: path, headers: headers, body: body))
    }

    private func json(_ document: some Encodable) throws(ClientError) -> ByteBuffer {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return ByteBuffer(bytes: try encoder.encode(document))
        } catch {
            throw .protocolError("cannot write the request as JSON: \(error)")
        }
    }

    func exchange<Document: Decodable>(_ call: Call) throws(ClientError) -> Document {
        try document(of: try connection.exchange(call), to: call)
    }

    private func document<Document: Decodable>(
        of reply: Reply,
        to call: Call
    ) throws(ClientError) -> Document {
        guard reply.isDone else { throw refusal(reply) }
        do {
            return try JSONDecoder().decode(Document.self, from: Data(reply.body.readableBytesView))
        } catch {
            throw call.method == .GET ? unreadable(reply) : .answerUnreadable
        }
    }

    /// What the agent says instead of doing what it was asked.
    func refusal(_ reply: Reply) -> ClientError {
        guard reply.type?.hasPrefix("application/problem+json") ?? false else {
            return .protocolError(
                "cannot read the agent's answer: status \(reply.status) and no document"
            )
        }
        let body = Data(reply.body.readableBytesView)
        return (try? JSONDecoder().decode(Problem.self, from: body)).map(ClientError.problem)
            ?? unreadable(reply)
    }

    func unreadable(_ reply: Reply) -> ClientError {
        .protocolError(
            "cannot read the agent's answer (status \(reply.status)); are client and agent of the same version?"
        )
    }
}

/// Text as it may stand in a path or a query (RFC 3986, section 2.3).
private func encoded(_ text: String) -> String {
    var result = ""
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"), UInt8(ascii: "~"):
            result.unicodeScalars.append(Unicode.Scalar(byte))
        default:
            let digits = String(byte, radix: 16, uppercase: true)
            result += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
        }
    }
    return result
}
