import Foundation
import Testing

@testable import SpanwireProtobuf

/// Our codec and PyPI protobuf must say the same of the same input.
@Suite("Against PyPI protobuf", .enabled(if: Oracle.isAvailable))
struct DifferentialTests {
  /// Other messages for every seed: `tools/fuzz --target differential` goes on from here.
  static let seed = ProcessInfo.processInfo.environment["SPANWIRE_SEED"].flatMap(UInt64.init) ?? 20

  static let messages: [DynamicMessage] = {
    var random = RandomMessages(generator: SeededGenerator(seed: seed))
    return (0..<300).map { _ in random.message(TestTypes.everything) }
  }()

  @Test("Random messages survive both, and JSON means the same to both")
  func roundTrips() throws {
    let wires = Self.messages.map { $0.encoded() }
    let judged = Oracle.wire(wires)
    try #require(judged.count == wires.count)
    var jsons: [String] = []
    for (message, answer) in zip(Self.messages, judged) {
      let theirs = try #require(answer.bytes, "the judge refuses what we wrote: \(answer.reason)")
      #expect(try DynamicMessage(decoding: theirs, schema: TestTypes.everything) == message)
      if let text = answer.json {
        let read = try DynamicMessage(jsonString: text, schema: TestTypes.everything, pool: TestTypes.pool)
        #expect(read == message, "their JSON: \(text)")
      }
      jsons.append(try message.jsonString(pool: TestTypes.pool))
    }
    for ((answer, canonical), text) in zip(zip(Oracle.json(jsons), judged), jsons) {
      #expect(answer.bytes.map(hex) == canonical.bytes.map(hex), "our JSON: \(text) \(answer.reason)")
    }
  }

  @Test("Damaged messages are accepted by both or by neither")
  func damage() throws {
    var generator = SeededGenerator(seed: Self.seed &+ 99)
    var inputs: [[UInt8]] = []
    for message in Self.messages.prefix(150) {
      var bytes = message.encoded()
      if bytes.isEmpty { continue }
      for _ in 0..<4 {
        let place = Int(generator.next() % UInt64(bytes.count))
        switch generator.next() % 3 {
        case 0: bytes[place] = UInt8(truncatingIfNeeded: generator.next())
        case 1: bytes.remove(at: place)
        default: bytes.insert(UInt8(truncatingIfNeeded: generator.next()), at: place)
        }
        inputs.append(bytes)
        if bytes.isEmpty { break }
      }
    }
    let judged = Oracle.wire(inputs)
    try #require(judged.count == inputs.count)
    var survivors: [([UInt8], Oracle.Answer)] = []
    for (input, answer) in zip(inputs, judged) where answer.isVerdict {
      let ours = try? DynamicMessage(decoding: input, schema: TestTypes.everything)
      if ours == nil, answer.bytes != nil {
        // The judge drops the bits of a varint beyond 64; we refuse, as Go does.
        let error = #expect(throws: DecodingError.self) { try DynamicMessage(decoding: input, schema: TestTypes.everything) }
        #expect(error?.reason == .malformedVarint, "\(hex(input))")
        continue
      }
      #expect((ours == nil) == (answer.bytes == nil), "\(hex(input)): \(answer.reason)")
      if let ours, answer.bytes != nil { survivors.append((ours.encoded(), answer)) }
    }
    for (answer, survivor) in zip(Oracle.wire(survivors.map(\.0)), survivors) where answer.isVerdict {
      // Through our decoder, which like C++ and Go keeps nothing unknown in the entries of maps.
      let (ours, theirs) = (try #require(answer.bytes), try #require(survivor.1.bytes))
      let same = try DynamicMessage(decoding: ours, schema: TestTypes.everything).encoded()
      #expect(try DynamicMessage(decoding: theirs, schema: TestTypes.everything).encoded() == same)
    }
  }

  @Test("Wire cases with a verdict of our own get the same from the judge")
  func cases() throws {
    let judged = Oracle.wire(DecoderTests.cases.map { unhex($0.wire) })
    // The judge drops the bits beyond 64; we refuse, as Go does: no encoder writes them.
    for (item, answer) in zip(DecoderTests.cases, judged) where item.name != "a varint beyond 64 bits" {
      #expect((item.reason != nil) == (answer.bytes == nil), "\(item.name): \(answer.reason)")
    }
  }
}
