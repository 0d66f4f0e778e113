import Policy
import Testing
import TestSupport

@Suite struct DecisionPropertyTests {
    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func whatIsOpenedBreaksNoLimit(seed: UInt64) throws {
        var generator = Generator(seed: seed)
        var opened = 0
        for _ in 0..<20 {
            let policies = generator.policies()
            let held = generator.int(0...3)
            let ask = generator.ask()
            let decision = policies.decide(ask, by: alice, at: noon) { _ in held }
            guard case .open(let openings, let duration, _) = decision else { continue }
            opened += 1
            #expect(!openings.isEmpty && Set(openings).count == openings.count)
            #expect(duration > .zero)
            for opening in openings {
                let policy = try #require(policies.policy(named: opening.policy))
                #expect(policy.enabled)
                #expect(policy.requesters?.contains(.group("ops")) ?? true)
                #expect(policy.ports.contains { $0.contains(opening.port) })
                #expect(policy.allowedSources.contains { $0.contains(opening.source) })
                let widest = policy.widestSource.prefixLength(opening.source.family)
                #expect(opening.source.prefixLength >= widest)
                #expect(duration <= policy.maxDuration)
                let reason = ask.trimmedReason ?? ""
                #expect(policy.reason == .optional || !reason.isEmpty)
                #expect(reason.isEmpty || reason.count >= policy.reasonMinLength)
                #expect(policy.ticketPattern == nil || ask.ticket?.hasPrefix("OPS-") == true)
                let added = openings.count { $0.policy == policy.name }
                #expect(held + added <= policy.maxActivePerRequester)
                // Nothing is opened that was not asked for.
                #expect(ask.targets.contains { $0 == policy.name || $0 == "\(opening.port)" })
                #expect(ask.sources.contains { (try? cidr($0)) == opening.source })
            }
        }
        #expect(opened > 0, "no request was allowed, so nothing was checked")
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func theNearestAllowedValuesLeadToAnOpening(seed: UInt64) throws {
        var generator = Generator(seed: seed)
        var corrected = 0
        for _ in 0..<20 {
            let policies = generator.policies()
            var ask = generator.ask()
            let original = ask
            // A corrected target brings the limits of its policy with it: hence several rounds.
            for round in 0..<4 {
                let decision = policies.decide(ask, by: alice, at: noon) { _ in 0 }
                guard case .refused(let violations) = decision else {
                    corrected += round > 0 ? 1 : 0
                    break
                }
                guard let better = correct(ask, violations) else { break }
                #expect(round < 3, "\(original) became \(ask): \(violations)")
                ask = better
            }
        }
        #expect(corrected > 0, "no request was corrected, so nothing was checked")
    }

    /// The request with every allowed value in the place of the refused one; nil where a limit
    /// names no single value.
    private func correct(_ ask: Ask, _ violations: [Violation]) -> Ask? {
        var ask = ask
        for violation in violations {
            let limit = violation.allowed.replacing("at most ", with: "")
            let index = violation.field.split { !$0.isNumber }.first.flatMap { Int($0) }
            switch (violation.field.prefix { $0 != "[" }, index) {
            case ("targets", let index?):
                guard !violation.allowed.contains(","), violation.allowed != "nothing" else {
                    return nil
                }
                ask.targets[index] = violation.allowed
            case ("sources", let index?):
                guard (try? cidr(violation.allowed)) != nil else { return nil }
                ask.sources[index] = violation.allowed
            case ("duration", _): ask.duration = limit
            case ("until", _) where violation.allowed == "duration or until": ask.until = nil
            case ("until", _) where violation.allowed.hasPrefix("after "):
                let now = try? instant(violation.allowed.replacing("after ", with: ""))
                ask.until = now.map { ($0 + .milliseconds(1)).description }
            case ("until", _): ask.until = ask.until == nil ? nil : limit
            case ("reason", _): ask.reason = "twelve letters"
            case ("ticket", _): ask.ticket = "OPS-7"
            default: return nil
            }
        }
        return ask
    }
}

extension Generator {
    mutating func policies() -> PolicySet {
        let ports = [["22/tcp"], ["3389/any", "3390/udp"], ["5985-5986/tcp"], ["8000-9999/any"]]
        let policies = zip(["ssh", "rdp", "winrm", "lab"], ports).map { name, texts in
            AccessPolicy(
                name: name,
                ports: texts.compactMap { try? port($0) },
                allowedSources: pick(
                    [
                        ["0.0.0.0/0", "::/0"], ["10.0.0.0/8", "2001:db8::/32"],
                        ["10.0.0.0/30", "::/0"],
                        ["10.0.0.0/12", "10.0.0.4/32", "0.0.0.0/1"],
                    ].map { ranges in ranges.compactMap { try? cidr($0) } }
                ),
                maxDuration: .seconds(pick([300, 3_600, 10_800])),
                defaultDuration: chance(50) ? .seconds(300) : nil,
                widestSource: WidestSource(ipv4: int(0...32), ipv6: int(0...128)),
                requesters: pick([nil, nil, [.group("ops")], [.user("bob")]]),
                reason: pick(ReasonRule.allCases),
                reasonMinLength: int(0...12),
                ticketPattern: pick([nil, nil, try? TicketPattern(parsing: "^OPS-[0-9]+$")]),
                maxActivePerRequester: int(4...40),
                enabled: chance(90)
            )
        }
        return PolicySet(policies: policies, roles: requesters)
    }

    /// A request of which one value in five is wrong by itself.
    mutating func ask() -> Ask {
        let targets = ["ssh", "rdp", "winrm", "22/tcp", "3389/tcp", "8000-8010/udp"]
        let wrongTargets = ["lab", "shh", "22", "20-30/tcp", "8080/TCP"]
        let sources = ["10.0.0.1", "10.0.0.1/32", "::ffff:10.0.0.2", "2001:db8::1"]
        let wrongSources = [
            "10.0.0.0/24", "0.0.0.0/0", "10.0.0.7/24", "::/0", "2001:db8::/64", "fe80::1%eth0",
        ]
        var ask = Ask(
            targets: (0..<int(1...2)).map { _ in pick(chance(20) ? wrongTargets : targets) },
            sources: (0..<int(1...2)).map { _ in pick(chance(20) ? wrongSources : sources) },
            reason: chance(20) ? pick([nil, "", "x", "line\nbreak"]) : "twelve letters",
            ticket: chance(20) ? pick([nil, "OPS-", "DEV-1"]) : "OPS-1"
        )
        if chance(60) { ask.duration = chance(30) ? pick(["4h", "90", "soon", "0s"]) : "5m" }
        if ask.duration == nil || chance(10) {
            ask.until =
                chance(40)
                ? pick(["2026-12-02T12:00:00Z", "2026-12-01T11:00:00Z", "tomorrow"])
                : pick([nil, "2026-12-01T12:05:00Z"])
        }
        return ask
    }
}
