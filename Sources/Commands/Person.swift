import API

extension WhoDocument {
    /// The name, and where that is not all: `root (login alice)` for who called `sudo`,
    /// `alice@example.com via portal` for whom a delegate speaks.
    var text: String {
        [name, login.map { "(login \($0))" }, via.map { "via \($0)" }].compactMap(\.self)
            .joined(separator: " ")
    }
}
