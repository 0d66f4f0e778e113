import API
import Access
import NIOCore
import NIOHTTP1
import Policy

/// One thing the API does: which method of which path, which operation it is, and how.
struct Route: Sendable, CustomStringConvertible {
    /// Answers a call with what the service says.
    enum Handler: Sendable {
        /// For a person.
        case person(
            @Sendable (_ call: Call, _ caller: Caller, _ service: any AccessService) async throws
                -> Answer
        )
        /// For a delegate about itself.
        case delegate(
            @Sendable (_ delegate: Delegate, _ service: any AccessService) async throws -> Answer
        )
    }

    let method: HTTPMethod
    /// The path, with at most one part that varies: `/v1/policies/{name}`.
    let path: String
    /// What it does, which decides who may.
    let operation: Operation
    /// The query parameters it takes.
    let query: Set<String>
    let handler: Handler
    /// Begins to answer a call without a task to wait in: what most requests are; nil where there is
    /// no such way.
    ///
    /// It throws, and `reply` is not called, or answers false, where the call is for the handler.
    let direct: Direct?

    typealias Direct =
        @Sendable (
            _ call: Call,
            _ caller: Caller,
            _ service: any AccessService,
            _ reply: @escaping @Sendable (Result<Answer, any Error>) -> Void
        ) throws -> Bool

    /// The path around the part that varies; no end where none does.
    private let start: Substring
    private let end: Substring?

    init(
        _ method: HTTPMethod,
        _ path: String,
        _ operation: Operation,
        query: Set<String> = [],
        direct: Direct? = nil,
        handler: Handler
    ) {
        self.method = method
        self.path = path
        self.operation = operation
        self.query = query
        self.handler = handler
        self.direct = direct
        let around = path.split(separator: "{", maxSplits: 1)
        start = around[0]
        end = around.count == 2 ? around[1].drop { $0 != "}" }.dropFirst() : nil
    }

    init(
        _ method: HTTPMethod,
        _ path: String,
        _ operation: Operation,
        query: Set<String> = [],
        direct: Direct? = nil,
        answer:
            @escaping @Sendable (
                _ call: Call,
                _ caller: Caller,
                _ service: any AccessService
            ) async throws -> Answer
    ) {
        self.init(method, path, operation, query: query, direct: direct, handler: .person(answer))
    }

    /// Method and path: `GET /v1/status`.
    var description: String { "\(method.rawValue) \(path)" }

    /// What stands in the place of the part that varies (nothing for a path without one), where
    /// `path` is a path of this route; nil where it is not.
    func match(_ path: Substring) -> Substring? {
        guard let end else { return path == start ? "" : nil }
        // By bytes: by characters it was 40,000 instructions a request.
        guard path.utf8.count > start.utf8.count + end.utf8.count,
            path.utf8.starts(with: start.utf8),
            path.utf8.suffix(end.utf8.count).elementsEqual(end.utf8)
        else { return nil }
        let variable = path.utf8.dropFirst(start.utf8.count).dropLast(end.utf8.count)
        return variable.contains(UInt8(ascii: "/")) ? nil : Substring(variable)
    }
}

/// One request, taken apart as far as every route needs it.
struct Call: Sendable {
    /// The part of the path that varies, decoded.
    var variable: String
    var query: [String: String]
    var body: ByteBuffer
    var headers: HTTPHeaders
}

extension Call {
    /// Whether there is a body.
    var hasBody: Bool { body.readableBytes > 0 }

    /// The body as a JSON document, which must say that it is one: a page of somebody else's cannot
    /// make a browser say so (Fetch, section 3.2.2).
    func document<Document>(_ read: ([UInt8]) throws(JSONError) -> Document) throws(Problem)
        -> Document
    {
        guard saysJSON else {
            throw Problem(
                .unsupportedMediaType,
                "cannot read the body: its content-type must be application/json"
            )
        }
        do {
            return try read(Array(body.readableBytesView))
        } catch {
            throw Problem(.badRequest, "cannot read the body: \(error)")
        }
    }

    private var saysJSON: Bool {
        let type = headers.first(name: "content-type") ?? ""
        if type == "application/json" { return true }
        // In any case of letters, and with parameters (RFC 9110, section 8.3.1).
        let essence = type.split(separator: ";", omittingEmptySubsequences: false)[0]
        return essence.lowercased().split(separator: " ") == ["application/json"]
    }

    /// The headers `If-Match` and `If-None-Match`, of which the latter takes `*` alone: it is for
    /// making what is not there.
    ///
    /// One that is empty is not as if it were absent: nothing would be compared that the client
    /// means to be.
    func precondition() throws(Problem) -> Precondition {
        for name in ["If-Match", "If-None-Match"]
        where headers.contains(name: name) && headers[canonicalForm: name].isEmpty {
            throw Problem(.badRequest, "cannot read header \(name): it is empty")
        }
        let tags = headers[canonicalForm: "if-match"]
        switch headers[canonicalForm: "if-none-match"] {
        case [] where tags.isEmpty: return .none
        case []: return tags == ["*"] ? .exists : .matches(tags: Set(tags.map { String($0) }))
        case ["*"] where tags.isEmpty: return .isAbsent
        default:
            throw Problem(
                .badRequest,
                "cannot read header If-None-Match: write *, and no header If-Match beside it"
            )
        }
    }

    /// The number of a request in the path.
    func requestID() throws(Problem) -> Int64 {
        guard let id = Int64(variable), id > 0, String(id) == variable else {
            throw Problem(.notFound, "cannot find request \(variable): the id of one is like 17")
        }
        return id
    }

    /// The id of a grant in the path.
    func grantID() throws(Problem) -> Grant.ID {
        guard let id = Grant.ID(variable) else {
            throw Problem(.notFound, "cannot find grant \(variable): the id of one is like 17.1")
        }
        return id
    }

    /// The header `Idempotency-Key`, which takes 1 to 128 visible ASCII characters.
    func idempotencyKey() throws(Problem) -> String? {
        let keys = headers["idempotency-key"]
        guard let key = keys.first else { return nil }
        guard keys.count == 1, (1...128).contains(key.utf8.count),
            key.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
        else {
            throw Problem(
                .badRequest,
                "cannot read header Idempotency-Key: write 1 to 128 visible ASCII characters, once"
            )
        }
        return key
    }

    /// The query parameters that choose requests or grants.
    func filter() throws(Problem) -> RequestFilter {
        RequestFilter(
            state: try parameter(
                "state",
                "one of \(RequestState.list)",
                RequestState.init(rawValue:)
            ),
            policy: try text("policy"),
            requester: try text("requester"),
            before: try parameter("before", "the id of a request", Self.positive),
            limit: try parameter("limit", "a number from 1 to 1000") {
                Self.positive($0).flatMap { $0 <= 1000 ? Int($0) : nil }
            } ?? 100
        )
    }

    /// A query parameter that is a name.
    func text(_ name: String) throws(Problem) -> String? {
        try parameter(name, "a name, or leave it out") { $0.isEmpty ? nil : $0 }
    }

    /// A query parameter that is true or false; false where it is absent.
    func flag(_ name: String) throws(Problem) -> Bool {
        try parameter(name, "true or false", Bool.init) ?? false
    }

    func parameter<Value>(
        _ name: String,
        _ allowed: String,
        _ parse: (String) -> Value?
    ) throws(Problem) -> Value? {
        guard let text = query[name] else { return nil }
        guard let value = parse(text) else {
            throw Problem(
                .badRequest,
                "cannot read query parameter \(name)=\(text): write \(allowed)"
            )
        }
        return value
    }

    static func positive(_ text: String) -> Int64? {
        Int64(text).flatMap { $0 > 0 && String($0) == text ? $0 : nil }
    }
}

extension RequestState {
    fileprivate static var list: String { allCases.map(\.rawValue).joined(separator: ", ") }
}
