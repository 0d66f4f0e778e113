import API
import Access
import FoundationEssentials
import Ledger
import Policy
import Synchronization
import TestSupport
import Testing

@testable import Agent
@testable import Settings

@Suite(.blocking) struct PolicyChangeTests {
    private let files: TemporaryFolder
    private let host: Host

    init() throws {
        files = try TemporaryFolder([
            "sallyport.yaml": """
            roles: { admin: [dora], requester: [alice, bob, daemon, bin], viewer: [vera] }
            """,
            "policy.d/all.yaml": """
            # By hand.
            policies:
              - name: ssh
                ports: [22/tcp]
                max_duration: 3h
              - name: winrm  # kept
                ports: [5985-5986/tcp]

            """,
        ])
        host = try Host(files: files)
    }

    private func text(_ name: String = "all.yaml") throws -> String {
        try String(contentsOfFile: "\(files.path)/policy.d/\(name)", encoding: .utf8)
    }

    /// Whether the files are what is in force.
    private func isWhatIsOnTheDisk(_ agent: Agent) async throws -> Bool {
        let inForce = await agent.committer.configuration
        return try host.read() == inForce
    }

    @Test func aChangedPolicyIsInItsFileInForceAndInTheAuditTrail() async throws {
        let agent = try await host.agent()
        let changed = try await agent.set("ssh", #"{"ports":["22/tcp"],"max_duration":"1h"}"#)
        #expect(!changed.isNew)
        #expect(changed.document.policy?.maxDuration == "1h")
        #expect(changed.document.file == files.path + "/policy.d/all.yaml")
        #expect(changed.document.changes == ["max_duration 3h -> 1h"])
        #expect(changed.document.warning == nil)
        #expect(try text().contains("# By hand.\npolicies:\n  - name: ssh\n"))
        #expect(try text().contains("max_duration: 1h\n  - name: winrm  # kept"))
        let tooLong = await problem {
            try await agent.open(ask("ssh", from: "192.0.2.1", for: "2h"))
        }
        #expect(tooLong?.code == .outsidePolicy)
        #expect(host.remembered.withLock { $0?.policies.first?.maxDuration } == .seconds(3600))
        let row = try #require(try host.audit("policy-changed").first)
        #expect(row.subject == "unix:1002")
        #expect(row.policy == "ssh")
        #expect(row.detail == "max_duration 3h -> 1h")
        // Nothing is left to be reloaded, and nothing is done twice.
        #expect(try await isWhatIsOnTheDisk(agent))
        let same = try await agent.set("ssh", #"{"ports":["22/tcp"],"max_duration":"1h"}"#)
        #expect(same.document.changes == [])
        #expect(try host.audit("policy-changed").count == 1)
    }

    @Test func aNewPolicyClosesItsPort() async throws {
        let agent = try await host.agent()
        let made = try await agent.set("db", #"{"ports":["5432/tcp"],"reason":"required"}"#)
        #expect(made.isNew)
        #expect(try text("db.yaml").hasPrefix("policies:\n  - name: db\n"))
        #expect(try host.managedPorts() == [22, 5432, 5985, 5986])
        #expect(
            try host.audit("policy-changed").map(\.detail) == ["ports [5432/tcp]; reason required"]
        )
    }

    @Test func aRemovedPolicyEndsItsGrantsAndSaysWhatIsOpenNow() async throws {
        let agent = try await host.agent()
        try await agent.open(ask("winrm", from: "198.51.100.7"))
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        let removed = try await agent.set("winrm", nil)
        #expect(removed.document.policy == nil)
        #expect(removed.tag == nil)
        #expect(removed.document.endedGrants == ["1.1"])
        #expect(removed.document.openPorts.map(\.description) == ["5985-5986/tcp"])
        #expect(removed.document.warning?.hasPrefix("OPEN TO EVERYBODY: 5985-5986/tcp") == true)
        #expect(try host.managedPorts() == [22])
        try host.expectOpen(["198.51.100.7": 10])
        #expect(try host.stored(1) == ["revoked/policy-changed"])
        // One transaction tells of both.
        let rows = try host.audit().suffix(2)
        #expect(rows.map(\.event) == ["policy-removed", "ended"])
        #expect(rows.map(\.subject) == ["unix:1002", "unix:1002"])
        #expect(rows.first?.detail == "ports [5985-5986/tcp]; 5985-5986/tcp no longer managed")
        let gone = await problem { try await agent.set("winrm", nil) }
        #expect(gone?.code == .notFound)
    }

    @Test func aDisabledPolicySaysWhatIsOpenNow() async throws {
        let agent = try await host.agent()
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        let off = try await agent.set("ssh", #"{"ports":["22/tcp"],"enabled":false}"#)
        #expect(off.document.openPorts.map(\.description) == ["22/tcp"])
        #expect(off.document.endedGrants == ["1.1"])
        #expect(off.document.warning?.contains("22/tcp") == true)
    }

    @Test func grantsThatAreToBeKeptGoOnToTheirEnd() async throws {
        let agent = try await host.agent()
        try await agent.open(ask("winrm", from: "198.51.100.7"))
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "2h"))
        #expect(try await agent.set("winrm", nil, keepingGrants: true).document.endedGrants == [])
        let narrowed = try await agent.set(
            "ssh",
            #"{"ports":["22/tcp"],"max_duration":"1h"}"#,
            keepingGrants: true
        )
        #expect(narrowed.document.endedGrants == [])
        try host.expectOpen([
            "198.51.100.7": 120, "198.51.100.7 5985": 10, "198.51.100.7 5986": 10,
        ])
    }

    /// Each way to narrow a policy ends what it allows no longer, and only that.
    @Test(arguments: [
        (#""max_duration":"1h""#, ["2.1"]),
        (#""allowed_sources":["198.51.100.0/25"]"#, ["3.1"]),
        (#""widest_source":{"ipv4":30,"ipv6":64}"#, ["4.1"]),
        (#""requesters":["daemon"]"#, ["2.1", "3.1", "4.1"]),
        (#""requesters":["daemon", "group:bin"]"#, []),
        (#""requesters":["daemon", "group:nogroup"]"#, ["2.1", "3.1", "4.1"]),
        (#""description":"the same", "approvals": 1, "max_active_per_requester": 1"#, []),
    ])
    func narrowingEndsWhatIsNoLongerAllowed(key: String, ended: [String]) async throws {
        let agent = try await host.agent()
        let (daemon, bin) = (local("daemon", 1, [.requester]), local("bin", 2, [.requester]))
        try await agent.open(ask("ssh", from: "198.51.100.1"), by: daemon)
        try await agent.open(ask("ssh", from: "198.51.100.2", for: "3h"), by: bin)
        try await agent.open(ask("ssh", from: "198.51.100.200"), by: bin)
        try await agent.open(ask("ssh", from: "198.51.100.8/29"), by: bin)
        let narrowed = try await agent.set("ssh", #"{"ports":["22/tcp"],\#(key)}"#)
        #expect(narrowed.document.endedGrants == ended)
        #expect(await agent.liveGrants == 4 - ended.count)
    }

    /// What waits under a policy is told with the change: what opens for want of approvals that
    /// it asked for, and what is denied.
    @Test func waitingRequestsThatAChangeConcernsAreTold() async throws {
        let agent = try await host.agent()
        try await agent.set("ssh", #"{"ports":["22/tcp"],"approvals":1}"#)
        try await agent.open(ask("ssh", from: "198.51.100.7"))
        try await agent.open(ask("ssh", from: "198.51.100.8", for: "2h"))
        var later = ask("winrm", from: "198.51.100.9", for: "2h")
        later.at = (host.clocks.now().wall + .seconds(3_600)).description
        try await agent.open(later)
        let same = try await agent.set("ssh", #"{"ports":["22/tcp"],"approvals":2}"#).document
        #expect(same.openedRequests == [] && same.deniedRequests == [])
        let opened = try await agent.set(
            "ssh",
            #"{"ports":["22/tcp"],"max_duration":"1h"}"#
        ).document
        #expect(opened.openedRequests == ["1"])
        #expect(opened.deniedRequests == ["2"])
        #expect(try await agent.request(id: 1, for: dora).state == .active)
        #expect(try await agent.request(id: 2, for: dora).state == .denied)
        let narrowed = #"{"ports":["5985-5986/tcp"],"max_duration":"1h"}"#
        let denied = try await agent.set("winrm", narrowed).document
        #expect(denied.openedRequests == [] && denied.deniedRequests == ["3"])
        // It is told once: another change does not concern it.
        let again = try await agent.set(
            "winrm",
            #"{"ports":["5985-5986/tcp"],"max_duration":"30m"}"#
        ).document
        #expect(again.deniedRequests == [])
        host.clocks.pass(.seconds(3_600))
        await agent.grantsEnded()
        #expect(try await agent.request(id: 3, for: dora).state == .denied)
    }

    /// What can open no more is denied at once, with the reason; what may still change is not.
    @Test func whatCanOpenNoMoreIsDeniedAtOnce() async throws {
        let agent = try await host.agent()
        try await agent.set("ssh", #"{"ports":["22/tcp"],"approvals":1}"#)
        try await agent.open(ask("ssh", from: "198.51.100.7", for: "2h"))
        try await agent.open(ask("ssh", from: "198.51.100.200"))
        let narrowed = try await agent.set(
            "ssh",
            """
            {"ports":["22/tcp"],"approvals":1,"max_duration":"1h",
                "allowed_sources":["198.51.100.0/25"]}
            """
        )
        #expect(narrowed.document.deniedRequests == ["2"])
        #expect(try await agent.request(id: 2, for: dora).state == .denied)
        // Who approves it may shorten it yet.
        #expect(try await agent.request(id: 1, for: dora).state == .pending)
        try files.write("policy.d/all.yaml", "policies: [{name: winrm, ports: [5985/tcp]}]")
        try await agent.reload(by: nil)
        #expect(
            try await eventually {
                try await agent.request(id: 1, for: dora).state == .denied
            }
        )
        let rows = try host.audit("denied")
        #expect(rows.map(\.request) == [2, 1])
        for row in rows {
            #expect(row.subject == nil)
            #expect("\(row)".contains("policy ssh no longer allows it"), "\(row)")
        }
    }

    /// What was kept to start from is older than a change without a row, so that the next start
    /// tells of it.
    @Test func aChangeWithoutARowIsNotKept() async throws {
        let agent = try await host.agent()
        host.store.fail(commit: .full)
        _ = try? await agent.set("ssh", #"{"ports":["22/tcp"],"max_duration":"1h"}"#)
        #expect(await agent.committer.configuration.policies.first?.maxDuration == .seconds(3600))
        #expect(host.remembered.withLock { $0 } == nil)
    }

    @Test func aPolicyThatADelegateNamesIsToBeTakenOutThereFirst() async throws {
        try files.write(
            "sallyport.yaml",
            """
            roles: { admin: [dora] }
            delegates: [{name: portal, user: p, issuers: [c], ceiling: [viewer], policies: [ssh]}]
            """
        )
        let agent = try await host.agent()
        try await agent.reload(by: nil)
        let refused = await problem { try await agent.set("ssh", nil) }
        #expect(refused?.code == .wrongState)
        #expect(
            refused?.detail
                == "cannot remove ssh: delegate portal names it in sallyport.yaml; take "
                + "it out there first, and reload: sallyport policy reload"
        )
        try await agent.set("winrm", nil)
    }

    @Test func whatIsInvalidChangesNothingAndIsRecorded() async throws {
        let agent = try await host.agent()
        let before = try text()
        let refused = await problem {
            try await agent.set("ssh", #"{"ports":["22/icmp"],"reasn":"x"}"#)
        }
        #expect(refused?.code == .configurationInvalid)
        #expect(refused?.violations?.map(\.field) == ["ports[0]", "reasn"])
        #expect(refused?.violations?.map(\.value) == ["22/icmp", "x"])
        let single = await problem { try await agent.set("ssh", #"{"ports":["22/tcp"],"a":1}"#) }
        #expect(single?.detail.hasPrefix("a: unknown key; known are name") == true)
        let renamed = await problem {
            try await agent.set("ssh", #"{"name":"db","ports":["22/tcp"]}"#)
        }
        #expect(renamed?.violations?.map(\.field) == ["name"])
        let shapeless = await problem { try await agent.set("ssh", "[]") }
        #expect(shapeless?.code == .badRequest)
        #expect(try text() == before)
        let rows = try host.audit("configuration-refused")
        #expect(rows.map(\.policy) == ["ssh", "ssh", "ssh"])
        #expect(rows.first?.detail?.contains("reasn: unknown key") == true)
        #expect(try await agent.policy(named: "ssh", for: dora).policy.maxDuration == "3h")
    }

    @Test func conditionsAreHeld() async throws {
        let agent = try await host.agent()
        let tag = try await agent.policy(named: "ssh", for: alice).tag
        let winrm = try await agent.policy(named: "winrm", for: alice).tag
        #expect(tag.hasPrefix("\"") && tag.hasSuffix("\"") && tag != winrm)
        func refusal(_ name: String, _ condition: Precondition) async -> Problem.Code? {
            await problem {
                try await agent.set(name, #"{"ports":["22/tcp"]}"#, if: condition)
            }?.code
        }
        #expect(await refusal("ssh", .matches(tags: [winrm])) == .changedMeanwhile)
        #expect(await refusal("ssh", .isAbsent) == .changedMeanwhile)
        #expect(await refusal("none", .exists) == .changedMeanwhile)
        #expect(await refusal("none", .matches(tags: [tag])) == .changedMeanwhile)
        let changed = try await agent.set(
            "ssh",
            #"{"ports":["2222/tcp"]}"#,
            if: .matches(tags: [winrm, tag])
        )
        let now = try await agent.policy(named: "ssh", for: alice).tag
        #expect(changed.tag == now)
        #expect(now != tag)
        _ = try await agent.set("db", #"{"ports":["1/tcp"]}"#, if: .isAbsent)
    }

    @Test func filesEditedByHandAreReadBeforeTheyAreWritten() async throws {
        let agent = try await host.agent()
        try files.write("policy.d/all.yaml", try text() + "# more\n")
        let refused = await problem { try await agent.set("ssh", nil) }
        #expect(refused?.code == .wrongState)
        #expect(refused?.detail.contains("sallyport policy reload") == true)
        try await agent.reload(by: nil)
        _ = try await agent.set("ssh", nil)
        #expect(try text().hasSuffix("# more\n"))
    }

    @Test func whatTheKernelRefusesIsTakenBack() async throws {
        let agent = try await host.agent()
        try await agent.open(ask("winrm", from: "198.51.100.7"))
        let before = try text()
        for (name, definition) in [
            ("winrm", nil), ("ssh", #"{"ports":["23/tcp"]}"#), ("db", #"{"ports":["1/tcp"]}"#),
        ] {
            host.kernel.fail(.arm, as: .refused)
            let refused = await problem { try await agent.set(name, definition) }
            #expect(refused?.code == .kernelRefused)
            host.kernel.fail()
            #expect(try text() == before)
            #expect(try await isWhatIsOnTheDisk(agent))
        }
        #expect(await agent.liveGrants == 1)
        #expect(try host.audit("policy-changed").isEmpty)
        #expect(try await eventually { try host.managedPorts() == [22, 5985, 5986] })
    }

    @Test func whatCannotBeWrittenIsSaid() async throws {
        let agent = try await host.agent()
        // A folder in the place of the temporary file.
        try files.write("policy.d/.all.yaml.new/x", "")
        let refused = await problem { try await agent.set("winrm", nil) }
        #expect(refused?.code == .configurationNotWritten)
        #expect(refused?.detail.contains("policy.d/all.yaml") == true)
        #expect(try host.managedPorts() == [22, 5985, 5986])
    }

    /// Reloads and changes at the same time: the files are always what is in force.
    @Test func changesAndReloadsDoNotCross() async throws {
        let agent = try await host.agent()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 1...20 {
                group.addTask {
                    _ = try await agent.set("p\(number)", #"{"ports":["\#(100 + number)/tcp"]}"#)
                    try await agent.reload(by: nil)
                    if number % 2 == 0 { _ = try await agent.set("p\(number)", nil) }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await isWhatIsOnTheDisk(agent))
        #expect(try host.managedPorts().count == 13)
    }

    @Test func aReloadRecordsTheDifference() async throws {
        let agent = try await host.agent()
        try files.write(
            "policy.d/all.yaml",
            "policies: [{name: ssh, ports: [22/tcp], max_duration: 1h}, {name: b, ports: [1/tcp]}]"
        )
        try await agent.reload(by: nil)
        #expect(
            try host.audit("configuration-loaded").map(\.detail) == [
                "2 policies; ssh: max_duration 3h -> 1h; b is new; winrm is gone; "
                    + "5985-5986/tcp no longer managed"
            ]
        )
    }

    @Test func unknownNamesAreWarnedOfUntilTheyAreGone() async throws {
        let agent = try await host.agent()
        await agent.checkNames()
        var warnings = try await agent.status(for: vera).agent.warnings
        #expect(warnings.contains { $0.contains("sallyport.yaml:1:") && $0.contains("dora") })
        try files.write("sallyport.yaml", "roles: { admin: [root] }")
        try await agent.reload(by: nil)
        warnings = try await agent.status(for: vera).agent.warnings
        #expect(warnings == [])
        try files.write("sallyport.yaml", "roles: { admin: [nosuch] }")
        try await agent.reload(by: nil)
        #expect(
            try await eventually {
                try await agent.status(for: vera).agent.warnings.count == 1
            }
        )
    }
}

extension Agent {
    @discardableResult
    fileprivate func set(
        _ name: String,
        _ definition: String?,
        if condition: Precondition = .none,
        keepingGrants: Bool = false
    ) async throws -> PolicyChanged {
        try await change(
            policy: name,
            to: definition.map { try JSONValue(json: Array($0.utf8)) },
            if: condition,
            keepingGrants: keepingGrants,
            by: dora
        )
    }
}
