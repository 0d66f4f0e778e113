internal import Glibc
public import SystemPackage

/// Owns a descriptor and closes it at the end of its life.
public struct Descriptor: ~Copyable, Sendable {
    /// The descriptor's number, valid as long as this owner lives; it is not to be closed.
    public let number: CInt

    /// Takes over an open descriptor, which nobody else may close from now on.
    public init(owning number: CInt) { self.number = number }

    deinit {
        // Never again after EINTR: Linux has closed it by then (close(2)).
        close(number)
    }

    /// Hands the descriptor over to an owner of another kind, such as NIO.
    public consuming func release() -> CInt {
        let number = number
        discard self
        return number
    }

    /// Opens a file, always with `O_CLOEXEC`.
    ///
    /// - Parameters:
    ///   - path: Where it is.
    ///   - mode: What it is opened for.
    ///   - options: `O_CREAT`, `O_NOFOLLOW` and the like.
    ///   - permissions: Those of a file that is made, before the umask.
    /// - Returns: The open file.
    /// - Throws: ``SystemError``, `ENOENT` where it is not there and not to be made.
    public static func open(
        _ path: String,
        _ mode: FileDescriptor.AccessMode,
        options: FileDescriptor.OpenOptions = [],
        permissions: FilePermissions = .ownerReadWrite
    ) throws(SystemError) -> Descriptor {
        let flags = mode.rawValue | options.rawValue | O_CLOEXEC
        return Descriptor(
            owning: try systemCall("open") {
                unsafe Glibc.open(path, flags, permissions.rawValue)
            }
        )
    }

    /// What the file system says of the open file.
    public func status() throws(SystemError) -> Stat {
        do throws(Errno) {
            return try Stat(FileDescriptor(rawValue: number))
        } catch {
            throw SystemError(call: "fstat", errno: error)
        }
    }

    /// Reads until the end.
    ///
    /// - Throws: ``SystemError`` with `EFBIG` where more than `limit` bytes come.
    public func readAll(atMost limit: Int) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: min(limit + 1, 65_536))
        while bytes.count <= limit {
            let count = try systemCall("read") { unsafe read(number, &chunk, chunk.count) }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
        throw SystemError(call: "read", errno: .fileTooLarge)
    }

    /// Writes all bytes at an offset of the file, whatever the position is.
    public func write(_ bytes: [UInt8], at offset: Int) throws(SystemError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let place = off_t(offset + rest.startIndex)
            let count = try systemCall("pwrite") {
                unsafe rest.withUnsafeBytes {
                    unsafe pwrite(number, $0.baseAddress, $0.count, place)
                }
            }
            rest = rest.dropFirst(count)
        }
    }

    /// Waits until what was written is on the disk, with all that reading it back needs
    /// (`fdatasync`).
    public func synchronizeData() throws(SystemError) {
        try systemCall("fdatasync") { fdatasync(number) }
    }

    /// Waits until the file or folder is on the disk (`fsync`).
    public func synchronize() throws(SystemError) {
        try systemCall("fsync") { fsync(number) }
    }
}

/// A lock on a file that one process at a time can hold (flock(2)), for as long as this lives.
public struct FileLock: ~Copyable, Sendable {
    private let file: Descriptor

    /// Locks an open file.
    ///
    /// - Throws: ``SystemError``, `EWOULDBLOCK` where another process holds the lock.
    public static func take(on file: consuming Descriptor) throws(SystemError) -> FileLock {
        let number = file.number
        try systemCall("flock") { flock(number, LOCK_EX | LOCK_NB) }
        return FileLock(holding: file)
    }

    private init(holding file: consuming Descriptor) { self.file = file }

    deinit {
        // Closing alone would leave the lock to a child between its fork and its exec.
        flock(file.number, LOCK_UN)
    }
}

/// Writes all bytes to a descriptor, from its position on.
public func writeAll(_ bytes: [UInt8], to descriptor: CInt) throws(SystemError) {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = try systemCall("write") {
            unsafe rest.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
        }
        rest = rest.dropFirst(count)
    }
}
