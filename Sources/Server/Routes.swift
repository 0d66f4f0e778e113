import API
import HTTPTypes
import HummingbirdCore
import Policy

extension Route {
    /// Everything the API does.
    static let all: [Route] = [
        Route(.get, "/v1/status", roles: [.viewer, .approver, .admin]) { _, service in
            try .json(try await service.status())
        },

        Route(.get, "/v1/policies") { call, service in
            try .json(try await service.policies(for: call.caller))
        },
        Route(.get, "/v1/policies/{name}") { call, service in
            try .json(try await service.policy(named: call.variable, for: call.caller))
        },
        Route(.post, "/v1/policies/reload", roles: [.admin]) { call, service in
            try .json(try await service.reload(by: call.caller))
        },
        Route(.post, "/v1/policies/check") { call, service in
            try .json(try await service.check(policyText: try call.text()))
        },

        Route(.post, "/v1/requests", roles: [.requester, .admin]) { call, service in
            let request = try await service.open(
                try call.decode(Ask.self),
                idempotencyKey: try call.idempotencyKey(),
                by: call.caller
            )
            return try .json(
                request,
                status: .created,
                headers: [.location: "/v1/requests/\(request.id)"]
            )
        },
        Route(
            .get,
            "/v1/requests",
            query: ["state", "policy", "requester", "before", "limit"]
        ) { call, service in
            try .json(try await service.requests(try call.filter(), for: call.caller))
        },
        Route(.get, "/v1/requests/{id}") { call, service in
            try .json(try await service.request(id: try call.requestID(), for: call.caller))
        },
        Route(.post, "/v1/requests/{id}/revoke", roles: [.requester, .admin]) { call, service in
            try .json(try await service.revoke(request: try call.requestID(), by: call.caller))
        },
        Route(.post, "/v1/requests/{id}/extend", roles: [.requester, .admin]) { call, service in
            try .json(
                try await service.extend(
                    request: try call.requestID(),
                    by: try call.decode(ExtendBody.self).parsed(),
                    by: call.caller
                )
            )
        },

        Route(
            .get,
            "/v1/grants",
            query: ["policy", "requester", "before", "all"]
        ) { call, service in
            try .json(
                try await service.grants(
                    try call.filter(),
                    includeEnded: try call.flag("all"),
                    for: call.caller
                )
            )
        },
        Route(.delete, "/v1/grants/{id}", roles: [.requester, .admin]) { call, service in
            try .json(try await service.close(grant: try call.grantID(), by: call.caller))
        },
    ]
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
