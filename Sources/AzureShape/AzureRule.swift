import API
import Policy

/// What Azure allows for one port of a virtual machine.
struct AzureRule: Hashable {
    var port: PortRange
    var sources: [CIDR]
    var maxDuration: Duration

    /// Reads one of a machine's ports; nil where it cannot be carried over, which is remarked.
    init?(_ json: JSONValue, _ remarks: inout [String]) {
        guard let port = Self.port(json) else {
            remarks.append("not imported, because port or protocol cannot be read: \(short(json))")
            return nil
        }
        self.port = port
        let known = [
            "number", "protocol", "allowedsourceaddressprefix", "allowedsourceaddressprefixes",
            "maxrequestaccessduration",
        ]
        if case .object(let fields) = json {
            for field in fields where !known.contains(field.name.lowercased()) {
                remarks.append("port \(port): \(printable(field.name)) is not known here")
            }
        }
        guard let sources = Self.sources(json, port, &remarks) else { return nil }
        self.sources = sources
        maxDuration = Self.duration(json.field("maxRequestAccessDuration"), port, &remarks)
    }

    /// The policy of this rule alone.
    var policy: AccessPolicy {
        AccessPolicy(
            name: name,
            description: "imported from Azure",
            ports: [port],
            allowedSources: sources,
            maxDuration: maxDuration
        )
    }

    /// Azure's default ports go by their names.
    private var name: String {
        switch port.lower {
        case 22: "ssh"
        case 3_389: "rdp"
        case 5_985, 5_986: "winrm"
        default: "port-\(port.lower)"
        }
    }

    private static func port(_ json: JSONValue) -> PortRange? {
        guard case .number(let digits) = json.field("number"), let number = UInt16(digits),
            let word = json.field("protocol")?.text?.lowercased()
        else { return nil }
        let portProtocol = word == "*" ? .any : PortProtocol(rawValue: word)
        return portProtocol.flatMap { PortRange(number, number, $0) }
    }

    /// The ranges of both forms of the field; `*` means any, and so does none.
    private static func sources(
        _ json: JSONValue,
        _ port: PortRange,
        _ remarks: inout [String]
    ) -> [CIDR]? {
        let fields = ["allowedSourceAddressPrefix", "allowedSourceAddressPrefixes"]
            .compactMap(json.field)
        let values = fields.flatMap { $0.list ?? [$0] }
        let texts = values.compactMap(\.text)
        guard texts.count == values.count else {
            remarks.append("port \(port): not imported, because its sources are no texts")
            return nil
        }
        if texts.isEmpty {
            remarks.append("port \(port): it names no sources, so any may be asked for")
        }
        let others = texts.filter { $0 != "*" }
        if texts.contains("*"), !others.isEmpty {
            remarks.append(
                "port \(port): * stands for any source, so what else it names is left out: "
                    + others.map { printable($0) }.joined(separator: ", ")
            )
        }
        if texts.isEmpty || texts.contains("*") { return AccessPolicy.anySource }
        var sources: [CIDR] = []
        for text in texts {
            do throws(ParseError) {
                let source = try read(text, port, &remarks)
                if !sources.contains(source) { sources.append(source) }
            } catch {
                let isTag = text.first?.isLetter == true && !text.contains(":")
                remarks.append(
                    "port \(port): source \(error.value) is left out: "
                        + (isTag ? "service tags mean nothing outside Azure" : error.message)
                )
            }
        }
        guard !sources.isEmpty else {
            remarks.append("port \(port): NOT IMPORTED, because none of its sources is left")
            return nil
        }
        return sources
    }

    /// Reads a range; where bits are set behind the prefix, Azure takes the whole range.
    private static func read(
        _ text: String,
        _ port: PortRange,
        _ remarks: inout [String]
    ) throws(ParseError) -> CIDR {
        do throws(ParseError) {
            return try CIDR(parsing: text)
        } catch {
            guard let meant = error.suggestion, let source = try? CIDR(parsing: meant) else {
                throw error
            }
            remarks.append("port \(port): source \(error.value) is taken for \(source)")
            return source
        }
    }

    private static func duration(
        _ json: JSONValue?,
        _ port: PortRange,
        _ remarks: inout [String]
    ) -> Duration {
        let limits = AccessPolicy.maxDurations
        guard let text = json?.text, let duration = try? Duration(parsing: text) else {
            let given = json.map { ", because \(short($0)) is no duration" } ?? ""
            remarks.append("port \(port): at most 3h\(given)")
            return .seconds(3 * 3_600)
        }
        let allowed = min(max(duration, limits.lowerBound), limits.upperBound)
        if allowed != duration {
            remarks.append(
                "port \(port): at most \(allowed.compactDescription) instead of "
                    + duration.compactDescription
            )
        }
        return allowed
    }
}

/// A value as a remark tells it.
private func short(_ json: JSONValue) -> String { printable(json.description) }
