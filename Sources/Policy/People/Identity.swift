/// Somebody as the audit trail knows them: who it is, who speaks for them, and where from.
public struct Person: Hashable, Sendable {
    /// Who it is, for good.
    public var subject: Subject
    /// What people call them: the user's name, or what the issuer displays.
    public var name: String
    /// The delegate that speaks for them; nil where they speak for themselves.
    public var via: String?
    /// Where the request came from.
    public var origin: Origin

    /// Takes the parts.
    public init(subject: Subject, name: String, via: String? = nil, origin: Origin) {
        self.subject = subject
        self.name = name
        self.via = via
        self.origin = origin
    }
}

/// Where a request came from.
public enum Origin: Hashable, Sendable {
    /// A process of this host, as the kernel noted it when it connected.
    case process(Process)
    /// A client elsewhere, as the delegate tells it, and its session there.
    case client(address: IPAddress, session: String)

    /// A process of this host.
    public struct Process: Hashable, Sendable {
        /// The process id; ids are used again, but not with the same start time.
        public var pid: Int32
        /// Clock ticks from boot to its start (proc(5), `stat` field 22); nil where it had ended.
        public var startedAt: UInt64?
        /// Who logged in to the session it belongs to, and so who called `sudo`; nil where the
        /// kernel does not know.
        public var login: Login?

        /// Takes the parts.
        public init(pid: Int32, startedAt: UInt64? = nil, login: Login? = nil) {
            self.pid = pid
            self.startedAt = startedAt
            self.login = login
        }
    }

    /// The user that a session was begun by, which `su` and `sudo` do not change
    /// (`/proc/PID/loginuid`).
    public struct Login: Hashable, Sendable {
        /// The user id.
        public var uid: UInt32
        /// The user's name; where the id has none, the id in digits.
        public var name: String

        /// Takes an id and its name.
        public init(uid: UInt32, name: String) {
            self.uid = uid
            self.name = name
        }
    }
}

/// Who asks: a person and the groups that rights come from.
public struct Identity: Hashable, Sendable {
    /// Who it is, for good.
    public var subject: Subject
    /// The user's name; where the id has none, the id in digits.
    ///
    /// For a remote person what the issuer displays, which gives no right.
    public var name: String
    /// The names of all groups of the process; for a remote person those its issuer asserts.
    public var groups: Set<String>
    /// The delegate that speaks for a remote person; nil for a user of this host.
    public var via: Delegate?
    /// Where the request came from.
    public var origin: Origin

    /// Takes the parts.
    public init(
        subject: Subject,
        name: String,
        groups: Set<String>,
        via: Delegate? = nil,
        origin: Origin
    ) {
        self.subject = subject
        self.name = name
        self.groups = groups
        self.via = via
        self.origin = origin
    }

    /// What of it is recorded.
    public var person: Person {
        Person(subject: subject, name: name, via: via?.name, origin: origin)
    }
}

/// A program of this host that speaks for people whom issuers know, within limits of its own.
public struct Delegate: Hashable, Sendable {
    /// How much a delegate may ask for.
    public struct Limits: Hashable, Sendable {
        /// Requests for access in a minute, of all its people.
        public var requestsPerMinute: Int
        /// Requests for access in a minute, of one person.
        public var perPersonPerMinute: Int
        /// Live grants of all its people.
        public var liveGrants: Int

        /// Takes the limits; the defaults are those of the configuration.
        public init(
            requestsPerMinute: Int = 60,
            perPersonPerMinute: Int = 6,
            liveGrants: Int = 200
        ) {
            self.requestsPerMinute = requestsPerMinute
            self.perPersonPerMinute = perPersonPerMinute
            self.liveGrants = liveGrants
        }
    }

    /// The name, which the audit trail shows.
    public var name: String
    /// The user it runs as, which may do nothing for itself.
    public var user: String
    /// The issuers whose people it may speak for.
    public var issuers: [String]
    /// The roles its people can have at the most; never admin.
    public var ceiling: Set<Role>
    /// The policies it may ask under; nil for all.
    public var policies: Set<String>?
    /// Whether a source must be the address that the person comes from.
    public var ownAddressOnly: Bool
    /// How long ago a person may have logged in.
    public var maxLoginAge: Duration
    /// How much it may ask for.
    public var limits: Limits

    /// Takes the parts; the defaults are those of the configuration.
    public init(
        name: String,
        user: String,
        issuers: [String],
        ceiling: Set<Role>,
        policies: Set<String>? = nil,
        ownAddressOnly: Bool = false,
        maxLoginAge: Duration = .seconds(8 * 3_600),
        limits: Limits = Limits()
    ) {
        self.name = name
        self.user = user
        self.issuers = issuers
        self.ceiling = ceiling
        self.policies = policies
        self.ownAddressOnly = ownAddressOnly
        self.maxLoginAge = maxLoginAge
        self.limits = limits
    }

    /// Whether it may ask under a policy.
    public func mayAsk(under policy: String) -> Bool { policies?.contains(policy) ?? true }
}
