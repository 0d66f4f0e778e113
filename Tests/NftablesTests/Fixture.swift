import Glibc
import Testing

/// Compares what `nft list` printed with a file of `Fixtures`; both are shown where they differ.
func expectFixture(
    _ name: String,
    _ listing: String,
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let folder = #filePath.split(separator: "/").dropLast().joined(separator: "/")
    let expected = try contents(of: "/\(folder)/Fixtures/\(name)")
    #expect(listing == expected, sourceLocation: sourceLocation)
}

private func contents(of path: String) throws -> String {
    let file = try #require(fopen(path, "r"), "\(path)")
    defer { fclose(file) }
    var bytes: [UInt8] = []
    while case let byte = getc(file), byte != EOF { bytes.append(UInt8(byte)) }
    return String(decoding: bytes, as: UTF8.self)
}
