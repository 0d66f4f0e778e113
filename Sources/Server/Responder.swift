import API
import Access
import Logging
import NIOCore
import NIOHTTP1
import Policy

/// A request that was read whole.
struct Request: Sendable {
    var head: HTTPRequestHead
    var body: ByteBuffer
    var peer: Peer
    /// Who it is for, as it says.
    var claim: Claim
}

/// What becomes of a request.
struct Reply: Sendable {
    var answer: Answer
    /// Whether who holds the connection may do anything here.
    var isWelcome = true
}

/// Answers requests: finds out who asks, checks access, calls the route.
///
/// It runs on the thread of the event loop, so that a request begins without waiting there.
actor Responder {
    private let service: any AccessService
    private let identities: IdentityResolver
    nonisolated let executor: LoopExecutor
    private let logger: Logger
    private var rates = RateLimiter()

    nonisolated var unownedExecutor: UnownedSerialExecutor {
        // It lives as long as the actor.
        unsafe executor.asUnownedSerialExecutor()
    }

    init(
        service: any AccessService,
        identities: IdentityResolver,
        executor: LoopExecutor,
        logger: Logger
    ) {
        self.service = service
        self.identities = identities
        self.executor = executor
        self.logger = logger
    }

    /// Begins to answer a request; to be called on the loop, where `finish` is called, too.
    nonisolated func begin(_ request: Request, finish: @escaping @Sendable (Reply) -> Void) {
        assumeIsolated { responder in
            if responder.begins(request, finish) { return }
            _ = Task.immediate(executorPreference: executor) {
                finish(await responder.reply(to: request))
            }
        }
    }

    /// Begins to answer a request by its route's direct way, which takes a tenth less of the time of
    /// a request; answers false, with nothing done, where there is none, or anything is amiss.
    private func begins(
        _ request: Request,
        _ finish: @escaping @Sendable (Reply) -> Void
    ) -> Bool {
        guard case .none = request.claim, request.peer.door == .people,
            let identity = identities.known(request.peer)
        else { return false }
        let caller = Caller(identity: identity, roles: service.roles(of: identity))
        do {
            let target = try Target(request.head.uri)
            let (route, variable) = try find(request.head.method, target, .person(caller))
            guard let direct = route.direct, !caller.roles.isEmpty else { return false }
            try route.operation.require(of: caller)
            let call = Call(
                variable: try percentDecoded(variable),
                query: try target.query(allowed: route.query),
                body: request.body,
                headers: request.head.headers
            )
            return try direct(call, caller, service) { [self] result in
                let loop = executor.eventLoop
                if loop.inEventLoop {
                    conclude(result, request, finish)
                } else {
                    loop.execute { self.conclude(result, request, finish) }
                }
            }
        } catch {
            return false
        }
    }

    private nonisolated func conclude(
        _ result: Result<Answer, any Error>,
        _ request: Request,
        _ finish: @Sendable (Reply) -> Void
    ) {
        assumeIsolated { responder in
            switch result {
            case .success(let answer): finish(Reply(answer: answer))
            case .failure(let error):
                finish(Reply(answer: responder.answer(about: error, request)))
            }
        }
    }

    /// Finds out whether who connected may do anything here; to be called on the loop.
    nonisolated func welcome(_ peer: Peer, finish: @escaping @Sendable (Bool) -> Void) {
        assumeIsolated { responder in
            _ = Task.immediate(executorPreference: executor) {
                finish((try? await responder.visitor(peer)) != nil)
            }
        }
    }

    /// Tells the log why a body was cut short.
    nonisolated func report(_ error: any Error) { logger.error("cannot go on answering: \(error)") }

    /// The answer to one request; whatever goes wrong is the answer, too.
    private func reply(to request: Request) async -> Reply {
        do {
            return Reply(answer: try await answer(request))
        } catch let error as Refused {
            await service.note(error.refusal)
            var answer = Answer(error.problem)
            // There is nothing more to say to them.
            answer.isLast = error.isStranger
            return Reply(answer: answer, isWelcome: !error.isStranger)
        } catch {
            return Reply(answer: answer(about: error, request))
        }
    }

    private func answer(_ request: Request) async throws -> Answer {
        let visitor = try await visitor(request.peer)
        var asker = visitor
        // Whoever speaks for themselves has not even the call to wait for.
        if case .none = request.claim {} else { asker = try await claimed(visitor, request.claim) }
        let target = try Target(request.head.uri)
        let (route, variable) = try find(request.head.method, target, asker)
        switch asker {
        case .person(let caller):
            do throws(Problem) {
                try route.operation.require(of: caller)
            } catch {
                throw Refused(.caller, caller.identity.person, error)
            }
        case .delegate(let delegate, _): try route.operation.require(ofDelegate: delegate.name)
        }
        let query = try target.query(allowed: route.query)
        switch (route.handler, asker) {
        case (.delegate(let answer), .delegate(let delegate, _)):
            return try await answer(delegate, service)
        case (.person(let answer), .person(let caller)):
            // A dry run is no more than a question.
            if let delegate = caller.identity.via, route.operation.asksForAccess,
                query["dry_run"] != "true"
            {
                try rates.admit(caller.identity.subject, through: delegate)
            }
            let call = Call(
                variable: try percentDecoded(variable),
                query: query,
                body: request.body,
                headers: request.head.headers
            )
            return try await answer(call, caller, service)
        default:
            // Their operations let the one not do what the other's routes are for.
            throw Problem(.notPermitted, "cannot \(route.operation.rawValue) here")
        }
    }

    /// Who holds a connection, and may do something here.
    private enum Visitor {
        case person(Caller)
        /// A delegate, and the user it runs as.
        case delegate(Delegate, Person)
    }

    private func visitor(_ peer: Peer) async throws -> Visitor {
        guard let identity = await identities.identity(of: peer) else {
            throw Refused(
                stranger: Person(
                    subject: .local(uid: peer.uid),
                    name: "uid \(peer.uid)",
                    origin: peer.origin()
                ),
                "the system has no user of that id"
            )
        }
        switch peer.door {
        case .delegates:
            // Root may have another name, too.
            guard peer.uid != 0,
                let delegate = await service.delegate(runningAs: identity.name)
            else {
                throw Refused(stranger: identity.person, "this user is no delegate")
            }
            return .delegate(delegate, identity.person)
        case .people:
            let roles = service.roles(of: identity)
            guard !roles.isEmpty else {
                throw Refused(stranger: identity.person, await whyWithoutRole(identity))
            }
            return .person(Caller(identity: identity, roles: roles))
        }
    }

    /// Who asks: whoever connected, or the person they speak for.
    private func claimed(_ visitor: Visitor, _ claim: Claim) async throws -> Visitor {
        switch (visitor, claim) {
        case (_, .none): return visitor
        case (.person(let caller), _):
            throw Refused(
                .caller,
                caller.identity.person,
                Problem(
                    .badRequest,
                    "cannot take header \(Claim.header) here: it is for delegates, on their own "
                        + "socket"
                )
            )
        case (.delegate(let delegate, let itself), .unreadable(let problem)):
            throw Refused(.delegate(delegate.name), itself, problem)
        case (.delegate(let delegate, _), .person(let claimed)):
            let identity = claimed.identity(through: delegate)
            do throws(Problem) {
                try claimed.require(of: delegate, at: .now)
                let roles = service.roles(of: identity)
                guard !roles.isEmpty else {
                    throw Problem(
                        .notPermitted,
                        "cannot let \(identity.name) in: this person has no role through "
                            + delegate.name
                    )
                }
                return .person(Caller(identity: identity, roles: roles))
            } catch {
                throw Refused(.delegate(delegate.name), identity.person, error)
            }
        }
    }

    /// Says what is missing, with the way out where it is a new login.
    private func whyWithoutRole(_ identity: Identity) async -> String {
        guard let uid = identity.subject.uid else { return "this user has no role" }
        var renewed = identity
        renewed.groups = await identities.memberships(uid: uid)
        guard !service.roles(of: renewed).isEmpty else { return "this user has no role" }
        let groups = renewed.groups.subtracting(identity.groups).sorted()
        return "this login session is older than the user's membership of "
            + groups.joined(separator: ", ") + "; log in again"
    }

    private func find(
        _ method: HTTPMethod,
        _ target: Target,
        _ asker: Visitor
    ) throws -> (Route, variable: Substring) {
        // Who wants only the head is asked for no more than who wants all of it.
        let method = method == .HEAD ? .GET : method
        var methods: [HTTPMethod] = []
        for route in Route.all {
            guard let variable = route.match(target.path) else { continue }
            if route.method == method { return (route, variable) }
            methods += route.method == .GET ? [.GET, .HEAD] : [route.method]
        }
        if case .delegate(let delegate, _) = asker {
            throw Problem(
                .notAuthenticated,
                "cannot answer: \(delegate.name) has to say who asks, with header \(Claim.header)"
            )
        }
        if methods.isEmpty { throw Problem(.notFound, "cannot find \(target.path)") }
        throw WrongMethod(method: method, allowed: methods)
    }

    /// The one place where errors become answers.
    private func answer(about error: any Error, _ request: Request) -> Answer {
        switch error {
        case let error as Problem:
            return Answer(error)
        case let error as TooOften:
            var answer = Answer(Problem(.rateLimited, error.description))
            answer.fields = [("retry-after", String(error.retryAfter))]
            return answer
        case let error as WrongMethod:
            var answer = Answer(Problem(.methodNotAllowed, error.description))
            answer.fields = [("allow", error.list)]
            return answer
        default:
            let target = request.head.uri.prefix { $0 != "?" }
            logger.error("cannot answer \(request.head.method.rawValue) \(target): \(error)")
            return Answer(
                Problem(
                    .internalError,
                    "cannot answer because of a fault in the agent; its log says more"
                )
            )
        }
    }
}

/// Somebody who may not do this, or nothing here at all.
private struct Refused: Error {
    var refusal: Refusal
    var problem: Problem

    var isStranger: Bool { refusal.kind == .stranger }

    init(_ kind: Refusal.Kind, _ who: Person, _ problem: Problem) {
        refusal = Refusal(kind, who, problem.detail)
        self.problem = problem
    }

    init(stranger: Person, _ why: String) {
        let detail = "cannot let \(stranger.name) in: \(why)"
        self.init(.stranger, stranger, Problem(.notPermitted, detail))
    }
}

/// A path that exists, but not for this method.
private struct WrongMethod: Error, CustomStringConvertible {
    var method: HTTPMethod
    var allowed: [HTTPMethod]

    var list: String { allowed.map(\.rawValue).joined(separator: ", ") }
    var description: String { "cannot \(method.rawValue) this path: it takes \(list)" }
}
