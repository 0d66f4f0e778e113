/// Operations that the kernel carries out all together or not at all, in order.
///
/// The verbs are nft's. Each says what the kernel refuses it for; besides, every operation is refused
/// with `ENOENT` if its table is missing, and with `EPERM` if another connection owns the table.
/// ``Connection/commit(_:ifGeneration:)`` then throws `refused`, which names the operation.
///
/// ## Topics
///
/// ### Tables
/// - ``add(_:)-(Table)``
/// - ``create(_:)-(Table)``
/// - ``delete(_:)-(Table)``
/// - ``flush(_:)-(Table)``
///
/// ### Chains
/// - ``add(_:)-(Chain)``
/// - ``create(_:)-(Chain)``
/// - ``delete(_:)-(Chain)``
/// - ``flush(_:)-(Chain)``
///
/// ### Rules
/// - ``add(_:)-(Rule)``
/// - ``insert(_:)``
/// - ``delete(_:)-(Rule)``
///
/// ### Sets
/// - ``add(_:)-(NamedSet)``
/// - ``create(_:)-(NamedSet)``
/// - ``delete(_:)-(NamedSet)``
/// - ``flush(_:)-(NamedSet)``
///
/// ### Elements
/// - ``add(_:to:)``
/// - ``create(_:in:)``
/// - ``delete(_:from:)``
public struct Transaction: Hashable, Sendable {
    /// What is to be done with an object.
    public enum Verb: String, Hashable, Sendable {
        /// Makes it; fine if it is there and the same.
        case add
        /// Makes it; refused with `EEXIST` if it is there.
        case create
        /// Makes it, in front of what is there.
        case insert
        /// Removes it; refused with `ENOENT` if it is missing.
        case delete
        /// Empties it.
        case flush
    }

    /// One operation.
    public enum Operation: Hashable, Sendable {
        case table(Verb, Table)
        case chain(Verb, Chain)
        case rule(Verb, Rule)
        case set(Verb, NamedSet)
        case elements(Verb, [SetElement], NamedSet)
    }

    /// In the order of queuing; errors name the index.
    public private(set) var operations: [Operation] = []

    /// Begins with nothing to do.
    public init() {}

    /// Whether there is nothing to do; such a commit asks the kernel nothing.
    public var isEmpty: Bool { operations.isEmpty }

    // MARK: Tables

    /// Makes a table, or changes its flags; adopts one that persists without owner.
    ///
    /// Refused with `EOPNOTSUPP` for a flag that the kernel does not know.
    public mutating func add(_ table: Table) { operations.append(.table(.add, table)) }

    /// Makes a table; refused with `EEXIST` if it is there.
    public mutating func create(_ table: Table) { operations.append(.table(.create, table)) }

    /// Removes a table and all in it; refused with `ENOENT` if it is missing.
    public mutating func delete(_ table: Table) { operations.append(.table(.delete, table)) }

    /// Removes all rules of a table's chains, not the sets' elements; refused with `ENOENT` if it
    /// is missing.
    public mutating func flush(_ table: Table) { operations.append(.table(.flush, table)) }

    // MARK: Chains

    /// Makes a chain, or changes its policy; refused with `EEXIST` if hook or type differ.
    public mutating func add(_ chain: Chain) { operations.append(.chain(.add, chain)) }

    /// Makes a chain; refused with `EEXIST` if it is there.
    public mutating func create(_ chain: Chain) { operations.append(.chain(.create, chain)) }

    /// Removes a chain and its rules; refused with `ENOENT` if it is missing, with `EBUSY` while
    /// something jumps to it.
    public mutating func delete(_ chain: Chain) { operations.append(.chain(.delete, chain)) }

    /// Removes a chain's rules; refused with `ENOENT` if it is missing.
    public mutating func flush(_ chain: Chain) { operations.append(.chain(.flush, chain)) }

    // MARK: Rules

    /// Appends a rule to its chain.
    ///
    /// Refused with `ENOENT` if the chain, a set it uses, a chain it leads to or the kernel's module
    /// for an expression is missing, with `EMLINK` if a packet could be led in a circle or through
    /// more than 16 chains, with `EOPNOTSUPP` if an expression means nothing in a hook that leads
    /// to it.
    public mutating func add(_ rule: Rule) { operations.append(.rule(.add, rule)) }

    /// Puts a rule in front of its chain's others; refused as ``add(_:)-(Rule)`` is.
    public mutating func insert(_ rule: Rule) { operations.append(.rule(.insert, rule)) }

    /// Removes a listed rule by its handle; refused with `ENOENT` if it is missing.
    public mutating func delete(_ rule: Rule) { operations.append(.rule(.delete, rule)) }

    // MARK: Sets

    /// Makes a set; refused with `EEXIST` if one of that name differs.
    public mutating func add(_ set: NamedSet) { operations.append(.set(.add, set)) }

    /// Makes a set; refused with `EEXIST` if it is there.
    public mutating func create(_ set: NamedSet) { operations.append(.set(.create, set)) }

    /// Removes a set; refused with `ENOENT` if it is missing, with `EBUSY` while a rule uses it.
    public mutating func delete(_ set: NamedSet) { operations.append(.set(.delete, set)) }

    /// Removes all elements of a set; refused with `ENOENT` if it is missing.
    public mutating func flush(_ set: NamedSet) { operations.append(.set(.flush, set)) }

    // MARK: Elements

    /// Adds elements; fine if they are there.
    ///
    /// Refused with `EEXIST` for another verdict or a range that overlaps one, with `ENOENT` if the
    /// set is missing, with `ENFILE` if it is full.
    ///
    /// The timeout of an element that is there stays as it is before Linux 6.12, and changes from
    /// then on: to be sure of a new one, delete the element first, in the same transaction.
    public mutating func add(_ elements: [SetElement], to set: NamedSet) {
        append(.add, elements, set)
    }

    /// Adds elements; refused with `EEXIST` if one is there, else like ``add(_:to:)``.
    public mutating func create(_ elements: [SetElement], in set: NamedSet) {
        append(.create, elements, set)
    }

    /// Removes elements, of which only the keys count; refused with `ENOENT` if one is missing.
    public mutating func delete(_ elements: [SetElement], from set: NamedSet) {
        append(.delete, elements, set)
    }

    private mutating func append(_ verb: Verb, _ elements: [SetElement], _ set: NamedSet) {
        // An operation without elements would be a message that the kernel refuses.
        guard !elements.isEmpty else { return }
        operations.append(.elements(verb, elements, set))
    }
}
