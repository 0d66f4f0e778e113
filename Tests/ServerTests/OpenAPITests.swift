import API
import Access
import FoundationEssentials
import Policy
import Testing
import Yams

@testable import Server

/// The description of the API, as far as it can be wrong without anybody noticing.
struct OpenAPITests {
    private let root: Node

    init() throws {
        let source = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let text = try String(contentsOfFile: "/\(source)/docs/openapi.yaml", encoding: .utf8)
        root = try #require(try compose(yaml: text))
    }

    private struct Described: Hashable {
        var route: String
        var roles: Set<String>
        var query: Set<String>
    }

    @Test func describesEachRouteAndNoOther() throws {
        let methods: Set = ["get", "put", "post", "patch", "delete"]
        let paths = try #require(root["paths"]?.mapping)
        let described = try paths.flatMap { path, item in
            try #require(item.mapping).filter { methods.contains($0.key.string ?? "") }.map {
                method,
                operation in
                let parameters = try (operation["parameters"]?.array() ?? []).map(resolved)
                return Described(
                    route: "\(method.string?.uppercased() ?? "") \(path.string ?? "")",
                    roles: Set(operation["x-roles"]?.array().compactMap(\.string) ?? []),
                    query: Set(
                        parameters.filter { $0["in"]?.string == "query" }
                            .compactMap { $0["name"]?.string }
                    )
                )
            }
        }
        let served = Route.all.map {
            Described(
                route: $0.description,
                roles: Set($0.operation.roles.map(\.rawValue)),
                query: $0.query
            )
        }
        #expect(Set(described) == Set(served))
        #expect(described.count == served.count)
    }

    @Test func refersOnlyToWhatIsThere() throws {
        var references: Set<String> = []
        func collect(_ node: Node) {
            if let reference = node["$ref"]?.string { references.insert(reference) }
            node.mapping?.values.forEach(collect)
            node.sequence?.forEach(collect)
        }
        collect(root)
        for reference in references { _ = try self.node(at: reference) }
        let unused = try #require(root["components"]?["schemas"]?.mapping).keys.compactMap(\.string)
            .filter { !references.contains("#/components/schemas/\($0)") }
        #expect(unused.isEmpty)
    }

    @Test func knowsAllCodesStatesAndReasons() throws {
        func values(_ schema: String, _ property: String? = nil) throws -> [String] {
            var node = try self.node(at: "#/components/schemas/\(schema)")
            if let property { node = try #require(node["properties"]?[property]) }
            return node["enum"]?.array().compactMap(\.string) ?? []
        }
        #expect(try values("Problem", "code") == Problem.Code.allCases.map(\.rawValue))
        #expect(try values("RequestState") == RequestState.allCases.map(\.rawValue))
        #expect(try values("GrantState") == GrantState.allCases.map(\.rawValue))
        #expect(try values("Role") == Role.allCases.map(\.rawValue))
        #expect(
            try values("AgentStatus", "configuration")
                == ConfigurationOrigin.allCases.map(\.rawValue)
        )
        #expect(try values("Grant", "endReason") == EndReason.allCases.map(\.rawValue))
        let changes = UnconfirmedChange.allCases.map(\.rawValue)
        #expect(try values("UnconfirmedChange") == changes)
        #expect(
            try values("Session", "standing")
                == SessionDocument.Standing.allCases.map(\.rawValue)
        )
        #expect(try values("AuditKind") == AuditKind.allCases.map(\.rawValue))
        let faults = AuditVerification.Fault.Code.allCases
        #expect(try values("AuditFault", "code") == faults.map(\.rawValue))
        #expect(try values("Finding", "code") == Finding.Code.allCases.map(\.rawValue))
        #expect(try values("Finding", "severity") == Finding.Severity.allCases.map(\.rawValue))
        #expect(try values("Service", "state") == ServiceDocument.State.allCases.map(\.rawValue))
    }

    @Test func describesEachField() throws {
        try check(Samples.status, is: "Status")
        try check(Samples.policies, is: "PolicyList")
        try check(Samples.policyChange, is: "PolicyChange")
        try check(Samples.policiesChange, is: "PoliciesChange")
        try check(Samples.confirmation, is: "Confirmation")
        try check(PolicyFilesBody(files: ["a.yaml": "policies: []"]), is: "PolicyFiles")
        try check(Samples.requests, is: "RequestList")
        try check(Samples.grants, is: "GrantList")
        try check(Samples.preview, is: "Preview")
        try check(Samples.problem, is: "Problem")
        try check(Samples.delegation, is: "Delegation")
        try check(AuditPage(events: [Samples.auditRow], next: "17"), is: "AuditPage")
        try check(Samples.refused, is: "RefusedList")
        try check(Samples.verification, is: "AuditVerification")
        try check(Samples.discovery, is: "Discovery")
        try check(Samples.examination, is: "Examination")
        try check(ExtendBody(duration: "1h", reason: "r", ticket: "t"), is: "Extend")
        try check(ApproveBody(duration: "1h", revision: 2), is: "Approve")
        try check(DenyBody(reason: "r"), is: "Deny")
        try check(RevokeBody(reason: "r", cut: true), is: "Revoke")
        try check(Samples.sessions, is: "SessionList")
        try check(
            Ask(
                targets: ["ssh"],
                sources: ["192.0.2.7"],
                duration: "1h",
                until: "2026-12-01T17:00:00Z",
                at: "2026-12-01T16:00:00Z",
                reason: "r",
                ticket: "t"
            ),
            is: "Ask"
        )
    }

    @Test func requiresOnlyWhatIsAlwaysThere() throws {
        var grant = Samples.grant
        grant.requester = Samples.anybody
        grant.host = nil
        grant.reason = nil
        grant.startsAt = nil
        grant.expiresAt = nil
        grant.endedAt = nil
        grant.endReason = nil
        grant.remainingSeconds = nil
        grant.packets = nil
        grant.bytes = nil
        (grant.firstUsedAt, grant.lastUsedAt) = (nil, nil)
        grant.cutSessions = nil
        try checkRequired(grant, is: "Grant")
        var session = Samples.session
        session.policy = nil
        session.server = nil
        session.serverPort = nil
        session.requester = nil
        session.startedAt = nil
        session.packets = nil
        session.bytes = nil
        try checkRequired(session, is: "Session")
        try checkRequired(grant.requester, is: "Who")
        var approval = Samples.approval
        approval.duration = nil
        try checkRequired(approval, is: "Approval")
        var need = try #require(Samples.request.needs?.first)
        need.approvers = nil
        try checkRequired(need, is: "Need")
        var request = Samples.request
        request.reason = nil
        request.ticket = nil
        request.superseded = nil
        request.startsAt = nil
        request.pendingUntil = nil
        request.decidedAt = nil
        request.decidedBy = nil
        request.decision = nil
        request.needs = nil
        request.extends = nil
        try checkRequired(request, is: "Request")
        try checkRequired(RequestList(requests: [], next: nil), is: "RequestList")
        var status = Samples.status
        status.agent.configurationError = nil
        status.gate.fault = nil
        (status.gate.refusedFault, status.gate.connectionsFault) = (nil, nil)
        status.ledgerFault = nil
        status.auditFault = nil
        status.unconfirmed = nil
        status.gate.disarmed = nil
        try checkRequired(Samples.status.unconfirmed, is: "Unconfirmed")
        try checkRequired(DisarmedDocument(at: nil, by: nil), is: "Disarmed")
        var applied = Samples.policiesChange
        (applied.warning, applied.confirmUntil) = (nil, nil)
        try checkRequired(applied, is: "PoliciesChange")
        status.policies[0].description = nil
        status.policies[0].hosts = nil
        status.policies[0].lastAccess = nil
        try checkRequired(status, is: "Status")
        try checkRequired(status.agent, is: "AgentStatus")
        try checkRequired(status.gate, is: "GateStatus")
        try checkRequired(status.policies[0], is: "PolicyStatus")
        try checkRequired(status.you, is: "You")
        var preview = Samples.preview
        (preview.startsAt, preview.needs, preview.superseded) = (nil, nil, nil)
        try checkRequired(preview, is: "Preview")
        preview.grants[0].host = nil
        try checkRequired(preview.grants[0], is: "Opening")
        try checkRequired(NeedDocument(policy: "ssh", approvals: 1, given: 0), is: "Need")
        var last = Samples.status.policies[0].lastAccess
        last?.hosts = nil
        try checkRequired(last, is: "LastAccess")
        var delegation = Samples.delegation
        delegation.policies = nil
        try checkRequired(delegation, is: "Delegation")
        var policy = Samples.policy
        policy.description = nil
        policy.hosts = nil
        policy.requesters = nil
        policy.approvers = nil
        policy.ticketPattern = nil
        try checkRequired(policy, is: "Policy")
        var change = Samples.policyChange
        (change.policy, change.warning) = (nil, nil)
        try checkRequired(change, is: "PolicyChange")
        try checkRequired(Problem(.notFound, "x"), is: "Problem")
        let row = AuditRow(sequence: 1, at: Samples.instant, event: "agent-started")
        try checkRequired(row, is: "AuditRow")
        try checkRequired(AuditPage(events: [], next: nil), is: "AuditPage")
        var refused = Samples.refused
        refused.fault = nil
        (refused.refused[0].destination, refused.refused[0].policy) = (nil, nil)
        try checkRequired(refused, is: "RefusedList")
        try checkRequired(refused.refused[0], is: "Refused")
        var verification = Samples.verification
        (verification.prunedThrough, verification.given) = (nil, nil)
        try checkRequired(verification, is: "AuditVerification")
        try checkRequired(DiscoverDocument(services: [], gaps: []), is: "Discovery")
        try checkRequired(
            ServiceDocument(port: "22/tcp", state: .configured, reason: "r"),
            is: "Service"
        )
        try checkRequired(DoctorDocument(findings: [], rules: 0), is: "Examination")
        try checkRequired(Finding(.note, .xdp, "m", advice: "a"), is: "Finding")
        try checkRequired(Ask(targets: [], sources: []), is: "Ask")
        try checkRequired(DenyBody(reason: "r"), is: "Deny")
    }

    /// Null is the same as no field, where one may be left out.
    @Test func saysWhereNullIsRead() throws {
        let bodies: [(String, read: ([UInt8]) throws -> Any)] = [
            ("Ask", Ask.init(json:)), ("Extend", ExtendBody.init(json:)),
            ("Approve", ApproveBody.init(json:)), ("Deny", DenyBody.init(json:)),
            ("Revoke", RevokeBody.init(json:)),
        ]
        let required = ["targets": "[]", "sources": "[]", "duration": "\"1h\"", "reason": "\"r\""]
        for (schema, read) in bodies {
            let node = try self.node(at: "#/components/schemas/\(schema)")
            let names = node["required"]?.array().compactMap(\.string) ?? []
            for (name, property) in try #require(node["properties"]?.mapping) {
                let name = name.string ?? ""
                let values = names.filter { $0 != name }.map { "\"\($0)\":\(required[$0] ?? "")" }
                let text = "{" + (values + ["\"\(name)\":null"]).joined(separator: ",") + "}"
                let kinds = property["anyOf"]?.array().compactMap { $0["type"] } ?? []
                let types = (property["type"]?.array() ?? []) + kinds
                let isRead = (try? read(Array(text.utf8))) != nil
                #expect(isRead == types.contains { $0.string == "null" }, "\(schema).\(name)")
            }
        }
    }

    /// Compares a document that has all fields with its schema, level by level.
    private func check(_ document: some Encodable, is schema: String) throws {
        let node = try #require(try compose(yaml: try json(document)))
        try compare(node, with: try self.node(at: "#/components/schemas/\(schema)"), schema)
    }

    private func compare(_ value: Node, with schema: Node, _ place: String) throws {
        let schema = try resolved(schema)
        switch schema["type"]?.string ?? schema["type"]?[0]?.string {
        case "object":
            let fields = try #require(value.mapping, "\(place) is no object")
            if let others = schema["additionalProperties"]?.mapping {
                for (name, field) in fields {
                    try compare(field, with: Node.mapping(others), "\(place).\(name.string ?? "")")
                }
                return
            }
            let properties = try #require(schema["properties"]?.mapping)
            #expect(
                Set(fields.keys.compactMap(\.string)) == Set(properties.keys.compactMap(\.string)),
                "\(place)"
            )
            for (name, field) in fields {
                guard let property = properties[name] else { continue }
                try compare(field, with: property, "\(place).\(name.string ?? "")")
            }
        case "array":
            let items = try #require(value.sequence, "\(place) is no list")
            for item in items { try compare(item, with: try #require(schema["items"]), place) }
        case "string":
            #expect(value.string != nil, "\(place)")
            if let allowed = schema["enum"]?.array().compactMap(\.string) {
                #expect(allowed.contains(value.string ?? ""), "\(place)")
            }
        case "integer": #expect(value.int != nil, "\(place)")
        case "boolean": #expect(value.bool != nil, "\(place)")
        default: Issue.record("\(place): a schema without a type")
        }
    }

    /// Checks that the fields of a document without any optional one are those the schema requires.
    private func checkRequired(_ document: some Encodable, is schema: String) throws {
        let fields = try #require(try compose(yaml: try json(document))?.mapping)
        let required = try self.node(at: "#/components/schemas/\(schema)")["required"]?.array()
        #expect(
            Set(fields.keys.compactMap(\.string))
                == Set(required?.compactMap(\.string) ?? []),
            "\(schema)"
        )
    }

    private func json(_ document: some Encodable) throws -> String {
        String(decoding: try JSONEncoder().encode(document), as: UTF8.self)
    }

    private func resolved(_ node: Node) throws -> Node {
        // Of what may be null the other choice.
        let node = node["anyOf"]?[0] ?? node
        guard let reference = node["$ref"]?.string else { return node }
        return try self.node(at: reference)
    }

    private func node(at reference: String) throws -> Node {
        try reference.split(separator: "/").dropFirst().reduce(root) { node, name in
            try #require(node[String(name)], "\(reference) leads nowhere")
        }
    }
}
