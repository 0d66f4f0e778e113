extension [Expression] {
    /// The expressions in nft's syntax.
    var nftText: String { map(\.kernelName).joined(separator: " ") }
}
