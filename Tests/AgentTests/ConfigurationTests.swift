import API
import Access
import Policy
import Synchronization
import TestSupport
import Testing

@testable import Agent
@testable import Settings

@Suite(.blocking) struct ConfigurationTests {
    private let fault = ConfigurationError.Fault(
        file: "ssh.yaml",
        line: 3,
        column: 9,
        key: "policies[0].ports",
        message: "is no port"
    )

    @Test func anInvalidConfigurationLeavesTheRunningOne() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let valid = host.configuration.withLock(\.self)
        host.configuration.withLock { $0 = .failure(ConfigurationError(faults: [fault])) }
        let refused = await problem { try await agent.reload(by: dora) }
        #expect(refused?.code == .configurationInvalid)
        #expect(refused?.violations?.map(\.field) == ["ssh.yaml:3:9"])
        var status = try await agent.status(for: vera).agent
        #expect(status.configurationError == fault.description)
        #expect(status.configuration == .files)
        #expect(try await agent.policies(for: alice).policies.map(\.name) == ["ssh", "winrm"])
        #expect(try host.managedPorts() == [22, 5985, 5986])
        #expect(host.remembered.withLock { $0 } == nil)
        let row = try #require(try host.audit("configuration-refused").first)
        #expect(row.subject == "unix:1002")
        #expect(row.detail == fault.description)

        host.configuration.withLock { $0 = valid }
        _ = try await agent.reload(by: dora)
        status = try await agent.status(for: vera).agent
        #expect(status.configurationError == nil)
        #expect(host.remembered.withLock { $0 } == (try valid.get()))
        #expect(try host.audit("configuration-loaded").map(\.subject) == ["unix:1002"])
    }

    @Test func whatWasLastInForceIsReplacedByTheFirstReloadThatSucceeds() async throws {
        let host = try Host()
        let agent = try await host.agent(
            origin: .lastKnownGood,
            fault: ConfigurationError(faults: [fault])
        )
        var status = try await agent.status(for: vera).agent
        #expect(status.configuration == .lastKnownGood)
        #expect(status.configurationError == fault.description)
        try await agent.reload(by: nil)
        status = try await agent.status(for: vera).agent
        #expect(status.configuration == .files)
        #expect(status.configurationError == nil)
        // A signal is nobody's.
        #expect(try host.audit("configuration-loaded").map(\.subject) == [nil])
    }

    @Test func aStartWithOtherFilesThanWereRecordedIsTold() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let configuration = try host.read()
        await agent.noteStart(after: nil)
        #expect(try host.audit("configuration-loaded").isEmpty)
        #expect(host.remembered.withLock { $0 } == configuration)
        var old = configuration
        old.policies.removeLast()
        await agent.noteStart(after: old)
        #expect(
            try host.audit("configuration-loaded").map(\.detail)
                == ["2 policies; changed before the start; winrm is new"]
        )
    }

    @Test func saysOfAWholeFileOnlyItsName() async throws {
        let host = try Host()
        let agent = try await host.agent()
        var whole = fault
        (whole.line, whole.column, whole.key) = (0, 0, "")
        host.configuration.withLock { [fault] in
            $0 = .failure(ConfigurationError(faults: [whole, fault]))
        }
        let refused = await problem { try await agent.reload(by: dora) }
        #expect(refused?.violations?.map(\.field) == ["ssh.yaml", "ssh.yaml:3:9"])
    }

    @Test(arguments: [(1, "1 policy"), (2, "2 policies")])
    func countsPolicies(count: Int, text: String) async throws {
        let host = try Host()
        let agent = try await host.agent()
        try host.changeConfiguration { $0.policies = Array($0.policies.prefix(count)) }
        try await agent.reload(by: nil)
        let loaded = try #require(try host.audit("configuration-loaded").last?.detail)
        #expect(loaded.split(separator: ";").first == text[...])
    }

    @Test func aReloadChangesManagedPortsAndGrantsSurvive() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        let rdp = try PortRange(parsing: "3389/tcp")
        try host.changeConfiguration {
            $0.policies.removeLast()
            $0.policies.append(AccessPolicy(name: "rdp", ports: [rdp]))
        }
        #expect(try await agent.reload(by: dora).policies.map(\.name) == ["ssh", "rdp"])
        #expect(try host.managedPorts() == [22, 3389])
        try host.expectOpen(["198.51.100.7": 10])
        let loaded = try #require(try host.audit("configuration-loaded").first)
        #expect(loaded.detail?.contains("5985-5986/tcp no longer managed") == true)
        try await agent.open(ask("rdp", from: "198.51.100.7"))
        let gone = await problem {
            try await agent.open(ask("winrm", from: "2001:db8::1", reason: "long"))
        }
        #expect(gone?.code == .outsidePolicy)
    }

    /// Whatever the kernel did of it: policies and table are the same after a refused reload.
    @Test(arguments: [KernelFaults.Fault.refused, .outcomeUnknown])
    func aReloadTheKernelRefusesLeavesTheOldPolicies(_ fault: KernelFaults.Fault) async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try host.changeConfiguration { $0.policies.removeLast() }
        host.kernel.fail(.arm, as: fault)
        let refused = await problem { try await agent.reload(by: dora) }
        #expect(refused?.code == .kernelRefused)
        host.kernel.fail()
        #expect(try await agent.policies(for: dora).policies.map(\.name) == ["ssh", "winrm"])
        #expect(host.remembered.withLock { $0 } == nil)
        #expect(try await eventually { try host.managedPorts() == [22, 5985, 5986] })
        #expect(try await agent.status(for: vera).gate.armed)
        try host.expectOpen(["198.51.100.7": 10])
    }

    /// The new policies are in the kernel; that the elements could not be set anew is another thing.
    @Test func aReloadWhoseElementsCannotBeSetAnewIsInForce() async throws {
        let host = try Host()
        let agent = try await host.agent(owning: false)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try host.changeConfiguration { $0.policies.removeLast() }
        try host.nft("delete", "table", "inet", "sallyport")
        // The table is made from nothing with the new policies, and then not filled.
        host.kernel.failOnce(.arm, after: 1)
        #expect(try await agent.reload(by: dora).policies.map(\.name) == ["ssh"])
        #expect(host.remembered.withLock { $0?.policies.count } == 1)
        #expect(try await eventually { try host.elements().count == 1 })
        #expect(try host.managedPorts() == [22])
    }

    @Test func reloadsUnderLoadLoseNothing() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 1...200 {
                group.addTask {
                    let request = try await agent.open(ask("ssh", from: "198.51.100.\(number)"))
                    if number % 2 == 0 {
                        let id = try Grant.ID(parsing: request.grants[0].id)
                        _ = try await agent.close(grant: id, by: alice)
                    }
                    if number % 10 == 0 { try await agent.reload(by: nil) }
                }
            }
            try await group.waitForAll()
        }
        #expect(try host.elements().count == 100)
        #expect(
            try Set(host.elements().keys.map(\.source))
                == Set(await agent.committer.plan.allGrants.map(\.source))
        )
    }
}
