import API
import Access
import NIOHTTP1
import Policy

extension Route {
    /// Everything the API does.
    static let all: [Route] = [
        Route(.GET, "/v1/status", .readStatus) { _, caller, service in
            try .json(encoding: try await service.status(for: caller))
        },
        Route(
            .GET,
            "/v1/delegation",
            .readDelegation,
            handler: .delegate { delegate, service in
                try .json(encoding: await service.delegation(of: delegate))
            }
        ),

        Route(.GET, "/v1/discover", .discover) { _, caller, service in
            .json(try await service.discover(for: caller))
        },
        Route(.GET, "/v1/doctor", .examine) { _, caller, service in
            .json(try await service.examine(for: caller))
        },

        Route(.GET, "/v1/policies", .listPolicies) { _, caller, service in
            try .json(encoding: try await service.policies(for: caller))
        },
        Route(.GET, "/v1/policies/{name}", .readPolicy) { call, caller, service in
            let (policy, tag) = try await service.policy(named: call.variable, for: caller)
            var answer = try Answer.json(encoding: policy)
            answer.fields = [("etag", tag)]
            return answer
        },
        Route(
            .PUT,
            "/v1/policies/{name}",
            .changePolicy,
            query: ["keep_grants"]
        ) { call, caller, service in
            try await service.change(
                policy: call.variable,
                to: try call.document(JSONValue.init(json:)),
                if: try call.precondition(),
                keepingGrants: try call.flag("keep_grants"),
                by: caller
            ).answer()
        },
        Route(
            .DELETE,
            "/v1/policies/{name}",
            .removePolicy,
            query: ["keep_grants"]
        ) { call, caller, service in
            try await service.change(
                policy: call.variable,
                to: nil,
                if: try call.precondition(),
                keepingGrants: try call.flag("keep_grants"),
                by: caller
            ).answer()
        },
        Route(.POST, "/v1/policies/reload", .reloadPolicies) { _, caller, service in
            try .json(encoding: try await service.reload(by: caller))
        },

        Route(
            .POST,
            "/v1/requests",
            .open,
            query: ["dry_run"],
            direct: { call, caller, service, reply in
                guard try !call.flag("dry_run") else { return false }
                service.open(
                    try call.document(Ask.init(json:)),
                    idempotencyKey: try call.idempotencyKey(),
                    by: caller
                ) { opened in
                    let answer = Answer(opened: opened)
                    return { reply(.success(answer)) }
                } fail: {
                    reply(.failure($0))
                }
                return true
            },
            answer: { call, caller, service in
                let ask = try call.document(Ask.init(json:))
                if try call.flag("dry_run") {
                    return try .json(encoding: try await service.preview(ask, for: caller))
                }
                return try await service.open(
                    ask,
                    idempotencyKey: try call.idempotencyKey(),
                    by: caller,
                    render: Answer.init(opened:)
                )
            }
        ),
        Route(
            .GET,
            "/v1/requests",
            .listRequests,
            query: ["state", "policy", "requester", "before", "limit"]
        ) { call, caller, service in
            .json(try await service.requests(try call.filter(), for: caller))
        },
        Route(.GET, "/v1/requests/{id}", .readRequest) { call, caller, service in
            .json(try await service.request(id: try call.requestID(), for: caller))
        },
        Route(.POST, "/v1/requests/{id}/approve", .approveRequest) { call, caller, service in
            .json(
                try await service.approve(
                    request: try call.requestID(),
                    call.hasBody ? try call.document(ApproveBody.init(json:)) : ApproveBody(),
                    by: caller
                )
            )
        },
        Route(.POST, "/v1/requests/{id}/deny", .denyRequest) { call, caller, service in
            .json(
                try await service.deny(
                    request: try call.requestID(),
                    reason: try call.document(DenyBody.init(json:)).reason,
                    by: caller
                )
            )
        },
        Route(.POST, "/v1/requests/{id}/cancel", .cancelRequest) { call, caller, service in
            .json(try await service.cancel(request: try call.requestID(), by: caller))
        },
        Route(.POST, "/v1/requests/{id}/revoke", .revokeRequest) { call, caller, service in
            .json(
                try await service.revoke(
                    request: try call.requestID(),
                    reason: call.hasBody
                        ? try call.document(RevokeBody.init(json:)).reason : nil,
                    by: caller
                )
            )
        },
        Route(.POST, "/v1/requests/{id}/extend", .extendRequest) { call, caller, service in
            let body = try call.document(ExtendBody.init(json:))
            let request = try await service.extend(
                request: try call.requestID(),
                by: try body.parsed(),
                for: Grounds(reason: body.reason, ticket: body.ticket),
                by: caller
            )
            var answer = Answer.json(request)
            if request.state.isWaiting {
                answer.status = .accepted
                answer.fields = [("location", "/v1/requests/\(request.id)")]
            }
            return answer
        },

        Route(
            .GET,
            "/v1/grants",
            .listGrants,
            query: ["policy", "requester", "before", "all"]
        ) { call, caller, service in
            .json(
                try await service.grants(
                    try call.filter(),
                    includeEnded: try call.flag("all"),
                    for: caller
                )
            )
        },
        Route(.DELETE, "/v1/grants/{id}", .closeGrant) { call, caller, service in
            .json(try await service.close(grant: try call.grantID(), by: caller))
        },

        Route(.GET, "/v1/audit", .readAudit, query: Call.auditParameters) {
            call,
            caller,
            service in
            let format = AuditFormat(call.headers)
            guard format != .page else {
                return .json(try await service.audit(try call.auditFilter(), for: caller))
            }
            let rows = try await service.allAudit(try call.wholeAuditFilter(), for: caller)
            return .stream(rows, as: format)
        },
        Route(.GET, "/v1/events", .followEvents) { call, caller, service in
            .events(try await service.events(after: try call.lastEventID(), for: caller))
        },
        Route(.GET, "/v1/audit/verify", .verifyAudit, query: ["head"]) { call, caller, service in
            try .json(
                encoding: try await service.verifyAudit(head: try call.head(), for: caller)
            )
        },
    ]
}

extension PolicyChanged {
    fileprivate func answer() throws -> Answer {
        var answer = try Answer.json(encoding: document)
        if isNew { answer.status = .created }
        answer.fields = tag.map { [("etag", $0)] } ?? []
        return answer
    }
}

extension ExtendBody {
    fileprivate func parsed() throws(Problem) -> Duration {
        do {
            return try Duration(parsing: duration)
        } catch {
            throw Problem(
                .outsidePolicy,
                error.description,
                violations: [
                    Violation(
                        field: "duration",
                        value: error.value,
                        allowed: error.suggestion ?? "a duration like 45m",
                        message: error.message
                    )
                ]
            )
        }
    }
}

extension Answer {
    /// The answer to a request for access.
    fileprivate init(opened: Opened) {
        self = .json(opened.request)
        if opened.request.state.isWaiting {
            status = .accepted
        } else if opened.isNew {
            status = .created
        }
        fields = [("location", "/v1/requests/\(opened.request.id)")]
    }
}
