import API
import FoundationEssentials
import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import Policy

/// Answers requests: finds out who asks, checks access, calls the route.
struct Responder: Sendable {
    let service: any AccessService
    let identities: IdentityResolver
    let limits: Limits
    let logger: Logger

    /// Answers one request; whatever goes wrong is the answer too.
    func respond(to request: Request, from peer: PeerCredentials) async -> Response {
        var response: Response
        do {
            response = try await answer(request, from: peer)
        } catch {
            response = problem(error, request)
        }
        return request.method == .head ? response.createHeadResponse() : response
    }

    private func answer(_ request: Request, from peer: PeerCredentials) async throws -> Response {
        guard let identity = await identities.identity(of: peer) else {
            throw Outsider(why: "uid \(peer.uid) in: the system has no user of that id")
        }
        let caller = Caller(identity: identity, roles: await service.roles(of: identity))
        let target = try Target(request.head.path ?? "")
        guard !caller.roles.isEmpty else {
            throw Outsider(why: "\(identity.user) in: this user has no role")
        }
        let (route, variable) = try find(request.method, target)
        guard !route.roles.isDisjoint(with: caller.roles) else {
            throw Problem(
                .notPermitted,
                "cannot \(route): this takes the role \(route.roleList)"
            )
        }
        let call = Call(
            caller: caller,
            variable: try percentDecoded(variable),
            query: try target.query(allowed: route.query),
            body: try await request.body.collect(upTo: limits.bodyBytes),
            headers: request.headers
        )
        return try await route.handler(call, service)
    }

    private func find(
        _ method: HTTPRequest.Method,
        _ target: Target
    ) throws -> (Route, variable: Substring) {
        let parts = Route.parts(of: target.path)
        var methods: [HTTPRequest.Method] = []
        for route in Route.all {
            guard let variable = route.match(parts) else { continue }
            if route.method == method { return (route, variable) }
            methods.append(route.method)
        }
        if methods.isEmpty { throw Problem(.notFound, "cannot find \(target.path)") }
        throw WrongMethod(method: method, allowed: methods)
    }

    /// The one place where errors become answers.
    private func problem(_ error: any Error, _ request: Request) -> Response {
        var headers: HTTPFields = [:]
        let problem: Problem
        switch error {
        case let error as Problem:
            problem = error
        case let error as DecodingError:
            problem = Problem(.badRequest, "cannot read the body: \(error.explanation)")
        case let error as Outsider:
            problem = Problem(.notPermitted, "cannot let \(error.why)")
            // There is nothing more to say to them.
            headers[.connection] = "close"
        case let error as WrongMethod:
            problem = Problem(.methodNotAllowed, error.description)
            headers[.allow] = error.allowed.map(\.rawValue).joined(separator: ", ")
        default:
            logger.error(
                "cannot answer \(request.method.rawValue) \(request.uri.path): \(error)"
            )
            problem = Problem(
                .internalError,
                "cannot answer because of a fault in the agent; its log says more"
            )
        }
        do {
            return try .json(
                problem,
                status: HTTPResponse.Status(code: problem.status),
                type: "application/problem+json",
                headers: headers
            )
        } catch {
            return Response(status: .internalServerError)
        }
    }
}

/// Somebody who may do nothing here, whatever it is.
private struct Outsider: Error {
    var why: String
}

/// A path that exists, but not for this method.
private struct WrongMethod: Error, CustomStringConvertible {
    var method: HTTPRequest.Method
    var allowed: [HTTPRequest.Method]

    var description: String {
        "cannot \(method.rawValue) this path: it takes \(allowed.map(\.rawValue).joined(separator: ", "))"
    }
}

extension Route {
    fileprivate var roleList: String {
        roles.map(\.rawValue).sorted().joined(separator: " or ")
    }
}
