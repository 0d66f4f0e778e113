/// What verifying the audit trail came to.
public struct AuditVerification: Codable, Hashable, Sendable {
    /// What is wrong with one event.
    public struct Fault: Codable, Hashable, Sendable {
        /// The kinds of fault.
        public enum Code: String, Codable, Hashable, Sendable, CaseIterable {
            /// An event is not what follows from the one before: it was changed, put there or moved.
            case changed
            /// Events that were recorded are missing in the middle.
            case removed
            /// Events that were recorded are missing at the end, or are not those.
            case truncated
            /// There are events at the end that were never recorded.
            case added
            /// What stands for pruned events is not what was pruned.
            case anchor
            /// The head that was given is of no event.
            case unknownHead = "unknown-head"
        }

        /// The event, or the first that is missing.
        public var sequence: Int64
        /// What is wrong.
        public var code: Code
        /// The same, for people.
        public var message: String

        /// Takes the parts.
        public init(sequence: Int64, code: Code, message: String) {
            self.sequence = sequence
            self.code = code
            self.message = message
        }
    }

    /// Whether nothing is wrong.
    public var intact: Bool
    /// How many events were looked at.
    public var events: Int64
    /// The sequence number of the newest event; 0 where there is none.
    public var last: Int64
    /// The hash of the newest event.
    public var head: String
    /// The newest of the events that were pruned; absent where none were.
    public var prunedThrough: Int64?
    /// The event of the head that was given; absent where there is none.
    public var given: Int64?
    /// How many faults there are.
    public var faultCount: Int
    /// The first of them, 100 at the most.
    public var faults: [Fault]

    /// Takes the parts.
    public init(
        events: Int64,
        last: Int64,
        head: String,
        prunedThrough: Int64?,
        given: Int64?,
        faultCount: Int,
        faults: [Fault]
    ) {
        intact = faultCount == 0
        self.events = events
        self.last = last
        self.head = head
        self.prunedThrough = prunedThrough
        self.given = given
        self.faultCount = faultCount
        self.faults = faults
    }
}
