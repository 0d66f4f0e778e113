internal import Glibc
public import SystemPackage

/// A system call that failed.
public struct SystemError: Error, Hashable, Sendable {
    /// The call's name in section 2 or 3 of the manual: "open".
    public let call: String
    /// What it said.
    public let errno: Errno

    /// Notes what a call said, for those that return their error number.
    public init(call: String, errno: Errno) {
        self.call = call
        self.errno = errno
    }
}

extension SystemError: CustomStringConvertible {
    /// Call and reason, to end a sentence that begins with "cannot …: ".
    public var description: String { "\(call): \(errno.text)" }
}

extension Errno {
    /// The C library's text with a small first letter, to end a sentence of ours.
    public var text: String {
        let text = description
        return text.prefix(1).lowercased() + text.dropFirst()
    }
}

/// Makes a system call, again while signals interrupt it.
///
/// The one place where `errno` is read and `EINTR` is met. Where a call must not be made twice with
/// the same arguments, such as a time to wait, `body` computes them anew.
///
/// - Parameters:
///   - name: The call's name, for the error.
///   - body: Makes the call and nothing after it that could change `errno`.
/// - Returns: The call's result, 0 or more.
/// - Throws: ``SystemError`` where the result is negative.
@discardableResult
@inline(__always)
public func systemCall<Result: SignedInteger>(
    _ name: StaticString,
    _ body: () -> Result
) throws(SystemError) -> Result {
    while true {
        let result = body()
        if result >= 0 { return result }
        let number = Errno(rawValue: Glibc.errno)
        guard number == .interrupted else {
            throw SystemError(call: name.description, errno: number)
        }
    }
}

/// Makes a call that returns nil on failure and maybe at an end, which errno alone tells apart.
func systemCall<Result>(
    _ name: StaticString,
    orEnd body: () -> Result?
) throws(SystemError) -> Result? {
    Glibc.errno = 0
    if let result = body() { return result }
    let number = Errno(rawValue: Glibc.errno)
    guard number.rawValue == 0 else { throw SystemError(call: name.description, errno: number) }
    return nil
}
