import Linux
import Policy
import SystemPackage

/// The texts of all policy files by their paths.
public typealias PolicyTexts = [String: String]

/// Other policy files in the place of all there are, worked out and checked but not put there.
public struct PolicyReplacement: Sendable {
    /// What is to be in force with them.
    public let configuration: AgentConfiguration
    /// The texts that are in force.
    public let before: PolicyTexts
    /// The texts that are to be.
    public let after: PolicyTexts
    /// Whether the files were edited where they are, and so are on the disk already.
    public let isInPlace: Bool

    /// Whether what is in force would be other texts.
    public var changesTexts: Bool { before != after }

    /// Writes the files, one after the other, and removes those that are not among them.
    ///
    /// Those that are on the disk already are written, too: what cannot be written could not be made
    /// again what it was.
    ///
    /// - Throws: ``PolicyChangeError``; then some may be written.
    public func make() throws(PolicyChangeError) { try after.put(inPlaceOf: before) }

    /// Makes the files again what they were before ``make()``.
    public func takeBack() throws(PolicyChangeError) {
        if !isInPlace { try before.put(inPlaceOf: after) }
    }
}

extension PolicyTexts {
    /// Puts these texts on the disk in the place of others, each file by itself.
    func put(inPlaceOf others: PolicyTexts) throws(PolicyChangeError) {
        for path in Set(keys).union(others.keys).sorted() {
            let status = try? fileStatus(path, followsLink: false)
            // What is gone need not be removed.
            let before = status == nil && self[path] == nil ? nil : others[path]
            try FileEdit(file: path, before: before, after: self[path], status: status).make()
        }
    }

    /// The texts that are on the disk in a folder; what cannot be read counts as empty.
    init(in folder: String) {
        let names = (try? FileTree.disk.names(in: folder)) ?? []
        self = [:]
        for name in names where name.hasSuffix(".yaml") {
            let path = "\(folder)/\(name)"
            self[path] = (try? FileTree.disk.text(path)) ?? ""
        }
    }
}

extension AgentConfiguration {
    /// The texts of the policy files that it was read from.
    var policyTexts: PolicyTexts {
        Dictionary(texts.dropFirst().map { ($0.path, $0.text) }, uniquingKeysWith: { $1 })
    }

    /// This configuration with other policy files, read as if they stood on the disk.
    func with(policies: PolicyTexts) -> (configuration: Self, fault: ConfigurationError?) {
        var files = policies
        if let main = texts.first { files[main.path] = main.text }
        return Self.read(file: texts.first?.path ?? "", in: FileTree(label: "", texts: files))
    }

    /// Works out other policy files in the place of all there are.
    ///
    /// - Parameter files: The texts by their names, `management.yaml`.
    /// - Returns: The change, to be made.
    /// - Throws: ``PolicyChangeError``, with every fault; the files of faults are named as given.
    public func replacingPolicies(
        with files: [String: String]
    ) throws(PolicyChangeError) -> PolicyReplacement {
        guard let main = texts.first else { throw .filesDiffer }
        let folder = policyDirectory + "/"
        let after = Dictionary(uniqueKeysWithValues: files.map { (folder + $0, $1) })
        let badNames = files.keys.filter { !Self.isFileName($0) }.sorted()
        guard badNames.isEmpty else {
            throw .invalid(
                badNames.map {
                    ConfigurationError.Fault(
                        file: printable($0),
                        line: 0,
                        column: 0,
                        key: "",
                        message: "the name of a policy file is letters, digits, -, _ and dots, at "
                            + "most 128, does not begin with a dot and ends in .yaml"
                    )
                }
            )
        }
        let (changed, fault) = with(policies: after)
        if let fault {
            throw .invalid(
                fault.faults.map { fault in
                    var fault = fault
                    if fault.file.hasPrefix(folder) { fault.file.removeFirst(folder.count) }
                    return fault
                }
            )
        }
        // Edits that nobody has put in force would be lost.
        let (onDisk, damage) = Self.read(file: main.path, in: .disk)
        let (before, there) = (policyTexts, onDisk.policyTexts)
        guard onDisk.texts.first == main, there == before || there == after else {
            throw .filesDiffer
        }
        if let damage { throw .invalid(damage.faults) }
        for path in there.keys.sorted() {
            guard (try? fileStatus(path, followsLink: false))?.type == .regular else {
                throw .notEditable(
                    "cannot replace \(path): it is a link; edit what it leads to, and reload"
                )
            }
        }
        return PolicyReplacement(
            configuration: changed,
            before: before,
            after: after,
            isInPlace: there == after && before != after
        )
    }

    private static func isFileName(_ name: String) -> Bool {
        name.hasSuffix(".yaml") && name.utf8.count <= 128 && !name.hasPrefix(".")
            && name.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
                    UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }
}
