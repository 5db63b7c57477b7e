import SpanwireRPC
import SpanwireRPCOverHTTP2
import Testing

@Suite struct MessageCompressionTests {
  static func inflate(_ bytes: [UInt8], _ compression: Compression, limit: Int = 4 << 20) throws -> [UInt8] {
    try bytes.withUnsafeBytes { (bytes) throws in
      try MessageCompression.inflate(bytes, compression, limits: MessageLimits(maxReceivedBytes: limit))
    }
  }

  static func code(_ bytes: [UInt8], _ compression: Compression, limit: Int = 4 << 20) -> RPCError.Code? {
    do {
      _ = try inflate(bytes, compression, limit: limit)
      return nil
    } catch { return (error as? RPCError)?.code }
  }

  @Test("what is compressed is inflated to the same bytes", arguments: Compression.allCases)
  func roundTrip(compression: Compression) throws {
    for size in [0, 1, 100, 16 * 1024, 16 * 1024 + 1, 3 << 20] {
      let message = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) }
      let compressed = message.withUnsafeBytes { MessageCompression.deflate($0, compression) }
      #expect(try Self.inflate(compressed, compression) == message)
    }
  }

  @Test("a message of the limit passes; one byte more does not, however well it was compressed", arguments: Compression.allCases)
  func bomb(compression: Compression) {
    let compressed = [UInt8](repeating: 0, count: 1 << 20).withUnsafeBytes { MessageCompression.deflate($0, compression) }
    #expect(compressed.count < 5_000)
    #expect(Self.code(compressed, compression, limit: 1 << 20) == nil)
    #expect(Self.code(compressed, compression, limit: 1 << 20 - 1) == .resourceExhausted)
    #expect(Self.code(compressed, compression, limit: 0) == .resourceExhausted)
  }

  @Test("bytes that are cut short, corrupt, empty or followed by others are INTERNAL", arguments: Compression.allCases)
  func corrupt(compression: Compression) {
    let good = Array("hello hello hello hello".utf8).withUnsafeBytes { MessageCompression.deflate($0, compression) }
    #expect(Self.code(Array(good.dropLast(3)), compression) == .internal)
    #expect(Self.code(good + [0], compression) == .internal)
    #expect(Self.code([], compression) == .internal)
    #expect(Self.code(Array("hello".utf8), compression) == .internal)
    #expect(Self.code(good, compression == .gzip ? .deflate : .gzip) == .internal)
  }
}
