import API
import Access
import NIOHTTP1
import Policy
import TestSupport
import Testing

@testable import Server

/// A person whom the delegate speaks for now, with one thing changed.
func header(
    iss: String = "corp",
    groups: [String] = ["requester"],
    auth: Int64 = .now,
    more: String = ""
) -> String {
    let groups = groups.map { "\"\($0)\"" }.joined(separator: " ")
    return #"Sallyport-Person: iss="\#(iss)", sub="248289761001", name="alice@example.com", "#
        + #"groups=(\#(groups)), addr="198.51.100.7", auth=@\#(auth), ses="k3J9"\#(more)"#
}

/// A user of this host at one of the sockets.
enum LocalUser: Hashable {
    case root, delegate
    /// Somebody with one role, or none.
    case user(Role?)

    /// Groups of every Debian, each with a role here.
    static let groups: [Role: String] = [
        .viewer: "mail", .requester: "news", .approver: "uucp", .admin: "games",
    ]

    /// How `setpriv` becomes this user; the delegate is `daemon`.
    var ids: [String] {
        switch self {
        case .root: []
        case .delegate: ["--reuid=daemon", "--regid=daemon", "--clear-groups"]
        case .user(let role):
            ["--reuid=nobody", "--regid=nogroup"]
                + [role.flatMap { Self.groups[$0] }.map { "--groups=\($0)" } ?? "--clear-groups"]
        }
    }

    /// Asks all examples; answers their statuses, 000 where the socket cannot be connected to.
    func ask(_ examples: [Asked], _ socket: String, _ headers: [String]) throws -> [String] {
        var command = ["setpriv"] + ids + ["curl", "-s"]
        for (index, example) in examples.enumerated() {
            if index > 0 { command.append("--next") }
            command += ["-s", "--max-time", "30", "--unix-socket", socket, "-X", example.method]
            command += headers.flatMap { ["-H", $0] } + ["-H", "content-type: application/json"]
            if !example.body.isEmpty { command += ["--data-binary", example.body] }
            command += ["-o", "/dev/null", "-w", "%{http_code}\n", "http://a" + example.path]
        }
        return try shell(command).output.split(separator: "\n").map(String.init)
    }
}

/// A request of each route.
struct Asked {
    var route: Route
    var method: String { route.method.rawValue }
    var path: String {
        route.path.replacing("{name}", with: "ssh")
            .replacing("{id}", with: route.path.contains("grants") ? "17.1" : "17")
    }
    var body: String {
        switch route.operation {
        case .open: #"{"targets":["ssh"],"sources":["192.0.2.7"]}"#
        case .extendRequest: #"{"duration":"1h"}"#
        case .changePolicy: "{}"
        case .applyPolicies: #"{"files":{"a.yaml":""}}"#
        case .denyRequest: #"{"reason":"not today"}"#
        default: ""
        }
    }
    var success: String { route.operation == .open ? "201" : "200" }

    static let all = Route.all.map { Asked(route: $0) }
}

/// Answers by the roles that a configuration would give.
func service(_ limits: Delegate.Limits = Delegate.Limits()) -> RecordingService {
    var delegate = Samples.delegate
    delegate.limits = limits
    var principals: [Role: [Principal]] = [:]
    for role in Role.allCases {
        principals[role] =
            [.asserted(issuer: "corp", group: role.rawValue)]
            + (LocalUser.groups[role].map { [.group($0)] } ?? [])
    }
    // What a delegate's user would have without being one.
    principals[.requester, default: []] += [.user("daemon")]
    let table = RoleTable(principals, delegates: [delegate])
    return RecordingService(roles: { table.roles(of: $0) }, delegates: [delegate])
}

@Suite(.blocking)
struct DelegationTests {
    @Test func asksForThePersonWhomTheHeaderNames() async throws {
        let service = service()
        try await withServer(service) { server in
            let status = Asked.all.filter { $0.route.operation == .listGrants }
            let answers = try LocalUser.delegate.ask(
                status,
                try await server.delegates(),
                [header(groups: ["ops", "viewer"])]
            )
            #expect(answers == ["200"])
        }
        let caller = try #require(service.callers.first)
        #expect(caller.roles == [.viewer])
        let identity = caller.identity
        #expect(identity.subject == (try Subject(parsing: "oidc:corp:248289761001")))
        #expect(identity.name == "alice@example.com")
        #expect(identity.groups == ["ops", "viewer"])
        #expect(identity.via?.name == "portal")
        #expect(
            identity.origin
                == .client(address: try IPAddress(parsing: "198.51.100.7"), session: "k3J9")
        )
    }

    @Test func tellsADelegateAboutItself() async throws {
        let body = try await withServer(service()) { server in
            try shell(
                ["setpriv"] + LocalUser.delegate.ids + [
                    "curl", "-s", "--unix-socket", try await server.delegates(),
                    "http://a/v1/delegation",
                ]
            ).get()
        }
        #expect(body.contains(#""name":"portal""#))
    }

    @Test func saysWhoIsNoDelegate() async throws {
        let answer = try await withServer(service()) { server in
            try RawConnection(path: try await server.delegates()).ask(get("/v1/delegation"))
        }
        #expect(try problem(answer).detail == "cannot let root in: this user is no delegate")
        #expect(answer.headers["connection"] == "close")
    }

    @Test func rootIsNoDelegateWhateverItIsCalled() async throws {
        var delegate = Samples.delegate
        // As another name of uid 0 would be, which the name service may tell first.
        delegate.user = "root"
        let service = RecordingService(delegates: [delegate])
        let answer = try await withServer(service) { server in
            try RawConnection(path: try await server.delegates()).ask(get("/v1/delegation"))
        }
        #expect(try problem(answer).detail == "cannot let root in: this user is no delegate")
    }

    @Test func theSocketComesAndGoesWithTheDelegates() async throws {
        let (users, feed) = AsyncStream.makeStream(of: [String].self)
        let service = RecordingService(delegates: [Samples.delegate], delegateUsers: users)
        try await withServer(service) { server in
            let path = server.delegatePath
            #expect(try await eventually { (try? RawConnection(path: server.path)) != nil })
            #expect((try? RawConnection(path: path)) == nil)
            feed.yield(["daemon"])
            #expect(try await eventually { (try? RawConnection(path: path)) != nil })
            let open = try RawConnection(path: path)
            feed.yield([])
            #expect(try await eventually { (try? RawConnection(path: path)) == nil })
            // Who is connected is judged by what is in force, not by when they came.
            #expect(try open.ask(get("/v1/delegation")).status == 403)
            feed.yield(["daemon"])
            #expect(try await eventually { (try? RawConnection(path: path)) != nil })
        }
    }

    @Test func takesOnlySoManyRequestsInAMinute() async throws {
        let service = service(Delegate.Limits(requestsPerMinute: 100, perPersonPerMinute: 2))
        let answer = try await withServer(service) { server in
            let open = Asked.all.filter { $0.route.operation == .open }
            let read = Asked.all.filter { $0.route.operation == .listGrants }
            let delegates = try await server.delegates()
            let asked = open + open + open + read
            let answers = try LocalUser.delegate.ask(asked, delegates, [header()])
            #expect(answers == ["201", "201", "429", "200"])
            let dryRun = try shell(
                ["setpriv"] + LocalUser.delegate.ids + [
                    "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket",
                    delegates, "-H", header(), "-H", "content-type: application/json", "-d",
                    open[0].body, "http://a/v1/requests?dry_run=true",
                ]
            ).get()
            #expect(dryRun == "200")
            return try shell(
                ["setpriv"] + LocalUser.delegate.ids + [
                    "curl", "-si", "--unix-socket", delegates, "-H", header(), "-H",
                    "content-type: application/json", "-d", open[0].body, "http://a/v1/requests",
                ]
            ).get()
        }
        #expect(answer.contains(#""code":"rate-limited""#))
        let seconds = answer.split(separator: "\r\n").first { $0.hasPrefix("retry-after: ") }?
            .split(separator: " ").last.flatMap { Int($0) }
        #expect(seconds.map { (50...60).contains($0) } == true)
    }
}

extension RunningServer {
    var delegatePath: String {
        path.replacing("a.sock", with: "delegate.sock")
    }

    /// The delegates' socket, once it is there.
    func delegates() async throws -> String {
        let path = delegatePath
        #expect(try await eventually { (try? RawConnection(path: path)) != nil })
        return path
    }
}

struct ClaimTests {
    private func claim(_ value: String) -> Claim { Claim(["sallyport-person": value]) }

    private static let good =
        #"iss="corp", sub="1", name="a", groups=("x"), addr="::1", auth=@1, ses="s""#

    private func person(_ value: String) throws -> RemotePerson {
        switch claim(value) {
        case .person(let person): return person
        case .unreadable(let problem): throw problem
        case .none: throw Problem(.internalError, "nobody")
        }
    }

    @Test func readsADictionary() throws {
        let person = try person(Self.good)
        #expect(person.subject == (try Subject(issuer: "corp", id: "1")))
        #expect(person.groups == ["x"])
        #expect(person.loggedInAt == 1)
        #expect(try self.person(Self.good.replacing(#"("x")"#, with: "()")).groups == [])
        // Display strings (RFC 9651, section 3.3.8).
        let unicode = Self.good.replacing(#""a""#, with: #"%"J%c3%b6rg""#)
        #expect(try self.person(unicode).name == "Jörg")
    }

    @Test(arguments: [
        ("", "iss is missing, or no single value"),
        ("iss", "iss must be text"),
        ("iss=corp", "iss must be text"),
        (#"iss=("corp")"#, "iss is missing, or no single value"),
        (#"iss="corp";x=1"#, "iss is missing, or no single value"),
        (
            good.replacing("corp", with: "Corp"),
            #"cannot read "Corp": an issuer has 1...63 lower-case letters, digits and hyphens"#
        ),
        (
            good.replacing(#"sub="1""#, with: #"sub="""#),
            #"cannot read "": the id of a person has 1...255 visible ASCII characters"#
        ),
        (
            good.replacing(#"sub="1""#, with: #"sub="a b""#),
            #"cannot read "a b": the id of a person has 1...255 visible ASCII characters"#
        ),
        (good.replacing("::1", with: "localhost"), "addr must be an IP address"),
        (good.replacing("::1", with: "::1/64"), "addr must be an IP address"),
        (good.replacing("@1", with: "1"), "auth must be a date"),
        (good.replacing("@1", with: "\"1\""), "auth must be a date"),
        (good.replacing(#"ses="s""#, with: #"ses="""#), "ses must have 1 to 128 characters"),
        (
            good.replacing(#"name="a""#, with: #"name="""#),
            "name must be a name of 1 to 256 characters"
        ),
        (
            good.replacing(#""a""#, with: #"%"%e2%80%ae""#),
            "name must be a name of 1 to 256 characters"
        ),
        (
            good.replacing(#"("x")"#, with: "(1)"),
            "each group must be a name of 1 to 256 characters"
        ),
        (good.replacing(#"("x")"#, with: #""x""#), "groups must be a list of at most 64 names"),
        (
            good.replacing(#"("x")"#, with: "(" + String(repeating: #""x" "#, count: 65) + ")"),
            "groups must be a list of at most 64 names"
        ),
        (good + ", role=admin", "role is not known in it"),
        (good + #", sub="2""#, "a key is there twice"),
        (#"sub=%"\", name=%"a,b", "# + good, "a key is there twice"),
        (
            good.replacing(#""s""#, with: #""\\""#) + #", ses="a\"b""#,
            "a key is there twice"
        ),
        (good + ",", "it is not a dictionary of RFC 9651"),
        (
            good + ", x=\"" + String(repeating: "x", count: 8192) + "\"",
            "it has more than 8192 bytes"
        ),
        ("root", "iss is missing, or no single value"),
    ])
    func refuses(value: String, reason: String) throws {
        let error = #expect(throws: Problem.self) { try person(value) }
        #expect(error?.code == .badRequest)
        #expect(error?.detail == "cannot read header Sallyport-Person: \(reason)")
    }

    @Test func takesTheHeaderOnlyOnce() {
        let twice = Claim(["sallyport-person": Self.good, "Sallyport-Person": Self.good])
        guard case .unreadable(let problem) = twice else {
            Issue.record("read")
            return
        }
        #expect(problem.detail == "cannot read header Sallyport-Person: it may be there only once")
    }

    @Test(
        arguments: [
            ("corp", 0, nil), ("corp", -8 * 3600, nil), ("corp", 60, nil),
            ("corp", -8 * 3600 - 1, .notAuthenticated), ("corp", 61, .notAuthenticated),
            ("other", 0, .notPermitted),
        ] as [(String, Int64, Problem.Code?)]
    )
    func believesADelegateOnlySoFar(issuer: String, login: Int64, code: Problem.Code?) throws {
        let now: Int64 = 1_795_503_000
        var person = try person(Self.good)
        person.issuer = issuer
        person.loggedInAt = now + login
        do throws(Problem) {
            try person.require(of: Samples.delegate, at: now)
            #expect(code == nil)
        } catch {
            #expect(error.code == code)
        }
    }

    @Test func survivesAnyInstantOfALogin() throws {
        var person = try person(Self.good)
        for instant in [Int64.min, .max] {
            person.loggedInAt = instant
            #expect(throws: Problem.self) { try person.require(of: Samples.delegate, at: 0) }
        }
    }

    @Test func countsByPersonAndByDelegate() throws {
        var delegate = Samples.delegate
        delegate.limits = Delegate.Limits(requestsPerMinute: 3, perPersonPerMinute: 2)
        let (alice, bob) = (Subject.local(uid: 1), Subject.local(uid: 2))
        let start = ContinuousClock.now
        var limiter = RateLimiter()
        func ask(_ who: Subject, after seconds: Int) -> Int? {
            do {
                try limiter.admit(who, through: delegate, at: start + .seconds(seconds))
                return nil
            } catch {
                return error.retryAfter
            }
        }
        #expect(ask(alice, after: 0) == nil)
        #expect(ask(alice, after: 10) == nil)
        #expect(ask(alice, after: 20) == 41)
        #expect(ask(bob, after: 20) == nil)
        #expect(ask(bob, after: 30) == 31)
        // What was refused was not counted.
        #expect(ask(alice, after: 60) == nil)
        #expect(ask(bob, after: 60) == 11)
        #expect(ask(bob, after: 70) == nil)
    }
}
