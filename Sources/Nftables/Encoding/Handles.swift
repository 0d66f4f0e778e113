internal import CNftnl
internal import Netlink

/// Owns an object of libnftnl and frees it at the end of its life, unless ``release()`` has handed it
/// to the C function that owns it from then on.
@safe struct Handle<Object: Kind>: ~Copyable {
    let pointer: OpaquePointer

    fileprivate init(owning pointer: OpaquePointer?) throws(NetlinkError) {
        guard let pointer = unsafe pointer else { throw .outOfMemory }
        unsafe self.pointer = unsafe pointer
    }

    deinit { unsafe Object.free(pointer) }

    /// Gives the object up to the C function it is passed to.
    consuming func release() -> OpaquePointer {
        let pointer = unsafe pointer
        discard self
        return unsafe pointer
    }

    func set(_ attribute: UInt16, _ text: String) throws(NetlinkError) {
        let count = UInt32(text.utf8.count + 1)
        try check(unsafe text.withCString { unsafe Object.set(pointer, attribute, $0, count) })
    }

    func set(_ attribute: UInt16, _ bytes: [UInt8]) throws(NetlinkError) {
        try check(unsafe Object.set(pointer, attribute, bytes, UInt32(bytes.count)))
    }

    /// Sets a number, whose type has as many bytes as the attribute.
    func set(_ attribute: UInt16, _ number: some FixedWidthInteger & UnsignedInteger) {
        unsafe withUnsafeBytes(of: number) {
            // Kept in the object itself, so there is memory for it.
            _ = unsafe Object.set(pointer, attribute, $0.baseAddress, UInt32($0.count))
        }
    }

    fileprivate func check(_ result: CInt) throws(NetlinkError) {
        guard result >= 0 else { throw .outOfMemory }
    }
}

/// A kind of object, by the functions that all kinds have under names of their own.
protocol Kind {
    typealias Deleter = (OpaquePointer?) -> Void
    /// Copies bytes into the object; negative for want of memory, its only failure.
    typealias Setter = (OpaquePointer?, UInt16, UnsafeRawPointer?, UInt32) -> CInt

    static var free: Deleter { get }
    static var set: Setter { get }
}

typealias TableHandle = Handle<TableKind>
typealias ChainHandle = Handle<ChainKind>
typealias RuleHandle = Handle<RuleKind>
typealias ExpressionHandle = Handle<ExpressionKind>
typealias SetHandle = Handle<SetKind>
typealias ElementHandle = Handle<ElementKind>

enum TableKind: Kind {
    static var free: Deleter { unsafe nftnl_table_free }
    static var set: Setter { unsafe nftnl_table_set_data }
}

extension TableHandle {
    init() throws(NetlinkError) { unsafe try self.init(owning: nftnl_table_alloc()) }
}

enum ChainKind: Kind {
    static var free: Deleter { unsafe nftnl_chain_free }
    static var set: Setter { unsafe nftnl_chain_set_data }
}

extension ChainHandle {
    init() throws(NetlinkError) { unsafe try self.init(owning: nftnl_chain_alloc()) }
}

enum RuleKind: Kind {
    static var free: Deleter { unsafe nftnl_rule_free }
    static var set: Setter { unsafe nftnl_rule_set_data }
}

extension RuleHandle {
    init() throws(NetlinkError) { unsafe try self.init(owning: nftnl_rule_alloc()) }

    func append(_ expression: consuming ExpressionHandle) {
        // nftnl_rule_add_expr owns the expression from here on; nftnl_rule_free frees it.
        unsafe nftnl_rule_add_expr(pointer, expression.release())
    }
}

enum ExpressionKind: Kind {
    static var free: Deleter { unsafe nftnl_expr_free }
    static var set: Setter { unsafe nftnl_expr_set }
}

extension ExpressionHandle {
    init(named name: String) throws(NetlinkError) {
        unsafe try self.init(owning: nftnl_expr_alloc(name))
    }

    func set(_ attribute: UInt16, _ register: Register) {
        set(attribute, Kernel.number(of: register))
    }
}

enum SetKind: Kind {
    static var free: Deleter { unsafe nftnl_set_free }
    static var set: Setter { unsafe nftnl_set_set_data }
}

extension SetHandle {
    init() throws(NetlinkError) { unsafe try self.init(owning: nftnl_set_alloc()) }

    func append(_ expression: consuming ExpressionHandle) {
        // nftnl_set_add_expr owns the expression from here on; nftnl_set_free frees it.
        unsafe nftnl_set_add_expr(pointer, expression.release())
    }
}

enum ElementKind: Kind {
    static var free: Deleter { unsafe nftnl_set_elem_free }
    static var set: Setter { unsafe nftnl_set_elem_set }
}

/// Filled again for each element of a message: nil takes an attribute away.
extension ElementHandle {
    init() throws(NetlinkError) { unsafe try self.init(owning: nftnl_set_elem_alloc()) }

    func set(_ attribute: UInt16, _ key: Key?) throws(NetlinkError) {
        guard let key else { return unset(attribute) }
        try check(
            unsafe key.withBytes {
                unsafe nftnl_set_elem_set(pointer, attribute, $0.baseAddress, UInt32($0.count))
            }
        )
    }

    func set(_ attribute: UInt16, _ bytes: [UInt8]?) throws(NetlinkError) {
        if let bytes { try set(attribute, bytes) } else { unset(attribute) }
    }

    func set(_ attribute: UInt16, _ text: String?) throws(NetlinkError) {
        if let text { try set(attribute, text) } else { unset(attribute) }
    }

    func set(_ attribute: UInt16, _ number: (some FixedWidthInteger & UnsignedInteger)?) {
        if let number { set(attribute, number) } else { unset(attribute) }
    }

    private func unset(_ attribute: UInt16) { unsafe nftnl_set_elem_unset(pointer, attribute) }
}
