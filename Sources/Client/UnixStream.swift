import Linux
import NIOCore
import SystemPackage

/// Why there is no answer.
enum Failure: Error, Hashable {
    /// The path is empty or has more bytes than a socket's address holds.
    case unusablePath
    /// The socket cannot be used, for this reason.
    case system(Errno)
    /// The agent's queue of waiting connections stayed full until the deadline.
    case busy
    /// The deadline passed.
    case noAnswer
    /// The agent closed the connection before its answer was whole.
    case closed
    /// The call cannot be written as HTTP, for this reason.
    case invalidCall(String)
    case notHTTP
    case tooLarge
}

/// When a call must be over.
struct Deadline {
    private let end: ContinuousClock.Instant

    init(after timeout: Duration) { end = .now + timeout }

    /// What is left, in ms, rounded up lest a wait ends too early; 0 when nothing is.
    var milliseconds: CInt {
        let left = ContinuousClock.now.duration(to: end)
        return left > .zero ? CInt(clamping: Int64((left / .milliseconds(1)).rounded(.up))) : 0
    }
}

/// A connected Unix stream socket, closed with its last reference.
final class UnixStream {
    enum Readiness {
        /// There is something to read, or the end.
        case toRead
        case toWrite
    }

    enum FirstReady { case toRead, other, silence }

    private static let chunk = 65_536

    private let socket: Descriptor

    /// Connects; where the agent's queue is full, waits for room.
    init(path: String, until deadline: Deadline) throws(Failure) {
        guard let address = UnixAddress(path: path) else { throw .unusablePath }
        do throws(SystemError) {
            socket = try Descriptor.unixSocket(.stream)
            // A time of 0 would mean for ever.
            try socket.connect(to: address, waitingAtMost: max(1, deadline.milliseconds))
        } catch {
            throw error.errno == .resourceTemporarilyUnavailable ? .busy : .system(error.errno)
        }
    }

    /// Whether nothing has come and the agent has not closed it.
    var isIdle: Bool {
        (try? Linux.wait(for: [(socket.number, .input)], atMost: 0)) == [[]]
    }

    /// Waits until there is something to read or, where that is wanted, room to write.
    func wait(toWrite: Bool, until deadline: Deadline) throws(Failure) -> Readiness {
        guard deadline.milliseconds > 0 else { throw .noAnswer }
        let wanted: Linux.Readiness = toWrite ? [.input, .output] : .input
        let ready: [Linux.Readiness]
        do throws(SystemError) {
            ready = try Linux.wait(for: [(socket.number, wanted)], atMost: deadline.milliseconds)
        } catch {
            throw .system(error.errno)
        }
        guard ready != [[]] else { throw .noAnswer }
        return ready == [.output] ? .toWrite : .toRead
    }

    /// Waits until there is something to read here or at another descriptor, which may be negative.
    func wait(or other: CInt, until deadline: Deadline) throws(Failure) -> FirstReady {
        do throws(SystemError) {
            let ready = try Linux.wait(
                for: [(socket.number, .input), (other, .input)],
                atMost: deadline.milliseconds
            )
            return ready[1].isEmpty ? ready[0].isEmpty ? .silence : .toRead : .other
        } catch {
            throw .system(error.errno)
        }
    }

    /// Reads what is there; nothing at the end of the stream.
    func receive() throws(Failure) -> ByteBuffer {
        var bytes = ByteBuffer()
        do throws(SystemError) {
            try bytes.writeWithOutputRawSpan(minimumWritableBytes: Self.chunk) {
                (room) throws(SystemError) in
                try socket.receiveAvailable(into: &room)
            }
        } catch {
            // The agent closed without reading everything: also an end.
            guard error.errno == .connectionReset else { throw .system(error.errno) }
        }
        return bytes
    }

    /// Writes as much as there is room for, and takes it off the buffer.
    ///
    /// Where the agent reads no further, drops the rest: its answer may say why.
    func send(_ bytes: inout ByteBuffer) throws(Failure) {
        do throws(SystemError) {
            bytes.moveReaderIndex(forwardBy: try socket.sendAvailable(bytes.readableBytesSpan))
        } catch {
            switch error.errno {
            case .brokenPipe, .connectionReset: bytes.clear()
            default: throw .system(error.errno)
            }
        }
    }
}
