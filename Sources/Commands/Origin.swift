import API
import Policy

/// Where the caller's SSH session comes from: what `me` stands for.
///
/// Only a default for the caller's own request. The variables are the caller's to set, and the
/// agent judges the address as it would one that was typed.
func sessionOrigin(_ environment: (String) -> String?) throws -> String {
    // sshd(8): "client-address client-port …" begins both; SSH_CLIENT is the older one.
    let variable = ["SSH_CONNECTION", "SSH_CLIENT"].first { environment($0)?.isEmpty == false }
    guard let variable, let origin = environment(variable)?.split(separator: " ").first else {
        throw unknownOrigin(
            environment("SUDO_USER") == nil
                ? "this is no SSH session (SSH_CONNECTION is not set); name the source: --from ADDRESS"
                : "sudo drops SSH_CONNECTION; name the source: --from ADDRESS, "
                    + "or let it through: sudo --preserve-env=SSH_CONNECTION sallyport ..."
        )
    }
    do {
        return try IPAddress(parsing: String(origin)).description
    } catch {
        throw unknownOrigin(
            "\(variable) is unusable: \(error.message); name the source: --from ADDRESS"
        )
    }
}

private func unknownOrigin(_ why: String) -> Problem {
    Problem(.badRequest, "cannot tell what \"me\" is: \(why)")
}

extension Surroundings {
    /// The SSH session that the caller works in, also where `sudo` hides it; nil where it is none.
    var ownSession: OwnSession? {
        let text = environment("SSH_CONNECTION") ?? environmentAbove("SSH_CONNECTION")
        return text.flatMap { try? OwnSession(parsing: $0) }
    }
}
