import API
import ArgumentParser
import Client
import Policy

/// The command `sallyport arm`.
struct ArmCommand: GuardedCommand {
    static let configuration = CommandConfiguration(
        commandName: "arm",
        abstract: "Arm the gate after it was disarmed (admins).",
        discussion: """
            Managed ports are closed again, but for live grants; sessions that run stay. With
            --confirm-within the agent disarms again unless somebody confirms in time, also
            if it or the host is started anew in between.

              sallyport arm --confirm-within 2m
              sallyport policy confirm
            """
    )

    @Option(
        help: ArgumentHelp(
            "Disarm again after this time (1s to 1h) unless it is confirmed.",
            valueName: "duration"
        )
    )
    var confirmWithin: String?

    @OptionGroup var guarding: ForceOption

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let status = try agent.arm(
            ChangeOptions(isForced: guarding.force, confirmWithin: confirmWithin)
        )
        guard status.gate.armed else {
            let fault = status.gate.fault ?? "no reason given"
            try output.show(status, as: [Line("NOT ARMED: \(fault)", .bad)])
            return Report(notes: ["sallyport: not armed: \(fault)"], status: .internalError)
        }
        let until = status.unconfirmed.flatMap { $0.change == .arming ? $0.until : nil }
        try output.show(
            status,
            as: [Line("the gate is armed", .good)]
                + (until.map { toConfirm(until: $0, "disarmed again", surroundings.time) } ?? [])
        )
        guard confirmWithin != nil, until == nil else { return Report() }
        return Report(
            notes: ["sallyport: it was armed before: nothing is on trial, and nothing disarms it"]
        )
    }
}

/// The command `sallyport disarm`.
struct DisarmCommand: AgentCommand {
    static let configuration = CommandConfiguration(
        commandName: "disarm",
        abstract: "Take the gate away: managed ports are OPEN TO EVERYBODY then (admins).",
        discussion: """
            Until somebody arms it again, also after a restart. Nothing is opened meanwhile,
            and grants go on to their end in the ledger.

              sallyport disarm
              sallyport arm
            """
    )

    @OptionGroup var shared: SharedOptions

    func report(
        from agent: Client,
        in surroundings: Surroundings,
        to output: Output
    ) throws -> Report {
        let status = try agent.disarm()
        let text = "THE GATE IS DISARMED: managed ports are open to everybody"
        try output.show(status, as: [Line(text, .bad), "to arm it: sallyport arm"])
        return Report(notes: output.json ? ["sallyport: \(text)"] : [])
    }
}
