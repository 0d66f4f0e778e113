internal import CLinux
internal import Glibc
internal import SystemPackage

/// What the kernel tells of the process at the other end of a Unix socket while it runs.
public struct PeerProcess: Hashable, Sendable {
    /// Clock ticks from boot to its start (proc(5), `stat` field 22).
    public var startedAt: UInt64
    /// The user who logged in to the session it belongs to, which neither `su` nor `sudo` changes
    /// (`/proc/PID/loginuid`); nil where nobody did, or the kernel does not tell.
    public var loginUID: UInt32?

    /// Takes the parts.
    public init(startedAt: UInt64, loginUID: UInt32?) {
        self.startedAt = startedAt
        self.loginUID = loginUID
    }

    /// Reads about the process that connected a socket; nil where it has ended, or /proc does not
    /// show it.
    ///
    /// Where the kernel can name it for good (`SO_PEERPIDFD`, Linux 6.5), nothing is told of another
    /// process that was given its number meanwhile; with older kernels that would have to happen
    /// between its connecting and this. nil where the process has ended, or /proc does not show it.
    ///
    /// - Parameters:
    ///   - id: The process, as ``PeerCredentials`` names it.
    ///   - socket: The connected socket.
    public init?(id: Int32, ofPeerOf socket: CInt) {
        let peer = Self.handle(ofPeerOf: socket)
        // Files are found only as long as the process is the one whose folder this is.
        guard let folder = try? Descriptor.open("/proc/\(id)", .readOnly, options: .directory),
            let stat = try? Self.read("stat", in: folder),
            let startedAt = Self.startTime(inStat: stat)
        else { return nil }
        // The file is missing in kernels without auditing.
        let login = (try? Self.read("loginuid", in: folder)).flatMap {
            UInt32(String(decoding: $0, as: UTF8.self))
        }
        if let peer, Self.hasEnded(peer.number) { return nil }
        // (uid_t)-1 where nobody logged in: a service's own process.
        self.init(startedAt: startedAt, loginUID: login == .max ? nil : login)
    }

    package static func startTime(inStat stat: [UInt8]) -> UInt64? { field(22, ofStat: stat) }

    /// A field of `/proc/PID/stat` behind the second, which is the program's name in parentheses and
    /// may hold anything.
    static func field(_ number: Int, ofStat stat: [UInt8]) -> UInt64? {
        guard let end = stat.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = stat[(end + 1)...].split(separator: UInt8(ascii: " "))
        return fields.count > number - 3
            ? UInt64(String(decoding: fields[number - 3], as: UTF8.self)) : nil
    }

    private static func read(
        _ name: String,
        in folder: borrowing Descriptor
    ) throws(SystemError) -> [UInt8] {
        let number = folder.number
        let file = Descriptor(
            owning: try systemCall("openat") {
                unsafe openat(number, name, O_RDONLY | O_CLOEXEC)
            }
        )
        var bytes = [UInt8](repeating: 0, count: 1024)
        let count = try systemCall("read") { unsafe Glibc.read(file.number, &bytes, bytes.count) }
        return Array(bytes[..<count])
    }

    /// A descriptor of the process itself; nil where the kernel has none.
    private static func handle(ofPeerOf socket: CInt) -> Descriptor? {
        var handle: CInt = -1
        var size = socklen_t(MemoryLayout<CInt>.size)
        let status = unsafe getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &handle, &size)
        return status == 0 ? Descriptor(owning: handle) : nil
    }

    private static func hasEnded(_ handle: CInt) -> Bool {
        // It is readable from its end on (pidfd_open(2)).
        (try? wait(for: [(handle, .input)], atMost: 0).first) != []
    }
}
