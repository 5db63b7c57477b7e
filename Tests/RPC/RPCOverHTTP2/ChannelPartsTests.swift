@testable import SpanwireRPCOverHTTP2
import SpanwireRPC
import Testing

@Suite struct ChannelTargetTests {
  @Test(
    "reads the names that gRPC uses",
    arguments: [
      ("localhost:50051", "localhost:50051"), ("dns:///example.org:1", "example.org:1"), ("dns:example.org:1", "example.org:1"),
      ("dns://8.8.8.8/example.org:1", "example.org:1"), ("ipv4:127.0.0.1:5", "127.0.0.1:5"), ("ipv6:[::1]:5", "[::1]:5"),
      ("[::1]", "[::1]:443"), ("::1", "[::1]:443"), ("example.org", "example.org:443"), ("unix:/run/s.sock", "unix:/run/s.sock"),
      ("unix:///run/s.sock", "unix:/run/s.sock"), ("", nil), (":5", nil), ("host:port", nil), ("host:70000", nil), ("unix:", nil),
      ("[::1]x", nil), ("dns://host:1", nil),
      ("ipv4:127.0.0.1:5,127.0.0.2:6", "127.0.0.1:5,127.0.0.2:6"), ("ipv6:[::1]:5,[::2]:6", "[::1]:5,[::2]:6"),
      ("ipv4:///127.0.0.1:5", "127.0.0.1:5"), ("ipv4:localhost:5", nil), ("ipv4:127.0.0.1:5,", nil),
    ] as [(String, String?)])
  func targets(text: String, description: String?) {
    #expect(ChannelTarget(text)?.description == description)
  }
}

@Suite struct ChannelBackoffTests {
  @Test("grows by its factor to the maximum, with jitter around")
  func growth() {
    let backoff = ChannelBackoff(initial: .seconds(1), multiplier: 2, jitter: 0.2, maximum: .seconds(10))
    let waits = (1...6).map { backoff.wait(afterFailures: $0, random: 0.5) }
    #expect(waits == [1, 2, 4, 8, 10, 10].map { .seconds($0) })
    #expect(backoff.wait(afterFailures: 1, random: 0) == .seconds(0.8))
    #expect(backoff.wait(afterFailures: 1_000_000, random: 0.5) == .seconds(10))
  }
}

@Suite struct ClientStatusTests {
  @Test(
    "an HTTP status stands in for a missing gRPC status",
    arguments: [
      (400, .internal), (401, .unauthenticated), (403, .permissionDenied), (404, .unimplemented), (429, .unavailable),
      (502, .unavailable), (503, .unavailable), (504, .unavailable), (200, .unknown), (500, .unknown), (302, .unknown),
    ] as [(Int, RPCError.Code)])
  func http(status: Int, code: RPCError.Code) {
    #expect(ClientStatus.code(ofHTTPStatus: status) == code)
  }

  @Test(
    "a reset stands in for a missing gRPC status",
    arguments: [
      (0, .internal), (1, .internal), (2, .internal), (3, .internal), (4, .internal), (5, .unknown), (6, .internal), (7, .unavailable),
      (8, .cancelled), (9, .internal), (10, .internal), (11, .resourceExhausted), (12, .permissionDenied), (13, .unknown),
    ] as [(UInt32, RPCError.Code)])
  func reset(number: UInt32, code: RPCError.Code) {
    #expect(ClientStatus.code(ofReset: number) == code)
  }
}

@Suite struct MessageAssemblerTests {
  static func framed(_ payload: [UInt8], compressed: Bool = false) -> [UInt8] {
    [compressed ? 1 : 0] + withUnsafeBytes(of: UInt32(payload.count).bigEndian) { Array($0) } + payload
  }

  static func drain(_ assembler: inout MessageAssembler, _ credit: inout Int) throws -> [[UInt8]] {
    var messages: [[UInt8]] = []
    while let message = try assembler.take(&credit, { Array($0.bytes) }) { messages.append(message) }
    return messages
  }

  @Test("boundaries mean nothing: any cut gives the same messages, and every byte is credited once", arguments: [1, 2, 5, 7, 64, 100_000])
  func fragments(size: Int) throws {
    let payloads = [[], [1], Array("hello".utf8), [UInt8](repeating: 7, count: 300), [], [UInt8](repeating: 9, count: 70_000), [3]]
    let wire = payloads.flatMap { Self.framed($0) }
    var assembler = MessageAssembler(limits: .default)
    var credit = 0
    var messages: [[UInt8]] = []
    for start in stride(from: 0, to: wire.count, by: size) {
      credit += try wire[start..<min(start + size, wire.count)].withUnsafeBytes { (bytes) throws in try assembler.append(bytes) }
      messages += try Self.drain(&assembler, &credit)
      #expect(credit <= min(start + size, wire.count))
    }
    #expect(messages == payloads)
    #expect(credit == wire.count)
    let rest = assembler.buffered
    #expect(rest == 0)
  }

  @Test("a complete message is credited when it is taken, an incomplete one as it comes")
  func credit() throws {
    var assembler = MessageAssembler(limits: .default)
    let two = Self.framed([1, 2, 3]) + Self.framed([4, 5, 6])
    let early = try two.withUnsafeBytes { (bytes) throws in try assembler.append(bytes) }
    #expect(early == 0)
    var credit = 0
    _ = try assembler.take(&credit) { _ in }
    #expect(credit == 8)
    let more = try Self.framed([UInt8](repeating: 0, count: 100)).prefix(50).withUnsafeBytes { (bytes) throws in try assembler.append(bytes)
    }
    #expect(more == 0)
    _ = try assembler.take(&credit) { _ in }
    #expect(credit == 66)
    let discarded = assembler.discard()
    #expect(discarded == 0)
  }

  @Test("a message of the limit passes, a prefix above it is refused before its bytes come")
  func limit() throws {
    var assembler = MessageAssembler(limits: MessageLimits(maxReceivedBytes: 10))
    var credit = 0
    _ = try Self.framed([UInt8](repeating: 1, count: 10)).withUnsafeBytes { (bytes) throws in try assembler.append(bytes) }
    let message = try assembler.take(&credit) { $0.bytes.count }
    #expect(message == 10)
    var code: RPCError.Code?
    do {
      _ = try ([0, 0xFF, 0xFF, 0xFF, 0xFF] as [UInt8]).withUnsafeBytes { (bytes) throws in try assembler.append(bytes) }
    } catch let error as RPCError { code = error.code }
    #expect(code == .resourceExhausted)
  }
}
