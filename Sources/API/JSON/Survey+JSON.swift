extension DoctorDocument: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("healthy", healthy)
        writer.field("findings", findings)
        writer.field("more", more)
        writer.field("rules", rules)
    }
}

extension Finding: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("severity", severity.rawValue)
        writer.field("code", code.rawValue)
        writer.field("message", message)
        writer.field("advice", advice)
        writer.field("table", table)
        writer.field("chain", chain)
        writer.field("handle", handle)
        writer.field("ports", ports)
    }
}

extension DiscoverDocument: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("services", services)
        writer.field("more", more)
        writer.field("gaps", gaps)
    }
}

extension ServiceDocument: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("port", port)
        writer.field("state", state.rawValue)
        writer.field("reason", reason)
        writer.field("addresses", addresses)
        writer.field("uid", uid)
        writer.field("process", process)
        writer.field("target", target)
        writer.field("rule", rule)
        writer.field("policy", policy)
        writer.field("lines", lines)
    }
}
