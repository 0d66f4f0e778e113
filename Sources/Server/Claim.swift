import API
import NIOHTTP1
import Policy
import RawStructuredFieldValues

/// Who a request is for, as it says: the header `Sallyport-Person`, which delegates send.
enum Claim: Sendable {
    /// It does not say.
    case none
    case person(RemotePerson)
    /// What it says cannot be read.
    case unreadable(Problem)

    static let header = "Sallyport-Person"

    /// Reads what a request says.
    init(_ headers: HTTPHeaders) {
        let values = headers[Self.header]
        do throws(Problem) {
            guard let value = values.first else {
                self = .none
                return
            }
            guard values.count == 1 else { throw Self.problem("it may be there only once") }
            self = .person(try RemotePerson(value))
        } catch {
            self = .unreadable(error)
        }
    }

    /// The person; nil where it does not say, or not understandably.
    var person: RemotePerson? { if case .person(let person) = self { person } else { nil } }

    fileprivate static func problem(_ reason: String) -> Problem {
        Problem(.badRequest, "cannot read header \(header): \(reason)")
    }
}

/// Somebody as a delegate describes them.
///
/// A dictionary of RFC 9651, which keeps apart what is text and what separates it:
///
///     iss="corp", sub="248289761001", name="alice@example.com", groups=("ops" "leads"),
///     addr="198.51.100.7", auth=@1795503000, ses="k3J9"
struct RemotePerson: Hashable, Sendable {
    /// Who it is, for good.
    var subject: Subject
    /// Who knows them.
    var issuer: String
    /// What people call them.
    var name: String
    /// The groups that the issuer counts them to.
    var groups: Set<String>
    /// Where they come from.
    var address: IPAddress
    /// When they logged in, in seconds since 1970.
    var loggedInAt: Int64
    /// Their session at the delegate.
    var session: String

    /// The longest header, in bytes: 64 groups of 120 characters.
    private static let longest = 8 * 1024
    private static let mostGroups = 64
    /// The longest name, of a person or of a group (as in the configuration), and session.
    private static let longestName = 256
    private static let longestSession = 128

    /// Reads the value of the header.
    fileprivate init(_ value: String) throws(Problem) {
        guard value.utf8.count <= Self.longest else {
            throw Claim.problem("it has more than \(Self.longest) bytes")
        }
        var parser = StructuredFieldValueParser(Array(value.utf8))
        guard var fields = try? parser.parseDictionaryFieldValue() else {
            throw Claim.problem("it is not a dictionary of RFC 9651")
        }
        // By the RFC the last one of a key counts. Two programs that disagree on that would take one
        // person for two.
        guard fields.count == Self.members(value) else {
            throw Claim.problem("a key is there twice")
        }
        issuer = try Self.text("iss", &fields)
        let id = try Self.text("sub", &fields)
        do {
            subject = try Subject(issuer: issuer, id: id)
        } catch {
            throw Claim.problem(error.description)
        }
        name = try Self.name("name", &fields)
        guard let address = try? IPAddress(parsing: try Self.text("addr", &fields)) else {
            throw Claim.problem("addr must be an IP address")
        }
        self.address = address
        session = try Self.text("ses", &fields)
        guard (1...Self.longestSession).contains(session.utf8.count) else {
            throw Claim.problem("ses must have 1 to \(Self.longestSession) characters")
        }
        guard case .date(let seconds)? = try Self.item("auth", &fields) else {
            throw Claim.problem("auth must be a date")
        }
        loggedInAt = seconds
        groups = try Self.groups(&fields)
        guard fields.isEmpty else {
            throw Claim.problem("\(fields.first?.0 ?? "") is not known in it")
        }
    }

    /// How many members a valid dictionary has: those between the commas that are in no string.
    private static func members(_ dictionary: String) -> Int {
        enum Place { case outside, string, displayString }
        var (place, previous, members) = (Place.outside, UInt8(0), 1)
        for byte in dictionary.utf8 {
            switch (place, byte) {
            case (.outside, UInt8(ascii: ",")): members += 1
            case (.outside, UInt8(ascii: "\"")):
                place = previous == UInt8(ascii: "%") ? .displayString : .string
            case (.displayString, UInt8(ascii: "\"")): place = .outside
            case (.string, UInt8(ascii: "\"")):
                if previous != UInt8(ascii: "\\") { place = .outside }
            default: break
            }
            // A backslash that is escaped itself escapes nothing.
            let isEscaped = place == .string && previous == UInt8(ascii: "\\")
            previous = isEscaped ? 0 : byte
        }
        return dictionary.isEmpty ? 0 : members
    }

    private typealias Fields = OrderedMap<String, ItemOrInnerList>

    private static func item(
        _ key: String,
        _ fields: inout Fields
    ) throws(Problem) -> RFC9651BareItem? {
        guard case .item(let item)? = fields[key], item.rfc9651Parameters.isEmpty else {
            throw Claim.problem("\(key) is missing, or no single value")
        }
        fields[key] = nil
        return item.rfc9651BareItem
    }

    private static func groups(_ fields: inout Fields) throws(Problem) -> Set<String> {
        guard case .innerList(let list)? = fields["groups"], list.rfc9651Parameters.isEmpty,
            list.bareInnerList.count <= mostGroups
        else {
            throw Claim.problem("groups must be a list of at most \(mostGroups) names")
        }
        fields["groups"] = nil
        var groups: Set<String> = []
        for item in list.bareInnerList {
            guard item.rfc9651Parameters.isEmpty, let name = name(item.rfc9651BareItem) else {
                throw Claim.problem("each group must be a name of 1 to \(longestName) characters")
            }
            groups.insert(name)
        }
        return groups
    }

    private static func name(_ key: String, _ fields: inout Fields) throws(Problem) -> String {
        guard let name = name(try item(key, &fields)) else {
            throw Claim.problem("\(key) must be a name of 1 to \(longestName) characters")
        }
        return name
    }

    /// Text that may be shown: in the form for ASCII or in the one for all of Unicode.
    private static func name(_ item: RFC9651BareItem?) -> String? {
        let text: String
        switch item {
        case .string(let ascii): text = ascii
        case .displayString(let unicode): text = unicode
        default: return nil
        }
        guard (1...longestName).contains(text.unicodeScalars.count),
            !text.unicodeScalars.contains(where: \.steersOutput)
        else { return nil }
        return text
    }

    private static func text(_ key: String, _ fields: inout Fields) throws(Problem) -> String {
        guard case .string(let text)? = try item(key, &fields) else {
            throw Claim.problem("\(key) must be text")
        }
        return text
    }
}
