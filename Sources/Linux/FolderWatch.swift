internal import CLinux
internal import Glibc

/// A descriptor that becomes readable when a name in a folder goes, or the folder does
/// (inotify(7)).
public struct FolderWatch: ~Copyable, Sendable {
    private let events: Descriptor

    /// Watches a folder.
    ///
    /// - Throws: ``SystemError``, `ENOENT` where it is not there.
    public static func make(_ path: String) throws(SystemError) -> FolderWatch {
        let flags = CInt(IN_CLOEXEC) | CInt(IN_NONBLOCK)
        let events = Descriptor(
            owning: try systemCall("inotify_init1") { inotify_init1(flags) }
        )
        // A name that is moved to another's place takes it away, too.
        let wanted =
            UInt32(IN_DELETE) | UInt32(IN_MOVED_FROM) | UInt32(IN_MOVED_TO)
            | UInt32(IN_DELETE_SELF) | UInt32(IN_MOVE_SELF) | UInt32(IN_ONLYDIR)
        let number = events.number
        try systemCall("inotify_add_watch") { unsafe inotify_add_watch(number, path, wanted) }
        return FolderWatch(events: events)
    }

    private init(events: consuming Descriptor) { self.events = events }

    /// Hands the descriptor over to an owner of another kind, such as NIO.
    public consuming func release() -> CInt { events.release() }
}
