internal import CNftnl

// The only file that spells the names of libnftnl (NFTNL_*) and of the kernel's nf_tables.h
// (NFT_*, NFTA_*). Attributes are called as in the enum they come from.

/// What libnftnl's setters take.
enum Nftnl {
    enum Table {
        static let name = UInt16(NFTNL_TABLE_NAME.rawValue)
        static let flags = UInt16(NFTNL_TABLE_FLAGS.rawValue)
    }

    enum Chain {
        static let name = UInt16(NFTNL_CHAIN_NAME.rawValue)
        static let table = UInt16(NFTNL_CHAIN_TABLE.rawValue)
        static let hook = UInt16(NFTNL_CHAIN_HOOKNUM.rawValue)
        static let priority = UInt16(NFTNL_CHAIN_PRIO.rawValue)
        static let policy = UInt16(NFTNL_CHAIN_POLICY.rawValue)
        static let type = UInt16(NFTNL_CHAIN_TYPE.rawValue)
    }

    enum Rule {
        static let table = UInt16(NFTNL_RULE_TABLE.rawValue)
        static let chain = UInt16(NFTNL_RULE_CHAIN.rawValue)
        static let handle = UInt16(NFTNL_RULE_HANDLE.rawValue)
        static let userData = UInt16(NFTNL_RULE_USERDATA.rawValue)
    }

    enum Set {
        static let table = UInt16(NFTNL_SET_TABLE.rawValue)
        static let name = UInt16(NFTNL_SET_NAME.rawValue)
        static let flags = UInt16(NFTNL_SET_FLAGS.rawValue)
        static let keyType = UInt16(NFTNL_SET_KEY_TYPE.rawValue)
        static let keyLength = UInt16(NFTNL_SET_KEY_LEN.rawValue)
        static let dataType = UInt16(NFTNL_SET_DATA_TYPE.rawValue)
        static let dataLength = UInt16(NFTNL_SET_DATA_LEN.rawValue)
        static let id = UInt16(NFTNL_SET_ID.rawValue)
        static let size = UInt16(NFTNL_SET_DESC_SIZE.rawValue)
        static let fields = UInt16(NFTNL_SET_DESC_CONCAT.rawValue)
        static let userData = UInt16(NFTNL_SET_USERDATA.rawValue)
    }

    enum Element {
        static let flags = UInt16(NFTNL_SET_ELEM_FLAGS)
        static let key = UInt16(NFTNL_SET_ELEM_KEY)
        static let keyEnd = UInt16(NFTNL_SET_ELEM_KEY_END)
        static let verdict = UInt16(NFTNL_SET_ELEM_VERDICT)
        static let chain = UInt16(NFTNL_SET_ELEM_CHAIN)
        static let timeout = UInt16(NFTNL_SET_ELEM_TIMEOUT)
        static let userData = UInt16(NFTNL_SET_ELEM_USERDATA)
    }

    enum Payload {
        static let destination = UInt16(NFTNL_EXPR_PAYLOAD_DREG)
        static let base = UInt16(NFTNL_EXPR_PAYLOAD_BASE)
        static let offset = UInt16(NFTNL_EXPR_PAYLOAD_OFFSET)
        static let length = UInt16(NFTNL_EXPR_PAYLOAD_LEN)
    }

    enum Meta {
        static let key = UInt16(NFTNL_EXPR_META_KEY)
        static let destination = UInt16(NFTNL_EXPR_META_DREG)
    }

    enum Connection {
        static let key = UInt16(NFTNL_EXPR_CT_KEY)
        static let destination = UInt16(NFTNL_EXPR_CT_DREG)
    }

    enum Route {
        static let destination = UInt16(NFTNL_EXPR_FIB_DREG)
        static let result = UInt16(NFTNL_EXPR_FIB_RESULT)
        static let flags = UInt16(NFTNL_EXPR_FIB_FLAGS)
    }

    enum Compare {
        static let source = UInt16(NFTNL_EXPR_CMP_SREG)
        static let comparison = UInt16(NFTNL_EXPR_CMP_OP)
        static let value = UInt16(NFTNL_EXPR_CMP_DATA)
    }

    enum Range {
        static let source = UInt16(NFTNL_EXPR_RANGE_SREG)
        static let comparison = UInt16(NFTNL_EXPR_RANGE_OP)
        static let from = UInt16(NFTNL_EXPR_RANGE_FROM_DATA)
        static let through = UInt16(NFTNL_EXPR_RANGE_TO_DATA)
    }

    enum Bitwise {
        static let source = UInt16(NFTNL_EXPR_BITWISE_SREG)
        static let destination = UInt16(NFTNL_EXPR_BITWISE_DREG)
        static let length = UInt16(NFTNL_EXPR_BITWISE_LEN)
        static let mask = UInt16(NFTNL_EXPR_BITWISE_MASK)
        static let xor = UInt16(NFTNL_EXPR_BITWISE_XOR)
    }

    enum Lookup {
        static let source = UInt16(NFTNL_EXPR_LOOKUP_SREG)
        static let destination = UInt16(NFTNL_EXPR_LOOKUP_DREG)
        static let set = UInt16(NFTNL_EXPR_LOOKUP_SET)
        static let flags = UInt16(NFTNL_EXPR_LOOKUP_FLAGS)
    }

    enum Update {
        static let source = UInt16(NFTNL_EXPR_DYNSET_SREG_KEY)
        static let operation = UInt16(NFTNL_EXPR_DYNSET_OP)
        static let timeout = UInt16(NFTNL_EXPR_DYNSET_TIMEOUT)
        static let set = UInt16(NFTNL_EXPR_DYNSET_SET_NAME)
    }

    enum Immediate {
        static let destination = UInt16(NFTNL_EXPR_IMM_DREG)
        static let verdict = UInt16(NFTNL_EXPR_IMM_VERDICT)
        static let data = UInt16(NFTNL_EXPR_IMM_DATA)
        static let chain = UInt16(NFTNL_EXPR_IMM_CHAIN)
    }

    enum Counter {
        static let packets = UInt16(NFTNL_EXPR_CTR_PACKETS)
        static let bytes = UInt16(NFTNL_EXPR_CTR_BYTES)
    }

    enum Limit {
        static let rate = UInt16(NFTNL_EXPR_LIMIT_RATE)
        static let unit = UInt16(NFTNL_EXPR_LIMIT_UNIT)
        static let burst = UInt16(NFTNL_EXPR_LIMIT_BURST)
        static let type = UInt16(NFTNL_EXPR_LIMIT_TYPE)
        static let flags = UInt16(NFTNL_EXPR_LIMIT_FLAGS)
    }

    enum Log {
        static let prefix = UInt16(NFTNL_EXPR_LOG_PREFIX)
        static let group = UInt16(NFTNL_EXPR_LOG_GROUP)
        static let level = UInt16(NFTNL_EXPR_LOG_LEVEL)
    }

    enum Reject {
        static let type = UInt16(NFTNL_EXPR_REJECT_TYPE)
        static let code = UInt16(NFTNL_EXPR_REJECT_CODE)
    }

    /// Types of user data, which only userspace reads: length and type of one byte each in front.
    enum UserData {
        static let ruleComment = UInt8(NFTNL_UDATA_RULE_COMMENT.rawValue)
        static let setComment = UInt8(NFTNL_UDATA_SET_COMMENT.rawValue)
        static let elementComment = UInt8(NFTNL_UDATA_SET_ELEM_COMMENT.rawValue)
        static let elementFlags = UInt8(NFTNL_UDATA_SET_ELEM_FLAGS.rawValue)
        /// The range is open to the top: there is no element that ends it.
        static let openRange = UInt32(NFTNL_SET_ELEM_F_INTERVAL_OPEN.rawValue)
        static let longestComment = Int(NFTNL_UDATA_COMMENT_MAXLEN)
    }
}

/// The kernel's numbers.
enum Kernel {
    /// Types of messages, without the subsystem.
    enum Message {
        static let newTable = UInt16(NFT_MSG_NEWTABLE.rawValue)
        static let getTable = UInt16(NFT_MSG_GETTABLE.rawValue)
        static let deleteTable = UInt16(NFT_MSG_DELTABLE.rawValue)
        static let newChain = UInt16(NFT_MSG_NEWCHAIN.rawValue)
        static let getChain = UInt16(NFT_MSG_GETCHAIN.rawValue)
        static let deleteChain = UInt16(NFT_MSG_DELCHAIN.rawValue)
        static let newRule = UInt16(NFT_MSG_NEWRULE.rawValue)
        static let getRule = UInt16(NFT_MSG_GETRULE.rawValue)
        static let deleteRule = UInt16(NFT_MSG_DELRULE.rawValue)
        static let newSet = UInt16(NFT_MSG_NEWSET.rawValue)
        static let getSet = UInt16(NFT_MSG_GETSET.rawValue)
        static let deleteSet = UInt16(NFT_MSG_DELSET.rawValue)
        static let newElement = UInt16(NFT_MSG_NEWSETELEM.rawValue)
        static let getElement = UInt16(NFT_MSG_GETSETELEM.rawValue)
        static let deleteElement = UInt16(NFT_MSG_DELSETELEM.rawValue)
        static let getFlowtable = UInt16(NFT_MSG_GETFLOWTABLE.rawValue)
        static let newGeneration = UInt16(NFT_MSG_NEWGEN.rawValue)
        static let getGeneration = UInt16(NFT_MSG_GETGEN.rawValue)

        /// The type as it stands in a message of nf_tables.
        static func full(_ type: UInt16) -> UInt16 { UInt16(NFNL_SUBSYS_NFTABLES) << 8 | type }
    }

    enum SetFlag {
        static let map = UInt32(NFT_SET_MAP.rawValue)
        static let concatenation = UInt32(NFT_SET_CONCAT.rawValue)
        static let expressions = UInt32(NFT_SET_EXPR.rawValue)
    }

    /// A message about elements: whose, and which.
    enum ElementList {
        static let table = UInt16(NFTA_SET_ELEM_LIST_TABLE.rawValue)
        static let set = UInt16(NFTA_SET_ELEM_LIST_SET.rawValue)
        static let elements = UInt16(NFTA_SET_ELEM_LIST_ELEMENTS.rawValue)
    }

    /// `NFT_DATA_VERDICT`: the type of what a verdict map maps to.
    static let verdictType: UInt32 = 0xffff_ff00
    static let intervalEnd = UInt32(NFT_SET_ELEM_INTERVAL_END.rawValue)
    static let verdictRegister = UInt32(NFT_REG_VERDICT.rawValue)
    static let routeInterface = UInt32(NFT_FIB_RESULT_OIF.rawValue)
    static let optionPresence = UInt32(NFT_EXTHDR_F_PRESENT.rawValue)
    static let routeAddressType = UInt32(NFT_FIB_RESULT_ADDRTYPE.rawValue)
    static let sourceTranslation = UInt32(NFT_NAT_SNAT.rawValue)
    static let destinationTranslation = UInt32(NFT_NAT_DNAT.rawValue)
    static let routePresence = UInt32(NFTA_FIB_F_PRESENT.rawValue)
    static let updateElement = UInt32(NFT_DYNSET_OP_UPDATE.rawValue)
    static let lookupInverted = UInt32(NFT_LOOKUP_F_INV.rawValue)
    static let limitInverted = UInt32(NFT_LIMIT_F_INV.rawValue)
    static let limitPackets = UInt32(NFT_LIMIT_PKTS.rawValue)
    static let rejectReset = UInt32(NFT_REJECT_TCP_RST.rawValue)
    static let rejectICMPX = UInt32(NFT_REJECT_ICMPX_UNREACH.rawValue)
    static let eventGroup = UInt32(NFNLGRP_NFTABLES.rawValue)
    static let batchGeneration = UInt16(NFNL_BATCH_GENID.rawValue)
    /// `NFT_NAME_MAXLEN` counts the zero byte.
    static let longestName = Int(NFT_NAME_MAXLEN) - 1
    /// `NFT_RULE_MAXEXPRS`, net/netfilter/nf_tables.h of the kernel.
    static let mostExpressions = 128
    /// `NF_LOG_PREFIXLEN` counts the zero byte.
    static let longestLogPrefix = 127

    /// Registers: those that start a block of 16 bytes have numbers of their own
    /// (`nft_dump_register`, net/netfilter/nf_tables_api.c).
    static func number(of register: Register) -> UInt32 {
        let slot = UInt32(register.slot)
        return slot % 4 == 0
            ? UInt32(NFT_REG_1.rawValue) + slot / 4 : UInt32(NFT_REG32_00.rawValue) + slot
    }

    /// The slot a number names; nil for the verdict and for unknown numbers.
    static func register(_ number: UInt32) -> Register? {
        switch number {
        case UInt32(NFT_REG_1.rawValue)...UInt32(NFT_REG_4.rawValue):
            Register(slot: UInt8((number - UInt32(NFT_REG_1.rawValue)) * 4))
        case UInt32(NFT_REG32_00.rawValue)...UInt32(NFT_REG32_15.rawValue):
            Register(slot: UInt8(number - UInt32(NFT_REG32_00.rawValue)))
        default: nil
        }
    }
}

// What the kernel answers with.
extension Kernel {
    enum TableAttribute {
        static let name = Int(NFTA_TABLE_NAME.rawValue)
        static let flags = Int(NFTA_TABLE_FLAGS.rawValue)
        static let owner = Int(NFTA_TABLE_OWNER.rawValue)
    }

    enum ChainAttribute {
        static let table = Int(NFTA_CHAIN_TABLE.rawValue)
        static let name = Int(NFTA_CHAIN_NAME.rawValue)
        static let hook = Int(NFTA_CHAIN_HOOK.rawValue)
        static let policy = Int(NFTA_CHAIN_POLICY.rawValue)
        static let type = Int(NFTA_CHAIN_TYPE.rawValue)
        static let hookNumber = Int(NFTA_HOOK_HOOKNUM.rawValue)
        static let hookPriority = Int(NFTA_HOOK_PRIORITY.rawValue)
        static let hookDevice = Int(NFTA_HOOK_DEV.rawValue)
        static let hookDevices = Int(NFTA_HOOK_DEVS.rawValue)
    }

    enum FlowtableAttribute {
        static let name = Int(NFTA_FLOWTABLE_NAME.rawValue)
        static let hook = Int(NFTA_FLOWTABLE_HOOK.rawValue)
        static let hookPriority = Int(NFTA_FLOWTABLE_HOOK_PRIORITY.rawValue)
        static let hookDevices = Int(NFTA_FLOWTABLE_HOOK_DEVS.rawValue)
    }

    enum RuleAttribute {
        static let table = Int(NFTA_RULE_TABLE.rawValue)
        static let chain = Int(NFTA_RULE_CHAIN.rawValue)
        static let handle = Int(NFTA_RULE_HANDLE.rawValue)
        static let expressions = Int(NFTA_RULE_EXPRESSIONS.rawValue)
        static let userData = Int(NFTA_RULE_USERDATA.rawValue)
    }

    enum SetAttribute {
        static let table = Int(NFTA_SET_TABLE.rawValue)
        static let name = Int(NFTA_SET_NAME.rawValue)
        static let flags = Int(NFTA_SET_FLAGS.rawValue)
        static let keyType = Int(NFTA_SET_KEY_TYPE.rawValue)
        static let keyLength = Int(NFTA_SET_KEY_LEN.rawValue)
        static let dataType = Int(NFTA_SET_DATA_TYPE.rawValue)
        static let fields = Int(NFTA_SET_DESC_CONCAT.rawValue)
        static let fieldLength = Int(NFTA_SET_FIELD_LEN.rawValue)
        static let description = Int(NFTA_SET_DESC.rawValue)
        static let size = Int(NFTA_SET_DESC_SIZE.rawValue)
        static let userData = Int(NFTA_SET_USERDATA.rawValue)
        static let expression = Int(NFTA_SET_EXPR.rawValue)
    }

    enum ElementAttribute {
        static let key = Int(NFTA_SET_ELEM_KEY.rawValue)
        static let keyEnd = Int(NFTA_SET_ELEM_KEY_END.rawValue)
        static let data = Int(NFTA_SET_ELEM_DATA.rawValue)
        static let flags = Int(NFTA_SET_ELEM_FLAGS.rawValue)
        static let timeout = Int(NFTA_SET_ELEM_TIMEOUT.rawValue)
        static let expiration = Int(NFTA_SET_ELEM_EXPIRATION.rawValue)
        static let userData = Int(NFTA_SET_ELEM_USERDATA.rawValue)
        static let expression = Int(NFTA_SET_ELEM_EXPR.rawValue)
    }

    enum DataAttribute {
        static let value = Int(NFTA_DATA_VALUE.rawValue)
        static let verdict = Int(NFTA_DATA_VERDICT.rawValue)
        static let verdictCode = Int(NFTA_VERDICT_CODE.rawValue)
        static let verdictChain = Int(NFTA_VERDICT_CHAIN.rawValue)
    }

    enum ExpressionAttribute {
        static let name = Int(NFTA_EXPR_NAME.rawValue)
        static let data = Int(NFTA_EXPR_DATA.rawValue)
        static let element = Int(NFTA_LIST_ELEM.rawValue)
    }

    enum PayloadAttribute {
        static let destination = Int(NFTA_PAYLOAD_DREG.rawValue)
        static let base = Int(NFTA_PAYLOAD_BASE.rawValue)
        static let offset = Int(NFTA_PAYLOAD_OFFSET.rawValue)
        static let length = Int(NFTA_PAYLOAD_LEN.rawValue)
    }

    enum MetaAttribute {
        static let destination = Int(NFTA_META_DREG.rawValue)
        static let key = Int(NFTA_META_KEY.rawValue)
    }

    enum ConnectionAttribute {
        static let destination = Int(NFTA_CT_DREG.rawValue)
        static let key = Int(NFTA_CT_KEY.rawValue)
        static let direction = Int(NFTA_CT_DIRECTION.rawValue)
    }

    enum RouteAttribute {
        static let destination = Int(NFTA_FIB_DREG.rawValue)
        static let result = Int(NFTA_FIB_RESULT.rawValue)
        static let flags = Int(NFTA_FIB_FLAGS.rawValue)
    }

    enum CompareAttribute {
        static let source = Int(NFTA_CMP_SREG.rawValue)
        static let comparison = Int(NFTA_CMP_OP.rawValue)
        static let value = Int(NFTA_CMP_DATA.rawValue)
    }

    enum RangeAttribute {
        static let source = Int(NFTA_RANGE_SREG.rawValue)
        static let comparison = Int(NFTA_RANGE_OP.rawValue)
        static let from = Int(NFTA_RANGE_FROM_DATA.rawValue)
        static let through = Int(NFTA_RANGE_TO_DATA.rawValue)
    }

    enum BitwiseAttribute {
        static let source = Int(NFTA_BITWISE_SREG.rawValue)
        static let destination = Int(NFTA_BITWISE_DREG.rawValue)
        static let mask = Int(NFTA_BITWISE_MASK.rawValue)
        static let xor = Int(NFTA_BITWISE_XOR.rawValue)
        static let operation = Int(NFTA_BITWISE_OP.rawValue)
    }

    enum LookupAttribute {
        static let source = Int(NFTA_LOOKUP_SREG.rawValue)
        static let destination = Int(NFTA_LOOKUP_DREG.rawValue)
        static let set = Int(NFTA_LOOKUP_SET.rawValue)
        static let flags = Int(NFTA_LOOKUP_FLAGS.rawValue)
    }

    enum UpdateAttribute {
        static let source = Int(NFTA_DYNSET_SREG_KEY.rawValue)
        static let operation = Int(NFTA_DYNSET_OP.rawValue)
        static let timeout = Int(NFTA_DYNSET_TIMEOUT.rawValue)
        static let set = Int(NFTA_DYNSET_SET_NAME.rawValue)
        static let data = Int(NFTA_DYNSET_SREG_DATA.rawValue)
        static let flags = Int(NFTA_DYNSET_FLAGS.rawValue)
    }

    enum ImmediateAttribute {
        static let destination = Int(NFTA_IMMEDIATE_DREG.rawValue)
        static let data = Int(NFTA_IMMEDIATE_DATA.rawValue)
    }

    enum CounterAttribute {
        static let packets = Int(NFTA_COUNTER_PACKETS.rawValue)
        static let bytes = Int(NFTA_COUNTER_BYTES.rawValue)
    }

    enum LimitAttribute {
        static let rate = Int(NFTA_LIMIT_RATE.rawValue)
        static let unit = Int(NFTA_LIMIT_UNIT.rawValue)
        static let burst = Int(NFTA_LIMIT_BURST.rawValue)
        static let type = Int(NFTA_LIMIT_TYPE.rawValue)
        static let flags = Int(NFTA_LIMIT_FLAGS.rawValue)
    }

    enum LogAttribute {
        static let prefix = Int(NFTA_LOG_PREFIX.rawValue)
        static let level = Int(NFTA_LOG_LEVEL.rawValue)
        static let group = Int(NFTA_LOG_GROUP.rawValue)
    }

    enum RejectAttribute {
        static let type = Int(NFTA_REJECT_TYPE.rawValue)
        static let code = Int(NFTA_REJECT_ICMP_CODE.rawValue)
    }

    enum TranslationAttribute {
        static let kind = Int(NFTA_NAT_TYPE.rawValue)
        static let address = Int(NFTA_NAT_REG_ADDR_MIN.rawValue)
        static let lastAddress = Int(NFTA_NAT_REG_ADDR_MAX.rawValue)
        static let port = Int(NFTA_NAT_REG_PROTO_MIN.rawValue)
        static let lastPort = Int(NFTA_NAT_REG_PROTO_MAX.rawValue)
        static let redirectPort = Int(NFTA_REDIR_REG_PROTO_MIN.rawValue)
        static let lastRedirectPort = Int(NFTA_REDIR_REG_PROTO_MAX.rawValue)
    }

    enum OptionAttribute {
        static let destination = Int(NFTA_EXTHDR_DREG.rawValue)
        static let flags = Int(NFTA_EXTHDR_FLAGS.rawValue)
        static let operation = Int(NFTA_EXTHDR_OP.rawValue)
    }

    enum OffloadAttribute {
        static let flowtable = Int(NFTA_FLOW_TABLE_NAME.rawValue)
    }

    /// Attributes of matches and targets have the same numbers.
    enum ExtensionAttribute {
        static let name = Int(NFTA_MATCH_NAME.rawValue)
        static let revision = Int(NFTA_MATCH_REV.rawValue)
        static let info = Int(NFTA_MATCH_INFO.rawValue)
    }

    enum GenerationAttribute {
        static let id = Int(NFTA_GEN_ID.rawValue)
        static let processID = Int(NFTA_GEN_PROC_PID.rawValue)
        static let processName = Int(NFTA_GEN_PROC_NAME.rawValue)
    }
}

extension Verdict {
    /// The kernel's number (`enum nft_verdicts`; accept and drop are `NF_ACCEPT` and `NF_DROP`).
    var code: Int32 {
        switch self {
        case .drop: NF_DROP
        case .accept: NF_ACCEPT
        case .continue: NFT_CONTINUE.rawValue
        case .jump: NFT_JUMP.rawValue
        case .goto: NFT_GOTO.rawValue
        case .return: NFT_RETURN.rawValue
        }
    }

    /// Where it goes on.
    var chain: String? {
        switch self {
        case .jump(let chain), .goto(let chain): chain
        default: nil
        }
    }

    /// Reads the kernel's number; nil for those that only the kernel uses.
    init?(code: Int32, chain: String?) {
        switch (code, chain) {
        case (NF_DROP, nil): self = .drop
        case (NF_ACCEPT, nil): self = .accept
        case (NFT_CONTINUE.rawValue, nil): self = .continue
        case (NFT_RETURN.rawValue, nil): self = .return
        case (NFT_JUMP.rawValue, let chain?): self = .jump(chain)
        case (NFT_GOTO.rawValue, let chain?): self = .goto(chain)
        default: return nil
        }
    }
}
