/// Packets and bytes counted so far.
public struct Counter: Hashable, Sendable {
    /// How many packets.
    public var packets: UInt64
    /// Their bytes, network header included.
    public var bytes: UInt64

    /// Starts counting from the given numbers.
    public init(packets: UInt64 = 0, bytes: UInt64 = 0) {
        self.packets = packets
        self.bytes = bytes
    }
}

/// An element of a set.
public struct SetElement: Hashable, Sendable {
    /// What is looked up; the lower end of a range.
    public var key: Key
    /// The upper end of a range, which belongs to it; for sets with `.interval`.
    ///
    /// In a concatenation each field is a range of its own.
    public var keyEnd: Key?
    /// How long it stays; nil for ever, or the set's default.
    ///
    /// The kernel counts whole milliseconds. A duration is rounded *down*, so that nothing outlives
    /// its time; less than one millisecond is refused.
    public var timeout: Duration?
    /// How much of ``timeout`` is left, in listed elements; never sent.
    public var expiration: Duration?
    /// Up to 128 bytes for people.
    public var comment: String?
    /// What was counted, in listed elements of a set that counts; never sent.
    public var counter: Counter?
    /// What becomes of the packet; for verdict maps.
    public var verdict: Verdict?

    /// Describes an element, or with `keyEnd` a range.
    public init(
        _ key: Key,
        through keyEnd: Key? = nil,
        timeout: Duration? = nil,
        comment: String? = nil,
        verdict: Verdict? = nil
    ) {
        self.key = key
        self.keyEnd = keyEnd
        self.timeout = timeout
        self.comment = comment
        self.verdict = verdict
    }

    /// ``timeout`` in whole milliseconds, rounded down; nil when there is none.
    var timeoutMilliseconds: UInt64? {
        timeout?.kernelMilliseconds
    }
}

extension Duration {
    /// Whole milliseconds as the kernel takes them, rounded down; 0 for what is negative.
    var kernelMilliseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        // The kernel refuses what its clock cannot count (nf_msecs_to_jiffies64), long before this.
        guard seconds < Int64.max / 1000 else { return .max }
        return UInt64(seconds) * 1000 + UInt64(attoseconds / 1_000_000_000_000_000)
    }
}
