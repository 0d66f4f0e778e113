import Policy
import Testing

@Suite struct ExtensionTests {
    private func grant(
        _ policy: String = "ssh",
        _ port: String = "22/tcp",
        source: String = "10.0.0.5",
        left: Int64,
        deadline: Int64 = 50
    ) throws -> Grant {
        Grant(
            id: Grant.ID(request: 17, ordinal: 1),
            policy: policy,
            port: try PortRange(parsing: port),
            source: try cidr(source),
            requester: holders[0],
            startsAt: noon,
            end: GrantEnd(expiresAt: noon + .seconds(left), deadline: boot(deadline))
        )
    }

    private func decide(
        _ grants: [Grant],
        by addition: Duration,
        _ identity: Identity = alice
    ) throws -> PolicySet.ExtensionDecision {
        try hostPolicies().decideExtension(of: grants, by: addition, requester: identity, at: noon)
    }

    @Test func movesBothEndsByTheAddition() throws {
        let old = try grant(left: 600)
        guard case .extend(let ends) = try decide([old], by: .seconds(10_200)) else {
            Issue.record("an extension to exactly the longest time was refused")
            return
        }
        #expect(ends.map(\.id.description) == ["17.1"])
        #expect(ends.first?.from == old.end)
        #expect(
            ends.first?.until
                == GrantEnd(expiresAt: noon + .seconds(10_800), deadline: boot(10_200_050))
        )
    }

    @Test func theTimeLeftMayNotExceedTheLongest() throws {
        #expect(
            try decide([grant(left: 600)], by: .seconds(10_201))
                == .refused([
                    Violation(
                        field: "duration",
                        value: "2h50m1s",
                        allowed: "at most 2h50m",
                        message: "cannot extend grant 17.1 by 2h50m1s: policy ssh allows at most "
                            + "3h from now, which leaves 2h50m"
                    )
                ])
        )
    }

    @Test(arguments: [Duration.seconds(Int64.max), .seconds(10_801)], [Int64.min, 0, .max])
    func noNumberOverflows(addition: Duration, end: Int64) throws {
        var grant = try grant(left: 0, deadline: .max)
        grant.end.expiresAt = Timestamp(milliseconds: end)
        guard case .refused = try decide([grant], by: addition) else {
            Issue.record("more than the longest time was allowed")
            return
        }
    }

    @Test(arguments: [Duration.zero, .seconds(-1)])
    func nothingIsNoExtension(addition: Duration) throws {
        guard case .refused(let violations) = try decide([grant(left: 1)], by: addition) else {
            Issue.record("an extension by nothing was allowed")
            return
        }
        #expect(violations.map(\.allowed) == ["more than 0s"])
    }

    @Test(arguments: [
        ("gone", "22/tcp", "10.0.0.5"), ("telnet", "23/tcp", "10.0.0.5"),
        ("ssh", "2222/tcp", "10.0.0.5"), ("ssh", "22/tcp", "11.0.0.5"),
    ])
    func aPolicyThatNoLongerAllowsItExtendsNothing(
        policy: String,
        port: String,
        source: String
    ) throws {
        let old = try grant(policy, port, source: source, left: 1)
        #expect(
            try decide([grant(left: 1), old], by: .seconds(1))
                == .refused([
                    Violation(
                        field: "id",
                        value: "17.1",
                        allowed: "a new request",
                        message: "cannot extend grant 17.1: policy \(policy) no longer allows "
                            + "\(port) from \(source)/32"
                    )
                ])
        )
    }

    @Test func whoMayNotAskMayNotExtend() throws {
        let rdp = try grant("rdp", "3389/tcp", left: 1)
        #expect(
            try decide([rdp], by: .seconds(1))
                == .notPermitted("cannot open rdp: alice is not among its requesters")
        )
        let vera = local("vera", uid: 2, groups: ["ops"])
        #expect(
            try decide([grant(left: 1)], by: .seconds(1), vera)
                == .notPermitted("cannot ask for access: vera is not a requester")
        )
        guard case .extend = try decide([rdp], by: .seconds(1), root) else {
            Issue.record("root was refused")
            return
        }
    }
}
