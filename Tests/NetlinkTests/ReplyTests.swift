import Linux
import Netlink
import SystemPackage
import Testing

/// The replies in a datagram.
private func replies(_ bytes: [UInt8]) throws -> [Reply] {
    var cursor = ReplyCursor()
    var found: [Reply] = []
    while let reply = try cursor.next(in: bytes.span.bytes) { found.append(reply) }
    return found
}

// All numbers are little-endian, as on the machines the tests run on.

private let acknowledgement: [UInt8] = [
    36, 0, 0, 0,  // nlmsg_len
    2, 0,  // nlmsg_type: NLMSG_ERROR
    0, 1,  // nlmsg_flags: NLM_F_CAPPED
    7, 0, 0, 0,  // nlmsg_seq
    9, 0, 0, 0,  // nlmsg_pid
    0, 0, 0, 0,  // error: none
    20, 0, 0, 0, 16, 0, 5, 0, 7, 0, 0, 0, 9, 0, 0, 0,  // the request's header
]

/// EEXIST with the offset of the attribute and a text.
private let refusal: [UInt8] = [
    52, 0, 0, 0,  // nlmsg_len
    2, 0,  // nlmsg_type: NLMSG_ERROR
    0, 3,  // nlmsg_flags: NLM_F_CAPPED | NLM_F_ACK_TLVS
    8, 0, 0, 0,  // nlmsg_seq
    9, 0, 0, 0,  // nlmsg_pid
    0xef, 0xff, 0xff, 0xff,  // error: -17
    200, 0, 0, 0, 12, 10, 5, 0, 8, 0, 0, 0, 9, 0, 0, 0,  // the request's header; its body is cut
    8, 0, 1, 0, 0x6e, 0x6f, 0x21, 0,  // NLMSGERR_ATTR_MSG: "no!"
    8, 0, 2, 0, 44, 0, 0, 0,  // NLMSGERR_ATTR_OFFS: 44
]

private let end: [UInt8] = [
    20, 0, 0, 0,  // nlmsg_len
    3, 0,  // nlmsg_type: NLMSG_DONE
    2, 0,  // nlmsg_flags: NLM_F_MULTI
    1, 0, 0, 0,  // nlmsg_seq
    9, 0, 0, 0,  // nlmsg_pid
    0, 0, 0, 0,  // error: none
]

private let object: [UInt8] = [
    23, 0, 0, 0,  // nlmsg_len: not a multiple of 4
    0, 10,  // nlmsg_type: NFT_MSG_NEWTABLE of NFNL_SUBSYS_NFTABLES
    0x12, 0,  // nlmsg_flags: NLM_F_MULTI | NLM_F_DUMP_INTR
    1, 0, 0, 0,  // nlmsg_seq
    9, 0, 0, 0,  // nlmsg_pid
    1, 0, 0, 3,  // nfgenmsg
    1, 2, 3, 0,  // 3 bytes and padding
]

@Test func messagesOfOneDatagramAreToldApart() throws {
    #expect(
        try replies(acknowledgement + refusal + object + end).map(\.content) == [
            .acknowledged,
            .refused(.fileExists, message: "no!", offset: 44),
            .object(type: 0x0a00, body: 104..<111),
            .done,
        ]
    )
    #expect(try replies(acknowledgement + refusal).map(\.sequence) == [7, 8])
    #expect(try replies(object).map(\.isInterrupted) == [true])
    #expect(try replies(end).map(\.portID) == [9])
    #expect(try replies([]).isEmpty)
}

@Test func aRefusalWithTheWholeRequestHasItsTextBehindIt() throws {
    let whole: [UInt8] = [
        52, 0, 0, 0,  // nlmsg_len
        2, 0,  // nlmsg_type: NLMSG_ERROR
        0, 2,  // nlmsg_flags: NLM_F_ACK_TLVS
        8, 0, 0, 0, 9, 0, 0, 0,  // nlmsg_seq, nlmsg_pid
        0xfe, 0xff, 0xff, 0xff,  // error: -2
        19, 0, 0, 0, 12, 10, 5, 0, 8, 0, 0, 0, 9, 0, 0, 0,  // the request: 19 bytes
        1, 2, 3, 0,  // its body and padding
        11, 0, 1, 0, 0x67, 0x6f, 0x6e, 0x65, 0x21, 0x21, 0, 0,  // NLMSGERR_ATTR_MSG: "gone!!"
    ]
    #expect(
        try replies(whole).map(\.content)
            == [.refused(.noSuchFileOrDirectory, message: "gone!!", offset: nil)]
    )
}

@Test func aListingThatFailsOnTheWaySaysSoAtItsEnd() throws {
    var failed = end
    failed.replaceSubrange(16..<20, with: [0xf4, 0xff, 0xff, 0xff])  // error: -12
    #expect(
        try replies(failed).map(\.content) == [.refused(.noMemory, message: nil, offset: nil)]
    )
}

@Test func everyTruncationIsNoticed() throws {
    for message in [acknowledgement, refusal, end] {
        for count in 1..<message.count {
            #expect(throws: NetlinkError.malformedReply(offset: 0), "\(count)") {
                try replies(Array(message.prefix(count)))
            }
        }
    }
    // The padding behind the last message may be missing.
    #expect(try replies(Array(object.dropLast())).count == 1)
}

@Test(
    arguments: [
        ("a length below the header's", 0, [15, 0, 0, 0], 0),
        ("a length beyond the datagram", 0, [53, 0, 0, 0], 0),
        ("an error number above zero", 16, [1, 0, 0, 0], 16),
        ("an error number that is none", 16, [0, 0, 0, 0x80], 16),
        ("an attribute shorter than its header", 36, [3, 0], 36),
        ("an attribute beyond its message", 44, [9, 0], 44),
        ("a request shorter than its header", 20, [15, 0, 0, 0], 20),
    ] as [(String, Int, [UInt8], Int)]
)
func lengthsThatLeadAstrayAreMalformed(
    _ name: String,
    _ position: Int,
    _ bytes: [UInt8],
    _ offset: Int
) throws {
    var broken = refusal
    broken.replaceSubrange(position..<position + bytes.count, with: bytes)
    #expect(throws: NetlinkError.malformedReply(offset: offset)) { try replies(broken) }
}

@Test func anOverrunIsAnUnknownOutcome() throws {
    var overrun = end
    overrun[4] = 4  // nlmsg_type: NLMSG_OVERRUN
    #expect(throws: NetlinkError.outcomeUnknown(.noBufferSpace)) { try replies(overrun) }
}

@Test func attributesAreReadWithinTheirBoundsOnly() throws {
    let bytes: [UInt8] = [
        6, 0, 1, 0x80, 1, 2, 0, 0,  // nested type 1, 2 bytes and padding
        8, 0, 2, 0, 0, 0, 0, 5,  // type 2: big-endian 5
        7, 0, 3, 0, 0x61, 0x62, 0x63,  // type 3: "abc" without a zero byte
    ]
    let span = bytes.span.bytes
    var cursor = AttributeCursor(0..<bytes.count)
    let first = try #require(try cursor.next(in: span))
    let second = try #require(try cursor.next(in: span))
    let third = try #require(try cursor.next(in: span))
    #expect(try cursor.next(in: span) == nil)
    #expect([first.type, second.type, third.type] == [1, 2, 3])
    #expect(try span.bytes(in: first.payload) == [1, 2])
    #expect(try span.bigEndian32(second) == 5)
    #expect(try span.string(in: third.payload) == "abc")
    #expect(throws: NetlinkError.malformedReply(offset: 4)) { try span.bigEndian32(first) }
    #expect(throws: NetlinkError.malformedReply(offset: 12)) { try span.bigEndian64(second) }
    #expect(throws: NetlinkError.malformedReply(offset: 20)) { try span.uint32(at: 20) }
    #expect(throws: NetlinkError.malformedReply(offset: 20)) { try span.bytes(in: 20..<24) }
}

@Test(arguments: [
    (
        NetlinkError.notPermitted,
        "cannot commit the transaction: CAP_NET_ADMIN is missing in this network namespace"
    ),
    (
        .outcomeUnknown(.noBufferSpace),
        "cannot tell whether the kernel acted: its answer was lost (no buffer space available)"
    ),
    (
        .systemCall(SystemError(call: "sendmsg", errno: .messageTooLong)),
        "cannot use the netlink socket: sendmsg: message too long"
    ),
    (
        .refused(operation: 2, description: "add x", .fileExists, kernelMessage: "why"),
        "cannot add x: file exists (kernel: why)"
    ),
    (.malformedReply(offset: 16), "cannot read the kernel's answer: malformed at byte 16"),
])
func errorsSayWhatWasRefusedAndWhy(_ error: NetlinkError, _ text: String) {
    #expect(error.description == text)
}
