/// What an event of the audit trail tells of: the word in its field `event`.
public enum AuditKind: String, Codable, Hashable, Sendable, CaseIterable {
    /// The agent has armed the gate and begins to serve, or ends.
    case started = "agent-started"
    case stopped = "agent-stopped"
    /// Policies and roles were read and are in force, or were refused.
    case configurationLoaded = "configuration-loaded"
    case configurationRefused = "configuration-refused"
    /// A policy was made, changed or removed through the API.
    case policyChanged = "policy-changed"
    case policyRemoved = "policy-removed"
    /// All policies were replaced by others, for good or until somebody confirms them; they were
    /// confirmed, or were not and the old ones are in force again.
    case policiesApplied = "policies-applied"
    case policiesConfirmed = "policies-confirmed"
    case policiesRolledBack = "policies-rolled-back"
    /// The gate was armed after it had been taken away, or was taken away.
    case armed
    case armingConfirmed = "arming-confirmed"
    case disarmed
    /// Somebody asked for access and has to wait for others.
    case requested
    /// A request was refused by policy or for lack of a role.
    case refused
    /// Somebody approved a request.
    case approved
    /// A waiting request was refused, taken back or not answered in time.
    case denied
    case cancelled
    case lapsed
    /// A grant was opened.
    case opened
    /// The end of a grant was moved, or moved back because the kernel did not take it.
    case extended
    case takenBack = "extension-taken-back"
    /// A grant ends sooner, because the wall clock was set forward.
    case shortened
    /// A grant ended; the outcome says how.
    case ended
    /// A grant let a connection in, or that connection ended.
    case connectionBegan = "connection-began"
    case connectionEnded = "connection-ended"
    /// Live connections were ended: by somebody, or with the grant that let them in.
    case cut
    /// Grants of before a restart are open again.
    case restored
    /// A break-glass source opened connections.
    case breakGlassUsed = "break-glass-used"
    /// Somebody tried a managed port and was refused; counted by source and port.
    case attemptsRefused = "attempts-refused"
    /// Another process changed the gate, which was then made anew.
    case gateTampered = "gate-tampered"
    case gateRearmed = "gate-rearmed"
    /// What was recorded before is no longer in the ledger.
    case ledgerRowsLost = "ledger-rows-lost"
    /// What could not be recorded for a while now is.
    case ledgerRepaired = "ledger-repaired"
    /// A delegate asked for what it may not.
    case delegateRefused = "delegate-refused"
    /// Events older than the configuration keeps were taken away.
    case auditPruned = "audit-pruned"
}
