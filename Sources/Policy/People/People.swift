/// People who are known under a name of this host and, through a delegate, under another.
///
/// Who is one person must not answer under one name what was asked under the other.
public struct People: Hashable, Sendable {
    /// One person.
    public struct Entry: Hashable, Sendable {
        /// What people call them.
        public var name: String
        /// The user of this host.
        public var local: String
        /// Who an issuer knows.
        public var remote: Subject

        /// Takes both names of a person.
        public init(name: String, local: String, remote: Subject) {
            self.name = name
            self.local = local
            self.remote = remote
        }
    }

    /// Everybody, in the order of the file.
    public let entries: [Entry]

    /// Takes the people; no name twice.
    public init(_ entries: [Entry] = []) { self.entries = entries }

    /// Whether two are one and the same person.
    ///
    /// - Parameters:
    ///   - a: Somebody: the subject, and the user's name for a user of this host.
    ///   - b: Somebody else, perhaps.
    /// - Returns: True for the same subject, and for both names of an entry.
    public func areSame(_ a: (Subject, name: String), _ b: (Subject, name: String)) -> Bool {
        if a.0 == b.0 { return true }
        guard let one = entry(of: a), let other = entry(of: b) else { return false }
        return one == other
    }

    /// Whether two are one and the same person, or one of them acts in the other's session, as root
    /// does by way of `sudo`.
    public func areSame(_ a: Person, _ b: Person) -> Bool {
        a.selves.contains { one in b.selves.contains { areSame(one, $0) } }
    }

    /// Whether somebody who holds grants is this person, or the person acts in their session.
    public func areSame(_ holder: Requester, _ person: Person) -> Bool {
        person.selves.contains { areSame((holder.subject, name: holder.name), $0) }
    }

    private func entry(of person: (subject: Subject, name: String)) -> Entry? {
        entries.first {
            person.subject.uid == nil ? $0.remote == person.subject : $0.local == person.name
        }
    }
}

extension Person {
    /// Who it is, and who logged in to the session they act in.
    fileprivate var selves: [(Subject, name: String)] {
        guard case .process(let process) = origin, let login = process.login else {
            return [(subject, name: name)]
        }
        return [(subject, name: name), (.local(uid: login.uid), name: login.name)]
    }
}
