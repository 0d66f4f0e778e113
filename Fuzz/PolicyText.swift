import Policy

/// Gives text to every parser of `Policy`; what is accepted must print, and parse to itself.
func readPolicyText(_ text: String) {
    if let address = try? IPAddress(parsing: text) {
        precondition((try? IPAddress(parsing: address.description)) == address)
    }
    if let range = try? CIDR(parsing: text) {
        precondition((try? CIDR(parsing: range.description)) == range)
        precondition(range.contains(range.address))
    }
    if let port = try? PortRange(parsing: text) {
        precondition((try? PortRange(parsing: port.description)) == port)
        precondition(1 <= port.lower && port.lower <= port.upper)
    }
    if let duration = try? Duration(parsing: text) {
        precondition(duration > .zero)
        precondition((try? Duration(parsing: duration.compactDescription)) == duration)
    }
    if let time = try? Timestamp(parsing: text) {
        precondition((try? Timestamp(parsing: time.description)) == time)
    }
    if let subject = try? Subject(parsing: text) {
        precondition((try? Subject(parsing: subject.description)) == subject)
    }
    if let pattern = try? TicketPattern(parsing: text) {
        precondition((try? TicketPattern(parsing: pattern.description)) == pattern)
        _ = pattern.matches(text)
    }
}
