internal import Glibc
internal import SystemPackage

/// A thread of the system's own, for what blocks or changes its thread.
///
/// What a thread changes about itself alone, such as its network namespace, ends with it.
public struct OwnThread: ~Copyable, Sendable {
    private let id: pthread_t

    /// Runs `body` on a new thread.
    ///
    /// The thread goes on where the result is dropped.
    @discardableResult
    public static func start(
        _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) -> OwnThread {
        var id = pthread_t()
        let body = unsafe Unmanaged.passRetained(Body(run: body))
        // The thread releases the closure.
        let status = unsafe pthread_create(
            &id,
            nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            },
            unsafe body.toOpaque()
        )
        guard status == 0 else {
            unsafe body.release()
            throw SystemError(call: "pthread_create", errno: Errno(rawValue: status))
        }
        return OwnThread(id: id)
    }

    private init(id: pthread_t) { self.id = id }

    deinit { pthread_detach(id) }

    /// Waits until the thread has ended.
    public consuming func join() {
        let id = id
        discard self
        pthread_join(id, nil)
    }

    /// A closure behind a pointer.
    private final class Body: Sendable {
        let run: @Sendable () -> Void

        init(run: @escaping @Sendable () -> Void) { self.run = run }
    }
}
