import API
import Agent
import Logging
import Settings

/// The configuration files of this host.
struct ConfigurationFiles: ConfigurationSource {
    private let options: DaemonOptions
    private let logger: Logger

    init(_ options: DaemonOptions, _ logger: Logger) {
        self.options = options
        self.logger = logger
    }

    /// What the agent starts with.
    struct Start {
        var configuration: AgentConfiguration
        var origin: ConfigurationOrigin
        var fault: ConfigurationError?
        var stateDirectory: String
    }

    func start() throws -> Start {
        let configuration = try read()
        return Start(
            configuration: configuration,
            origin: .files,
            stateDirectory: options.stateDirectory ?? configuration.stateDirectory
        )
    }

    func read() throws(ConfigurationError) -> AgentConfiguration {
        try AgentConfiguration.load(file: options.configuration)
    }

    func remember(_ configuration: AgentConfiguration) {}
}
