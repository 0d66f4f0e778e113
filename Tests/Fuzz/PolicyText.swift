/// Feeds arbitrary text to every parser of `Policy`; what is accepted must print and parse to itself.
///
/// Built by `make fuzz` together with the sources of `Policy`, as one module.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzPolicyText(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let text = String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
    if let address = try? IPAddress(parsing: text) {
        precondition((try? IPAddress(parsing: address.description)) == address)
    }
    if let range = try? CIDR(parsing: text) {
        precondition((try? CIDR(parsing: range.description)) == range)
        precondition(range.contains(range.address))
    }
    if let port = try? PortRange(parsing: text) {
        precondition((try? PortRange(parsing: port.description)) == port)
        precondition(1 <= port.lower && port.lower <= port.upper)
    }
    if let duration = try? Duration(parsing: text) {
        precondition(duration > .zero)
        precondition((try? Duration(parsing: duration.compactDescription)) == duration)
    }
    if let time = try? Timestamp(parsing: text) {
        precondition((try? Timestamp(parsing: time.description)) == time)
    }
    return 0
}
