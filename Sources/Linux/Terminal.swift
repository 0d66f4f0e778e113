internal import CLinux
internal import Glibc
internal import SystemPackage

/// What a terminal is like, and how it shows text.
public enum Terminal {
    /// Whether a descriptor of this process is a terminal.
    public static func isOpen(on descriptor: CInt) -> Bool { isatty(descriptor) == 1 }

    /// How many columns a terminal has; nil where it is none or does not know (ioctl_tty(2)).
    public static func columns(of descriptor: CInt) -> Int? {
        var size = winsize()
        let failed = unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size) < 0
        return failed || size.ws_col == 0 ? nil : Int(size.ws_col)
    }

    /// How many columns a text takes: two for a wide (East Asian) character or an emoji, none for a
    /// combining mark.
    public static func width(of text: String) -> Int {
        if text.utf8.allSatisfy({ $0 < 0x80 }) { return text.utf8.count }
        // wcwidth(3) knows the characters of the thread's locale only, which is "C" until somebody
        // says otherwise.
        guard let locale = unsafe newlocale(LC_CTYPE_MASK, "C.UTF-8", nil) else {
            return text.count
        }
        let former = unsafe uselocale(locale)
        defer {
            _ = unsafe uselocale(former)
            unsafe freelocale(locale)
        }
        return text.reduce(0) { sum, character in
            let scalars = character.unicodeScalars
            // The scalars of an emoji are drawn as one; U+FE0F asks for that form.
            if scalars.contains(where: { $0.properties.isEmojiPresentation || $0 == "\u{FE0F}" }) {
                return sum + 2
            }
            return sum + (scalars.map { max(0, Int(wcwidth(wchar_t($0.value)))) }.max() ?? 0)
        }
    }
}

/// Takes the signal of Ctrl-C (SIGINT) away from the calling thread while `body` runs.
///
/// - Parameter body: Is given a descriptor that is readable from the first Ctrl-C on, which does
///   nothing else.
/// - Returns: What `body` returns.
/// - Throws: ``SystemError`` where there is no descriptor left, or what `body` throws.
public func catchingInterrupts<Result>(_ body: (CInt) throws -> Result) throws -> Result {
    var (interrupt, former) = (sigset_t(), sigset_t())
    unsafe sigemptyset(&interrupt)
    unsafe sigaddset(&interrupt, SIGINT)
    let signals = Descriptor(
        owning: try systemCall("signalfd") {
            unsafe signalfd(-1, &interrupt, CInt(SFD_CLOEXEC) | CInt(SFD_NONBLOCK))
        }
    )
    // It fails for a wrong argument only.
    _ = unsafe pthread_sigmask(SIG_BLOCK, &interrupt, &former)
    defer {
        // What came is forgotten, or it would end the process now.
        var signal = signalfd_siginfo()
        _ = unsafe read(signals.number, &signal, MemoryLayout<signalfd_siginfo>.size)
        _ = unsafe pthread_sigmask(SIG_SETMASK, &former, nil)
    }
    return try body(signals.number)
}
