import Linux
import NIOCore
import NIOHTTP1
import SystemPackage

/// The connection to the agent, made when it is needed and made anew when it was closed.
final class Connection {
    private let socket: String
    /// How long any call may take; nil for what each says.
    private let timeout: Duration?
    /// The stream of the last call, where the agent keeps it open.
    private var kept: UnixStream?

    init(socket: String, timeout: Duration?) {
        self.socket = socket
        self.timeout = timeout
    }

    /// Sends a call and waits for its answer.
    func exchange(_ call: Call) throws(ClientError) -> Reply {
        let timeout = self.timeout ?? call.patience
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
            throw ClientError(error, at: socket, after: timeout)
        }
    }

    /// Sends a call and hands on its answer's body as it comes.
    ///
    /// The answer has to begin in the time of the call; then each part may take `pause`.
    func stream(
        _ call: Call,
        eachPartWithin pause: Duration,
        _ body: (ByteBuffer) throws -> Void
    ) throws -> Reply {
        var limit = self.timeout ?? call.patience
        var deadline = Deadline(after: limit)
        do {
            let stream = try UnixStream(path: socket, until: deadline)
            let exchange = try begin(call, over: stream, until: deadline)
            while true {
                _ = try stream.wait(toWrite: false, until: deadline)
                let reply = try exchange.take(try stream.receive())
                try body(exchange.takeArrived())
                if let reply { return reply }
                if exchange.reply != nil {
                    limit = self.timeout ?? pause
                    deadline = Deadline(after: limit)
                }
            }
        } catch let failure as Failure {
            throw ClientError(failure, at: socket, after: limit)
        }
    }

    /// Sends a call whose answer goes on for ever, and waits until it begins.
    func events(_ call: Call) throws(ClientError) -> EventStream {
        let timeout = self.timeout ?? call.patience
        let deadline = Deadline(after: timeout)
        do throws(Failure) {
            let stream = try UnixStream(path: socket, until: deadline)
            let exchange = try begin(call, over: stream, until: deadline)
            return try EventStream(exchange, over: stream, of: socket, until: deadline)
        } catch {
            throw ClientError(error, at: socket, after: timeout)
        }
    }

    /// Sends a call whose answer is read as it comes.
    private func begin(
        _ call: Call,
        over stream: UnixStream,
        until deadline: Deadline
    ) throws(Failure) -> Exchange {
        let exchange = try Exchange(call, streaming: true)
        var unsent = exchange.request
        while unsent.readableBytes > 0 {
            _ = try stream.wait(toWrite: true, until: deadline)
            try stream.send(&unsent)
        }
        return exchange
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
}

extension ClientError {
    /// Says for a person what went wrong, and what to do.
    init(_ failure: Failure, at socket: String, after timeout: Duration) {
        let seconds = timeout.components.seconds
        let reason: String
        switch failure {
        case .invalidCall(let why):
            self = .protocolError("cannot write the request: \(why)")
            return
        case .notHTTP:
            self = .protocolError("cannot read the agent's answer: it is not HTTP")
            return
        case .tooLarge:
            self = .protocolError("cannot read the agent's answer: it is larger than 64 MiB")
            return
        case .unusablePath: reason = "the path of a socket has 1...107 bytes"
        case .busy: reason = "the agent is busy, no room to connect within \(seconds) s"
        case .noAnswer:
            reason = """
                it took the connection but gave no answer within \(seconds) s: it hangs, or is \
                overloaded; its log may say more: journalctl -u sallyportd
                """
        case .closed:
            reason = """
                it closed the connection before it answered; what was asked may or may not have \
                been done; is sallyportd running?
                """
        case .system(.permissionDenied), .system(.notPermitted):
            self = .forbidden(socket: socket)
            return
        case .system(.noSuchFileOrDirectory): reason = "no such file; is sallyportd running?"
        case .system(.connectionRefused): reason = "nobody listens there; is sallyportd running?"
        case .system(.notDirectory), .system(.notSocket), .system(.protocolWrongTypeForSocket):
            reason = "this is not the socket of an agent"
        case .system(let error): reason = error.text
        }
        self = .unreachable(socket: socket, reason: reason)
    }
}
