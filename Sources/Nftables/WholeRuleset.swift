public import Netlink

/// All that a network namespace's nf_tables hold, of all programs and families.
public struct WholeRuleset: Hashable, Sendable {
    /// How much of a ruleset is read.
    public struct Limits: Sendable {
        /// The most rules.
        public var rules: Int
        /// The most elements of one set; a set with more has none in the reading.
        public var elementsPerSet: Int
        /// Of which sets elements are read.
        public var wantsElements: @Sendable (NamedSet) -> Bool
        /// Whether the time is over.
        public var isOver: @Sendable () -> Bool

        /// Sets the limits.
        public init(
            rules: Int = .max,
            elementsPerSet: Int = .max,
            wantsElements: @escaping @Sendable (NamedSet) -> Bool = { _ in true },
            isOver: @escaping @Sendable () -> Bool = { false }
        ) {
            self.rules = rules
            self.elementsPerSet = elementsPerSet
            self.wantsElements = wantsElements
            self.isOver = isOver
        }
    }

    /// A set, by the table it is in and its name.
    public struct SetID: Hashable, Sendable {
        /// The table, whatever its flags.
        public var family: Family
        /// The table's name.
        public var table: String
        /// The set's name.
        public var name: String

        /// Names a set.
        public init(_ name: String, in table: Table) {
            family = table.family
            self.table = table.name
            self.name = name
        }
    }

    /// The tables.
    public var tables: [Table] = []
    /// The chains; those of a table in the order in which they were made.
    public var chains: [Chain] = []
    /// The rules; those of a chain in their order.
    public var rules: [Rule] = []
    /// The sets and verdict maps.
    public var sets: [NamedSet] = []
    /// The elements of the sets that were read whole.
    public var elements: [SetID: [SetElement]] = [:]
    /// The flowtables.
    public var flowtables: [Flowtable] = []
    /// What is there of kinds that this library does not know, in words.
    public var unknown: [String] = []
    /// Whether a limit was met, so that rules are missing.
    public var isCut = false
    /// Whether others changed the ruleset on the way: rules may be missing, or there twice.
    public var isTorn = false

    /// A ruleset without anything.
    public init() {}

    /// Reads the ruleset of the calling thread's network namespace, over connections of its own.
    ///
    /// Where others keep changing it, it is read three times, and the last reading counts. The
    /// kernel lists without locks: nobody's changes wait for it.
    ///
    /// - Parameter limits: How much is read.
    /// - Returns: What is there, or as much of it as the limits allow.
    /// - Throws: `refused` where the kernel does not let it be read.
    public static func read(_ limits: Limits = Limits()) throws(NetlinkError) -> WholeRuleset {
        var triesLeft = 3
        var before: WholeRuleset?
        while true {
            triesLeft -= 1
            var reader = try Reader(limits)
            try reader.read()
            var ruleset = reader.ruleset
            // Where only elements come and go, it is the same each time.
            if ruleset.isTorn, let before, before.hasObjects(of: ruleset) { ruleset.isTorn = false }
            if !ruleset.isTorn || ruleset.isCut || triesLeft == 0 { return ruleset }
            before = ruleset
        }
    }

    /// Whether it has the same objects as another reading, whatever they have counted and hold.
    private func hasObjects(of other: WholeRuleset) -> Bool {
        // A rule that is made anew has another handle.
        chains == other.chains && rules.map(\.handle) == other.rules.map(\.handle)
            && rules.map(\.chain) == other.rules.map(\.chain) && sets == other.sets
            && flowtables == other.flowtables && unknown == other.unknown
    }
}

/// Reads a ruleset, one listing for all objects of a kind.
private struct Reader {
    var ruleset = WholeRuleset()
    private let limits: WholeRuleset.Limits
    private var connection: Connection
    private var tables: [TableID: Table] = [:]

    private struct TableID: Hashable {
        var family: UInt8
        var name: String
    }

    init(_ limits: WholeRuleset.Limits) throws(NetlinkError) {
        self.limits = limits
        connection = try Connection()
    }

    mutating func read() throws(NetlinkError) {
        let generation = try connection.generation()
        ruleset.tables = try list(Kernel.Message.getTable, "tables") {
            (datagram, body, family, unknown) throws(NetlinkError) in
            let table = try Table(in: datagram, at: body, family: family)
            if table == nil { unknown.append("a table of the family \(family)") }
            return table
        }
        for table in ruleset.tables {
            tables[TableID(family: table.family.rawValue, name: table.name)] = table
        }
        ruleset.chains = try listOfTables(Kernel.Message.getChain, "chains", Chain.init)
        ruleset.rules = try listOfTables(Kernel.Message.getRule, "rules", Rule.init)
        ruleset.sets = try listOfTables(Kernel.Message.getSet, "sets", NamedSet.init)
        // A kernel without flowtables says that it does not know them.
        ruleset.flowtables =
            (try? listOfTables(Kernel.Message.getFlowtable, "flowtables", Flowtable.init)) ?? []
        for set in ruleset.sets where limits.wantsElements(set) { try readElements(of: set) }
        if try connection.generation() != generation { ruleset.isTorn = true }
    }

    private mutating func readElements(of set: NamedSet) throws(NetlinkError) {
        guard !limits.isOver() else { return ruleset.isCut = true }
        let (limit, isOver) = (limits.elementsPerSet, limits.isOver)
        var elements: [SetElement] = []
        var isFull = false
        do throws(NetlinkError) {
            try connection.forEachElement(of: set, { elements.append($0) }) {
                isFull = elements.count > limit || isOver()
                return !isFull
            }
        } catch .interrupted {
            ruleset.isTorn = true
        } catch  where error.isNotFound {
            ruleset.isTorn = true
            return
        } catch  where isFull {
            // The rest of the listing stands in the socket's way.
            connection = try Connection()
            if isOver() { ruleset.isCut = true }
            return
        }
        ruleset.elements[.init(set.name, in: set.table)] = elements
    }

    /// Lists the objects of a kind that lie in tables, of all of them.
    private mutating func listOfTables<Object>(
        _ type: UInt16,
        _ what: String,
        _ decode: (RawSpan, Range<Int>, Table) throws(NetlinkError) -> Object?
    ) throws(NetlinkError) -> [Object] {
        let tables = tables
        return try list(type, what) {
            (datagram, body, family, unknown) throws(NetlinkError) in
            // Attribute 1 is the table's name in messages about chains, rules, sets and flowtables.
            var cursor = AttributeCursor(body)
            var name = ""
            while let attribute = try cursor.next(in: datagram) {
                guard attribute.type == Kernel.RuleAttribute.table else { continue }
                name = try datagram.string(in: attribute.payload)
                break
            }
            // One that is missing was made since the tables were listed.
            guard let table = tables[TableID(family: family, name: name)] else { return nil }
            let object = try decode(datagram, body, table)
            if object == nil { unknown.append("one of the \(what) of \(table.family) \(name)") }
            return object
        }
    }

    private mutating func list<Object>(
        _ type: UInt16,
        _ what: String,
        _ decode: (RawSpan, Range<Int>, UInt8, inout [String]) throws(NetlinkError) -> Object?
    ) throws(NetlinkError) -> [Object] {
        guard !ruleset.isCut else { return [] }
        var found: [Object] = []
        var unknown: [String] = []
        var isFull = false
        let request = Request(type: type, family: 0, isListing: true, purpose: "list \(what)")
        do throws(NetlinkError) {
            try connection.ask(request) { (datagram, body, family) throws(NetlinkError) in
                isFull = found.count >= limits.rules || limits.isOver()
                // Ends the listing; the catching end knows why.
                guard !isFull else { throw .outcomeUnknown(nil) }
                let object = try decode(datagram, body, family, &unknown)
                if let object { found.append(object) }
            }
        } catch .interrupted {
            ruleset.isTorn = true
        } catch  where isFull {
            ruleset.isCut = true
            connection = try Connection()
        }
        ruleset.unknown += unknown
        return found
    }
}
