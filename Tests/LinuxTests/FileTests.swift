import Glibc
import Linux
import SystemPackage
import TestSupport
import Testing

private func text(_ path: String) throws -> String {
    String(decoding: try Descriptor.open(path, .readOnly).readAll(atMost: 100), as: UTF8.self)
}

@Test(.blocking) func aFileIsReplacedWholeWithItsPermissions() throws {
    let folder = try TemporaryFolder()
    let file = folder.path + "/policy.yaml"
    try replaceFile(file, with: Array("old".utf8))
    try replaceFile(
        file,
        with: Array("new, longer".utf8),
        permissions: [.ownerReadWrite, .groupRead]
    )
    #expect(try text(file) == "new, longer")
    #expect(try fileStatus(file).permissions == [.ownerReadWrite, .groupRead])
    #expect(try folderNames(folder.path) == ["policy.yaml"])
}

@Test(.blocking) func whatACrashLeftDoesNotKeepAFileFromBeingReplaced() throws {
    let folder = try TemporaryFolder()
    // A link, so that following it would write to another file.
    symlink(folder.path + "/other", folder.path + "/.a.new")
    try replaceFile(folder.path + "/a", with: Array("new".utf8))
    #expect(try folderNames(folder.path) == ["a"])
    #expect(try text(folder.path + "/a") == "new")
}

@Test(.blocking) func aFileThatCannotBeReplacedStaysAsItWas() throws {
    let folder = try TemporaryFolder()
    let file = folder.path + "/a"
    try makeFolder(file, permissions: .ownerReadWriteExecute)
    defer { rmdir(file) }
    // A folder cannot give way to a file.
    #expect(throws: SystemError(call: "rename", errno: .isDirectory)) {
        try replaceFile(file, with: [1])
    }
    #expect(try folderNames(folder.path) == ["a"])
}

@Test func errorsNameTheCall() {
    let missing = SystemError(call: "open", errno: .noSuchFileOrDirectory)
    #expect(throws: missing) { _ = try firstLine(of: "/nowhere") }
    #expect(missing.description == "open: no such file or directory")
    #expect(throws: SystemError(call: "opendir", errno: .notDirectory)) {
        try folderNames("/dev/null")
    }
}

@Test(.blocking) func noMoreIsReadThanWasAllowed() throws {
    let folder = try TemporaryFolder()
    let file = folder.path + "/a"
    try replaceFile(file, with: [1, 2, 3])
    #expect(try Descriptor.open(file, .readOnly).readAll(atMost: 3) == [1, 2, 3])
    #expect(throws: SystemError(call: "read", errno: .fileTooLarge)) {
        try Descriptor.open(file, .readOnly).readAll(atMost: 2)
    }
}

@Test(.blocking) func aFileIsWrittenInPlace() throws {
    let folder = try TemporaryFolder()
    let file = try Descriptor.open(folder.path + "/a", .readWrite, options: .create)
    try file.write([1, 2, 3, 4], at: 0)
    try file.write([7, 8], at: 1)
    try file.synchronizeData()
    #expect(try file.readAll(atMost: 10) == [1, 7, 8, 4])
}

@Test(.blocking) func aLockIsHeldOnceAndUntilTheEnd() throws {
    let folder = try TemporaryFolder()
    let open = { () throws(SystemError) in
        try FileLock.take(on: .open(folder.path + "/lock", .readWrite, options: .create))
    }
    do {
        let lock = try open()
        #expect(throws: SystemError(call: "flock", errno: .wouldBlock)) { _ = try open() }
        _ = consume lock
    }
    _ = try open()
}
