import Nftables
import TestSupport
import Testing

@Test func nftPrintsEveryRuleInItsOwnSyntax() throws {
    let listing = try inNetworkNamespace {
        try Connection().commit(Ruleset.creation)
        return try shell("nft", "list", "ruleset").get()
    }
    #expect(listing.contains("ct direction reply accept"))
}
