import API

extension WhoDocument {
    /// The name, and where that is not all: `root (login alice)` for who called `sudo`,
    /// `alice@example.com via portal` for whom a delegate speaks.
    var text: String {
        [name, login.map { "(login \($0))" }, via.map { "via \($0)" }].compactMap(\.self)
            .joined(separator: " ")
    }

    /// The same in fewer words: `portal:alice` for whom a delegate speaks.
    var brief: String { briefName(name, via: via) }
}

/// A name for a narrow terminal.
///
/// The delegate stands first, where nothing is cut; no account of the host has a colon in its name
/// (passwd(5)).
func briefName(_ name: String, via delegate: String?) -> String {
    delegate.map { "\($0):\(name)" } ?? name
}
