internal import Glibc

/// The system's name service, whose functions block (nsswitch.conf(5)).
public enum NameService {
    private typealias UserRecord = passwd
    private typealias GroupRecord = Glibc.group

    /// The longest record that is read: a group of 100,000 members is about 1 MiB.
    private static let longestRecord = 4 * 1024 * 1024

    /// The name of a user; nil where the system knows none.
    public static func user(_ uid: UInt32) -> String? {
        unsafe record { buffer, size in
            var record = unsafe UserRecord()
            var found: UnsafeMutablePointer<UserRecord>?
            let status = unsafe getpwuid_r(uid, &record, buffer, size, &found)
            return (status, unsafe found.map { unsafe String(cString: $0.pointee.pw_name) })
        }
    }

    /// The id of a user; nil where the system knows none of that name.
    public static func uid(ofUser name: String) -> UInt32? {
        unsafe record { buffer, size in
            var record = unsafe UserRecord()
            var found: UnsafeMutablePointer<UserRecord>?
            let status = unsafe getpwnam_r(name, &record, buffer, size, &found)
            return (status, unsafe found.map { unsafe $0.pointee.pw_uid })
        }
    }

    /// The group that a user's processes have at first; nil where the system knows no such user.
    public static func primaryGroup(ofUser name: String) -> UInt32? {
        unsafe record { buffer, size in
            var record = unsafe UserRecord()
            var found: UnsafeMutablePointer<UserRecord>?
            let status = unsafe getpwnam_r(name, &record, buffer, size, &found)
            return (status, unsafe found.map { unsafe $0.pointee.pw_gid })
        }
    }

    /// The groups that a user has after logging in, as the name service knows them now
    /// (getgrouplist(3)); none where it does not know the user.
    public static func memberships(ofUser name: String) -> [UInt32] {
        guard let primary = primaryGroup(ofUser: name) else { return [] }
        // It says how many there are when there is no room for all.
        var count: CInt = 64
        while true {
            var groups = [gid_t](repeating: 0, count: Int(count))
            let room = count
            let status = unsafe getgrouplist(name, primary, &groups, &count)
            if status >= 0 || count <= room { return Array(groups.prefix(Int(min(room, count)))) }
        }
    }

    /// The name of a group; nil where the system knows none.
    public static func group(_ gid: UInt32) -> String? {
        unsafe record { buffer, size in
            var record = unsafe GroupRecord()
            var found: UnsafeMutablePointer<GroupRecord>?
            let status = unsafe getgrgid_r(gid, &record, buffer, size, &found)
            return (status, unsafe found.map { unsafe String(cString: $0.pointee.gr_name) })
        }
    }

    /// The number of a group; nil where the system knows none of that name.
    public static func gid(ofGroup name: String) -> UInt32? {
        unsafe record { buffer, size in
            var record = unsafe GroupRecord()
            var found: UnsafeMutablePointer<GroupRecord>?
            let status = unsafe getgrnam_r(name, &record, buffer, size, &found)
            return (status, unsafe found.map { unsafe $0.pointee.gr_gid })
        }
    }

    /// Calls a lookup with a larger buffer until its record fits.
    private static func record<Value>(
        _ lookUp: (UnsafeMutablePointer<CChar>, Int) -> (status: CInt, value: Value?)
    ) -> Value? {
        var size = 4096
        while size <= longestRecord {
            let buffer = UnsafeMutablePointer<CChar>.allocate(capacity: size)
            defer { unsafe buffer.deallocate() }
            let result = unsafe lookUp(buffer, size)
            switch result.status {
            case ERANGE: size *= 4
            case EINTR: continue
            default: return result.value
            }
        }
        return nil
    }
}
