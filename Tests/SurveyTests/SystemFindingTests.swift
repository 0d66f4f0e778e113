import API
import Netlink
import Nftables
import Policy
import Testing

@testable import Survey

/// What is not about rules.
struct SystemFindingTests {
    @Test func nothingIsWrongWithAHealthyHost() throws {
        #expect(findings(.healthy, try situation()) == [])
        var examination = Examination(.healthy, try situation())
        let document = examination.document()
        #expect(document.healthy)
    }

    @Test func theGateItselfComesFirst() throws {
        var known = try situation()
        (known.gateFault, known.isGateOwned) = ("the table is missing", false)
        #expect(
            findings(.healthy, known) == [
                "error gate-not-armed inet sallyport", "warning gate-not-owned inet sallyport",
            ]
        )
    }

    @Test func aNearlyFullConnectionTableIsTold() throws {
        var state = HostState.healthy
        (state.connectionCount, state.connectionLimit) = (90, 100)
        #expect(findings(state, try situation()) == [])
        state.connectionCount = 91
        #expect(findings(state, try situation()) == ["warning connections-nearly-full"])
    }

    @Test func forgeableSourcesMatterWhereUDPIsManaged() throws {
        var state = HostState.healthy
        state.reversePathFilters = ["eth0": 2, "eth1": 1, "eth2": 0]
        #expect(findings(state, try situation()) == [])
        #expect(
            findings(state, try situation(["22/any"])) == [
                "warning forgeable-sources", "note forgeable-sources",
            ]
        )
    }

    @Test func theClockIsLookedAt() throws {
        var state = HostState.healthy
        state.isClockSynchronized = false
        #expect(findings(state, try situation()) == ["warning clock-not-synchronized"])
        state.isClockSynchronized = nil
        #expect(findings(state, try situation()) == ["note clock-not-synchronized"])
    }

    @Test func whatSeesPacketsFirstIsTold() throws {
        var state = HostState.healthy
        state.interfaces[0].xdpProgram = 7
        state.interfaces[0].ingressFilters = ["bpf"]
        state.ruleset.flowtables = [
            Flowtable(
                table: Nftables.Table(family: .inet, name: "f"),
                name: "ft",
                priority: 0,
                devices: ["eth0"]
            )
        ]
        #expect(
            findings(state, try situation()) == [
                "warning flowtable inet f", "warning xdp", "warning ingress-filter",
            ]
        )
    }

    @Test func olderIptablesIsTold() throws {
        var state = HostState.healthy
        state.legacyTables = ["ip filter"]
        #expect(findings(state, try situation()) == ["warning legacy-tables"])
    }

    @Test func servicesOfIPVSAreToldAndWhereTheyLeadToManagedPorts() throws {
        let list = """
            IP Virtual Server version 1.2.1 (size=4096)
            Prot LocalAddress:Port Scheduler Flags
              -> RemoteAddress:Port Forward Weight ActiveConn InActConn
            TCP  C0000201:0050 rr
              -> 0A000001:1F90      Masq    1      0          0
            TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:08AE rr
              -> [2001:0db8:0000:0000:0000:0000:0000:0002]:0016      Route   1      0          0
            FWM  00000001 rr

            """
        let services = VirtualService.all(in: list)
        #expect(
            services == [
                .init(kind: "TCP", port: 80, serverPorts: [8080]),
                .init(kind: "TCP", port: 2222, serverPorts: [22]),
                .init(kind: "FWM", port: nil, serverPorts: []),
            ]
        )
        var state = HostState.healthy
        state.virtualServices = services
        #expect(findings(state, try situation()) == ["warning virtual-server: 22/tcp"])
        state.virtualServices = [services[0]]
        #expect(findings(state, try situation()) == ["note virtual-server"])
    }

    @Test func aDelegateBehindAManagedPortNeedsBreakGlass() throws {
        var state = HostState.healthy
        state.listeners.append(
            Listener(transport: 6, address: [0, 0, 0, 0], port: 443, uid: 990)
        )
        var known = try situation(["22/tcp", "443/tcp"])
        known.delegates = [990: "portal"]
        #expect(findings(state, known) == ["warning delegate-managed: 443/tcp"])
        known.hasBreakGlass = true
        #expect(findings(state, known) == [])
    }

    @Test func whatCouldNotBeReadIsTold() throws {
        var state = HostState.healthy
        state.gaps = ["interfaces: no"]
        #expect(findings(state, try situation()) == ["warning incomplete"])
    }

    // MARK: discover

    @Test func eachPortIsInOneOfThreeStates() throws {
        var state = HostState.healthy
        state.listeners += [
            Listener(transport: 6, address: [0, 0, 0, 0], port: 8080, uid: 33, inode: 5),
            Listener(transport: 6, address: [127, 0, 0, 1], port: 5432),
            Listener(transport: 17, address: [127, 0, 0, 53], port: 53),
            Listener(transport: 6, address: [0, 0, 0, 0], port: 3389),
            Listener(transport: 6, address: [0, 0, 0, 0], port: 5986),
        ]
        state.processes = [5: "httpd"]
        var known = try situation()
        known.policies.append(
            AccessPolicy(name: "rdp", ports: try ports("3389/tcp"), enabled: false)
        )
        var examination = Examination(state, known)
        let services = examination.services().services
        #expect(
            services.map { "\($0.port) \($0.state.rawValue) \($0.policy ?? "-")" } == [
                "22/tcp Configured ssh", "3389/tcp Not configured rdp",
                "5986/tcp Not configured -", "53/udp Unsupported -", "5432/tcp Unsupported -",
                "8080/tcp Not configured -",
            ]
        )
        #expect(services[0].addresses == ["0.0.0.0", "::"])
        #expect(services[2].lines == "policies:\n  - name: winrm\n    ports: [5985-5986/tcp]\n")
        #expect(services[5].process == "httpd")
        #expect(services[5].uid == 33)
        #expect(services[5].reason == "open to the network: no policy names it")
        #expect(
            services[5].lines == "policies:\n  - name: port-8080-tcp\n    ports: [8080/tcp]\n"
        )
    }

    @Test func aPolicyOfHostsBehindManagesNoPortOfThisMachine() throws {
        var known = try situation()
        known.policies[0].hosts = [try CIDR(parsing: "203.0.113.0/24")]
        var examination = Examination(.healthy, known)
        let services = examination.services().services
        #expect(services.map(\.state) == [.notConfigured])
        #expect(services[0].policy == nil)
        #expect(services[0].lines == "policies:\n  - name: ssh-more\n    ports: [22/tcp]\n")
    }
}
