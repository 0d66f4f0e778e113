/// Where a request or a grant stands.
public enum RequestState: String, Codable, Hashable, Sendable, CaseIterable {
    /// Others have to agree.
    case pending
    /// Agreed on; its start lies ahead.
    case scheduled
    /// Open.
    case active
    /// It was open and has ended.
    case expired, revoked, superseded
    /// It never opened: an approver said no, its requester took it back, nobody answered in time,
    /// the kernel refused.
    case denied, cancelled, lapsed, failed

    /// Whether it has opened nothing yet, and may.
    public var isWaiting: Bool { self == .pending || self == .scheduled }
}

/// Where a grant stands: as requests do.
public typealias GrantState = RequestState

/// Why a grant ended.
public enum EndReason: String, Codable, Hashable, Sendable, CaseIterable {
    /// Its time was over.
    case expired
    /// Its requester closed it.
    case closedByRequester = "closed-by-requester"
    /// An admin closed it.
    case closedByAdmin = "closed-by-admin"
    /// Its policy was removed, or allows it no longer.
    case policyChanged = "policy-changed"
    /// The same requester asked for the same port and source again.
    case newerRequest = "newer-request"
    /// After a restart it could not be told whether its time was over.
    case clockUntrusted = "clock-untrusted"
    /// More was closed than could be noted while the disk was full: after a restart it could not be
    /// told whether this was.
    case ledgerFull = "ledger-full"
    /// The kernel did not take it.
    case kernelRefused = "kernel-refused"

    /// Where a grant stands that ended so.
    public var state: GrantState {
        switch self {
        case .expired: .expired
        case .closedByRequester, .closedByAdmin, .policyChanged, .clockUntrusted, .ledgerFull:
            .revoked
        case .newerRequest: .superseded
        case .kernelRefused: .failed
        }
    }
}

/// When a grant ends, by both clocks; the earlier counts.
public struct GrantEnd: Hashable, Sendable {
    /// The instant that was promised.
    public var expiresAt: Timestamp
    /// The same by the clock that nobody sets.
    public var deadline: BootTime

    /// Takes the readings of both clocks.
    public init(expiresAt: Timestamp, deadline: BootTime) {
        self.expiresAt = expiresAt
        self.deadline = deadline
    }
}

/// Who holds a grant.
public struct Requester: Hashable, Sendable {
    /// Who it is, for good.
    public var subject: Subject
    /// The person's name when the request was made.
    public var name: String
    /// The delegate that asked for the person; nil where the person asked.
    public var via: String?

    /// Takes the parts.
    public init(subject: Subject, name: String, via: String? = nil) {
        self.subject = subject
        self.name = name
        self.via = via
    }
}

/// A live grant: one opening, by whom and until when.
public struct Grant: Hashable, Sendable, Identifiable {
    /// The number of the request and the place in it, from 1: `17.1`.
    public struct ID: TextForm, Comparable, LosslessStringConvertible {
        /// The number of the request, from 1.
        public var request: Int64
        /// The place in the request, from 1.
        public var ordinal: Int

        /// Takes the number of a request and a place in it.
        public init(request: Int64, ordinal: Int) {
            self.request = request
            self.ordinal = ordinal
        }

        /// Reads `17.1`.
        public init(parsing text: String) throws(ParseError) {
            let bytes = text.utf8
            guard let point = bytes.firstIndex(of: UInt8(ascii: ".")),
                let request = Self.number(bytes[..<point]),
                let ordinal = Self.number(bytes[point...].dropFirst())
            else { throw ParseError(text, "write the id of a grant like 17.1") }
            self.init(request: request, ordinal: Int(ordinal))
        }

        /// A number from 1 as `description` writes it.
        private static func number(_ digits: Substring.UTF8View) -> Int64? {
            guard (1...19).contains(digits.count), digits.first != UInt8(ascii: "0") else {
                return nil
            }
            var number: Int64 = 0
            for digit in digits {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
                let (tens, overflow) = number.multipliedReportingOverflow(by: 10)
                number = tens &+ Int64(digit - UInt8(ascii: "0"))
                guard !overflow, number > 0 else { return nil }
            }
            return number
        }

        /// Reads `17.1`; nil for anything else.
        public init?(_ description: String) {
            guard let id = try? Self(parsing: description) else { return nil }
            self = id
        }

        /// The text form.
        public var description: String {
            String(capacity: 40) { bytes in
                bytes.append(decimal: request)
                bytes.append(UInt8(ascii: "."))
                bytes.append(decimal: ordinal)
            }
        }

        /// By request, then place.
        public static func < (a: Self, b: Self) -> Bool {
            (a.request, a.ordinal) < (b.request, b.ordinal)
        }
    }

    /// The id, unique for ever.
    public let id: ID
    /// The policy that allowed it.
    public var policy: String
    /// The ports that are open.
    public var port: PortRange
    /// The host behind this machine that they are open on; nil: this machine itself.
    public var host: IPAddress?
    /// The range that is let in.
    public var source: CIDR
    /// Who asked.
    public var requester: Requester
    /// When it opened.
    public var startsAt: Timestamp
    /// When it ends: by the wall clock, and by the clock since boot, so that setting the wall clock
    /// back does not lengthen it.
    public var end: GrantEnd

    /// Takes the parts of a grant.
    public init(
        id: ID,
        policy: String,
        port: PortRange,
        host: IPAddress? = nil,
        source: CIDR,
        requester: Requester,
        startsAt: Timestamp,
        end: GrantEnd
    ) {
        self.id = id
        self.policy = policy
        self.port = port
        self.host = host
        self.source = source
        self.requester = requester
        self.startsAt = startsAt
        self.end = end
    }
}

/// A request that was granted, with what it opens.
public struct AccessRequest: Hashable, Sendable, Identifiable {
    /// The number, from 1.
    public let id: Int64
    /// Who asked.
    public var requester: Person
    /// What was asked, in the requester's words.
    public var ask: Ask
    /// When it was asked.
    public var createdAt: Timestamp
    /// The key under which a repetition of the request is recognised.
    public var idempotencyKey: String?
    /// What it opens.
    public var grants: [Grant]
    /// How it waited before; nil where it opened as soon as it was asked.
    public var wait: Wait?

    /// Takes the parts of a request.
    public init(
        id: Int64,
        requester: Person,
        ask: Ask,
        createdAt: Timestamp,
        idempotencyKey: String?,
        grants: [Grant]
    ) {
        self.id = id
        self.requester = requester
        self.ask = ask
        self.createdAt = createdAt
        self.idempotencyKey = idempotencyKey
        self.grants = grants
    }
}
