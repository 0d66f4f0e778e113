import API
import Access
import FoundationEssentials
import Policy
import TestSupport
import Testing

@testable import Server

/// A request and what the service must be asked for it.
struct Example: CustomTestStringConvertible, Sendable {
    var testDescription: String
    var request: String
    var asked: RecordingService.Asked
    /// The route it belongs to, as in the table.
    var route: String
    var status = 200
    var isOpen: Bool { if case .open = asked { true } else { status == 202 } }
    /// Whether it is answered with a policy, or with the change of one that is there then.
    var hasTag: Bool {
        switch asked {
        case .policy, .change(_, _?, _, _): true
        default: false
        }
    }

    init(
        _ route: String,
        _ request: String,
        asks asked: RecordingService.Asked,
        status: Int = 200
    ) {
        self.route = route
        self.request = request
        self.asked = asked
        self.status = status
        testDescription = String(request.prefix { $0 != "\r\n" })
    }

    static let all: [Example] =
        [
            Example("GET /v1/status", get("/v1/status"), asks: .status),
            Example("GET /v1/discover", get("/v1/discover"), asks: .discover),
            Example("GET /v1/doctor", get("/v1/doctor"), asks: .examine),
            Example("GET /v1/policies", get("/v1/policies"), asks: .policies),
            Example("GET /v1/policies/{name}", get("/v1/policies/ssh"), asks: .policy("ssh")),
            Example("GET /v1/policies/{name}", get("/v1/policies/reload"), asks: .policy("reload")),
            Example(
                "GET /v1/policies/{name}",
                get("/v1/policies/a%2Fb%20c"),
                asks: .policy("a/b c")
            ),
            Example("POST /v1/policies/reload", post("/v1/policies/reload", ""), asks: .reload),
            Example(
                "PUT /v1/policies/{name}",
                put("/v1/policies/ssh", #"{"ports":["22/tcp"],"approvals":2}"#),
                asks: .change(
                    "ssh",
                    .object([
                        .init("ports", .list([.text("22/tcp")])), .init("approvals", .number("2")),
                    ]),
                    .none,
                    keepingGrants: false
                )
            ),
            Example(
                "PUT /v1/policies/{name}",
                put("/v1/policies/a%2Fb?keep_grants=true", "{}", "if-match: \"3d\", \"4\""),
                asks: .change(
                    "a/b",
                    .object([]),
                    .matches(tags: ["\"3d\"", "\"4\""]),
                    keepingGrants: true
                )
            ),
            Example(
                "PUT /v1/policies/{name}",
                put("/v1/policies/db", "{}", "if-none-match: *"),
                asks: .change("db", .object([]), .isAbsent, keepingGrants: false),
                status: 201
            ),
            Example(
                "DELETE /v1/policies/{name}",
                put("/v1/policies/ssh?keep_grants=false", "", "if-match: *", method: "DELETE"),
                asks: .change("ssh", nil, .exists, keepingGrants: false)
            ),
            Example(
                "POST /v1/requests",
                post(
                    "/v1/requests",
                    """
                    {"targets":["ssh","80/tcp"],"sources":["192.0.2.7"],"duration":"45m",
                    "until":"2026-12-01T17:00:00Z","reason":"d\\u00fcrr","ticket":"OPS-1"}
                    """,
                    "idempotency-key: a-1"
                ),
                asks: .open(
                    Ask(
                        targets: ["ssh", "80/tcp"],
                        sources: ["192.0.2.7"],
                        duration: "45m",
                        until: "2026-12-01T17:00:00Z",
                        reason: "dürr",
                        ticket: "OPS-1"
                    ),
                    key: "a-1"
                ),
                status: 201
            ),
            Example(
                "POST /v1/requests",
                post("/v1/requests", #"{"targets":[],"sources":[]}"#),
                asks: .open(Ask(targets: [], sources: []), key: nil),
                status: 201
            ),
            Example(
                "POST /v1/requests",
                post("/v1/requests", #"{"targets":[],"sources":[]}"#, "idempotency-key: used"),
                asks: .open(Ask(targets: [], sources: []), key: "used")
            ),
            Example(
                "POST /v1/requests",
                post("/v1/requests?dry_run=true", #"{"targets":["ssh"],"sources":["::2"]}"#),
                asks: .preview(Ask(targets: ["ssh"], sources: ["::2"]))
            ),
            Example(
                "POST /v1/requests",
                post("/v1/requests", #"{"targets":[],"sources":[]}"#, "idempotency-key: waits"),
                asks: .open(Ask(targets: [], sources: []), key: "waits"),
                status: 202
            ),
            Example(
                "POST /v1/requests",
                post(
                    "/v1/requests",
                    #"{"targets":[],"sources":[]}"#,
                    "idempotency-key: waits-used"
                ),
                asks: .open(Ask(targets: [], sources: []), key: "waits-used"),
                status: 202
            ),
            Example(
                "POST /v1/requests/{id}/approve",
                post("/v1/requests/17/approve", #"{"duration":"30m","revision":2}"#),
                asks: .approve(17, ApproveBody(duration: "30m", revision: 2))
            ),
            Example(
                "POST /v1/requests/{id}/approve",
                post("/v1/requests/17/approve", ""),
                asks: .approve(17, ApproveBody())
            ),
            Example(
                "POST /v1/requests/{id}/deny",
                post("/v1/requests/17/deny", #"{"reason":"not today"}"#),
                asks: .deny(17, "not today")
            ),
            Example(
                "POST /v1/requests/{id}/cancel",
                post("/v1/requests/17/cancel", ""),
                asks: .cancel(17)
            ),
            Example("GET /v1/requests", get("/v1/requests"), asks: .requests(RequestFilter())),
            Example(
                "GET /v1/requests",
                get("/v1/requests?state=active&policy=ssh&requester=a%40b&before=9&limit=1000"),
                asks: .requests(
                    RequestFilter(
                        state: .active,
                        policy: "ssh",
                        requester: "a@b",
                        before: 9,
                        limit: 1000
                    )
                )
            ),
            Example("GET /v1/requests/{id}", get("/v1/requests/17"), asks: .request(17)),
            Example(
                "POST /v1/requests/{id}/revoke",
                get("/v1/requests/17/revoke", "POST"),
                asks: .revoke(17)
            ),
            Example(
                "POST /v1/requests/{id}/revoke",
                post("/v1/requests/17/revoke", #"{"reason":"left the company"}"#),
                asks: .revoke(17, "left the company")
            ),
            Example(
                "POST /v1/requests/{id}/extend",
                post("/v1/requests/17/extend", #"{"duration":"30m"}"#),
                asks: .extend(17, .seconds(1800), Grounds())
            ),
            Example(
                "POST /v1/requests/{id}/extend",
                post(
                    "/v1/requests/17/extend",
                    #"{"duration":"30m","reason":"not done","ticket":"waits"}"#
                ),
                asks: .extend(17, .seconds(1800), Grounds(reason: "not done", ticket: "waits")),
                status: 202
            ),
            Example(
                "GET /v1/grants",
                get("/v1/grants"),
                asks: .grants(RequestFilter(), includeEnded: false)
            ),
            Example(
                "GET /v1/grants",
                get("/v1/grants?policy=ssh&requester=alice&all=true"),
                asks: .grants(
                    RequestFilter(policy: "ssh", requester: "alice"),
                    includeEnded: true
                )
            ),
            Example(
                "DELETE /v1/grants/{id}",
                get("/v1/grants/17.1", "DELETE"),
                asks: .closeGrant(Grant.ID(request: 17, ordinal: 1))
            ),
        ] + audit
}

/// No person may use it.
private let ofDelegates = "GET /v1/delegation"
/// It does not end: see `EventTests`.
private let endless = "GET /v1/events"

@Suite(.blocking) struct RouteTests {
    @Test func hasAnExampleOfEachRoute() {
        let routes = Route.all.map(\.description)
        #expect(Set(routes).count == routes.count)
        #expect(Set(Example.all.map(\.route)).union([ofDelegates, endless]) == Set(routes))
    }

    @Test(arguments: Example.all)
    func asksTheService(example: Example) async throws {
        let service = RecordingService()
        let answer = try await withServer(service) { try $0.connect().ask(example.request) }
        #expect(answer.status == example.status)
        #expect(service.asked == [example.asked])
        #expect(answer.headers["content-type"] == "application/json")
        #expect(answer.headers["location"] == (example.isOpen ? "/v1/requests/17" : nil))
        #expect(answer.headers["etag"] == (example.hasTag ? Samples.tag : nil))
        // No other headers: the date, for one, would cost a timer.
        #expect(
            Set(answer.headers.keys).subtracting(["location", "etag"]) == [
                "content-type", "content-length",
            ]
        )
    }

    @Test(
        arguments: Example.all,
        [[], [.viewer], [.requester], [.approver], [.admin]] as [Set<Role>]
    )
    func letsOnlyTheRightRolesIn(example: Example, roles: Set<Role>) async throws {
        let service = RecordingService(roles: { _ in roles })
        let answer = try await withServer(service) { try $0.connect().ask(example.request) }
        let allowed = try RolesPage.read().rows.first { $0.route == example.route }?.local
        let mayUse = !roles.isDisjoint(with: try #require(allowed))
        if mayUse {
            #expect(answer.status == example.status)
            #expect(service.asked == [example.asked])
        } else {
            #expect(try problem(answer).code == .notPermitted)
            #expect(service.asked.isEmpty)
        }
    }

    @Test func tellsSomebodyWithoutARoleNothing() async throws {
        let service = RecordingService(roles: { _ in [] })
        let answers = try await withServer(service) { server in
            try ["/v1/nothing", "/v1/status", "/"].map { path in
                let connection = try server.connect()
                let answer = try connection.ask(get(path))
                #expect(try connection.readToEnd().isEmpty)
                return answer
            }
        }
        for answer in answers {
            #expect(answer.headers["connection"] == "close")
            #expect(try problem(answer).detail == "cannot let root in: this user has no role")
        }
    }

    @Test(arguments: [
        "/", "/v1", "/v1/", "/v1/statu", "/v1/status/", "//v1/status", "/v1//status", "/V1/status",
        "/v1/policies/", "/v1/policies/a/b", "/v1/requests/1/", "/v1/requests/1/close", "*",
        "/v1/requests/0", "/v1/requests/-1", "/v1/requests/01", "/v1/requests/x",
        "/v1/requests/+1", "/v1/requests/9223372036854775808", "/v1/requests/%31%00",
    ])
    func findsNothingElse(path: String) async throws {
        let service = RecordingService()
        let answer = try await withServer(service) { try $0.connect().ask(get(path)) }
        #expect(try problem(answer).code == .notFound)
        #expect(service.asked.isEmpty)
    }

    @Test(arguments: ["1", "1.0", "0.1", "1.1.1", "a.b", "1.1%20"])
    func findsNoGrantWithSuchAnId(id: String) async throws {
        let service = RecordingService()
        let answer = try await withServer(service) {
            try $0.connect().ask(get("/v1/grants/\(id)", "DELETE"))
        }
        #expect(try problem(answer).code == .notFound)
        #expect(service.asked.isEmpty)
    }

    @Test(arguments: [
        ("PUT", "/v1/status", "GET, HEAD"), ("DELETE", "/v1/requests", "POST, GET, HEAD"),
        ("PATCH", "/v1/policies/reload", "GET, HEAD, PUT, DELETE, POST"),
        ("OPTIONS", "/v1/grants/1.1", "DELETE"), ("HEAD", "/v1/grants/1.1", "DELETE"),
        ("POST", "/v1/grants", "GET, HEAD"),
    ])
    func saysWhichMethodsAPathTakes(method: String, path: String, allow: String) async throws {
        let answer = try await withServer { server in
            let connection = try server.connect()
            connection.send(get(path, method))
            return try #require(try connection.answer(toHead: method == "HEAD"))
        }
        #expect(answer.status == 405)
        #expect(answer.headers["allow"] == allow)
    }

    @Test func answersHeadWithoutABody() async throws {
        try await withServer { server in
            let connection = try server.connect()
            connection.send(get("/v1/status", "HEAD") + get("/v1/status"))
            let head = try #require(try connection.answer(toHead: true))
            #expect(head.status == 200)
            let whole = try #require(try connection.answer())
            #expect(whole.status == 200)
            #expect(head.headers == whole.headers)
        }
    }

    @Test(arguments: [
        ("application/json", true), ("Application/JSON ; charset=utf-8", true),
        ("text/plain", false), ("application/x-www-form-urlencoded", false),
        ("application/json-seq", false), ("", false), (";", false), (nil, false),
    ])
    func takesOnlyABodyThatSaysItIsJSON(type: String?, isTaken: Bool) async throws {
        let service = RecordingService()
        let answer = try await withServer(service) {
            try $0.connect().ask(
                post("/v1/requests", #"{"targets":[],"sources":[]}"#, type: type)
            )
        }
        #expect(answer.status == (isTaken ? 201 : 415))
        #expect(service.asked.isEmpty != isTaken)
    }

    @Test(arguments: [
        (#"{"targets":["ssh"]}"#, "cannot read the body: sources: this field is missing"),
        (#"{"targets":"ssh","sources":[]}"#, "cannot read the body: targets: this is not a list"),
        (
            #"{"targets":["a",1],"sources":[]}"#,
            "cannot read the body: targets[1]: this is not text"
        ),
        (#"{"targets":["a"],"sources":null}"#, "cannot read the body: sources: this field is null"),
        (
            #"{"targets":["a"],"sources":[],"reasn":"x"}"#,
            "cannot read the body: reasn: unknown field \"reasn\"; "
                + "known are targets, sources, duration, until, at, reason, ticket"
        ),
        ("[]", "cannot read the body: it is not the document this takes"),
        ("", "cannot read the body: it is not a JSON document"),
        ("{", "cannot read the body: it is not a JSON document"),
        (
            "{\"targets\":[\"\u{0}\"]}",
            "cannot read the body: targets[0]: a control character in text must be escaped"
        ),
        ("policies: []", "cannot read the body: it is not a JSON document"),
    ])
    func saysWhatIsWrongWithABody(body: String, detail: String) async throws {
        let service = RecordingService()
        let answer = try await withServer(service) {
            try $0.connect().ask(post("/v1/requests", body))
        }
        #expect(try problem(answer).code == .badRequest)
        #expect(try problem(answer).detail == detail)
        #expect(service.asked.isEmpty)
    }

    @Test func refusesTextThatIsNotUTF8() async throws {
        let answer = try await withServer { server in
            let connection = try server.connect()
            connection.send(
                Array("PUT /v1/policies/ssh HTTP/1.1\r\nhost: a\r\n".utf8)
                    + Array("content-type: application/json\r\n".utf8)
                    + Array("content-length: 4\r\n\r\n\"".utf8) + [0xff, 0xfe] + Array("\"".utf8)
            )
            return try connection.answer()
        }
        #expect(try problem(answer).detail == "cannot read the body: it is not UTF-8")
    }

    @Test(arguments: [
        ("/v1/status?a=b", "cannot take query parameter a: known here are none"),
        (
            "/v1/grants?al=true",
            "cannot take query parameter al: known here are all, before, policy, requester"
        ),
        ("/v1/grants?all=true&all=true", "cannot take query parameter all twice"),
        ("/v1/grants?all=yes", "cannot read query parameter all=yes: write true or false"),
        (
            "/v1/requests?dry_run=true",
            "cannot take query parameter dry_run: known here are "
                + "before, limit, policy, requester, state"
        ),
        (
            "/v1/audit/verify?head=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "cannot read query parameter head=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA: "
                + "write a hash: 64 hexadecimal digits, in lower case"
        ),
        (
            "/v1/audit/verify?head=00ff",
            "cannot read query parameter head=00ff: "
                + "write a hash: 64 hexadecimal digits, in lower case"
        ),
        ("/v1/grants?all", "cannot read query parameter all=: write true or false"),
        (
            "/v1/requests?limit=1001",
            "cannot read query parameter limit=1001: write a number from 1 to 1000"
        ),
        (
            "/v1/requests?limit=0",
            "cannot read query parameter limit=0: write a number from 1 to 1000"
        ),
        (
            "/v1/requests?before=1.5",
            "cannot read query parameter before=1.5: write the id of a request"
        ),
        (
            "/v1/requests?state=open",
            "cannot read query parameter state=open: write one of "
                + "pending, scheduled, active, expired, revoked, superseded, denied, cancelled, "
                + "lapsed, failed"
        ),
        (
            "/v1/requests?policy=",
            "cannot read query parameter policy=: write a name, or leave it out"
        ),
        (
            "/v1/audit?source=junk",
            "cannot read query parameter source=junk: write an address or range, like 192.0.2.1"
        ),
        (
            "/v1/audit?since=2026-12-01T17:00:00Z&until=2026-12-01T18:00:00%2B01:00",
            "cannot read query parameter until=2026-12-01T17:00:00Z: it is not after "
                + "since=2026-12-01T17:00:00Z"
        ),
        ("/v1/requests?policy=%zz", "cannot read %zz: its percent encoding is wrong"),
        ("/v1/requests?policy=%f", "cannot read %f: its percent encoding is wrong"),
        ("/v1/policies/%ff", "cannot read %ff: it is not UTF-8 text"),
    ])
    func saysWhatIsWrongWithATarget(target: String, detail: String) async throws {
        let service = RecordingService()
        let answer = try await withServer(service) { try $0.connect().ask(get(target)) }
        #expect(try problem(answer).code == .badRequest)
        #expect(try problem(answer).detail == detail)
        #expect(service.asked.isEmpty)
    }

    @Test(arguments: ["", "a b", "ä", String(repeating: "k", count: 129)])
    func refusesAnIdempotencyKeyThatIsNoWord(key: String) async throws {
        let answer = try await withServer {
            try $0.connect().ask(
                post(
                    "/v1/requests",
                    #"{"targets":[],"sources":[]}"#,
                    "idempotency-key: \(key)"
                )
            )
        }
        #expect(try problem(answer).code == .badRequest)
    }

    @Test(arguments: ["if-match", "if-none-match"])
    func refusesAnEmptyPrecondition(header: String) async throws {
        let service = RecordingService()
        let answer = try await withServer(service) {
            try $0.connect().ask(put("/v1/policies/ssh", "", "\(header):", method: "DELETE"))
        }
        #expect(try problem(answer).code == .badRequest)
        #expect(service.asked.isEmpty)
    }

    @Test func refusesADurationThatIsNone() async throws {
        let answer = try await withServer {
            try $0.connect().ask(post("/v1/requests/17/extend", #"{"duration":"1 h"}"#))
        }
        #expect(try problem(answer).code == .outsidePolicy)
        #expect(try problem(answer).violations?.map(\.field) == ["duration"])
    }

    @Test func passesTheServicesProblemsOn() async throws {
        let service = RecordingService(during: { throw Samples.problem })
        let answer = try await withServer(service) { try $0.connect().ask(get("/v1/policies")) }
        #expect(answer.status == 422)
        #expect(try problem(answer) == Samples.problem)
    }

    @Test func logsFaultsOfItsOwnAndTellsNobodyMore() async throws {
        struct Secret: Error { var text = "the secret" }
        let service = RecordingService(during: { throw Secret() })
        let (answer, log) = try await withServer(service) { server in
            (try server.connect().ask(get("/v1/policies")), server.log.lines)
        }
        #expect(try problem(answer).code == .internalError)
        #expect(!answer.body.contains("ecret"))
        #expect(log == ["error: cannot answer GET /v1/policies: Secret(text: \"the secret\")"])
    }
}
