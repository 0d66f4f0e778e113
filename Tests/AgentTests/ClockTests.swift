import API
import Policy
import Server
import Synchronization
import Testing
import TestSupport

@testable import Agent
@testable import Settings

@Suite(.blocking) struct ClockTests {
    @Test func aClockSetForwardShortensAndEnds() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "10m"))
        try await agent.open(ask("ssh", from: "198.51.100.8", for: "30m"))
        host.clocks.setWallClock(by: .seconds(15 * 60))
        await agent.clockStepped()
        #expect(try host.stored(1) == ["expired/expired"])
        #expect(try Set(host.elements().keys) == [key("198.51.100.8")])
        expectEnd(try host.elements()[key("198.51.100.8")], of: 15 * 60_000)
        // The step is taken in once.
        await agent.clockStepped()
        expectEnd(try host.elements()[key("198.51.100.8")], of: 15 * 60_000)
    }

    @Test func aClockSetBackChangesNothing() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "10m"))
        host.clocks.setWallClock(by: .seconds(-3600))
        await agent.clockStepped()
        expectEnd(try host.elements()[key("198.51.100.7")], of: 600_000)
        host.clocks.setWallClock(by: .seconds(3600))
        await agent.clockStepped()
        expectEnd(try host.elements()[key("198.51.100.7")], of: 600_000)
        host.clocks.setWallClock(by: .seconds(-3600))
        await agent.clockStepped()
        host.clocks.pass(.seconds(601))
        await agent.reap()
        #expect(try host.stored(1) == ["expired/expired"])
    }

    @Test func suspendShortensTheKernelsTimeouts() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "10m"))
        try await agent.open(ask("ssh", from: "::/64", for: "30m"))
        host.clocks.pass(.seconds(20 * 60))
        await agent.clockStepped()
        #expect(try Set(host.elements().keys) == [key("::/64")])
        expectEnd(try host.elements()[key("::/64")], of: 10 * 60_000)
    }

    @Test func anInvalidConfigurationLeavesTheRunningOne() async throws {
        let host = try Host()
        let agent = try await host.agent()
        let fault = ConfigurationError.Fault(
            file: "ssh.yaml",
            line: 3,
            column: 9,
            key: "policies[0].ports",
            message: "is no port"
        )
        let valid = host.configuration.withLock(\.self)
        host.configuration.withLock { $0 = .failure(ConfigurationError(faults: [fault])) }
        let refused = await problem { try await agent.reload(by: dora) }
        #expect(refused?.code == .configurationInvalid)
        #expect(refused?.violations?.map(\.field) == ["ssh.yaml:3:9"])
        #expect(try await agent.status().agent.configurationError == fault.description)
        #expect(await agent.policies(for: alice).policies.map(\.name) == ["ssh", "winrm"])
        #expect(try host.managedPorts() == [22, 5985])
        host.configuration.withLock { $0 = valid }
        _ = try await agent.reload(by: dora)
        #expect(try await agent.status().agent.configurationError == nil)
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
        expectEnd(try host.elements()[key("198.51.100.7")], of: 600_000)
        try await agent.open(ask("rdp", from: "198.51.100.7"))
        let gone = await problem { try await agent.open(ask("winrm", from: "::1", reason: "long")) }
        #expect(gone?.code == .outsidePolicy)
    }

    @Test func reloadsUnderLoadLoseNothing() async throws {
        let host = try Host()
        let agent = try await host.agent()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 1...200 {
                group.addTask {
                    try await agent.open(ask("ssh", from: "198.51.100.\(number)"))
                    if number % 2 == 0 {
                        let source = try CIDR(parsing: "198.51.100.\(number)")
                        let id = try #require(
                            await agent.plan.allGrants.first { $0.source == source }?.id
                        )
                        _ = try await agent.close(grant: id, by: alice)
                    }
                    if number % 10 == 0 { try await agent.reload() }
                }
            }
            try await group.waitForAll()
        }
        #expect(try host.elements().count == 100)
        #expect(
            try Set(host.elements().keys.map(\.source))
                == Set(await agent.plan.allGrants.map(\.source))
        )
    }
}
