import Linux
import NIOCore

/// One message of a stream of server-sent events (WHATWG HTML, section 9.2).
public struct ServerSentEvent: Hashable, Sendable {
    /// What to name to go on after it; nil where it is not to be resumed from.
    public var id: String?
    /// What kind of event it is.
    public var name = "message"
    /// What it says.
    public var data = ""
}

/// The events of the agent as they happen, over a connection of their own.
public final class EventStream {
    /// What came first.
    public enum Next: Hashable, Sendable {
        case event(ServerSentEvent)
        /// The other descriptor became readable.
        case other
        /// Nothing within the time.
        case silence
    }

    private let stream: UnixStream
    private let exchange: Exchange
    private let socket: String
    private var parser = EventParser()

    /// The answer, where the agent answered something else than events.
    private(set) var refusal: Reply?

    /// Waits until the answer to a call that was sent begins.
    init(
        _ exchange: Exchange,
        over stream: UnixStream,
        of socket: String,
        until deadline: Deadline
    ) throws(Failure) {
        self.stream = stream
        self.exchange = exchange
        self.socket = socket
        while refusal == nil, !(exchange.reply?.isDone ?? false) {
            _ = try stream.wait(toWrite: false, until: deadline)
            refusal = try exchange.take(try stream.receive())
        }
        parser.add(exchange.takeArrived())
    }

    /// The next event, or what else happens first.
    ///
    /// - Parameters:
    ///   - limit: How long to wait for it.
    ///   - other: A descriptor to watch as well; none where it is negative.
    /// - Returns: What came first.
    /// - Throws: ``ClientError/unreachable(socket:reason:)`` at the end of the stream.
    public func next(within limit: Duration, or other: CInt = -1) throws(ClientError) -> Next {
        let deadline = Deadline(after: limit)
        do throws(Failure) {
            while true {
                if let event = parser.next() { return .event(event) }
                switch try stream.wait(or: other, until: deadline) {
                case .other: return .other
                case .silence: return .silence
                case .toRead: break
                }
                guard try exchange.take(try stream.receive()) == nil else { throw .closed }
                parser.add(exchange.takeArrived())
            }
        } catch {
            throw ClientError(error, at: socket, after: limit)
        }
    }
}

/// Takes a stream of events apart.
struct EventParser {
    private var unread = ByteBuffer()
    private var event = ServerSentEvent()
    private var lines: [String] = []

    mutating func add(_ bytes: ByteBuffer) { unread.writeImmutableBuffer(bytes) }

    /// The next whole event; nil where more has to come.
    mutating func next() -> ServerSentEvent? {
        while let end = unread.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
            var line = unread.readString(length: end - unread.readerIndex) ?? ""
            unread.moveReaderIndex(forwardBy: 1)
            if line.last == "\r" { line.removeLast() }
            if line.isEmpty {
                defer { (event, lines) = (ServerSentEvent(), []) }
                guard !lines.isEmpty else { continue }
                event.data = lines.joined(separator: "\n")
                return event
            }
            take(line)
        }
        unread.discardReadBytes()
        return nil
    }

    private mutating func take(_ line: String) {
        let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let text = parts.count > 1 ? parts[1] : ""
        let value = String(text.first == " " ? text.dropFirst() : text)
        switch parts.first {
        case "id": event.id = value
        case "event": event.name = value
        case "data": lines.append(value)
        // A comment, which keeps the connection alive, or a field of a later time.
        default: break
        }
    }
}
