internal import CLinux
internal import Glibc
public import SystemPackage

/// What the file system says of a path.
///
/// - Parameters:
///   - path: Where.
///   - followsLink: Whether a symbolic link there stands for what it names.
/// - Returns: Type, owner, permissions and so on.
/// - Throws: ``SystemError``, `ENOENT` where there is nothing.
public func fileStatus(_ path: String, followsLink: Bool = true) throws(SystemError) -> Stat {
    do throws(Errno) {
        return try Stat(FilePath(path), followTargetSymlink: followsLink)
    } catch {
        throw SystemError(call: followsLink ? "stat" : "lstat", errno: error)
    }
}

extension Stat {
    /// When the content last changed, since 1970.
    public var modification: (seconds: Int, nanoseconds: Int) {
        (st_mtim.tv_sec, st_mtim.tv_nsec)
    }
}

/// The first line of a small file, such as those under /proc, without its end.
///
/// - Throws: ``SystemError``, `EFBIG` where the file has more than 4,096 bytes.
public func firstLine(of path: String) throws(SystemError) -> String {
    let bytes = try Descriptor.open(path, .readOnly).readAll(atMost: 4096)
    return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
}

/// The names in a folder but `.` and `..`, in no order.
public func folderNames(_ path: String) throws(SystemError) -> [String] {
    guard let folder = unsafe try systemCall("opendir", orEnd: { unsafe opendir(path) }) else {
        return []
    }
    defer { unsafe closedir(folder) }
    var names: [String] = []
    while let entry = unsafe try systemCall("readdir", orEnd: { unsafe readdir(folder) }) {
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
            unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names
}

/// Puts a file in the place of the one at `path`, so that after a crash or on a full disk either
/// the old or the new one is there, whole.
///
/// It is written beside the old one as `.NAME.new`, with no link followed, and is on the disk when
/// this returns.
///
/// - Parameters:
///   - path: The file; its folder must be there.
///   - bytes: The new content.
///   - permissions: Those of the new file, whatever the umask is.
///   - owner: Whom the new file belongs to, as far as the process may give files away; nil for the
///     process. Where it may not give it to the group, nobody of the process' own group may write
///     it for that.
/// - Throws: ``SystemError``; the old file is then still there, unless `fsync` of the folder failed.
public func replaceFile(
    _ path: String,
    with bytes: [UInt8],
    permissions: FilePermissions = .ownerReadWrite,
    owner: (user: UserID, group: GroupID)? = nil
) throws(SystemError) {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    let folder = parts.count > 1 ? parts.dropLast().joined(separator: "/") + "/" : "./"
    let temporary = folder + ".\(parts.last ?? "").new"
    // What a crash left.
    do throws(SystemError) {
        try removeFile(temporary)
    } catch  where error.errno == .noSuchFileOrDirectory {}
    let file = try Descriptor.open(
        temporary,
        .writeOnly,
        options: [.create, .exclusiveCreate, .noFollow],
        permissions: permissions
    )
    do throws(SystemError) {
        var permissions = permissions
        if let owner, fchown(file.number, owner.user.rawValue, owner.group.rawValue) != 0,
            fchown(file.number, uid_t.max, owner.group.rawValue) != 0
        {
            permissions.subtract(.groupWrite)
        }
        try systemCall("fchmod") { fchmod(file.number, permissions.rawValue) }
        try writeAll(bytes, to: file.number)
        try file.synchronize()
        try systemCall("rename") { unsafe rename(temporary, path) }
    } catch {
        try? removeFile(temporary)
        throw error
    }
    // The name, too: a crash may else bring the old file back.
    try synchronizeFolder(of: path)
}

/// Waits until the names in a file's folder are on the disk.
private func synchronizeFolder(of path: String) throws(SystemError) {
    let folder = path.lastIndex(of: "/").map { path[...$0] } ?? "./"
    try Descriptor.open(String(folder), .readOnly, options: .directory).synchronize()
}

/// Removes a file or socket; `ENOENT` where there is none.
///
/// - Parameters:
///   - path: The file.
///   - durably: Whether a crash must not bring it back.
/// - Throws: ``SystemError``; where `fsync` of the folder failed the file is gone.
public func removeFile(_ path: String, durably: Bool = false) throws(SystemError) {
    try systemCall("unlink") { unsafe unlink(path) }
    if durably { try synchronizeFolder(of: path) }
}

/// Makes a folder; `EEXIST` where there is something.
public func makeFolder(_ path: String, permissions: FilePermissions) throws(SystemError) {
    try systemCall("mkdir") { unsafe mkdir(path, permissions.rawValue) }
}

/// Sets who may use a file.
public func setPermissions(_ permissions: FilePermissions, of path: String) throws(SystemError) {
    try systemCall("chmod") { unsafe chmod(path, permissions.rawValue) }
}

/// Gives a file, or the symbolic link itself, to a group.
public func setGroup(_ gid: UInt32, of path: String) throws(SystemError) {
    try systemCall("lchown") { unsafe lchown(path, uid_t.max, gid) }
}

/// What a symbolic link names.
public func linkTarget(_ path: String) throws(SystemError) -> String {
    var bytes = [CChar](repeating: 0, count: 4096)
    let count = try systemCall("readlink") { unsafe readlink(path, &bytes, bytes.count) }
    return String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// All of a file, such as those under /proc.
///
/// - Throws: ``SystemError``, `EFBIG` where it has more bytes than `limit`.
public func text(of path: String, atMost limit: Int) throws(SystemError) -> String {
    String(decoding: try Descriptor.open(path, .readOnly).readAll(atMost: limit), as: UTF8.self)
}
