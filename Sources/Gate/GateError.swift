import Nftables
import Netlink

/// Why the gate could not be armed, changed or read.
public struct GateError: Error, CustomStringConvertible, Sendable {
    /// The whole message.
    public let description: String

    /// Makes an error of its message.
    public init(_ description: String) { self.description = description }

    init(_ error: NetlinkError) { description = "\(error)" }

    /// Another process holds the table: the kernel answers `EPERM` to all but its owner.
    static let ownedByAnother = GateError(
        "cannot change the table inet sallyport: another process owns it; is a second sallyportd "
            + "running in this network namespace?"
    )
}
