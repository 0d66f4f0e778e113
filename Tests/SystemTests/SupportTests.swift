import TestSupport
import Testing

@Test(.blocking) func aNamespaceHasNothingButLoopback() throws {
    let links = try inNetworkNamespace { try shell("ip", "-o", "link").get() }
    #expect(links.split(separator: "\n").count == 1)
    #expect(links.contains("LOOPBACK,UP"))
}

@Test(.blocking) func aVethPairJoinsTwoNamespaces() throws {
    let (host, client) = (try NetworkNamespace(), try NetworkNamespace())
    try host.connect("host0", ["10.9.0.1/24"], to: client, "client0", ["10.9.0.2/24"])
    let answer = try client.run {
        try shell("timeout", "2", "bash", "-c", "</dev/tcp/10.9.0.1/9")
    }
    // A refusal came back from the other end; without a connection there is only silence.
    #expect(answer.errors.contains("Connection refused"), "\(answer.errors)")
}

@Test func aTestThatDoesNotSaySoMayNotBlock() {
    #expect(throws: BlocksPool.self) { try shell("true") }
    #expect(throws: BlocksPool.self) { try inNetworkNamespace {} }
}

@Test(.blocking) func aTestThatSaysSoMayBlockInAllItsTasks() async throws {
    async let child = shell("true")
    #expect(try shell("true").status == 0)
    #expect(try await child.status == 0)
}
