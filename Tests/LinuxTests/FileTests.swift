import Glibc
import Linux
import SystemPackage
import Testing

/// A folder of the test's own.
private func withFolder(_ body: (String) throws -> Void) throws {
    let path = "/tmp/sallyport-files-\(UInt64.random(in: 0 ... .max))"
    try makeFolder(path, permissions: .ownerReadWriteExecute)
    defer {
        for name in (try? folderNames(path)) ?? [] { try? removeFile(path + "/" + name) }
        rmdir(path)
    }
    try body(path)
}

private func text(_ path: String) throws -> String {
    String(decoding: try Descriptor.open(path, .readOnly).readAll(atMost: 100), as: UTF8.self)
}

@Test func aFileIsReplacedWholeWithItsPermissions() throws {
    try withFolder { folder in
        let file = folder + "/policy.yaml"
        try replaceFile(file, with: Array("old".utf8))
        try replaceFile(
            file,
            with: Array("new, longer".utf8),
            permissions: [.ownerReadWrite, .groupRead]
        )
        #expect(try text(file) == "new, longer")
        #expect(try fileStatus(file).permissions == [.ownerReadWrite, .groupRead])
        #expect(try folderNames(folder) == ["policy.yaml"])
    }
}

@Test func whatACrashLeftDoesNotKeepAFileFromBeingReplaced() throws {
    try withFolder { folder in
        // A link, so that following it would write to another file.
        symlink(folder + "/other", folder + "/.a.new")
        try replaceFile(folder + "/a", with: Array("new".utf8))
        #expect(try folderNames(folder) == ["a"])
        #expect(try text(folder + "/a") == "new")
    }
}

@Test func aFileThatCannotBeReplacedStaysAsItWas() throws {
    try withFolder { folder in
        let file = folder + "/a"
        try makeFolder(file, permissions: .ownerReadWriteExecute)
        defer { rmdir(file) }
        // A folder cannot give way to a file.
        #expect(throws: SystemError(call: "rename", errno: .isDirectory)) {
            try replaceFile(file, with: [1])
        }
        #expect(try folderNames(folder) == ["a"])
    }
}

@Test func errorsNameTheCall() {
    let missing = SystemError(call: "open", errno: .noSuchFileOrDirectory)
    #expect(throws: missing) { _ = try firstLine(of: "/nowhere") }
    #expect(missing.description == "open: no such file or directory")
    #expect(throws: SystemError(call: "opendir", errno: .notDirectory)) {
        try folderNames("/dev/null")
    }
}

@Test func noMoreIsReadThanWasAllowed() throws {
    try withFolder { folder in
        let file = folder + "/a"
        try replaceFile(file, with: [1, 2, 3])
        #expect(try Descriptor.open(file, .readOnly).readAll(atMost: 3) == [1, 2, 3])
        #expect(throws: SystemError(call: "read", errno: .fileTooLarge)) {
            try Descriptor.open(file, .readOnly).readAll(atMost: 2)
        }
    }
}

@Test func allocatedRoomIsWrittenInPlace() throws {
    try withFolder { folder in
        let file = try Descriptor.open(folder + "/a", .readWrite, options: .create)
        try file.allocate(4096)
        try file.write([7, 8], at: 100)
        try file.synchronizeData()
        let bytes = try file.readAll(atMost: 4096)
        #expect(bytes.count == 4096)
        #expect(bytes[99...102] == [0, 7, 8, 0])
    }
}

@Test func aLockIsHeldOnceAndUntilTheEnd() throws {
    try withFolder { folder in
        let open = { () throws(SystemError) in
            try FileLock.take(on: .open(folder + "/lock", .readWrite, options: .create))
        }
        do {
            let lock = try open()
            #expect(throws: SystemError(call: "flock", errno: .wouldBlock)) { _ = try open() }
            _ = consume lock
        }
        _ = try open()
    }
}
