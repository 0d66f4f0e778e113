import Settings
import Testing

/// The limit is for what would never end: each takes some milliseconds, but may wait long for its
/// turn on one of Swift's few threads.
@Suite(.timeLimit(.minutes(20))) struct HostileYAMLTests {
    @Test(arguments: [
        (
            "policies: [",
            "p.yaml:2:1: cannot read this as YAML: while parsing a flow node, did not find expected node content"
        ),
        (
            "a: b: c",
            "p.yaml:1:5: cannot read this as YAML: mapping values are not allowed in this context"
        ),
        (
            "policies:\n\t- name: a",
            "p.yaml:2:1: cannot read this as YAML: while scanning for the next token, found character that cannot start any token"
        ),
        ("policies: [*nothing]", "p.yaml:1:12: cannot read this as YAML: found undefined alias"),
        (
            "policies: []\n---\npolicies: []\n",
            "p.yaml:3:1: a file holds one YAML document, not several"
        ),
        ("policies: []\n...\n---\n", "p.yaml:4:1: a file holds one YAML document, not several"),
        (
            "# é\u{0}\npolicies: []",
            "p.yaml:1:4: cannot read this as YAML: control characters are not allowed"
        ),
    ])
    func refusesWhatIsNotOneDocument(text: String, expected: String) {
        #expect(faults(text) == [expected])
    }

    @Test func refusesAnchorsAndAliases() {
        let text = """
            policies:
              - {name: a, ports: &ports [22/tcp]}
              - {name: b, ports: *ports}
            """
        let message = "YAML anchors and aliases are not read here; write the value out"
        #expect(
            faults(text) == [
                "p.yaml:2:22: policies[0].ports: \(message)",
                "p.yaml:2:22: policies[1].ports: \(message)",
            ]
        )
    }

    @Test func refusesAnAliasBombAtOnce() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        for level in 1...9 {
            let alias = "*a\(level - 1)"
            text +=
                "a\(level): &a\(level) [\(Array(repeating: alias, count: 9).joined(separator: ", "))]\n"
        }
        // As a key its hash would be calculated over all the copies.
        text += "? *a9\n: x\n"
        #expect(
            faults(text) == [
                "p.yaml:3:45: too many YAML aliases, which are not read here; write the values out"
            ]
        )
    }

    @Test func patternsAreNotTakenForAliases() {
        let lines = (1...40).map { number in
            "- {name: p\(number), ports: [\(number)/tcp], ticket_pattern: '^[A-Z]*-(a|b)*x*_*$'}"
        }
        #expect(faults("policies:\n" + lines.joined(separator: "\n")) == [])
    }

    @Test(arguments: [
        String(repeating: "[", count: 100_000), String(repeating: "{a: ", count: 50_000),
        String(repeating: "- ", count: 100_000), String(repeating: "? ", count: 100_000),
        "policies: " + String(repeating: "[", count: 900) + String(repeating: "]", count: 900),
        String(repeating: "&a ", count: 80_000), String(repeating: "!", count: 200_000),
        "policies: [{name: '" + String(repeating: "a", count: 200_000) + "', ports: [1/tcp]}]",
        "policies: [{name: a, ports: [1/tcp], ticket_pattern: '"
            + String(repeating: "(", count: 100_000) + "'}]",
        "policies: [{name: a, ports: [1/tcp], ticket_pattern: '"
            + String(repeating: "(", count: 250) + "'}]",
        String(repeating: "a: 1\n", count: 50_000), String(repeating: "\u{FFFF}", count: 1_000),
    ])
    func readsOrRefusesWhateverItIsGiven(text: String) {
        #expect(!faults(text).isEmpty)
    }

    @Test func keepsABoundedNumberOfFaults() {
        let ports = String(repeating: "1/tcp, ", count: 30_000)
        #expect(faults("policies: [{name: a, ports: [\(ports)]}]").count == 1_000)
    }

    @Test func refusesTextsThatAreTooLong() {
        #expect(
            faults("#" + String(repeating: "x", count: 256 * 1_024))
                == ["p.yaml: is longer than the 262144 bytes that are read"]
        )
    }

    @Test func keepsTextFromOutsideSafeToPrint() {
        #expect(
            faults("\"a\\e[2J\": 1")
                == ["p.yaml:1:1: a\\u{1b}[2J: unknown key; known are policies"]
        )
    }
}
