/// A flowtable: the forwarded connections it takes go from device to device, past all chains.
public struct Flowtable: Hashable, Sendable {
    /// The table it is in.
    public var table: Table
    /// Unique in the table.
    public var name: String
    /// Its place among the ingress chains of its devices.
    public var priority: Int32
    /// The devices whose packets it takes.
    public var devices: [String]

    /// Describes a flowtable.
    public init(table: Table, name: String, priority: Int32, devices: [String]) {
        self.table = table
        self.name = name
        self.priority = priority
        self.devices = devices
    }
}
