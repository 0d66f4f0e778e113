internal import CNftnl
internal import Netlink

// One owner for each object of libnftnl: made by `make`, freed when it goes out of scope, unless
// `release` has handed it to the C function that owns it from then on.

/// Owns a `struct nftnl_table`.
@safe struct TableHandle: ~Copyable {
    let pointer: OpaquePointer

    private init(owning pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }

    deinit { unsafe nftnl_table_free(pointer) }

    static func make() throws(NetlinkError) -> TableHandle {
        unsafe TableHandle(owning: unsafe try allocated(nftnl_table_alloc()))
    }

    borrowing func set(_ attribute: UInt16, _ text: String) throws(NetlinkError) {
        try check(unsafe nftnl_table_set_str(pointer, attribute, text))
    }

    borrowing func set(_ attribute: UInt16, _ number: UInt32) {
        unsafe nftnl_table_set_u32(pointer, attribute, number)
    }
}

/// Owns a `struct nftnl_chain`.
@safe struct ChainHandle: ~Copyable {
    let pointer: OpaquePointer

    private init(owning pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }

    deinit { unsafe nftnl_chain_free(pointer) }

    static func make() throws(NetlinkError) -> ChainHandle {
        unsafe ChainHandle(owning: unsafe try allocated(nftnl_chain_alloc()))
    }

    borrowing func set(_ attribute: UInt16, _ text: String) throws(NetlinkError) {
        try check(unsafe nftnl_chain_set_str(pointer, attribute, text))
    }

    borrowing func set(_ attribute: UInt16, _ number: UInt32) {
        unsafe nftnl_chain_set_u32(pointer, attribute, number)
    }
}

/// Owns a `struct nftnl_rule`.
@safe struct RuleHandle: ~Copyable {
    let pointer: OpaquePointer

    private init(owning pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }

    deinit { unsafe nftnl_rule_free(pointer) }

    static func make() throws(NetlinkError) -> RuleHandle {
        unsafe RuleHandle(owning: unsafe try allocated(nftnl_rule_alloc()))
    }

    borrowing func set(_ attribute: UInt16, _ text: String) throws(NetlinkError) {
        try check(unsafe nftnl_rule_set_str(pointer, attribute, text))
    }

    borrowing func set(_ attribute: UInt16, _ number: UInt64) {
        unsafe nftnl_rule_set_u64(pointer, attribute, number)
    }

    borrowing func set(_ attribute: UInt16, _ bytes: [UInt8]) throws(NetlinkError) {
        try check(unsafe nftnl_rule_set_data(pointer, attribute, bytes, UInt32(bytes.count)))
    }

    borrowing func append(_ expression: consuming ExpressionHandle) {
        // nftnl_rule_add_expr owns the expression from here on; nftnl_rule_free frees it.
        unsafe nftnl_rule_add_expr(pointer, expression.release())
    }
}

/// Owns a `struct nftnl_expr`.
@safe struct ExpressionHandle: ~Copyable {
    let pointer: OpaquePointer

    private init(owning pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }

    deinit { unsafe nftnl_expr_free(pointer) }

    static func make(_ name: String) throws(NetlinkError) -> ExpressionHandle {
        unsafe ExpressionHandle(owning: unsafe try allocated(nftnl_expr_alloc(name)))
    }

    borrowing func set(_ attribute: UInt16, _ text: String) throws(NetlinkError) {
        try check(unsafe nftnl_expr_set_str(pointer, attribute, text))
    }

    borrowing func set(_ attribute: UInt16, _ number: UInt8) {
        unsafe nftnl_expr_set_u8(pointer, attribute, number)
    }

    borrowing func set(_ attribute: UInt16, _ number: UInt16) {
        unsafe nftnl_expr_set_u16(pointer, attribute, number)
    }

    borrowing func set(_ attribute: UInt16, _ number: UInt32) {
        unsafe nftnl_expr_set_u32(pointer, attribute, number)
    }

    borrowing func set(_ attribute: UInt16, _ number: UInt64) {
        unsafe nftnl_expr_set_u64(pointer, attribute, number)
    }

    borrowing func set(_ attribute: UInt16, _ register: Register) {
        set(attribute, Kernel.number(of: register))
    }

    borrowing func set(_ attribute: UInt16, _ bytes: [UInt8]) throws(NetlinkError) {
        try check(unsafe nftnl_expr_set(pointer, attribute, bytes, UInt32(bytes.count)))
    }

    /// Gives the expression up to the C function it is passed to.
    consuming func release() -> OpaquePointer {
        let pointer = unsafe pointer
        discard self
        return unsafe pointer
    }
}

/// Owns a `struct nftnl_set`.
@safe struct SetHandle: ~Copyable {
    let pointer: OpaquePointer

    private init(owning pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }

    deinit { unsafe nftnl_set_free(pointer) }

    static func make() throws(NetlinkError) -> SetHandle {
        unsafe SetHandle(owning: unsafe try allocated(nftnl_set_alloc()))
    }

    borrowing func set(_ attribute: UInt16, _ text: String) throws(NetlinkError) {
        try check(unsafe nftnl_set_set_str(pointer, attribute, text))
    }

    borrowing func set(_ attribute: UInt16, _ number: UInt32) {
        unsafe nftnl_set_set_u32(pointer, attribute, number)
    }

    borrowing func set(_ attribute: UInt16, _ bytes: [UInt8]) throws(NetlinkError) {
        try check(unsafe nftnl_set_set_data(pointer, attribute, bytes, UInt32(bytes.count)))
    }

    borrowing func append(_ expression: consuming ExpressionHandle) {
        // nftnl_set_add_expr owns the expression from here on; nftnl_set_free frees it.
        unsafe nftnl_set_add_expr(pointer, expression.release())
    }
}

/// Owns a `struct nftnl_set_elem`, filled again for each element of a message.
@safe struct ElementHandle: ~Copyable {
    let pointer: OpaquePointer

    private init(owning pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }

    deinit { unsafe nftnl_set_elem_free(pointer) }

    static func make() throws(NetlinkError) -> ElementHandle {
        unsafe ElementHandle(owning: unsafe try allocated(nftnl_set_elem_alloc()))
    }

    borrowing func set(_ attribute: UInt16, _ key: Key?) throws(NetlinkError) {
        guard let key else { return unset(attribute) }
        unsafe try check(
            key.withBytes {
                unsafe nftnl_set_elem_set(pointer, attribute, $0.baseAddress, UInt32($0.count))
            }
        )
    }

    borrowing func set(_ attribute: UInt16, _ bytes: [UInt8]?) throws(NetlinkError) {
        guard let bytes else { return unset(attribute) }
        try check(unsafe nftnl_set_elem_set(pointer, attribute, bytes, UInt32(bytes.count)))
    }

    borrowing func set(_ attribute: UInt16, _ text: String?) throws(NetlinkError) {
        guard let text else { return unset(attribute) }
        try check(unsafe nftnl_set_elem_set_str(pointer, attribute, text))
    }

    borrowing func set(_ attribute: UInt16, _ number: UInt64?) {
        guard let number else { return unset(attribute) }
        unsafe nftnl_set_elem_set_u64(pointer, attribute, number)
    }

    borrowing func set(_ attribute: UInt16, _ number: UInt32?) {
        guard let number else { return unset(attribute) }
        unsafe nftnl_set_elem_set_u32(pointer, attribute, number)
    }

    private borrowing func unset(_ attribute: UInt16) {
        unsafe nftnl_set_elem_unset(pointer, attribute)
    }
}

private func allocated(_ pointer: OpaquePointer?) throws(NetlinkError) -> OpaquePointer {
    guard let pointer = unsafe pointer else { throw .outOfMemory }
    return unsafe pointer
}

/// libnftnl's setters fail for want of memory only.
private func check(_ result: CInt) throws(NetlinkError) {
    guard result >= 0 else { throw .outOfMemory }
}
