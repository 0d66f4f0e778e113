extension AccessPolicy {
    /// One key of a policy in the policy file.
    package struct Entry {
        package var key: String
        /// The value in YAML; nil where the key cannot be there.
        package var value: String?
        /// Whether it is the same without the key.
        package var isDefault: Bool
    }

    /// What the policy file says of it, with every key in the order that is documented.
    package var entries: [Entry] {
        let bare = AccessPolicy(name: name, ports: ports)
        func entry<Value: Equatable>(
            _ key: String,
            _ part: (AccessPolicy) -> Value,
            _ text: (Value) -> String?
        ) -> Entry {
            Entry(key: key, value: text(part(self)), isDefault: part(self) == part(bare))
        }
        let described = { (value: Int) in "\(value)" }
        let principals = { (list: [Principal]?) in list.map { yaml($0.map { quoted("\($0)") }) } }
        return [
            Entry(key: "name", value: word(name), isDefault: false),
            entry("description", \.description) { $0.map(quoted) },
            Entry(key: "ports", value: yaml(ports.map(\.description)), isDefault: false),
            entry("hosts", \.hosts) { $0.map { yaml($0.map { quoted("\($0)") }) } },
            entry("allowed_sources", \.allowedSources) { yaml($0.map { quoted("\($0)") }) },
            entry("max_duration", \.maxDuration) { $0.compactDescription },
            Entry(
                key: "default_duration",
                value: defaultDuration.compactDescription,
                isDefault: defaultDuration == maxDuration
            ),
            entry("widest_source", \.widestSource) { "{ ipv4: \($0.ipv4), ipv6: \($0.ipv6) }" },
            entry("requesters", \.requesters, principals),
            entry("approvals", \.approvals, described),
            entry("approvers", \.approvers, principals),
            entry("pending_for", \.pendingFor) { $0.compactDescription },
            entry("reason", \.reason) { $0.rawValue },
            entry("reason_min_length", \.reasonMinLength, described),
            entry("ticket_pattern", \.ticketPattern) { $0.map { quoted("\($0)") } },
            entry("sessions", \.sessions) { $0.rawValue },
            entry("udp_sessions", \.udpSessions) { $0.rawValue },
            entry("max_active_per_requester", \.maxActivePerRequester, described),
            entry("enabled", \.enabled) { "\($0)" },
        ]
    }

    /// The lines of it as an item of the list in a policy file, without what is there by default.
    ///
    /// - Parameters:
    ///   - head: What the first line begins with, up to its key.
    ///   - indent: How many spaces the other lines begin with.
    /// - Returns: The lines.
    package func lines(head: String, indent: Int) -> [String] {
        entries.filter { !$0.isDefault }.enumerated().map { index, entry in
            (index == 0 ? head : String(repeating: " ", count: indent))
                + "\(entry.key): \(entry.value ?? "")"
        }
    }

    /// How a policy differs from what it was, for people: `max_duration 3h -> 1h`.
    ///
    /// Of one that is new, or removed, what it says besides its name.
    public static func differences(from old: AccessPolicy?, to new: AccessPolicy?) -> [String] {
        guard let old, let new else {
            let only = (old ?? new)?.entries.dropFirst().filter { !$0.isDefault } ?? []
            return only.map { "\($0.key) \($0.value ?? "none")" }
        }
        return zip(old.entries, new.entries).compactMap { old, new in
            old.value == new.value || old.isDefault && new.isDefault
                ? nil : "\(new.key) \(old.value ?? "none") -> \(new.value ?? "none")"
        }
    }
}

private func yaml(_ items: [String]) -> String { "[" + items.joined(separator: ", ") + "]" }

/// One line of text as a quoted YAML scalar.
private func quoted(_ text: String) -> String {
    text.contains { $0 == "\"" || $0 == "\\" }
        ? "'" + text.replacing("'", with: "''") + "'" : "\"\(text)\""
}

/// A name as a YAML scalar, quoted only where it could be taken for something else than text.
private func word(_ text: String) -> String {
    let others = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
    let isWord = text.utf8.first.map { (0x61...0x7A).contains($0) } ?? false
    return isWord && !others.contains(text) ? text : quoted(text)
}
