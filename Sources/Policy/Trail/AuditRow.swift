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
        var bytes: [UInt8] = []
        appendCanonicalForm(to: &bytes)
        return bytes
    }

    /// Appends ``canonicalForm``.
    package func appendCanonicalForm(to bytes: inout [UInt8]) {
        let start = bytes.count
        bytes.append(field: #","address":"#, address)
        bytes.append(literal: #","at":"#)
        bytes.append(json: at)
        bytes.append(field: #","detail":"#, detail)
        bytes.append(field: #","event":"#, event)
        bytes.append(field: #","grant":"#, grant)
        bytes.append(field: #","host":"#, host)
        bytes.append(field: #","login":"#, login)
        bytes.append(field: #","name":"#, name)
        bytes.append(field: #","outcome":"#, outcome)
        bytes.append(field: #","pid":"#, pid)
        bytes.append(field: #","policy":"#, policy)
        bytes.append(field: #","port":"#, port)
        bytes.append(field: #","reason":"#, reason)
        bytes.append(field: #","request":"#, request)
        bytes.append(field: #","requester":"#, requester)
        bytes.append(field: #","requesterName":"#, requesterName)
        bytes.append(field: #","sequence":"#, sequence)
        bytes.append(field: #","session":"#, session)
        bytes.append(field: #","source":"#, source)
        bytes.append(field: #","subject":"#, subject)
        bytes.append(field: #","ticket":"#, ticket)
        bytes.append(field: #","uid":"#, uid)
        bytes.append(field: #","via":"#, via)
        // The first comma is its bracket.
        bytes[start] = UInt8(ascii: "{")
        bytes.append(UInt8(ascii: "}"))
    }
}

extension [UInt8] {
    /// Appends a key, with the comma before it, and its text; nothing where there is none.
    fileprivate mutating func append(field key: StaticString, _ text: String?) {
        guard let text else { return }
        append(literal: key)
        append(json: text)
    }

    /// Appends a key, with the comma before it, and its number; nothing where there is none.
    fileprivate mutating func append(field key: StaticString, _ number: (some FixedWidthInteger)?) {
        guard let number else { return }
        append(literal: key)
        append(decimal: number)
    }
}
