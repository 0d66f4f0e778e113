import Linux
public import Policy
import SystemPackage

/// What an agent starts with.
public struct ConfigurationStart: Sendable {
    /// What to put in force.
    public var configuration: AgentConfiguration
    /// Where it comes from.
    public var origin: ConfigurationOrigin
    /// Why it does not come from the files; nil where it does.
    public var fault: ConfigurationError?
    /// What was last in force and recorded, where the files are that no more; else nil.
    public var previous: AgentConfiguration?
    /// The state directory.
    public var stateDirectory: String

    /// Reads the files or, where they cannot be used, what was last in force.
    ///
    /// Where neither can be used the ports that Azure's just-in-time access closes are managed: ssh
    /// 22/tcp, rdp 3389/tcp, winrm 5985-5986/tcp, for nobody but root to ask for, with the
    /// break-glass sources of the file if that part of it is valid.
    ///
    /// - Parameters:
    ///   - file: The configuration file.
    ///   - stateDirectory: The state directory; nil for the configured one, as far as the file says
    ///     one that is valid.
    /// - Returns: A configuration that is to be armed.
    /// - Throws: The faults of the files where nothing was ever configured: there is no
    ///   configuration file, and none was ever in force.
    public static func read(
        file: String,
        stateDirectory: String?
    ) throws(ConfigurationError) -> ConfigurationStart {
        let files = AgentConfiguration.read(file: file, in: .disk)
        let directory = stateDirectory ?? files.configuration.stateDirectory
        guard let fault = files.fault else {
            return ConfigurationStart(
                configuration: files.configuration,
                origin: .files,
                previous: LastKnownGood.configuration(
                    in: directory,
                    unlike: files.configuration
                ),
                stateDirectory: directory
            )
        }
        let path = LastKnownGood.path(in: directory)
        var faults = fault.faults
        do throws(FileError) {
            let kept = try LastKnownGood.read(in: directory)
            let tree = FileTree(label: "\(path): ", texts: kept.texts)
            let last = AgentConfiguration.read(file: kept.file, in: tree)
            guard let damage = last.fault else {
                return ConfigurationStart(
                    configuration: last.configuration,
                    origin: .lastKnownGood,
                    fault: fault,
                    stateDirectory: directory
                )
            }
            faults += damage.faults
        } catch {
            guard isThere(file) || isThere(path) else { throw fault }
            faults.append(
                ConfigurationError.Fault(
                    file: path,
                    line: 0,
                    column: 0,
                    key: "",
                    message: "cannot read what was last in force: \(error)"
                )
            )
        }
        return ConfigurationStart(
            configuration: .defaults(like: files.configuration),
            origin: .defaults,
            fault: ConfigurationError(faults: faults),
            stateDirectory: directory
        )
    }

    /// Whether there is anything at a path, readable or not, or no telling.
    private static func isThere(_ path: String) -> Bool {
        do throws(SystemError) {
            _ = try fileStatus(path, followsLink: false)
            return true
        } catch {
            return error.errno != .noSuchFileOrDirectory
        }
    }
}

extension AgentConfiguration {
    /// Azure's default ports, closed; of a configuration that cannot be used, its paths and its
    /// break-glass sources.
    fileprivate static func defaults(like unusable: AgentConfiguration) -> AgentConfiguration {
        var configuration = AgentConfiguration(policyDirectory: unusable.policyDirectory)
        configuration.socket = unusable.socket
        configuration.stateDirectory = unusable.stateDirectory
        configuration.breakGlass = unusable.breakGlass
        configuration.policies = [
            ("ssh", 22...22), ("rdp", 3_389...3_389), ("winrm", 5_985...5_986),
        ]
        .map { (name: String, ports: ClosedRange<UInt16>) in
            AccessPolicy(
                name: name,
                ports: [PortRange(ports.lowerBound, ports.upperBound, .tcp)].compactMap(\.self)
            )
        }
        return configuration
    }
}
