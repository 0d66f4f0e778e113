import Access
import Policy
import TestSupport
import Testing

@testable import Server

/// Who is refused at the door is told to the service, for the audit trail.
@Suite(.blocking) struct RefusalTests {
    private func refusals(
        of client: LocalUser,
        isDelegates: Bool = false,
        _ headers: String...,
        asking operations: Operation...
    ) async throws -> [Refusal] {
        let service = service()
        let operations = operations.isEmpty ? [.reloadPolicies] : operations
        try await withServer(service) { server in
            let delegates = try await server.delegates()
            _ = try client.ask(
                Asked.all.filter { operations.contains($0.route.operation) },
                isDelegates ? delegates : server.path,
                headers
            )
        }
        return service.refusals
    }

    @Test func notesWhoLacksTheRole() async throws {
        let refusals = try await refusals(
            of: .user(.viewer),
            asking: .reloadPolicies,
            .open,
            .readStatus
        )
        #expect(refusals.map(\.kind) == [.caller, .caller])
        #expect(
            Set(refusals.map(\.detail)) == [
                "cannot reload the policies: this takes the role admin",
                "cannot ask for access: this takes the role admin or requester",
            ]
        )
        #expect(refusals.first?.who.name == "nobody")
        let remote = try await self.refusals(
            of: .delegate,
            isDelegates: true,
            header(groups: ["viewer"])
        )
        #expect(remote.map(\.kind) == [.caller])
        #expect(remote.first?.who.subject.description == "oidc:corp:248289761001")
        #expect(remote.first?.who.via == "portal")
    }

    @Test func notesStrangers() async throws {
        for (client, isDelegates) in [
            (LocalUser.user(nil), false), (.delegate, false), (.root, true),
        ] {
            let refusals = try await refusals(of: client, isDelegates: isDelegates)
            #expect(refusals.map(\.kind) == [.stranger])
            #expect(refusals.first?.detail.hasPrefix("cannot let ") == true)
        }
    }

    @Test func notesTheHeaderOnTheAgentsOwnSocket() async throws {
        let refusals = try await refusals(of: .root, header())
        #expect(refusals.map(\.kind) == [.caller])
        #expect(refusals.first?.who.subject == .local(uid: 0))
        #expect(refusals.first?.detail.contains("Sallyport-Person") == true)
    }

    @Test(arguments: [
        (header(iss: "other"), "portal may not speak for people of other"),
        (header(auth: .now - 9 * 3600), "the login is older than 8h"),
        (header(groups: ["nosuch"]), "this person has no role through portal"),
        (header(more: ", x=1"), "x is not known in it"),
    ])
    func notesWhomADelegateMayNotSpeakFor(header: String, why: String) async throws {
        let refusals = try await refusals(of: .delegate, isDelegates: true, header)
        #expect(refusals.map(\.kind) == [.delegate("portal")])
        #expect(refusals.first?.detail.contains(why) == true)
    }

    /// It is no refusal that a delegate did not say for whom it asks.
    @Test func notesNothingElse() async throws {
        #expect(try await refusals(of: .delegate, isDelegates: true).isEmpty)
        #expect(try await refusals(of: .root, asking: .readStatus).isEmpty)
    }
}
