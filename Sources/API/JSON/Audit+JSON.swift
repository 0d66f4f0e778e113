package import Policy

extension AuditRow: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("sequence", sequence)
        writer.field("at", at.description)
        writer.field("event", event)
        writer.field("subject", subject)
        writer.field("name", name)
        writer.field("uid", uid)
        writer.field("pid", pid)
        writer.field("login", login)
        writer.field("via", via)
        writer.field("address", address)
        writer.field("session", session)
        writer.field("request", request)
        writer.field("grant", grant)
        writer.field("requester", requester)
        writer.field("requesterName", requesterName)
        writer.field("policy", policy)
        writer.field("port", port)
        writer.field("host", host)
        writer.field("source", source)
        writer.field("reason", reason)
        writer.field("ticket", ticket)
        writer.field("outcome", outcome)
        writer.field("detail", detail)
        writer.field("hash", hash)
    }
}

extension AuditPage: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("events", events)
        writer.field("next", next)
    }
}

extension EndingDocument: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("grant", grant)
        writer.field("request", request)
        writer.field("requester", requester.description)
        writer.field("requesterName", requesterName)
        writer.field("policy", policy)
        writer.field("port", port.description)
        writer.field("host", host?.description)
        writer.field("source", source.description)
        writer.field("expiresAt", expiresAt.description)
        writer.field("remainingSeconds", remainingSeconds)
    }
}
