import CProtobufC
import CTestProtos
import SpanwireWellKnown
import SpanwireTestMessages
import Testing

@testable import SpanwireProtobuf

/// Generated code against the dynamic path, which the judge has looked at.
@Suite("Generated messages")
struct TypedTests {
  @Test("Random messages are the same, typed and dynamic, and protobuf-c reads the same struct")
  func random() throws {
    var random = RandomMessages(generator: SeededGenerator(seed: DifferentialTests.seed &+ 4))
    for _ in 0..<200 {
      let dynamic = random.message(TestTypes.everything)
      let bytes = dynamic.encoded()
      let typed = try Everything(decoding: bytes)
      #expect(typed.encoded() == bytes)
      var edited = typed
      edited.unknownFields = UnknownFields()
      #expect(edited == typed)
      let oracle = try #require(
        bytes.withUnsafeBufferPointer {
          protobuf_c_message_unpack(spanwire__codectest__v1__everything__table(), nil, $0.count, $0.baseAddress)
        })
      defer { protobuf_c_message_free_unpacked(oracle, nil) }
      #expect(Everything(cStruct: oracle).encoded() == bytes)
      var writer = MessageWriter()
      writer.relay(oracle, Everything.table)
      #expect(try Everything(decoding: writer.bytes()) == typed)
    }
  }

  @Test("Wire forms mean the same to generated code", arguments: DecoderTests.cases)
  func wire(_ item: WireCase) throws {
    let bytes = unhex(item.wire)
    do throws(DecodingError) {
      let typed = try Everything(decoding: bytes)
      let dynamic = try DynamicMessage(decoding: bytes, schema: TestTypes.everything)
      #expect(typed.encoded() == dynamic.encoded())
      let view = try Everything.View(decoding: bytes)
      #expect(view.value() == typed)
      #expect(try Everything(decoding: view.encoded()) == typed)
      #expect(hex(typed.unknownFields.bytes) == item.unknown)
    } catch {
      #expect(error.reason == item.reason)
      #expect(error.path == item.path)
    }
  }

  @Test("Damaged bytes get one verdict from values, views and dynamic messages, and what passes settles after one round")
  func damage() throws {
    var random = RandomMessages(generator: SeededGenerator(seed: DifferentialTests.seed &+ 31))
    for _ in 0..<60 {
      var bytes = random.message(TestTypes.everything).encoded()
      if bytes.isEmpty { continue }
      for _ in 0..<40 {
        let place = Int(random.generator.next() % UInt64(bytes.count))
        switch random.generator.next() % 4 {
        case 0: bytes[place] = UInt8(truncatingIfNeeded: random.generator.next())
        case 1: bytes[place] ^= 1 << UInt8(random.generator.next() % 8)
        case 2 where bytes.count > 1: bytes.remove(at: place)
        default: bytes.insert(UInt8(truncatingIfNeeded: random.generator.next()), at: place)
        }
        let typed = try? Everything(decoding: bytes)
        let dynamic = try? DynamicMessage(decoding: bytes, schema: TestTypes.everything)
        let view = try? bytes.withUnsafeBytes { try DecodedMessage(decoding: $0, table: Everything.table) }
        #expect((typed == nil) == (dynamic == nil) && (typed == nil) == (view == nil))
        guard let typed, let view else { continue }
        let again = typed.encoded()
        #expect(try Everything(decoding: Everything.View(decoded: view).encoded()).encoded() == again)
        #expect(again == dynamic?.encoded())
        #expect(try Everything(decoding: again).encoded() == again)
      }
    }
  }

  @Test("JSON means the same to generated code", arguments: JSONTests.cases.indices)
  func json(_ index: Int) throws {
    let (input, output) = JSONTests.cases[index]
    do throws(JSONError) {
      #expect(try Everything(jsonString: input).jsonString() == output)
    } catch {
      #expect(output == nil, "\(input): \(error)")
    }
  }

  @Test("A message is built, changed, compared and hashed as a value")
  func values() throws {
    var message = Everything(int32Field: 5, stringMap: ["a": "b"], choice: .choiceString("c"))
    let copy = message
    message.itself = Everything(boolField: true)
    message.itself?.boolField = false
    #expect(copy.itself == nil)
    #expect(message != copy)
    message.itself = nil
    #expect(message == copy)
    #expect(message.hashValue == copy.hashValue)
    message.inner = Inner(a: 1, next: Inner(text: "deep"))
    #expect(try Everything(decoding: message.encoded()) == message)
    #expect(message.inner?.next?.text == "deep")
    #expect(Everything.table.typeName == Everything.protoTypeName)
    #expect(Everything.schema.fullName == Everything.protoTypeName)
  }

  @Test("Enums keep numbers without a name, and aliases are one value")
  func enums() throws {
    #expect(Colour(rawValue: 77) == .unrecognized(77))
    #expect(Colour(rawValue: 1) == .red)
    #expect(Colour.blue.rawValue == -3)
    let message = Everything(enumField: .unrecognized(77))
    #expect(try Everything(decoding: message.encoded()).enumField.rawValue == 77)
  }

  @Test("A view owns its bytes, and gives them on as they came")
  func views() throws {
    var random = RandomMessages(generator: SeededGenerator(seed: 11))
    let message = random.message(TestTypes.everything)
    var bytes = message.encoded()
    let decoded = try bytes.withUnsafeBytes { try DecodedMessage(decoding: $0, table: Everything.table) }
    let original = bytes
    for index in bytes.indices { bytes[index] = 0xff }
    #expect(decoded.withWireBytes { Array($0) } == original)
    #expect(withExtendedLifetime(decoded) { Everything(cStruct: decoded.cStruct) }.encoded() == original)
    #expect(throws: DecodingError.self) {
      try [UInt8]([0x08]).withUnsafeBytes { try DecodedMessage(decoding: $0, table: Everything.table) }
    }
  }

  @Test("A hundred tasks that meet a table first at the same time agree")
  func linking() async throws {
    let bytes = Everything(inner: Inner(a: 1)).encoded()
    try await withThrowingTaskGroup(of: Everything.self) { group in
      for _ in 0..<100 { group.addTask { try Everything(decoding: bytes) } }
      for try await message in group { #expect(message.inner?.a == 1) }
    }
  }
}
