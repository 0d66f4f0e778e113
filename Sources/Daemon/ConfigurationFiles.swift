import Agent
import Linux
import Logging
import Policy
import Settings

/// The configuration files of this host.
struct ConfigurationFiles: ConfigurationSource {
    let file: String
    /// Where what is in force is kept.
    let stateDirectory: String
    let logger: Logger

    func read() throws(ConfigurationError) -> AgentConfiguration {
        try AgentConfiguration.load(file: file)
    }

    func remember(_ configuration: AgentConfiguration) {
        do throws(SystemError) {
            try configuration.keep(in: stateDirectory)
        } catch {
            logger.error(
                "cannot keep the configuration to start from where its files cannot be used: \(error)"
            )
        }
    }

    func keep(_ trial: Trial?) throws(SystemError) { try Trial.keep(trial, in: stateDirectory) }

    func keep(_ disarmament: Disarmament?) throws(SystemError) {
        try Disarmament.keep(disarmament, in: stateDirectory)
    }
}

extension ConfigurationStart {
    /// Says loudly where the files are not what is armed.
    func log(to logger: Logger) {
        if let trialFault { logger.critical("\(trialFault)") }
        if disarmed != nil {
            logger.critical("THE GATE IS DISARMED: managed ports are open to everybody")
        }
        guard let fault else { return }
        let armed =
            origin == .lastKnownGood
            ? "what was last in force is armed" : "only Azure's default ports are closed"
        logger.critical("cannot use the configuration; \(armed)")
        // A record each: the journal takes every line for one.
        for fault in fault.faults { logger.error("\(fault)") }
    }
}
