import Access
import FoundationEssentials
import Policy
import Testing

@testable import Server

/// `docs/roles.md`: who may do what, by which way in.
///
/// It follows from ``Operation`` and ``Route``, and stands beside the code as a page: a change of
/// rights is a change of the page, too, which nobody makes unawares.
struct RolesPage {
    /// One route, and who may use it.
    struct Row: Hashable {
        var operation: String
        var route: String
        /// The roles that may on the agent's socket.
        var local: Set<Role>
        /// The roles that may through a delegate whose ceiling has them.
        var remote: Set<Role>
        /// Whether a delegate may for itself.
        var isForDelegates: Bool
    }

    var rows: [Row]

    /// What follows from the code.
    static var expected: RolesPage {
        RolesPage(
            rows: Operation.allCases.flatMap { operation in
                Route.all.filter { $0.operation == operation }.map { route in
                    Row(
                        operation: operation.rawValue,
                        route: route.description,
                        local: operation.roles,
                        // No ceiling can have it.
                        remote: operation.roles.subtracting([.admin]),
                        isForDelegates: operation.isForDelegates
                    )
                }
            }
        )
    }

    private static let roles: [Role] = [.viewer, .requester, .approver, .admin]
    private static let path =
        "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/docs/roles.md"

    static var text: String {
        get throws { try String(contentsOfFile: path, encoding: .utf8) }
    }

    static func write(_ text: String) throws {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
    }

    /// What the page says.
    static func read() throws -> RolesPage {
        let lines = try text.split(separator: "\n").filter { $0.hasPrefix("| ") }
            .dropFirst(2)
        return RolesPage(
            rows: try lines.map { line in
                let cells = line.dropFirst(2).dropLast(2).components(separatedBy: " | ")
                try #require(cells.count == 2 + 2 * roles.count)
                func holders(_ cells: ArraySlice<String>) -> Set<Role> {
                    Set(zip(roles, cells).filter { $0.1 == "yes" }.map(\.0))
                }
                return Row(
                    operation: cells[0],
                    route: String(cells[1].dropFirst().dropLast()),
                    local: holders(cells[2..<6]),
                    remote: holders(cells[6..<9]),
                    isForDelegates: cells[9] == "yes"
                )
            }
        )
    }

    /// The page in the form it is kept in.
    var rendered: String {
        let titles =
            ["operation", "route"] + Self.roles.map(\.rawValue)
            + Self.roles.dropLast().map { "remote \($0)" } + ["delegate itself"]
        let cells = rows.map { row in
            [row.operation, "`\(row.route)`"]
                + Self.roles.map { row.local.contains($0) ? "yes" : "-" }
                + Self.roles.dropLast().map { row.remote.contains($0) ? "yes" : "-" }
                + [row.isForDelegates ? "yes" : "-"]
        }
        let lines = [titles, titles.map { _ in "---" }] + cells
        return Self.heading + lines.map { "| \($0.joined(separator: " | ")) |\n" }.joined()
    }

    private static let heading = """
        # Who may do what

        Every operation, the route that leads to it, and for whom. The first four roles are those of users of this host,
        on the agent's own socket; the *remote* ones are those of people whom a delegate speaks for, as far as its
        ceiling goes, which never reaches to admin. A delegate for itself may ask what concerns it, and nothing else.
        Root is always an admin; who has no role is refused whatever they ask.

        A role that may is not everything: a policy names who may ask under it and who may answer; requesters end and
        extend their own grants, admins anybody's; who is neither viewer, approver nor admin sees their own requests and
        grants, and the policies they may ask under. A dry run (`?dry_run=true`) is the operation that it tries.

        This page is made from the code (`SALLYPORT_WRITE_DOCS=1 make test FILTER=RoleTableTests`), and tests ask the
        running server for every combination in it.

        """ + "\n"
}
