import API
import Policy

/// One document of each kind, with every field that is optional in it present.
enum Samples {
    static let instant = Timestamp(milliseconds: 1_796_144_400_000)
    /// Nobody has all of it: what only users of this host have, and what only others do.
    static let who = {
        let login = Origin.Login(uid: 1001, name: "bob")
        let origin = Origin.process(Origin.Process(pid: 4711, startedAt: 1, login: login))
        var who = WhoDocument(Person(subject: .local(uid: 1000), name: "alice", origin: origin))
        who.via = "portal"
        who.address = parsed([IPAddress].self, "198.51.100.7").first
        who.session = "k3J9"
        return who
    }()

    /// What everybody has.
    static let anybody = {
        var who = Samples.who
        (who.uid, who.pid, who.login, who.via, who.address, who.session) =
            (nil, nil, nil, nil, nil, nil)
        return who
    }()

    static let delegate = Delegate(
        name: "portal",
        user: "daemon",
        issuers: ["corp"],
        ceiling: [.viewer, .requester, .approver],
        policies: ["ssh"]
    )
    static let delegation = DelegationDocument(delegate, groups: ["corp": ["ops", "leads"]])

    static let accessPolicy = AccessPolicy(
        name: "ssh",
        description: "SSH for operators",
        ports: parsed([PortRange].self, "22/tcp"),
        hosts: parsed([CIDR].self, "203.0.113.0/24"),
        requesters: [.group("ops")],
        approvers: [.group("leads")],
        ticketPattern: parsed([TicketPattern].self, "^OPS-[0-9]+$")[0]
    )
    static let policy = PolicyDocument(accessPolicy)
    static let policies = PolicyList(policies: [policy])
    static let tag = "\"3d\""
    static let policyChange = PolicyChangeDocument(
        policy: policy,
        file: "/etc/sallyport/policy.d/ssh.yaml",
        changes: ["max_duration 3h -> 1h"],
        endedGrants: ["17.1"],
        openedRequests: ["18"],
        deniedRequests: ["19"],
        openPorts: parsed([OpenPort].self, "22/tcp")
    )

    static let grant = GrantDocument(
        id: "17.1",
        request: "17",
        requester: who,
        reason: "disk full",
        policy: "ssh",
        port: parsed([PortRange].self, "22/tcp")[0],
        host: parsed([IPAddress].self, "203.0.113.2")[0],
        source: parsed([CIDR].self, "192.0.2.7/32")[0],
        state: .expired,
        startsAt: instant,
        expiresAt: instant,
        endedAt: instant,
        endReason: .expired,
        remainingSeconds: 60,
        packets: 3,
        bytes: 180,
        firstUsedAt: instant,
        lastUsedAt: instant,
        cutSessions: ["5f0c2e91a7d4"]
    )
    static let session = {
        var session = Session(
            transport: .tcp,
            client: hostPort("192.0.2.7", 50_000),
            destination: hostPort("192.0.2.1", 22),
            server: hostPort("10.0.0.2", 2_222)
        )
        session.startedAt = instant
        session.traffic = .init(packets: 3, bytes: 180)
        return SessionDocument(
            session,
            id: "5f0c2e91a7d4",
            port: grant.port,
            standing: .granted,
            policy: "ssh",
            grants: ["17.1"],
            requester: who
        )
    }()
    static let sessions = SessionList(sessions: [session])

    private static func hostPort(_ address: String, _ port: UInt16) -> HostPort {
        HostPort(address: parsed([IPAddress].self, address)[0], port: port)
    }

    static let grants = GrantList(grants: [grant], next: "17")

    static let approval = {
        let person = Person(
            subject: .local(uid: 1002),
            name: "carol",
            origin: .process(Origin.Process(pid: 4712))
        )
        var approval = ApprovalDocument(
            Approval(by: person, at: instant, duration: .seconds(2_700), policies: ["ssh"])
        )
        approval.who = who
        return approval
    }()

    static let request = RequestDocument(
        id: "17",
        state: .active,
        requester: who,
        reason: "disk full",
        ticket: "OPS-1",
        duration: "45m",
        revision: 2,
        createdAt: instant,
        startsAt: instant,
        pendingUntil: instant,
        decidedAt: instant,
        decidedBy: who,
        decision: "not now",
        approvals: [approval],
        needs: [
            NeedDocument(
                Need(policy: "ssh", approvals: 2, given: 1, approvers: [.group("leads")])
            )
        ],
        extends: "16",
        grants: [grant],
        superseded: [SupersededDocument(id: "16.1", expiresAt: instant)]
    )
    static let requests = RequestList(requests: [request], next: "16")

    static let status = StatusDocument(
        agent: AgentStatus(
            version: "0.1.0",
            pid: 1,
            startedAt: instant,
            configuredAt: instant,
            configuration: .files,
            configurationError: "cannot read policy.d/a.yaml",
            warnings: ["sallyport.yaml:2:17: this host knows no user alyce"],
            liveGrants: 1
        ),
        gate: GateStatus(
            armed: false,
            fault: "the table is gone",
            disarmed: DisarmedDocument(at: instant, by: "dora"),
            table: "inet sallyport",
            owned: true,
            kernel: "6.18.0",
            droppedPackets: 9,
            refusedFault: "this kernel has no nfnetlink_log",
            connectionsFault: "net.netfilter.nf_conntrack_events is 0",
            breakGlass: [
                BreakGlassStatus(source: parsed([CIDR].self, "192.0.2.10/32")[0], packets: 0)
            ]
        ),
        ledgerFault: "the disk is full",
        auditFault: "events 3 to 4 are missing",
        unconfirmed: UnconfirmedDocument(
            change: .policies,
            at: instant,
            by: "dora",
            until: instant
        ),
        policies: [
            PolicyStatus(
                name: "ssh",
                description: "SSH for operators",
                ports: parsed([PortRange].self, "22/tcp"),
                hosts: parsed([CIDR].self, "203.0.113.0/24"),
                sessions: .keep,
                enabled: true,
                activeGrants: 1,
                requests7d: 2,
                lastAccess: LastAccess(
                    at: instant,
                    who: who,
                    ports: parsed([PortRange].self, "22/tcp"),
                    hosts: parsed([IPAddress].self, "203.0.113.2"),
                    sources: parsed([CIDR].self, "192.0.2.7/32")
                )
            )
        ],
        you: YouDocument(
            who: who,
            roles: [.requester],
            may: ["ask for access"],
            asks: ["ssh"],
            approves: ["ssh"]
        )
    )

    static let discovery = DiscoverDocument(
        services: [
            ServiceDocument(
                port: "8080/tcp",
                state: .notConfigured,
                reason: "open to the network: no policy names it",
                addresses: ["0.0.0.0"],
                uid: 0,
                process: "docker-proxy",
                target: "172.17.0.2:80",
                rule: "ip nat DOCKER 4",
                policy: "web",
                lines: "policies:\n  - name: port-8080-tcp\n    ports: [8080/tcp]\n"
            )
        ],
        gaps: ["the ruleset kept changing while it was read"]
    )
    static let examination = DoctorDocument(
        findings: [
            Finding(
                .error,
                .dropsGranted,
                "the policy of chain ip filter INPUT drops 22/tcp",
                advice: "ufw allow 22/tcp",
                table: "ip filter",
                chain: "INPUT",
                handle: 4,
                ports: ["22/tcp"]
            )
        ],
        rules: 12
    )
    static let policiesChange = PoliciesChangeDocument(
        changes: ["ssh: max_duration 3h -> 1h"],
        endedGrants: ["17.1"],
        openedRequests: ["18"],
        deniedRequests: ["19"],
        openPorts: parsed([OpenPort].self, "3389/tcp"),
        confirmUntil: instant
    )
    static let confirmation = ConfirmationDocument(confirmed: .policies, endedGrants: ["17.1"])

    static let preview = PreviewDocument(
        duration: .seconds(2700),
        startsAt: instant,
        needs: [NeedDocument(policy: "ssh", approvals: 1, given: 0, approvers: ["group:leads"])],
        grants: [
            Opening(
                policy: "ssh",
                port: parsed([PortRange].self, "22/tcp")[0],
                host: parsed([IPAddress].self, "203.0.113.2")[0],
                source: parsed([CIDR].self, "192.0.2.7/32")[0]
            )
        ],
        superseded: [SupersededDocument(id: "16.1", expiresAt: instant)]
    )

    static let auditRow = {
        let login = Origin.Login(uid: 1001, name: "bob")
        let origin = Origin.process(Origin.Process(pid: 4711, startedAt: 1, login: login))
        let person = Person(subject: .local(uid: 0), name: "root", via: "portal", origin: origin)
        var row = AuditRow(sequence: 17, at: instant, event: "ended", by: person)
        (row.address, row.session) = ("198.51.100.7", "k3J9")
        (row.request, row.grant) = ("17", "17.1")
        (row.requester, row.requesterName) = ("unix:1000", "alice")
        (row.policy, row.port, row.host) = ("ssh", "22/tcp", "203.0.113.2")
        row.source = "192.0.2.7/32"
        (row.reason, row.ticket) = ("disk full", "OPS-1")
        (row.outcome, row.detail) = ("revoked", "closed-by-admin")
        row.hash = AuditRow.firstHash
        return row
    }()
    static let verification = AuditVerification(
        events: 17,
        last: 18,
        head: AuditRow.firstHash,
        prunedThrough: 1,
        given: 17,
        faultCount: 1,
        faults: [.init(sequence: 4, code: .changed, message: "event 4 was changed")]
    )

    static let refused = {
        var book = RefusedBook()
        book.note(
            RefusedAttempt(
                source: parsed([IPAddress].self, "198.51.100.9")[0],
                destination: parsed([IPAddress].self, "192.0.2.1")[0],
                transport: .tcp,
                port: 22
            ),
            at: Moment(wall: instant, boot: BootTime(milliseconds: 1))
        )
        return RefusedList(
            since: instant,
            fault: "another program holds the group",
            refused: book.attempts().map { RefusedDocument($0, policy: "ssh") }
        )
    }()
    static let metrics = {
        var page = MetricsPage()
        page.add("sallyport_grants", .gauge, "Live grants.", .init(2, ["policy": "ssh"]))
        return page
    }()

    static let ending = EndingDocument(
        Grant(
            id: Grant.ID(request: 17, ordinal: 1),
            policy: "ssh",
            port: parsed([PortRange].self, "22/tcp")[0],
            host: parsed([IPAddress].self, "203.0.113.2")[0],
            source: parsed([CIDR].self, "192.0.2.7/32")[0],
            requester: Requester(subject: .local(uid: 1000), name: "alice"),
            startsAt: instant,
            end: GrantEnd(expiresAt: instant, deadline: BootTime(milliseconds: 1))
        ),
        remainingSeconds: 60
    )

    static let violation = Violation(
        field: "duration",
        value: "5h",
        allowed: "at most 3h",
        message: "5h is longer than 3h"
    )
    static let problem = Problem(.outsidePolicy, "cannot open", violations: [violation])

    private static func parsed<Value: TextForm>(_ type: [Value].Type, _ text: String) -> [Value] {
        (try? [Value(parsing: text)]) ?? []
    }
}
