internal import CLinux
internal import Glibc
internal import SystemPackage

/// What can be done with a descriptor without waiting.
public struct Readiness: OptionSet, Sendable {
    /// The flags.
    public let rawValue: UInt8

    /// Combines flags.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// There is something to read, the end, or an error that reading tells.
    public static let input = Self(rawValue: 1)
    /// There is room to write.
    public static let output = Self(rawValue: 2)
}

/// Waits until something can be done with one of some descriptors.
///
/// - Parameters:
///   - watched: The descriptors and what is waited for; a negative one is never ready.
///   - milliseconds: How long to wait at most, negative for ever; it is asked again where a signal
///     interrupts.
/// - Returns: What can be done, in the order of `watched`; all are empty when the time is over.
/// - Throws: ``SystemError``, `EINVAL` for more descriptors than the process may have.
public func wait(
    for watched: [(descriptor: CInt, Readiness)],
    atMost milliseconds: @autoclosure () -> CInt = -1
) throws(SystemError) -> [Readiness] {
    var states = watched.map { descriptor, wanted in
        let input = wanted.contains(.input) ? POLLIN : 0
        let output = wanted.contains(.output) ? POLLOUT : 0
        return pollfd(fd: descriptor, events: Int16(input | output), revents: 0)
    }
    try systemCall("poll") { unsafe poll(&states, nfds_t(states.count), milliseconds()) }
    return states.map { state in
        let events = Int32(state.revents)
        let output: Readiness = events & POLLOUT != 0 ? .output : []
        return events & ~POLLOUT != 0 ? output.union(.input) : output
    }
}

/// A descriptor that becomes readable when a thread says so, once and for good (eventfd(2)).
public struct Signpost: ~Copyable, Sendable {
    private let event: Descriptor

    /// Makes one that is not raised.
    public static func make() throws(SystemError) -> Signpost {
        let flags = CInt(EFD_CLOEXEC) | CInt(EFD_NONBLOCK)
        return Signpost(
            event: Descriptor(owning: try systemCall("eventfd") { eventfd(0, flags) })
        )
    }

    private init(event: consuming Descriptor) { self.event = event }

    /// Readable once it was raised; it stays the signpost's own.
    public var descriptor: CInt { event.number }

    /// Makes the descriptor readable; may be called by any thread.
    public func raise() {
        // Fails only where it was raised 2^64 times.
        _ = eventfd_write(descriptor, 1)
    }
}
