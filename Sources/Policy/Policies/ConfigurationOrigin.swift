/// Where the configuration that is in force comes from.
public enum ConfigurationOrigin: String, Codable, Hashable, Sendable, CaseIterable {
    /// The files, as they were last read.
    case files
    /// What was last in force: the files could not be used when the agent started.
    case lastKnownGood = "last-known-good"
    /// Nothing that was written for this host: its files could not be used, and what was last in
    /// force is not known.
    case defaults
}
