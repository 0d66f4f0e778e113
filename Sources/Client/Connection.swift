import Linux
import NIOCore
import SystemPackage

/// The connection to the agent, made when it is needed and made anew when it was closed.
final class Connection {
    private let socket: String
    private let timeout: Duration
    /// The stream of the last call, where the agent keeps it open.
    private var kept: UnixStream?

    init(socket: String, timeout: Duration) {
        self.socket = socket
        self.timeout = timeout
    }

    /// Sends a call and waits for its answer.
    func exchange(_ call: Call) throws(ClientError) -> Reply {
        let deadline = Deadline(after: timeout)
        do throws(Failure) {
            if let idle = kept.take(), idle.isIdle {
                do throws(Failure) {
                    return try send(call, over: idle, until: deadline)
                } catch .closed where call.isRepeatable {
                    // The agent closes idle connections: this one ended before the call came.
                }
            }
            let stream = try UnixStream(path: socket, until: deadline)
            do throws(Failure) {
                return try send(call, over: stream, until: deadline)
            } catch .closed where call.isRepeatable {
                // The agent may have been started anew; where it is gone, what became of the call
                // is as unknown as it was.
                guard let other = try? UnixStream(path: socket, until: deadline) else {
                    throw .closed
                }
                return try send(call, over: other, until: deadline)
            }
        } catch {
            throw clientError(error)
        }
    }

    private func send(
        _ call: Call,
        over stream: UnixStream,
        until deadline: Deadline
    ) throws(Failure) -> Reply {
        let exchange = try Exchange(call)
        var unsent = exchange.request
        while true {
            switch try stream.wait(toWrite: unsent.readableBytes > 0, until: deadline) {
            case .toWrite: try stream.send(&unsent)
            case .toRead:
                // Even before all was sent: the agent may refuse a call for its size.
                guard let reply = try exchange.take(try stream.receive()) else { continue }
                if reply.keepsConnection && unsent.readableBytes == 0 { kept = stream }
                return reply
            }
        }
    }

    /// Says for a person what went wrong, and what to do.
    private func clientError(_ failure: Failure) -> ClientError {
        let seconds = timeout.components.seconds
        let reason: String
        switch failure {
        case .invalidCall(let why): return .protocolError("cannot write the request: \(why)")
        case .notHTTP: return .protocolError("cannot read the agent's answer: it is not HTTP")
        case .tooLarge:
            return .protocolError("cannot read the agent's answer: it is larger than 64 MiB")
        case .unusablePath: reason = "the path of a socket has 1...107 bytes"
        case .busy: reason = "the agent is busy, no room to connect within \(seconds) s"
        case .noAnswer: reason = "no answer within \(seconds) s"
        case .closed:
            reason = """
                it closed the connection before it answered; what was asked may or may not have \
                been done; is sallyportd running?
                """
        case .system(.permissionDenied), .system(.notPermitted): return .forbidden(socket: socket)
        case .system(.noSuchFileOrDirectory): reason = "no such file; is sallyportd running?"
        case .system(.connectionRefused): reason = "nobody listens there; is sallyportd running?"
        case .system(.notDirectory), .system(.notSocket), .system(.protocolWrongTypeForSocket):
            reason = "this is not the socket of an agent"
        case .system(let error): reason = error.text
        }
        return .unreachable(socket: socket, reason: reason)
    }
}
