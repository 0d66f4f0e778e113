import Glibc
import NIOCore

/// Why there is no answer.
enum Failure: Error, Hashable {
    /// The path has more bytes than a socket's address holds.
    case pathTooLong
    /// A system call failed with this error number.
    case systemCall(CInt)
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

    private static let chunk = 65_536

    private let descriptor: CInt

    /// Connects; where the agent's queue is full, waits for room.
    init(path: String, until deadline: Deadline) throws(Failure) {
        let address: SocketAddress
        do {
            address = try SocketAddress(unixDomainSocketPath: path)
        } catch {
            throw .pathTooLong
        }
        descriptor = try retryingInterrupts { () in
            socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        }
        do throws(Failure) {
            _ = try retryingInterrupts { [descriptor] in
                // The kernel wakes those who wait for room in turn, which no retry of ours could
                // do (net/unix/af_unix.c, unix_stream_connect). A time of 0 would mean for ever.
                let left = max(1, deadline.milliseconds)
                var limit = timeval(tv_sec: Int(left / 1000), tv_usec: Int(left % 1000) * 1000)
                let size = socklen_t(MemoryLayout<timeval>.size)
                let set = unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
                guard set == 0 else { return set }
                return unsafe address.withSockAddr { unsafe connect(descriptor, $0, socklen_t($1)) }
            }
        } catch {
            throw error == .systemCall(EAGAIN) ? .busy : error
        }
    }

    deinit { close(descriptor) }

    /// Whether nothing has come and the agent has not closed it.
    var isIdle: Bool {
        var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&state, 1, 0) == 0
    }

    /// Waits until there is something to read or, where that is wanted, room to write.
    func wait(toWrite: Bool, until deadline: Deadline) throws(Failure) -> Readiness {
        guard deadline.milliseconds > 0 else { throw .noAnswer }
        let events = toWrite ? POLLIN | POLLOUT : POLLIN
        var state = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        let count = try retryingInterrupts {
            unsafe poll(&state, 1, deadline.milliseconds)
        }
        guard count > 0 else { throw .noAnswer }
        return state.revents == Int16(POLLOUT) ? .toWrite : .toRead
    }

    /// Reads what is there; nothing at the end of the stream.
    func receive() throws(Failure) -> ByteBuffer {
        var bytes = ByteBuffer()
        do throws(Failure) {
            _ = try retryingInterrupts { [descriptor] in
                var result = 0
                unsafe bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.chunk) {
                    result = unsafe recv(descriptor, $0.baseAddress, $0.count, CInt(MSG_DONTWAIT))
                    return max(0, result)
                }
                return result
            }
        } catch .systemCall(ECONNRESET) {
            // The agent closed without reading everything: also an end.
        }
        return bytes
    }

    /// Writes as much as there is room for, and takes it off the buffer.
    ///
    /// Where the agent reads no further, drops the rest: its answer may say why.
    func send(_ bytes: inout ByteBuffer) throws(Failure) {
        do throws(Failure) {
            let count = try retryingInterrupts { [descriptor] in
                unsafe bytes.withUnsafeReadableBytes {
                    let flags = CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT)
                    return unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, flags)
                }
            }
            bytes.moveReaderIndex(forwardBy: count)
        } catch .systemCall(EPIPE), .systemCall(ECONNRESET) {
            bytes.clear()
        }
    }
}

/// Makes a system call, again where a signal interrupts it.
private func retryingInterrupts<Count: SignedInteger>(
    _ call: () -> Count
) throws(Failure) -> Count {
    while true {
        let result = call()
        if result >= 0 { return result }
        guard errno == EINTR else { throw .systemCall(errno) }
    }
}
