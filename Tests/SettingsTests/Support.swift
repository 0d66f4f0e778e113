import Settings
import FoundationEssentials
import Policy

/// A folder that goes away with the value that made it.
final class Folder {
    let path: String

    init(_ files: [String: String] = [:]) throws {
        path = FileManager.default.temporaryDirectory.path + "/sallyport-" + UUID().uuidString
        try FileManager.default.createDirectory(
            atPath: path + "/policy.d",
            withIntermediateDirectories: true
        )
        for (name, text) in files { try write(name, text) }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
    }

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
