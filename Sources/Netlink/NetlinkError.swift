public import Linux
public import SystemPackage

/// Why the kernel could not be asked, refused, or did not answer.
public enum NetlinkError: Error, Hashable, Sendable {
    /// A system call failed before the kernel took the message.
    case systemCall(SystemError)
    /// The operation cannot be put into a message; nothing was sent.
    case invalid(operation: Int, description: String, reason: String)
    /// The kernel refused one operation; of its transaction nothing was done.
    ///
    /// `operation` is the index in the transaction, `description` says what was to be done
    /// ("add element 10.0.0.0/8 to set allowed"), `kernelMessage` is the extended
    /// acknowledgement's text, which most errors lack.
    case refused(operation: Int, description: String, Errno, kernelMessage: String?)
    /// The kernel refused a whole batch for another reason than those below.
    case batchRefused(Errno)
    /// `EPERM` for the whole batch: the thread lacks CAP_NET_ADMIN in its network namespace.
    case notPermitted
    /// `ERESTART`: the ruleset is no longer the generation the caller named; read it again.
    case staleGeneration
    /// The kernel may or may not have acted: its answer was lost. Read back before acting on it.
    case outcomeUnknown(Errno?)
    /// A listing was cut short by changes of others again and again.
    case interrupted
    /// The kernel's answer breaks its own format at this byte of the datagram.
    case malformedReply(offset: Int)
    /// The C library could not allocate memory; nothing was sent.
    case outOfMemory

    /// Whether the kernel refused because the named object is missing (`ENOENT`).
    public var isNotFound: Bool { refusal == .noSuchFileOrDirectory }

    /// Whether the kernel refused because the object is there already (`EEXIST`).
    public var isAlreadyExists: Bool { refusal == .fileExists }

    /// Whether the kernel was built without what was asked for (`ENOTSUP`).
    public var isNotSupported: Bool { refusal == .notSupported }

    private var refusal: Errno? {
        guard case .refused(_, _, let errno, _) = self else { return nil }
        return errno
    }
}

extension NetlinkError: CustomStringConvertible {
    /// What was refused and why, for the person who meets it.
    public var description: String {
        switch self {
        case .systemCall(let error):
            "cannot use the netlink socket: \(error)"
        case .invalid(_, let description, let reason):
            "cannot \(description): \(reason)"
        case .refused(_, let description, let errno, nil):
            "cannot \(description): \(errno.text)"
        case .refused(_, let description, let errno, let message?):
            "cannot \(description): \(errno.text) (kernel: \(message))"
        case .batchRefused(let errno):
            "cannot commit the transaction: \(errno.text)"
        case .notPermitted:
            "cannot commit the transaction: CAP_NET_ADMIN is missing in this network namespace"
        case .staleGeneration:
            "cannot commit the transaction: the ruleset has changed since it was read"
        case .outcomeUnknown(let errno?):
            "cannot tell whether the kernel acted: its answer was lost (\(errno.text))"
        case .outcomeUnknown(nil):
            "cannot tell whether the kernel acted: it did not answer"
        case .interrupted:
            "cannot list: the ruleset keeps changing while it is read"
        case .malformedReply(let offset):
            "cannot read the kernel's answer: malformed at byte \(offset)"
        case .outOfMemory:
            "cannot build the message: out of memory"
        }
    }
}
