import SpanwireTestMessages
import Testing

@testable import SpanwireProtobuf

/// What a wire form decodes to, as our JSON or as the reason it is refused.
struct WireCase: Sendable, CustomTestStringConvertible {
  var name: String
  var wire: String
  var json: String?
  var reason: DecodingError.Reason?
  var path = ""
  var unknown = ""
  var testDescription: String { name }

  init(_ name: String, _ wire: String, json: String, unknown: String = "") {
    (self.name, self.wire, self.json, self.unknown) = (name, wire, json, unknown)
  }

  init(_ name: String, _ wire: String, refused reason: DecodingError.Reason, at path: String = "") {
    (self.name, self.wire, self.reason, self.path) = (name, wire, reason, path)
  }
}

@Suite("Decoder")
struct DecoderTests {
  static let cases: [WireCase] = [
    WireCase("an empty message", "", json: "{}"),
    WireCase("a negative int32 takes ten bytes", "08 ffffffffffffffffff01", json: #"{"int32Field":-1}"#),
    WireCase("an int32 keeps the low half of a longer varint", "08 8180808010", json: #"{"int32Field":1}"#),
    WireCase("an overlong varint counts", "08 818000", json: #"{"int32Field":1}"#),
    WireCase("a varint of eleven bytes", "08 8080808080808080808000", refused: .malformedVarint, at: "int32_field"),
    WireCase("a varint beyond 64 bits", "10 ffffffffffffffffff02", refused: .malformedVarint, at: "int64_field"),
    WireCase("a varint without an end", "08 80", refused: .malformedVarint, at: "int32_field"),
    WireCase("any varint but zero is true", "68 8002", json: #"{"boolField":true}"#),
    WireCase("true beyond 32 bits", "68 80808080808080808001", json: #"{"boolField":true}"#),
    WireCase("the last scalar wins", "08 01 08 02", json: #"{"int32Field":2}"#),
    WireCase("field number 0", "00 01", refused: .malformedTag),
    WireCase("a tag beyond 32 bits", "8080808010 01", refused: .malformedTag),
    WireCase("an overlong tag", "8880808000 05", json: #"{"int32Field":5}"#),
    WireCase("the highest field number", "f8ffffff0f 07", json: #"{"elsewhere":7}"#),
    WireCase("a reserved wire type", "0e", refused: .malformedTag),
    WireCase("a lone end of a group", "0c", refused: .mismatchedGroup),
    WireCase("a truncated fixed32", "3d 010203", refused: .truncated, at: "fixed32_field"),
    WireCase("a truncated fixed64", "41 01020304050607", refused: .truncated, at: "fixed64_field"),
    WireCase("a string longer than the message", "72 05 61", refused: .truncated, at: "string_field"),
    WireCase("a length near 2^64", "72 ffffffffffffffffff01 61", refused: .truncated, at: "string_field"),
    WireCase("a string with a NUL", "72 03 610062", json: #"{"stringField":"a\u0000b"}"#),
    WireCase("an overlong UTF-8 form", "72 02 c080", refused: .invalidUTF8, at: "string_field"),
    WireCase("a surrogate in UTF-8", "72 03 eda080", refused: .invalidUTF8, at: "string_field"),
    WireCase("a scalar above the last", "72 04 f4908080", refused: .invalidUTF8, at: "string_field"),
    WireCase("UTF-8 cut off after eight ASCII letters", "72 0a 61616161616161 61 e282", refused: .invalidUTF8, at: "string_field"),
    WireCase("bytes are not text", "7a 02 c080", json: #"{"bytesField":"wIA="}"#),
    WireCase("a bad string in a list", "fa02 02 0801 e202 01 61 e202 01 ff", refused: .invalidUTF8, at: "string_list[1]"),
    WireCase("a bad string in a list of messages", "fa02 00 fa02 03 22 01 ff", refused: .invalidUTF8, at: "inner_list[1].text"),
    WireCase("minus zero is kept", "61 0000000000000080", json: #"{"doubleField":-0.0}"#),
    WireCase("a message sent twice is merged", "8a01 04 0801 1005 8a01 04 1006 2200", json: #"{"inner":{"a":1,"more":[5,6]}}"#),
    WireCase("a message is merged at depth", "8a01 04 1a02 0801 8a01 04 1a02 1007", json: #"{"inner":{"next":{"a":1,"more":[7]}}}"#),
    WireCase("a oneof's message is merged", "9205 02 0801 9205 02 1002", json: #"{"choiceInner":{"a":1,"more":[2]}}"#),
    WireCase("the last of a oneof wins", "8805 01 9a05 01 61", json: #"{"choiceString":"a"}"#),
    WireCase("a oneof forgets what was there", "9205 02 0801 8805 01 9205 02 1002", json: #"{"choiceInner":{"more":[2]}}"#),
    WireCase("a oneof member with its default is set", "8805 00", json: #"{"choiceUint32":0}"#),
    WireCase("an optional with its default is set", "d805 00", json: #"{"optionalInt32":0}"#),
    WireCase("packed", "fa01 03 010203", json: #"{"int32List":[1,2,3]}"#),
    WireCase("unpacked where packed is usual", "f801 01 f801 02", json: #"{"int32List":[1,2]}"#),
    WireCase("packed where unpacked is usual", "8203 02 0102", json: #"{"unpackedList":[1,2]}"#),
    WireCase("runs and single values mixed", "f801 01 fa01 02 0203 f801 04 fa01 02 0506", json: #"{"int32List":[1,2,3,4,5,6]}"#),
    WireCase("an empty run", "fa01 00", json: "{}"),
    WireCase("a run that ends within a varint", "fa01 02 0180", refused: .malformedVarint, at: "int32_list[0]"),
    WireCase("a run of fixed32 with a remainder", "aa02 05 0102030405", refused: .truncated, at: "fixed32_list[0]"),
    WireCase("a closed enum is open", "8001 4d", json: #"{"enumField":77}"#),
    WireCase("a negative enum", "8001 fdffffffffffffffff01", json: #"{"enumField":"COLOUR_BLUE"}"#),
    WireCase("a map entry without key and value", "ea03 00", json: #"{"int32Map":{"0":"0"}}"#),
    WireCase("a map entry with its value first", "9204 06 1201 62 0a01 61", json: #"{"stringMap":{"a":"b"}}"#),
    WireCase("a map's later entry wins", "9204 06 0a01 61 1201 62 9204 06 0a01 61 1201 63", json: #"{"stringMap":{"a":"c"}}"#),
    WireCase("a map entry without its message", "aa04 03 0a01 61", json: #"{"innerMap":{"a":{}}}"#),
    WireCase("a bad key in a map", "9204 03 0a01 ff", refused: .invalidUTF8, at: "string_map[0].key"),
    WireCase("an unknown varint", "c03e 05", json: "{}", unknown: "c03e05"),
    WireCase(
      "unknown fields of every wire type", "c03e05 c13e 0102030405060708 c23e 01ff c53e 01020304", json: "{}",
      unknown: "c03e05c13e0102030405060708c23e01ffc53e01020304"),
    WireCase("an unknown group", "c33e 0805 c43e", json: "{}", unknown: "c33e0805c43e"),
    WireCase("a group in a group", "c33e 0b 0801 0c c43e 08 07", json: #"{"int32Field":7}"#, unknown: "c33e0b08010cc43e"),
    WireCase("a group that another ends", "c33e 0c", refused: .mismatchedGroup),
    WireCase("a group without an end", "c33e 0805", refused: .mismatchedGroup),
    WireCase("a known field with another wire type", "0a 01 61", json: "{}", unknown: "0a0161"),
    WireCase("a known message as a varint", "8801 05", json: "{}", unknown: "880105"),
  ]

  @Test("Wire forms decode, or are refused at the right place", arguments: cases)
  func decodes(_ item: WireCase) throws {
    do {
      let message = try DynamicMessage(decoding: unhex(item.wire), schema: TestTypes.everything)
      #expect(try message.jsonString(pool: TestTypes.pool) == item.json)
      #expect(hex(message.unknownFields.bytes) == item.unknown)
      #expect(try DynamicMessage(decoding: message.encoded(), schema: TestTypes.everything) == message)
    } catch let error as DecodingError {
      #expect(error.reason == item.reason, "\(error)")
      #expect(error.path == item.path)
    }
  }

  @Test("A hundred levels of messages pass, one more is refused")
  func depth() throws {
    func nested(_ levels: Int) -> [UInt8] {
      var message = DynamicMessage(TestTypes.inner)
      for _ in 0..<levels {
        var outer = DynamicMessage(TestTypes.inner)
        outer["next"] = .message(message)
        message = outer
      }
      return message.encoded()
    }
    #expect(throws: Never.self) { try DynamicMessage(decoding: nested(100), schema: TestTypes.inner) }
    let error = #expect(throws: DecodingError.self) { try DynamicMessage(decoding: nested(101), schema: TestTypes.inner) }
    #expect(error?.reason == .depthExceeded)
    let groups = [UInt8](repeating: 0x2b, count: 34_000)
    #expect(throws: DecodingError.self) { try DynamicMessage(decoding: groups, schema: TestTypes.inner) }
  }

  @Test("Two bytes of wire cannot ask for any amount of memory")
  func memory() throws {
    let hostile = (0..<1_000_000).flatMap { _ in [0x92, 0x01, 0x00] as [UInt8] }
    #expect(throws: Never.self) { try DynamicMessage(decoding: hostile, schema: TestTypes.everything) }
    // A list of empty messages: four bytes of wire for a struct each.
    let list = (0..<500_000).flatMap { _ in [0xfa, 0x02, 0x00] as [UInt8] }
    var limits = DecodingLimits()
    limits.arenaFactor = 2
    let error = #expect(throws: DecodingError.self) { try DynamicMessage(decoding: list, schema: TestTypes.everything, limits: limits) }
    #expect(error?.reason == .memoryExceeded)
    // What is honest passes: many short strings, many small numbers one by one, many small entries.
    for element in ["e202 01 61", "8003 05", "ea03 04 0801 1001"] {
      let bytes = unhex(element)
      let many = (0..<100_000).flatMap { _ in bytes }
      #expect(throws: Never.self, "\(element)") { try Everything(decoding: many) }
    }
    limits = DecodingLimits(depth: 100, messageBytes: 10)
    #expect(throws: DecodingError.self) { try DynamicMessage(decoding: list, schema: TestTypes.everything, limits: limits) }
  }

  @Test("Every prefix of a message is accepted or refused, never read beyond")
  func prefixes() {
    var random = RandomMessages(generator: SeededGenerator(seed: 7))
    let bytes = random.message(TestTypes.everything).encoded()
    for count in 0..<bytes.count {
      _ = try? DynamicMessage(decoding: Array(bytes.prefix(count)), schema: TestTypes.everything)
    }
  }
}
