/// One event of the audit trail: flat, with texts as they are shown.
///
/// Its fields are those of the JSON form, in the same order; what is unknown is absent.
public struct AuditRow: Codable, Hashable, Sendable {
    /// The place in the trail, from 1: no number is used twice, and none is left out.
    public var sequence: Int64
    /// When it was recorded.
    public var at: Timestamp
    /// What happened: a word of ``AuditKind``.
    public var event: String
    /// Who did it, for good; absent for the agent itself.
    public var subject: String?
    /// What people call them.
    public var name: String?
    /// The user id; absent for a remote person.
    public var uid: UInt32?
    /// The process that asked; absent for a remote person.
    public var pid: Int32?
    /// Who began the session that the process belongs to, where it was somebody else.
    public var login: String?
    /// The delegate that speaks for a remote person.
    public var via: String?
    /// The address that a remote person comes from.
    public var address: String?
    /// The session of a remote person at the delegate.
    public var session: String?
    /// The request it is about.
    public var request: String?
    /// The grant it is about.
    public var grant: String?
    /// Whose request it is, where somebody else or the agent did it: the subject.
    public var requester: String?
    /// What people call the requester.
    public var requesterName: String?
    /// The policy; several where a refused request named several.
    public var policy: String?
    /// The ports.
    public var port: String?
    /// The host behind this machine that they are of; several where a request is for several.
    public var host: String?
    /// The source; several where a refused request named several.
    public var source: String?
    /// Why, in the words of who did it.
    public var reason: String?
    /// The ticket it is for.
    public var ticket: String?
    /// Where the request or grant stands now.
    public var outcome: String?
    /// What else there is to know, for people.
    public var detail: String?
    /// SHA-256 of the hash of the event before, a line feed and ``canonicalForm``, in lower-case
    /// hexadecimal digits.
    public var hash: String

    /// What stands for the hash of the event before the first.
    public static let firstHash = String(repeating: "0", count: 64)

    /// An event that is not chained yet.
    ///
    /// - Parameters:
    ///   - sequence: Its place.
    ///   - at: When it is recorded.
    ///   - event: What happened.
    ///   - person: Who did it; nil for the agent.
    public init(sequence: Int64, at: Timestamp, event: String, by person: Person? = nil) {
        self.sequence = sequence
        self.at = at
        self.event = event
        hash = ""
        guard let person else { return }
        subject = person.subject.description
        name = person.name
        uid = person.subject.uid
        via = person.via
        switch person.origin {
        case .process(let process):
            pid = process.pid
            login = process.login.flatMap { $0.uid == uid ? nil : $0.name }
        case .client(let address, let session):
            self.address = address.description
            self.session = session
        }
    }

    /// The bytes that are hashed: the JSON object without `hash`, in the form of RFC 8785.
    ///
    /// Keys are sorted, there is no space, and of text only what must be is escaped, in the shortest
    /// way. Python's `json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`
    /// gives the same.
    public var canonicalForm: [UInt8] {
        var form = CanonicalForm()
        form.add(#","address":"#, address)
        form.add(#","at":"#, at.description)
        form.add(#","detail":"#, detail)
        form.add(#","event":"#, event)
        form.add(#","grant":"#, grant)
        form.add(#","host":"#, host)
        form.add(#","login":"#, login)
        form.add(#","name":"#, name)
        form.add(#","outcome":"#, outcome)
        form.add(#","pid":"#, pid)
        form.add(#","policy":"#, policy)
        form.add(#","port":"#, port)
        form.add(#","reason":"#, reason)
        form.add(#","request":"#, request)
        form.add(#","requester":"#, requester)
        form.add(#","requesterName":"#, requesterName)
        form.add(#","sequence":"#, sequence)
        form.add(#","session":"#, session)
        form.add(#","source":"#, source)
        form.add(#","subject":"#, subject)
        form.add(#","ticket":"#, ticket)
        form.add(#","uid":"#, uid)
        form.add(#","via":"#, via)
        return form.finish()
    }
}

/// A JSON object in the making, whose keys come in their order, each with the comma before it.
private struct CanonicalForm {
    private var bytes: [UInt8] = []

    // An event has some 300 bytes.
    init() { bytes.reserveCapacity(512) }

    /// The object, whose first comma is its bracket.
    consuming func finish() -> [UInt8] {
        bytes[0] = UInt8(ascii: "{")
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    mutating func add(_ key: String, _ text: String?) {
        guard let text else { return }
        bytes.append(contentsOf: key.utf8)
        bytes.append(json: text)
    }

    mutating func add(_ key: String, _ number: (some FixedWidthInteger)?) {
        guard let number else { return }
        bytes.append(contentsOf: key.utf8)
        bytes.append(contentsOf: String(number).utf8)
    }
}
