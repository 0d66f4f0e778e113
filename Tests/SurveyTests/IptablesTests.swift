import API
import FoundationEssentials
import Glibc
import Nftables
import Policy
import TestSupport
import Testing

@testable import Survey

/// Rules as iptables-nft puts them into the kernel, with matches and targets of xtables.
@Suite(
    .blocking,
    .enabled(if: isInPath("iptables-nft-restore"), "needs the Debian package iptables")
)
struct IptablesTests {
    private func loaded(_ change: (String) -> String = { $0 }) throws -> HostState {
        let folder = "/" + #filePath.split(separator: "/").dropLast().joined(separator: "/")
        let rules = change(
            try String(contentsOfFile: "\(folder)/Rulesets/iptables.rules", encoding: .utf8)
        )
        return try inNetworkNamespace {
            try shell("iptables-nft-restore", input: rules).get()
            var state = HostState.healthy
            state.ruleset = try HostState.read(besides: gateTable).ruleset
            return state
        }
    }

    @Test func aHealthyHostGivesNoFinding() throws {
        let state = try loaded()
        let names = state.ruleset.rules.flatMap(\.expressions).compactMap { expression in
            if case .xtables(let part) = expression { part.name } else { nil }
        }
        #expect(Set(names).isSuperset(of: ["addrtype", "conntrack", "multiport", "DNAT", "LOG"]))
        #expect(findings(state, try situation(["22/tcp", "8080/tcp"])) == [])
    }

    @Test func whatIsNotAllowedIsDropped() throws {
        let input = try loaded { $0.replacing("--dports 22,80", with: "--dports 25,80") }
        #expect(
            findings(input, try situation()) == ["error drops-granted ip filter INPUT: 22/tcp"]
        )
        let forward = try loaded {
            $0.replacing("--dport 80 -j ACCEPT", with: "--dport 81 -j ACCEPT")
        }
        #expect(
            findings(forward, try situation(["8080/tcp"]))
                == ["error drops-granted ip filter FORWARD: 8080/tcp"]
        )
    }

    @Test func whatIsPublishedIsDiscovered() throws {
        var examination = Examination(try loaded(), try situation(["25/tcp"]))
        let services = examination.services().services
        #expect(services.map(\.port) == ["22/tcp", "2222/tcp", "8080/tcp"])
        #expect(services.map(\.target) == [nil, "this host:25", "172.17.0.2:80"])
        let found = examination.document().findings
        #expect(found.map(\.code) == [.judgedBehind])
        #expect(found.map(\.chain) == ["DOCKER"])
    }
}

private func isInPath(_ program: String) -> Bool {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    return path.split(separator: ":").contains { access("\($0)/\(program)", X_OK) == 0 }
}
