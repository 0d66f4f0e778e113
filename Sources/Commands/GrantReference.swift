import ArgumentParser
import Policy

/// What a person names to close: a request (`17`) or one of its grants (`17.1`).
enum GrantReference: Hashable, Sendable {
    case request(String)
    case grant(String)

    /// Reads an argument; throws a usage error that says what an id looks like.
    init(argument: String) throws {
        if let id = Int64(argument), id > 0, "\(id)" == argument {
            self = .request(argument)
        } else if Grant.ID(argument) != nil {
            self = .grant(argument)
        } else {
            throw ValidationError("an id is a request's (17) or a grant's (17.1)")
        }
    }
}
