import Glibc
import Netlink
import TestSupport
import Testing

/// Packets that rules log to a netlink group.
@Suite(.blocking) struct PacketLogTests {
    /// Version 4, five words, 40 bytes, no fragment; from 198.51.100.7 to 192.0.2.1.
    private func ipv4(_ transport: UInt8, _ offset: [UInt8] = [0, 0], words: UInt8 = 5) -> [UInt8] {
        let rest: [UInt8] = [64, transport, 0, 0, 198, 51, 100, 7, 192, 0, 2, 1]
        let options = [UInt8](repeating: 1, count: max(0, Int(words) * 4 - 20))
        return [0x40 | words, 0, 0, 40, 0, 1] + offset + rest + options
    }

    /// From 2001:db8::7 to 2001:db8::1.
    private func ipv6(_ next: UInt8) -> [UInt8] {
        func address(_ last: UInt8) -> [UInt8] {
            [0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [last]
        }
        return [0x60, 0, 0, 0, 0, 20, next, 64] + address(7) + address(1)
    }

    private let ports: [UInt8] = [0x9c, 0x40, 0, 22]

    @Test func readsTheHeadersOfBothFamilies() throws {
        let four = try #require(LoggedPacket(headers: ipv4(6) + ports))
        #expect(four.source == [198, 51, 100, 7])
        #expect(four.destination == [192, 0, 2, 1])
        #expect(four.transportProtocol == 6)
        #expect(four.destinationPort == 22)
        #expect(LoggedPacket(headers: ipv4(17, words: 7) + ports)?.destinationPort == 22)
        let six = try #require(LoggedPacket(headers: ipv6(6) + ports))
        #expect(six.source.last == 7)
        #expect(six.destination.last == 1)
        #expect(six.destinationPort == 22)
        // Options of 16 bytes, a first fragment, authentication of 12 bytes; then UDP.
        let options: [UInt8] = [44, 1] + [UInt8](repeating: 0, count: 14)
        let fragment: [UInt8] = [51, 0, 0, 1, 0, 0, 0, 9]
        let authentication: [UInt8] = [17, 1] + [UInt8](repeating: 0, count: 10)
        let chained = LoggedPacket(headers: ipv6(0) + options + fragment + authentication + ports)
        #expect(chained?.transportProtocol == 17)
        #expect(chained?.destinationPort == 22)
    }

    @Test func leavesOutWhatHasNoPorts() {
        let whole = ipv6(0) + [6, 0, 0, 0, 0, 0, 0, 0] + ports
        #expect(LoggedPacket(headers: whole) != nil)
        for count in 0..<whole.count {
            #expect(LoggedPacket(headers: Array(whole.prefix(count))) == nil, "\(count)")
        }
        #expect(LoggedPacket(headers: ipv4(1) + ports) == nil)
        #expect(LoggedPacket(headers: ipv4(6, [0, 1]) + ports) == nil)
        #expect(LoggedPacket(headers: ipv4(6, words: 4) + ports) == nil)
        #expect(LoggedPacket(headers: ipv6(44) + [6, 0, 0, 8, 0, 0, 0, 1] + ports) == nil)
        #expect(LoggedPacket(headers: [0x50] + [UInt8](repeating: 0, count: 60)) == nil)
        // A chain that leads nowhere ends.
        #expect(LoggedPacket(headers: ipv6(0) + [UInt8](repeating: 0, count: 400)) == nil)
    }

    @Test(.enabled(if: geteuid() == 0, "needs root"))
    func hearsOfWhatARuleLogs() throws {
        try inNetworkNamespace {
            try shell(
                "nft",
                "add table inet t; add chain inet t c { type filter hook input priority 0; }; "
                    + "add rule inet t c udp dport 7000 log group 77"
            ).get()
            var log = try PacketLog.open(group: 77)
            #expect(throws: NetlinkError.self) {
                // The kernel says EBUSY.
                _ = try PacketLog.open(group: 77)
            }
            for address in ["127.0.0.1", "::1"] {
                try shell("bash", "-c", "echo x >/dev/udp/\(address)/7000").get()
            }
            var heard: [LoggedPacket] = []
            for _ in 0..<300 where heard.count < 2 {
                var waiting = pollfd(fd: log.fileDescriptor, events: Int16(POLLIN), revents: 0)
                poll(&waiting, 1, 10)
                try log.drain { heard.append($0) }
            }
            #expect(heard.map(\.destinationPort) == [7000, 7000])
            #expect(heard.map(\.transportProtocol) == [17, 17])
            #expect(heard.first?.source == [127, 0, 0, 1])
            #expect(heard.last?.source.last == 1)
        }
    }
}
