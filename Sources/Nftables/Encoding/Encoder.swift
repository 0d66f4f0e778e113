internal import CLinux
internal import CMnl
internal import CNftnl
internal import Netlink

extension Transaction {
    /// Encodes all operations; throws `invalid` for what cannot be sent, before anything is.
    func encoded(
        firstSequence: UInt32,
        generation: UInt32?
    ) throws(NetlinkError) -> SealedBatch {
        var batch = try Batch.make(firstSequence: firstSequence, generation: generation)
        for (index, operation) in operations.enumerated() {
            if let reason = operation.defect {
                throw .invalid(
                    operation: index,
                    description: operation.summary(),
                    reason: reason
                )
            }
            switch operation {
            case .table(let verb, let table): try batch.append(verb, table, index)
            case .chain(let verb, let chain): try batch.append(verb, chain, index)
            case .rule(let verb, let rule): try batch.append(verb, rule, index)
            case .set(let verb, let set): try batch.append(verb, set, index)
            case .elements(let verb, let elements, let set):
                try batch.append(verb, elements, set, index)
            }
        }
        return try batch.sealed()
    }
}

extension Transaction.Verb {
    /// The flags of a message that makes something.
    var flags: Int32 {
        self == .create ? NLM_F_CREATE | NLM_F_EXCL : NLM_F_CREATE
    }
}

extension Batch {
    fileprivate mutating func append(
        _ verb: Transaction.Verb,
        _ table: Table,
        _ index: Int
    ) throws(NetlinkError) {
        if verb == .flush {
            let rule = try RuleHandle()
            try rule.set(Nftnl.Rule.table, table.name)
            unsafe try append(
                Kernel.Message.deleteRule,
                table.family,
                for: Origin(operation: index)
            ) {
                unsafe nftnl_rule_nlmsg_build_payload($0, rule.pointer)
            }
            return
        }
        let handle = try TableHandle()
        try handle.set(Nftnl.Table.name, table.name)
        var type = Kernel.Message.deleteTable
        if verb != .delete {
            handle.set(Nftnl.Table.flags, table.flags.rawValue)
            type = Kernel.Message.newTable
        }
        let flags = verb == .delete ? 0 : verb.flags
        unsafe try append(type, table.family, flags: flags, for: Origin(operation: index)) {
            unsafe nftnl_table_nlmsg_build_payload($0, handle.pointer)
        }
    }

    fileprivate mutating func append(
        _ verb: Transaction.Verb,
        _ chain: Chain,
        _ index: Int
    ) throws(NetlinkError) {
        let family = chain.table.family
        if verb == .flush {
            let rule = try RuleHandle()
            try rule.set(Nftnl.Rule.table, chain.table.name)
            try rule.set(Nftnl.Rule.chain, chain.name)
            unsafe try append(Kernel.Message.deleteRule, family, for: Origin(operation: index)) {
                unsafe nftnl_rule_nlmsg_build_payload($0, rule.pointer)
            }
            return
        }
        let handle = try ChainHandle()
        try handle.set(Nftnl.Chain.table, chain.table.name)
        try handle.set(Nftnl.Chain.name, chain.name)
        guard verb != .delete else {
            // Without the hook: naming it would ask to delete only devices of it (Linux 6.4).
            unsafe try append(Kernel.Message.deleteChain, family, for: Origin(operation: index)) {
                unsafe nftnl_chain_nlmsg_build_payload($0, handle.pointer)
            }
            return
        }
        if let base = chain.base {
            try handle.set(Nftnl.Chain.type, base.kind.rawValue)
            // The defect check has made sure that the family has it.
            if let hook = base.hook.number(in: family) { handle.set(Nftnl.Chain.hook, hook) }
            handle.set(Nftnl.Chain.priority, UInt32(bitPattern: base.priority))
            handle.set(Nftnl.Chain.policy, base.policy.rawValue)
        }
        unsafe try append(
            Kernel.Message.newChain,
            family,
            flags: verb.flags,
            for: Origin(operation: index)
        ) {
            unsafe nftnl_chain_nlmsg_build_payload($0, handle.pointer)
        }
    }

    fileprivate mutating func append(
        _ verb: Transaction.Verb,
        _ rule: Rule,
        _ index: Int
    ) throws(NetlinkError) {
        let handle = try RuleHandle()
        try handle.set(Nftnl.Rule.table, rule.chain.table.name)
        try handle.set(Nftnl.Rule.chain, rule.chain.name)
        var type = Kernel.Message.deleteRule
        var flags: Int32 = 0
        if verb == .delete {
            // The defect check has made sure of it: without a handle the chain would be emptied.
            if let number = rule.handle { handle.set(Nftnl.Rule.handle, number) }
        } else {
            for expression in rule.expressions { handle.append(try expression.encoded()) }
            if let comment = rule.comment {
                let bytes = userData(comment, as: Nftnl.UserData.ruleComment)
                try handle.set(Nftnl.Rule.userData, bytes)
            }
            type = Kernel.Message.newRule
            flags = verb == .insert ? NLM_F_CREATE : NLM_F_CREATE | NLM_F_APPEND
        }
        unsafe try append(
            type,
            rule.chain.table.family,
            flags: flags,
            for: Origin(operation: index)
        ) {
            unsafe nftnl_rule_nlmsg_build_payload($0, handle.pointer)
        }
    }

    fileprivate mutating func append(
        _ verb: Transaction.Verb,
        _ set: NamedSet,
        _ index: Int
    ) throws(NetlinkError) {
        let family = set.table.family
        let handle = try SetHandle()
        try handle.set(Nftnl.Set.table, set.table.name)
        try handle.set(Nftnl.Set.name, set.name)
        switch verb {
        case .delete:
            unsafe try append(Kernel.Message.deleteSet, family, for: Origin(operation: index)) {
                unsafe nftnl_set_nlmsg_build_payload($0, handle.pointer)
            }
        case .flush:
            unsafe try append(Kernel.Message.deleteElement, family, for: Origin(operation: index)) {
                unsafe nftnl_set_elems_nlmsg_build_payload($0, handle.pointer)
            }
        case .add, .create, .insert:
            try handle.describe(set, id: UInt32(index) + 1)
            unsafe try append(
                Kernel.Message.newSet,
                family,
                flags: verb.flags,
                for: Origin(operation: index)
            ) {
                unsafe nftnl_set_nlmsg_build_payload($0, handle.pointer)
            }
        }
    }
}

extension SetHandle {
    fileprivate func describe(_ described: NamedSet, id: UInt32) throws(NetlinkError) {
        var flags = described.flags.rawValue
        if described.mapsToVerdict {
            flags |= Kernel.SetFlag.map
            set(Nftnl.Set.dataType, Kernel.verdictType)
            set(Nftnl.Set.dataLength, UInt32(0))
        }
        // The fields of a concatenation matter for ranges only, and are refused in other sets.
        if described.key.count > 1, described.flags.contains(.interval) {
            flags |= Kernel.SetFlag.concatenation
            try set(Nftnl.Set.fields, described.key.map { UInt8($0.length) })
        }
        set(Nftnl.Set.flags, flags)
        // nft's datatype.c, concat_type_alloc: six bits for each field's type.
        set(Nftnl.Set.keyType, described.key.reduce(0) { $0 << 6 | $1.number })
        set(Nftnl.Set.keyLength, UInt32(described.keyLength))
        // Required, and unique within the batch; rules name sets by name all the same.
        set(Nftnl.Set.id, id)
        if let size = described.size { set(Nftnl.Set.size, size) }
        if let comment = described.comment {
            try set(
                Nftnl.Set.userData,
                userData(comment, as: Nftnl.UserData.setComment)
            )
        }
        if described.countsPackets { append(try Expression.counter().encoded()) }
    }
}

/// A text as userspace keeps it in the kernel: type, length, zero-terminated bytes.
func userData(_ text: String, as type: UInt8) -> [UInt8] {
    [type, UInt8(text.utf8.count + 1)] + text.utf8 + [0]
}
