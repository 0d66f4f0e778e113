package import Policy

extension WhoDocument: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("subject", subject.description)
        writer.field("name", name)
        writer.field("uid", uid)
        writer.field("pid", pid)
        writer.field("login", login)
        writer.field("via", via)
        writer.field("address", address?.description)
        writer.field("session", session)
    }
}

extension RequestDocument: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("id", id)
        writer.field("state", state.rawValue)
        writer.field("requester", requester)
        writer.field("reason", reason)
        writer.field("ticket", ticket)
        writer.field("duration", duration)
        writer.field("revision", revision)
        writer.field("createdAt", createdAt)
        writer.field("startsAt", startsAt)
        writer.field("pendingUntil", pendingUntil)
        writer.field("decidedAt", decidedAt)
        writer.field("decidedBy", decidedBy)
        writer.field("decision", decision)
        writer.field("approvals", approvals)
        writer.field("needs", needs)
        writer.field("extends", extends)
        writer.field("grants", grants)
        writer.field("superseded", superseded)
    }
}

extension ApprovalDocument: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("who", who)
        writer.field("at", at)
        writer.field("duration", duration)
    }
}

extension NeedDocument: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("policy", policy)
        writer.field("approvals", approvals)
        writer.field("given", given)
        writer.field("approvers", approvers)
    }
}

extension SupersededDocument: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("id", id)
        writer.field("expiresAt", expiresAt)
    }
}

extension GrantDocument: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("id", id)
        writer.field("request", request)
        writer.field("requester", requester)
        writer.field("reason", reason)
        writer.field("policy", policy)
        writer.field("port", port.description)
        writer.field("host", host?.description)
        writer.field("source", source.description)
        writer.field("state", state.rawValue)
        writer.field("startsAt", startsAt)
        writer.field("expiresAt", expiresAt)
        writer.field("endedAt", endedAt)
        writer.field("endReason", endReason?.rawValue)
        writer.field("remainingSeconds", remainingSeconds)
        writer.field("packets", packets)
        writer.field("bytes", bytes)
        writer.field("firstUsedAt", firstUsedAt?.description)
        writer.field("lastUsedAt", lastUsedAt?.description)
        writer.field("cutSessions", cutSessions)
    }
}

extension GrantList: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("grants", grants)
        writer.field("next", next)
    }
}

extension RequestList: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("requests", requests)
        writer.field("next", next)
    }
}

extension Problem: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("code", code.rawValue)
        writer.field("status", status)
        writer.field("title", title)
        writer.field("detail", detail)
        writer.field("violations", violations)
    }
}

extension Violation: JSONDocument {
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("field", field)
        writer.field("value", value)
        writer.field("allowed", allowed)
        writer.field("message", message)
    }
}
