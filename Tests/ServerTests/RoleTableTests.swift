import Access
import FoundationEssentials
import Policy
import TestSupport
import Testing

@testable import Server

/// Every operation, for every role, by every way in.
@Suite(.blocking) struct RoleTableTests {
    @Test func thePageSaysWhatTheCodeDoes() throws {
        let expected = RolesPage.expected
        if ProcessInfo.processInfo.environment["SALLYPORT_WRITE_DOCS"] != nil {
            try RolesPage.write(expected.rendered)
        }
        #expect(try RolesPage.read().rows == expected.rows)
        #expect(try RolesPage.text == expected.rendered)
        // An operation that no route leads to could not be tried.
        #expect(
            Set(expected.rows.map(\.operation)) == Set(Operation.allCases.map(\.rawValue))
        )
        #expect(Set(expected.rows.map(\.route)) == Set(Route.all.map(\.description)))
    }

    /// Somebody at one of the sockets, with the groups that a header gives a person.
    struct Case: CustomTestStringConvertible, Sendable {
        var client: LocalUser
        var isDelegates = false
        var groups: [String]?

        var testDescription: String {
            "\(client) at \(isDelegates ? "delegate.sock" : "the socket"), for \(groups ?? [])"
        }

        static let all: [Case] =
            ([nil] + Role.allCases).flatMap { role in
                [
                    Case(client: .user(role)),
                    Case(client: .user(role), groups: ["admin"]),
                    Case(client: .user(role), isDelegates: true, groups: ["admin"]),
                    Case(
                        client: .delegate,
                        isDelegates: true,
                        groups: role.map { [$0.rawValue] } ?? []
                    ),
                ]
            } + [
                Case(client: .root), Case(client: .root, groups: ["admin"]),
                Case(client: .root, isDelegates: true),
                Case(client: .root, isDelegates: true, groups: ["admin"]),
                Case(client: .delegate), Case(client: .delegate, groups: ["admin"]),
                Case(client: .delegate, isDelegates: true),
                Case(client: .delegate, isDelegates: true, groups: Role.allCases.map(\.rawValue)),
            ]

        /// The status that a route is answered with; 000 where the socket cannot be connected to.
        func status(_ row: RolesPage.Row, success: String) -> String {
            switch (client, isDelegates, groups) {
            // The file keeps out who is not of its group, but root, who is no delegate.
            case (.user, true, _): "000"
            case (.root, true, _): "403"
            // A delegate's user is nobody there, whatever roles its groups have.
            case (.delegate, false, _), (.user(nil), false, _): "403"
            // Nobody speaks for others there, root included.
            case (_, false, .some): "400"
            case (.root, false, nil): row.local.contains(.admin) ? success : "403"
            case (.user(let role?), false, nil): row.local.contains(role) ? success : "403"
            case (.delegate, true, nil): row.isForDelegates ? "200" : "401"
            case (.delegate, true, let groups?):
                row.remote.contains { groups.contains($0.rawValue) } ? success : "403"
            }
        }
    }

    @Test(arguments: Case.all)
    func letsEachInOnlyWhereTheyBelong(who: Case) async throws {
        // None but what the test means to reach.
        let service = service(Delegate.Limits(requestsPerMinute: 1000, perPersonPerMinute: 1000))
        let answers = try await withServer(service) { server in
            let delegates = try await server.delegates()
            return try who.client.ask(
                Asked.all,
                who.isDelegates ? delegates : server.path,
                who.groups.map { [header(groups: $0)] } ?? []
            )
        }
        let rows = try RolesPage.read().rows
        let expected = try Asked.all.map { asked in
            let row = try #require(rows.first { $0.route == asked.route.description })
            return who.status(row, success: asked.success)
        }
        for (asked, (answer, status)) in zip(Asked.all, zip(answers, expected)) {
            #expect(answer == status, "\(asked.route)")
        }
        #expect(answers.count == expected.count)
        #expect(service.asked.count == expected.count { $0.hasPrefix("2") })
    }
}
