import CLinux
import Glibc
import Linux
import SystemPackage

/// Fills the receive buffer of another netlink socket with messages that are not the kernel's.
///
/// What the kernel then has to say to that socket is lost, and the socket is told `ENOBUFS`.
public func flood(netlinkPort port: UInt32) throws {
    let descriptor = try systemCall("socket") {
        socket(AF_NETLINK, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), NETLINK_NETFILTER)
    }
    defer { close(descriptor) }
    var address = sockaddr_nl()
    address.nl_family = sa_family_t(AF_NETLINK)
    address.nl_pid = port
    var header = nlmsghdr()
    header.nlmsg_len = 16
    var sent = 0
    while sent >= 0 {
        sent = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                sendto(
                    descriptor,
                    &header,
                    16,
                    CInt(MSG_DONTWAIT),
                    address,
                    socklen_t(MemoryLayout<sockaddr_nl>.size)
                )
            }
        }
    }
    guard errno == EAGAIN else { throw SystemError(call: "sendto", errno: Errno(rawValue: errno)) }
}
