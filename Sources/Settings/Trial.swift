import FoundationEssentials
public import Linux
public import Policy
import SystemPackage

/// A change of the gate that is undone unless somebody confirms it in time.
///
/// It is on the disk before anything changes, and until it is confirmed or undone: an agent that
/// starts in between undoes it or keeps waiting. A change of the policies that nobody has to confirm
/// is kept here, too, as long as it is being made: what a crash has left half done is undone.
public struct Trial: Codable, Hashable, Sendable {
    /// When it began.
    public var since: Timestamp
    /// When it is undone; nil for a change that is only being made.
    public var until: Timestamp?
    /// The same in milliseconds since boot.
    var deadline: Int64
    var bootID: String
    /// The name of who made the change.
    public var by: String
    /// What is undone; nil where that is the arming of the gate.
    public var policies: Policies?

    /// Policy files, and others in their place.
    public struct Policies: Codable, Hashable, Sendable {
        /// The folder of the files.
        var folder: String
        /// What was in force, and will be again.
        public var before: PolicyTexts
        /// What is tried.
        public var after: PolicyTexts
        /// Whether the files were edited where they are: nobody else has what is tried.
        var isInPlace: Bool
        /// Grants that the policies before did not allow either, and that are not theirs to end.
        public var spared: [String]
        /// Whether grants that are no longer allowed go on when the change is confirmed.
        public var keepsGrants: Bool

        /// Takes what is replaced by what, and what becomes of grants.
        public init(of change: PolicyReplacement, sparing: [Grant.ID], keepingGrants: Bool) {
            folder = change.configuration.policyDirectory
            before = change.before
            after = change.after
            isInPlace = change.isInPlace
            spared = sparing.map(\.description)
            keepsGrants = keepingGrants
        }
    }

    /// Begins one.
    ///
    /// - Parameters:
    ///   - policies: What is replaced by what; nil where the gate is armed.
    ///   - time: How long it waits; nil for a change that is only being made.
    ///   - by: Who makes the change.
    ///   - now: The clocks.
    ///   - bootID: The boot that they are of.
    public init(
        of policies: Policies?,
        for time: Duration?,
        by: String,
        at now: Moment,
        bootID: String
    ) {
        since = now.wall
        until = time.map { now.wall + $0 }
        deadline = (now.boot + (time ?? .zero)).milliseconds
        self.bootID = bootID
        self.by = by
        self.policies = policies
    }

    /// Whether its time is over by one of the clocks; after a boot only the wall clock can tell, and
    /// where that shows less than at the beginning, it is.
    public func isOver(at now: Moment, bootID: String) -> Bool {
        guard let until else { return true }
        return now.wall >= until
            || (bootID == self.bootID ? now.boot.milliseconds >= deadline : now.wall < since)
    }

    /// When its time is over by the clock since boot, as far as it has followed the wall clock.
    public var end: BootTime { BootTime(milliseconds: deadline) }

    /// Follows the wall clock where that was set forward, and into another boot.
    public mutating func follow(_ now: Moment, bootID: String) {
        let byWallClock = now.boot + ((until ?? since) - now.wall)
        deadline =
            bootID == self.bootID
            ? min(deadline, byWallClock.milliseconds) : byWallClock.milliseconds
        self.bootID = bootID
    }

    /// Makes the policy files again what they were.
    ///
    /// What somebody has edited in their place, and nobody else has, is left beside them as
    /// `NAME.yaml.rolled-back`.
    public func putBack() throws(PolicyChangeError) {
        guard let policies else { return }
        let known = policies.isInPlace ? [policies.before] : [policies.before, policies.after]
        try Self.put(policies.before, in: policies.folder, keepingAllBut: known)
    }

    /// Makes the policy files what is tried: a crash may have left some of them.
    ///
    /// What somebody has edited in their place meanwhile is left beside them, too.
    fileprivate func putThere() throws(PolicyChangeError) {
        guard let policies else { return }
        try Self.put(
            policies.after,
            in: policies.folder,
            keepingAllBut: [policies.before, policies.after]
        )
    }

    private static func put(
        _ texts: PolicyTexts,
        in folder: String,
        keepingAllBut known: [PolicyTexts]
    ) throws(PolicyChangeError) {
        let there = PolicyTexts(in: folder)
        for (path, text) in there where !known.contains(where: { $0[path] == text }) {
            try FileEdit(file: path + ".rolled-back", before: nil, after: text, status: nil).make()
        }
        try texts.put(inPlaceOf: there)
    }

    /// The configuration with the policies from before.
    ///
    /// - Parameter configuration: What is in force.
    /// - Returns: What was in force before.
    /// - Throws: The faults, where the old policies do not go with the rest of it.
    public func restored(
        from configuration: AgentConfiguration
    ) throws(ConfigurationError) -> AgentConfiguration {
        guard let policies else { return configuration }
        let (restored, fault) = configuration.with(policies: policies.before)
        if let fault { throw fault }
        return restored
    }

    /// The configuration with the policies that were tried; nil where there are none, or they do not
    /// go with the rest of it.
    public func tried(from configuration: AgentConfiguration) -> AgentConfiguration? {
        guard let policies else { return nil }
        let (tried, fault) = configuration.with(policies: policies.after)
        return fault == nil ? tried : nil
    }

    // MARK: In the state directory

    private static func path(in directory: String) -> String { directory + "/trial.json" }

    /// Keeps it in a state directory, durably; nil for none.
    public static func keep(_ trial: Trial?, in directory: String) throws(SystemError) {
        try keepDocument(trial, at: path(in: directory))
    }

    /// What an agent that starts finds of a trial.
    public enum Found: Sendable {
        case nothing
        /// It goes on.
        case waiting(Trial)
        /// It is over: the files are what they were, and it is to be forgotten.
        case undone(Trial)
        /// It is over, and the files could not be made what they were.
        case notUndone(Trial, PolicyChangeError)
        /// Something is there that cannot be read.
        case damaged(String)
    }

    /// Makes the policy files what they have to be when an agent starts.
    public static func settle(in directory: String, at now: Moment, bootID: String) -> Found {
        let path = path(in: directory)
        let found: Trial?
        do throws(FileError) {
            found = try readDocument(path)
        } catch {
            return .damaged("cannot read \(path): \(error)")
        }
        guard let trial = found else { return .nothing }
        guard trial.isOver(at: now, bootID: bootID) else {
            // Where it cannot be written nothing has been.
            try? trial.putThere()
            return .waiting(trial)
        }
        do throws(PolicyChangeError) {
            try trial.putBack()
            return .undone(trial)
        } catch {
            return .notUndone(trial, error)
        }
    }
}

/// That the gate was taken away, and by whom: until somebody arms it no agent does.
public struct Disarmament: Codable, Hashable, Sendable {
    /// When; nil where the file does not say.
    public var at: Timestamp?
    /// The name of who did it; nil where the file does not say, or it was the agent.
    public var by: String?

    /// Takes both.
    public init(at: Timestamp?, by: String?) {
        self.at = at
        self.by = by
    }

    private static func path(in directory: String) -> String { directory + "/disarmed.json" }

    /// Keeps it in a state directory, durably; nil for an armed gate.
    public static func keep(
        _ disarmament: Disarmament?,
        in directory: String
    ) throws(SystemError) {
        try keepDocument(disarmament, at: path(in: directory))
    }

    /// Reads it; an empty file, as an installation makes one, counts, and one that is not to be
    /// trusted does not.
    public static func read(in directory: String) -> Disarmament? {
        let path = path(in: directory)
        if (try? fileText(path, longest: 0, isOwn: true)) == "" {
            return Disarmament(at: nil, by: nil)
        }
        return (try? readDocument(path)) ?? nil
    }
}

/// Far more than the files of a host have.
private let longest = 64 * 1_024 * 1_024

/// Puts a document in the place of the one at a path, on the disk when this returns; nil: removes it.
private func keepDocument(_ document: (some Encodable)?, at path: String) throws(SystemError) {
    if let document {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Texts and numbers can always be encoded.
        guard let data = try? encoder.encode(document) else { return }
        try replaceFile(path, with: Array(data))
    } else {
        do throws(SystemError) {
            try removeFile(path, durably: true)
        } catch  where error.errno == .noSuchFileOrDirectory {}
    }
}

private func readDocument<Document: Decodable>(
    _ path: String
) throws(FileError) -> Document? {
    guard isThere(path) else { return nil }
    let text = try fileText(path, longest: longest, isOwn: true)
    guard let document = try? JSONDecoder().decode(Document.self, from: Data(text.utf8)) else {
        throw FileError(description: "it is damaged")
    }
    return document
}
