import FoundationEssentials
import Glibc
import Linux
import Policy
import Settings
import SystemPackage
import TestSupport
import Testing

@Suite struct ConfigurationStartTests {
    /// A host with a valid configuration that manages 2222/tcp, and an empty state directory.
    private func host() throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        try makeFolder(folder.path + "/state", permissions: .ownerReadWriteExecute)
        try folder.write(
            "sallyport.yaml",
            """
            agent: { state_dir: \(folder.path)/state }
            roles: { requester: [alice] }
            break_glass: { sources: [192.0.2.10] }
            """
        )
        try folder.write("policy.d/a.yaml", "policies: [{name: lab, ports: [2222/tcp]}]")
        return folder
    }

    private func start(_ folder: TemporaryFolder) throws -> ConfigurationStart {
        try ConfigurationStart.read(
            file: folder.path + "/sallyport.yaml",
            stateDirectory: folder.path + "/state"
        )
    }

    /// Ways to make the files useless, with the fault that is told.
    private static let mistakes: [(String, @Sendable (TemporaryFolder) throws -> Void)] = [
        ("sallyport.yaml:1:1: role: unknown key", { try $0.write("sallyport.yaml", "role: {}") }),
        (
            "sallyport.yaml: cannot read the file: no such",
            { try removeFile($0.path + "/sallyport.yaml") }
        ),
        (
            "sallyport.yaml: cannot read the file: it is not a file",
            {
                try removeFile($0.path + "/sallyport.yaml")
                try makeFolder($0.path + "/sallyport.yaml", permissions: .ownerReadWriteExecute)
            }
        ),
        (
            "sallyport.yaml: cannot read the file: it is not a file",
            {
                try removeFile($0.path + "/sallyport.yaml")
                try makePipe($0.path + "/sallyport.yaml")
            }
        ),
        (
            "sallyport.yaml: cannot read the file: everybody may write to it",
            { try setPermissions([.ownerReadWrite, .otherWrite], of: $0.path + "/sallyport.yaml") }
        ),
        (
            "policy.d/a.yaml:2:1: cannot read this as YAML",
            { try $0.write("policy.d/a.yaml", "policies: [") }
        ),
        (
            "policy.d: policies: there is no policy here",
            { try removeFile($0.path + "/policy.d/a.yaml") }
        ),
        (
            "sallyport.yaml: policy_dir: cannot read the folder policy.d: no such",
            { try FileManager.default.removeItem(atPath: $0.path + "/policy.d") }
        ),
    ]

    @Test func takesTheFilesWhereTheyAreValid() throws {
        let folder = try host()
        let start = try start(folder)
        #expect(start.origin == .files && start.fault == nil)
        #expect(start.configuration.policies.map(\.name) == ["lab"])
        #expect(start.stateDirectory == folder.path + "/state")
    }

    @Test(arguments: mistakes.indices)
    func takesWhatWasLastInForce(mistake: Int) throws {
        let folder = try host()
        let good = try start(folder).configuration
        try good.keep(in: folder.path + "/state")
        let (fault, make) = Self.mistakes[mistake]
        try make(folder)

        let start = try start(folder)
        #expect(start.origin == .lastKnownGood)
        #expect(start.configuration == good)
        let said = try #require(start.fault).description.replacing(folder.path + "/", with: "")
        #expect(said.hasPrefix(fault), "\(said)")
    }

    /// What the agent did not live to record, the next start finds.
    @Test func tellsWhatWasInForceBeforeTheFilesWereChanged() throws {
        let folder = try host()
        let old = try start(folder).configuration
        #expect(try start(folder).previous == nil)
        try old.keep(in: folder.path + "/state")
        #expect(try start(folder).previous == nil)
        try folder.write("policy.d/b.yaml", "policies: [{name: more, ports: [2223/tcp]}]")
        let changed = try start(folder)
        #expect(changed.previous == old && changed.configuration.policies.count == 2)
        try changed.configuration.keep(in: folder.path + "/state")
        #expect(try start(folder).previous == nil)
    }

    @Test(arguments: mistakes.indices)
    func closesAzuresPortsWhereNothingWasEverInForce(mistake: Int) throws {
        let folder = try host()
        let (fault, make) = Self.mistakes[mistake]
        try make(folder)
        if (try? fileStatus(folder.path + "/sallyport.yaml")) == nil {
            // Nothing was ever configured: nothing is armed.
            let error = #expect(throws: ConfigurationError.self) { try self.start(folder) }
            #expect(error?.description.contains("no such file") == true)
            return
        }
        let start = try start(folder)
        #expect(start.origin == .defaults)
        let managed = start.configuration.policySet.managedPorts
        #expect(managed.map(\.range.description) == ["22/tcp", "3389/tcp", "5985-5986/tcp"])
        #expect(start.configuration.policies.map(\.name) == ["ssh", "rdp", "winrm"])
        #expect(start.configuration.roles.roles(of: local("alice")) == [])
        // The part of the file that could be read still holds.
        let isReadable =
            !fault.hasPrefix("sallyport.yaml:")
            || fault.hasPrefix("sallyport.yaml: policy_dir")
        #expect(
            start.configuration.breakGlass.map(\.description)
                == (isReadable ? ["192.0.2.10/32"] : [])
        )
        let said = try #require(start.fault).description.replacing(folder.path + "/", with: "")
        #expect(said.hasPrefix(fault), "\(said)")
        #expect(said.contains("cannot read what was last in force: no such file"))
    }

    @Test(arguments: [
        ("break_glass: { sources: [192.0.2.10] }\nroles: 5", ["192.0.2.10/32"]),
        ("break_glass: { sources: [192.0.2.10, 10.0.0.1/24] }", []),
        ("break_glass: { sources: ['::/0'] }", []),
        ("break_glass: { sources: [192.0.2.10], from: [] }", []),
        ("break_glass: { sources: [192.0.2.10] }\nbreak_glass: { sources: [192.0.2.11] }", []),
    ])
    func breakGlassIsTakenWhereThatPartIsValid(text: String, sources: [String]) throws {
        let folder = try host()
        try folder.write("sallyport.yaml", text + "\nmistake: 1")
        #expect(try start(folder).configuration.breakGlass.map(\.description) == sources)
    }

    @Test(arguments: [
        ("{", "it is damaged"), ("", "it is damaged"), ("{\"texts\":{}}", "it is damaged"),
    ])
    func whatIsDamagedIsNotTaken(text: String, reason: String) throws {
        let folder = try host()
        try start(folder).configuration.keep(in: folder.path + "/state")
        try folder.write("state/last-known-good.json", text)
        // Also where there is no file: something was configured.
        try removeFile(folder.path + "/sallyport.yaml")
        let start = try start(folder)
        #expect(start.origin == .defaults)
        #expect(
            start.fault?.faults.last?.description
                == "\(folder.path)/state/last-known-good.json: cannot read what was last in force: "
                + reason
        )
    }

    @Test func whatOthersMayWriteIsNotTaken() throws {
        let folder = try host()
        try start(folder).configuration.keep(in: folder.path + "/state")
        try setPermissions(
            [.ownerReadWrite, .groupWrite],
            of: folder.path + "/state/last-known-good.json"
        )
        try folder.write("policy.d/a.yaml", "")
        let start = try start(folder)
        #expect(start.origin == .defaults)
        #expect(start.fault?.description.hasSuffix("others than the agent may write to it") == true)
    }

    /// What was kept is read as strictly as the files, and its faults are told apart.
    @Test func whatWasKeptIsReadStrictly() throws {
        let folder = try host()
        try start(folder).configuration.keep(in: folder.path + "/state")
        let path = "state/last-known-good.json"
        let kept = try String(contentsOfFile: folder.path + "/" + path, encoding: .utf8)
        try folder.write(path, kept.replacing("2222/tcp", with: "2222/ftp"))
        try folder.write("policy.d/a.yaml", "")
        let start = try start(folder)
        #expect(start.origin == .defaults)
        let expected =
            "\(folder.path)/\(path): \(folder.path)/policy.d/a.yaml:1:32: policies[0].ports[0]: "
        #expect(start.fault?.faults.contains { $0.description.hasPrefix(expected) } == true)
    }

    @Test func theStateDirectoryIsFoundInAFileThatIsInvalid() throws {
        let folder = try host()
        let file = folder.path + "/sallyport.yaml"
        let read = { try ConfigurationStart.read(file: file, stateDirectory: nil) }
        let good = try read()
        #expect(good.stateDirectory == folder.path + "/state")
        try good.configuration.keep(in: good.stateDirectory)
        try folder.write(
            "sallyport.yaml",
            "agent: { state_dir: \(folder.path)/state, sock: x }\nroles: none"
        )
        #expect(try read().origin == .lastKnownGood)
    }

    @Test func keepsTheTextsAsTheyWereRead() throws {
        let folder = try host()
        let good = try start(folder).configuration
        // Changed after it was read: not what is in force.
        try folder.write("policy.d/a.yaml", "policies: [")
        try good.keep(in: folder.path + "/state")
        #expect(try start(folder).configuration == good)
    }

    @Test func writesOnlyWhatChanged() throws {
        let folder = try host()
        let path = folder.path + "/state/last-known-good.json"
        let file = { try fileStatus(path).inode }
        try start(folder).configuration.keep(in: folder.path + "/state")
        let first = try file()
        #expect(try fileStatus(path).permissions == .ownerReadWrite)
        try start(folder).configuration.keep(in: folder.path + "/state")
        #expect(try file() == first)
        try folder.write("policy.d/b.yaml", "policies: [{name: b, ports: [1/tcp]}]")
        try start(folder).configuration.keep(in: folder.path + "/state")
        #expect(try file() != first)
        try folder.write("policy.d/b.yaml", "")
        #expect(try start(folder).configuration.policies.map(\.name) == ["lab", "b"])
    }

    /// Neither the defaults nor what was kept take the place of what was kept.
    @Test func theDefaultsAreNotKept() throws {
        let folder = try host()
        try folder.write("policy.d/a.yaml", "")
        let defaults = try start(folder)
        #expect(defaults.origin == .defaults)
        try defaults.configuration.keep(in: folder.path + "/state")
        #expect(try folderNames(folder.path + "/state").isEmpty)
    }

    @Test func aStateDirectoryThatIsNotThereIsAnError() throws {
        let folder = try host()
        let good = try start(folder).configuration
        #expect(throws: SystemError(call: "open", errno: .noSuchFileOrDirectory)) {
            try good.keep(in: folder.path + "/gone")
        }
    }
}

private func makePipe(_ path: String) throws {
    try #require(mkfifo(path, 0o600) == 0)
}
