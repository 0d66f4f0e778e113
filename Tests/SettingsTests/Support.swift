import FoundationEssentials
import Policy
import Settings
import TestSupport

extension TemporaryFolder {
    /// Every fault of the configuration in the folder, with the folder left out of the paths.
    func faults() -> [String] {
        do throws(ConfigurationError) {
            _ = try AgentConfiguration.load(file: "\(path)/sallyport.yaml")
            return []
        } catch {
            return error.faults.map { $0.description.replacing("\(path)/", with: "") }
        }
    }
}

/// Every fault of a policy file.
func faults(_ text: String) -> [String] {
    do throws(ConfigurationError) {
        _ = try AgentConfiguration.checkPolicies(text: text, named: "p.yaml")
        return []
    } catch {
        return error.faults.map(\.description)
    }
}

/// A file with one policy, the given lines behind its name and port: they begin in line 4.
func policy(_ lines: String...) -> String {
    (["policies:", "  - name: ssh", "    ports: [22/tcp]"] + lines.map { "    " + $0 })
        .joined(separator: "\n")
}

func local(_ name: String, groups: Set<String> = []) -> Identity {
    Identity(
        subject: .local(uid: 1_000),
        name: name,
        groups: groups,
        origin: .process(Origin.Process(pid: 7))
    )
}
