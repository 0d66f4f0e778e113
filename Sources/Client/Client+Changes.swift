public import API
import NIOCore
import NIOHTTP1
import Policy

/// How a change of the gate or its policies is made.
public struct ChangeOptions: Hashable, Sendable {
    /// Whether it is made even where it closes the port of the user's own session.
    public var isForced: Bool
    /// Whether live grants that are allowed no longer go on to their end.
    public var keepsGrants: Bool
    /// After how long it is undone unless it is confirmed, like `60s`; nil where it is for good.
    public var confirmWithin: String?

    /// Takes the parts.
    public init(isForced: Bool = false, keepsGrants: Bool = false, confirmWithin: String? = nil) {
        self.isForced = isForced
        self.keepsGrants = keepsGrants
        self.confirmWithin = confirmWithin
    }

    fileprivate var query: [(name: String, value: String?)] {
        [
            ("force", isForced ? "true" : nil), ("keep_grants", keepsGrants ? "true" : nil),
            ("confirm_within", confirmWithin),
        ]
    }
}

extension Client {
    /// Makes or changes a policy.
    ///
    /// - Parameters:
    ///   - name: The policy's name.
    ///   - definition: An object with the keys of the policy file.
    ///   - condition: What the policy must be.
    ///   - options: How.
    /// - Returns: What was changed.
    /// - Throws: ``ClientError``.
    public func set(
        policy name: String,
        to definition: JSONValue,
        if condition: Condition,
        _ options: ChangeOptions = ChangeOptions()
    ) throws(ClientError) -> PolicyChangeDocument {
        let precondition: HTTPHeaders =
            switch condition {
            case .none: [:]
            case .isAbsent: ["if-none-match": "*"]
            case .isStill(let tag): ["if-match": tag]
            }
        return try change(
            .PUT,
            "/v1/policies/\(encoded(name))",
            options,
            ByteBuffer(string: definition.description),
            headers: precondition
        )
    }

    /// Removes a policy.
    public func remove(
        policy name: String,
        _ options: ChangeOptions = ChangeOptions()
    ) throws(ClientError) -> PolicyChangeDocument {
        try change(.DELETE, "/v1/policies/\(encoded(name))", options)
    }

    /// Puts other policy files in the place of all there are.
    ///
    /// - Parameters:
    ///   - files: The texts by their names.
    ///   - options: How.
    /// - Returns: What was changed.
    /// - Throws: ``ClientError``.
    public func apply(
        policies files: [String: String],
        _ options: ChangeOptions = ChangeOptions()
    ) throws(ClientError) -> PoliciesChangeDocument {
        try change(.PUT, "/v1/policies", options, try json(PolicyFilesBody(files: files)))
    }

    /// Leaves for good what waits for a confirmation.
    public func confirm() throws(ClientError) -> ConfirmationDocument {
        try post("/v1/policies/confirm")
    }

    /// Makes the agent read its configuration again; answers the policies in force then.
    public func reload(
        _ options: ChangeOptions = ChangeOptions()
    ) throws(ClientError) -> PolicyList {
        try change(.POST, "/v1/policies/reload", options)
    }

    /// Arms the gate; answers the status then.
    public func arm(
        _ options: ChangeOptions = ChangeOptions()
    ) throws(ClientError) -> StatusDocument {
        try change(.POST, "/v1/gate/arm", options)
    }

    /// Takes the gate away; answers the status then.
    public func disarm() throws(ClientError) -> StatusDocument { try post("/v1/gate/disarm") }

    private func change<Document: Decodable>(
        _ method: HTTPMethod,
        _ path: String,
        _ options: ChangeOptions,
        _ body: ByteBuffer = ByteBuffer(),
        headers: HTTPHeaders = [:]
    ) throws(ClientError) -> Document {
        var headers = headers
        if let session { headers.add(name: "sallyport-session", value: session.description) }
        if body.readableBytes > 0 { headers.add(name: "content-type", value: "application/json") }
        if method != .DELETE {
            headers.add(name: "content-length", value: String(body.readableBytes))
        }
        return try exchange(
            Call(method: method, target: target(path, options.query), headers: headers, body: body)
        )
    }
}
