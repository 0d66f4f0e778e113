/// The key of a set's element: up to 64 bytes, held without allocation.
///
/// ```swift
/// var key = Key()
/// key.append(field: [192, 0, 2, 1])   // ipv4_addr
/// key.append(field: UInt8(6))         // inet_proto
/// key.append(field: UInt16(22))       // inet_service
/// ```
public struct Key: Hashable, Sendable {
    private var storage = InlineArray<64, UInt8>(repeating: 0)
    private var length: UInt8 = 0

    /// A key without fields yet.
    public init() {}

    /// Takes the bytes as the kernel has them, padding included; a commit refuses more than 64.
    public init(_ bytes: some Collection<UInt8>) {
        for byte in bytes { append(byte) }
    }

    /// Adds a field; from the second on, each field is filled up with zeros to a multiple of 4.
    @inlinable
    public mutating func append(field: some Collection<UInt8>) {
        let isFirst = count == 0
        pad()
        for byte in field { append(byte) }
        if !isFirst { pad() }
    }

    /// Adds a number as a field, in network byte order.
    @inlinable
    public mutating func append(field: some FixedWidthInteger & UnsignedInteger) {
        let isFirst = count == 0
        pad()
        for shift in stride(from: field.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: field >> shift))
        }
        if !isFirst { pad() }
    }

    /// How many bytes it has; more than 64 when too many were appended.
    public var count: Int { Int(length) }

    /// The bytes as the kernel has them.
    public var bytes: [UInt8] { (0..<min(64, count)).map { storage[$0] } }

    /// The byte at an index below ``count`` and 64.
    public subscript(index: Int) -> UInt8 { storage[index] }

    @usableFromInline
    mutating func pad() {
        while length & 3 != 0 { append(0) }
    }

    @usableFromInline
    mutating func append(_ byte: UInt8) {
        // Bytes past the end are only counted, so that a commit can refuse the key by its length.
        if length < 64 { storage[Int(length)] = byte }
        if length < .max { length += 1 }
    }

    /// Compares length and bytes.
    public static func == (first: Key, second: Key) -> Bool {
        guard first.length == second.length else { return false }
        return unsafe first.withBytes { a in
            unsafe second.withBytes { b in unsafe a.elementsEqual(b) }
        }
    }

    /// Hashes the bytes.
    public func hash(into hasher: inout Hasher) {
        unsafe withBytes { unsafe hasher.combine(bytes: $0) }
    }

    /// Lends the bytes, at most 64.
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        unsafe withUnsafeBytes(of: storage) {
            unsafe body(UnsafeRawBufferPointer(rebasing: $0[..<min(64, count)]))
        }
    }

    /// Takes the bytes of a reply.
    init(_ bytes: RawSpan) {
        let count = min(64, bytes.byteCount)
        unsafe bytes.withUnsafeBytes { source in
            unsafe withUnsafeMutableBytes(of: &storage) {
                unsafe $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<count]))
            }
        }
        length = UInt8(clamping: bytes.byteCount)
    }

    /// The next higher or lower key of the same length, as one big number; nil past the ends.
    func stepped(up: Bool) -> Key? {
        var next = self
        for index in (0..<count).reversed() {
            next.storage[index] = up ? storage[index] &+ 1 : storage[index] &- 1
            if storage[index] != (up ? 0xff : 0) { return next }
        }
        return nil
    }

    /// The highest key of this length.
    var highest: Key { Key(repeatElement(0xff, count: count)) }
}

extension Key: CustomStringConvertible {
    /// The bytes in hexadecimal; what they mean only the set knows.
    public var description: String { hex(bytes) }
}
