import Policy
import Testing
import TestSupport

@Suite struct AddressTests {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("255.255.255.255", "255.255.255.255"),
        ("::", "::"),
        ("::1", "::1"),
        ("1::", "1::"),
        ("2001:DB8::0001", "2001:db8::1"),
        // RFC 5952, 4.2.2: one zero group is not shortened; 4.2.3: the longest run, of equals the first.
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("0:0:0:0:0:FFFF:c000:0201", "192.0.2.1"),
        ("::fffe:192.0.2.1", "::fffe:c000:201"),
    ])
    func readsAddresses(text: String, expected: String) throws {
        #expect(try IPAddress(parsing: text).description == expected)
    }

    @Test(arguments: [
        "", " ", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.-4", "1.2.3.+4", "1.2.3.4 ",
        "1..3.4", "1.2.3.", "0x7f.0.0.1", "1.2.3.1e1", "١.٢.٣.٤", ":", ":::", "1:", ":1", "1:2",
        "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1::2::3",
        "12345::", "g::", "::1.2.3", "1.2.3.4::", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3.4:5",
        "[::1]", "::1/128", "::1\u{0}", "localhost",
    ])
    func refusesWhatIsNoAddress(text: String) {
        #expect(refusal(IPAddress.self, text) != nil)
    }

    @Test func refusesZonesOctalsAndLongTexts() {
        let zone = refusal(IPAddress.self, "fe80::1%eth0")
        #expect(
            zone?.message == "a zone cannot be part of a source; write the address without it"
        )
        #expect(zone?.suggestion == "fe80::1")
        #expect(
            refusal(IPAddress.self, "010.0.0.1")?.message
                == "a number with a leading zero may be read as octal; write it without the zero"
        )
        let long = refusal(IPAddress.self, String(repeating: "1", count: 1_000_000))
        #expect(long?.message == "it is too long for an address")
        #expect(long?.value.count == 83)
    }

    @Test func makesTextFromOutsideSafeToPrint() {
        #expect(
            refusal(IPAddress.self, "a\u{1B}[2J\n\u{202E}")?.value == "a\\u{1b}[2J\\u{a}\\u{202e}"
        )
    }

    @Test func takesFourOrSixteenBytes() {
        #expect(IPAddress(bytes: [192, 0, 2, 1])?.description == "192.0.2.1")
        #expect(
            IPAddress(bytes: [0x20, 1, 0x0D, 0xB8] + Array(repeating: 0, count: 11) + [1])?
                .description == "2001:db8::1"
        )
        #expect(IPAddress(bytes: []) == nil)
        #expect(IPAddress(bytes: Array(repeating: 0, count: 15)) == nil)
    }

    @Test(arguments: 1...50 as ClosedRange<UInt64>)
    func bytesAndTextsRoundTrip(seed: UInt64) throws {
        var generator = Generator(seed: seed)
        for _ in 0..<200 {
            let address = generator.address()
            #expect(IPAddress(bytes: address.bytes) == address)
            #expect(try IPAddress(parsing: address.description) == address)
        }
    }

    @Test func ordersByFamilyThenNumber() throws {
        let texts = ["9.0.0.0", "10.0.0.0", "200.0.0.1", "::2", "1::", "ffff::"]
        let addresses = try texts.map(IPAddress.init(parsing:))
        #expect(addresses.reversed().sorted() == addresses)
    }
}

@Suite struct CIDRTests {
    @Test(arguments: [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("255.255.255.255/32", "255.255.255.255/32"),
        ("::/0", "::/0"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("2001:db8::/64", "2001:db8::/64"),
        ("2001:db8:0:0:8000::/65", "2001:db8:0:0:8000::/65"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::/95", "::/95"),
    ])
    func readsRanges(text: String, expected: String) throws {
        #expect(try cidr(text).description == expected)
    }

    @Test(
        arguments: [
            ("10.0.0.5/24", "10.0.0.0/24"),
            ("10.0.0.5/0", "0.0.0.0/0"),
            ("2001:db8::1/64", "2001:db8::/64"),
            ("::ffff:192.0.2.1/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.1/64", "::/64"),
            ("10.0.0.0/33", "10.0.0.0/32"),
            ("::ffff:10.0.0.1/129", "10.0.0.1/32"),
            ("fe80::1%eth0/128", "fe80::1/128"),
        ] as [(String, String)]
    )
    func suggestsTheNearestRange(text: String, suggestion: String) throws {
        #expect(refusal(CIDR.self, text)?.suggestion == suggestion)
        #expect(try cidr(suggestion).description == suggestion)
    }

    @Test(arguments: [
        "", "/", "/8", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0.0/8/8",
        "10.0.0.0/255.0.0.0", "10.0.0.0 /8", "::/129", "10.0.0.0/99999999999999999999",
    ])
    func refusesWhatIsNoRange(text: String) {
        #expect(refusal(CIDR.self, text) != nil)
    }

    @Test func saysWhatWouldBeAllowed() {
        #expect(
            refusal(CIDR.self, "10.0.0.5/24")?.description
                == "cannot read \"10.0.0.5/24\": bits are set behind the prefix; write 10.0.0.0/24 "
                + "for the range or 10.0.0.5/32 for the one address"
        )
        #expect(
            refusal(CIDR.self, "10.0.0.0/33")?.message
                == "the prefix length must be a number 0...32"
        )
    }

    @Test func refusesLengthsThatAreNotOfTheFamily() throws {
        let address = try IPAddress(parsing: "10.1.2.3")
        #expect(CIDR(address, prefixLength: 33) == nil)
        #expect(CIDR(address, prefixLength: -1) == nil)
        #expect(CIDR(address, prefixLength: 8)?.description == "10.0.0.0/8")
    }

    @Test(arguments: 1...50 as ClosedRange<UInt64>)
    func textsRoundTrip(seed: UInt64) throws {
        var generator = Generator(seed: seed)
        for _ in 0..<200 {
            let range = generator.range()
            #expect(try cidr(range.description) == range)
        }
    }

    @Test(arguments: 1...50 as ClosedRange<UInt64>)
    func containmentAgreesWithTheBits(seed: UInt64) {
        var generator = Generator(seed: seed)
        for _ in 0..<500 {
            let a = generator.range()
            // Half of the time a relative of the first, or nothing would ever be contained.
            let relative = CIDR(a.address, prefixLength: generator.int(0...a.family.bits))
            let b = generator.chance(50) ? relative ?? a : generator.range()
            let agree =
                a.family == b.family && commonBits(a, b) >= min(a.prefixLength, b.prefixLength)
            #expect(a.contains(b) == (agree && a.prefixLength <= b.prefixLength), "\(a) \(b)")
            #expect(a.overlaps(b) == agree, "\(a) \(b)")
            #expect(
                a.contains(b.address)
                    == (a.family == b.family && commonBits(a, b) >= a.prefixLength)
            )
        }
    }

    private func commonBits(_ a: CIDR, _ b: CIDR) -> Int {
        let bits = { (range: CIDR) in
            range.address.bytes.flatMap { byte in (0..<8).map { byte >> (7 - $0) & 1 } }
        }
        return zip(bits(a), bits(b)).prefix { $0 == $1 }.count
    }
}
