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
    /// The session that the user works in: a change that would close its port is refused.
    public var session: OwnSession?

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

    /// Ends the grants of a request, and with `cutting` the sessions that they let in.
    public func revoke(
        request id: String,
        cutting: Bool = false
    ) throws(ClientError) -> RequestDocument {
        let path = "/v1/requests/\(encoded(id))/revoke"
        guard cutting else { return try post(path) }
        return try post(path, try json(RevokeBody(cut: true)))
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

    /// Ends one grant, and with `cutting` the sessions that it let in.
    public func close(
        grant id: String,
        cutting: Bool = false
    ) throws(ClientError) -> GrantDocument {
        let target = "/v1/grants/\(encoded(id))" + (cutting ? "?cut=true" : "")
        return try exchange(Call(method: .DELETE, target: target))
    }

    /// The live sessions of managed ports.
    ///
    /// - Parameter grant: Only those that a grant let in, or the grants of a request.
    /// - Returns: The sessions.
    /// - Throws: ``ClientError``.
    public func sessions(ofGrant grant: String? = nil) throws(ClientError) -> SessionList {
        try get("/v1/sessions", [("grant", grant)])
    }

    /// Ends one session at both ends.
    public func cut(session id: String) throws(ClientError) -> SessionDocument {
        try exchange(Call(method: .DELETE, target: "/v1/sessions/\(encoded(id))"))
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

    func post<Document: Decodable>(
        _ path: String,
        _ body: ByteBuffer = ByteBuffer(),
        headers: HTTPHeaders = [:]
    ) throws(ClientError) -> Document {
        var headers = headers
        if body.readableBytes > 0 { headers.add(name: "content-type", value: "application/json") }
        headers.add(name: "content-length", value: String(body.readableBytes))
        return try exchange(Call(method: .POST, target: path, headers: headers, body: body))
    }

    func json(_ document: some Encodable) throws(ClientError) -> ByteBuffer {
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
func encoded(_ text: String) -> String {
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
