import SpanwireWellKnown
import SpanwireTestMessages
import Testing

@testable import SpanwireProtobuf

@Suite("Descriptor pool")
struct PoolTests {
  let pool = TestTypes.pool

  @Test(
    "Every declared name leads to its file",
    arguments: [
      ("spanwire.codectest.v1.Everything", "codec.proto"),
      ("spanwire.codectest.v1.Everything.int32_field", "codec.proto"),
      ("spanwire.codectest.v1.Everything.choice", "codec.proto"),
      ("spanwire.codectest.v1.COLOUR_RED", "codec.proto"),
      ("spanwire.codectest.v1.Everything.Int32MapEntry", "codec.proto"),
      ("google.protobuf.Timestamp", "google/protobuf/timestamp.proto"),
      ("google.protobuf.NULL_VALUE", "google/protobuf/struct.proto"),
      ("google.protobuf.Nothing", nil),
    ] as [(String, String?)])
  func symbols(_ symbol: String, _ file: String?) {
    #expect(pool.file(containing: symbol)?.name == file)
  }

  @Test("Fields carry presence, packing, names and types")
  func fields() throws {
    let everything = try #require(pool.message("spanwire.codectest.v1.Everything"))
    func field(_ name: String) throws -> FieldSchema { try #require(everything.field(named: name)) }
    #expect(try field("int32_field").hasPresence == false)
    #expect(try field("optional_int32").hasPresence)
    #expect(try field("optional_int32").oneofIndex == nil)
    #expect(try field("choice_uint32").oneofIndex != nil)
    #expect(try field("inner").hasPresence)
    #expect(try field("int32_list").isPacked)
    #expect(try field("unpacked_list").isPacked == false)
    #expect(try field("string_map").isMap)
    #expect(try field("renamed").jsonName == "elsewhere")
    #expect(try field("enum_field").enumType?.name(of: 1) == "COLOUR_RED")
    #expect(try field("itself").messageType === everything)
  }

  @Test("A file that lacks an import, a type, or clashes is refused and leaves nothing behind")
  func refusals() throws {
    func file(_ body: (inout MessageWriter) -> Void) -> [UInt8] {
      var writer = MessageWriter()
      body(&writer)
      return writer.bytes()
    }
    let pool = DescriptorPool()
    let missingImport = file {
      $0.string(3, always: "nowhere.proto")
      $0.string(1, always: "a.proto")
    }
    #expect(throws: SchemaError.self) { try pool.add(fileDescriptor: missingImport) }
    let message = file {
      let end = $0.count
      // message A { Missing b = 1; }
      let field = $0.count
      $0.string(6, always: ".Missing")
      $0.int32(5, always: 11)
      $0.int32(3, always: 1)
      $0.string(1, always: "b")
      $0.close(2, field)
      $0.string(1, always: "A")
      $0.close(4, end)
      $0.string(1, always: "b.proto")
    }
    #expect(throws: SchemaError.self) { try pool.add(fileDescriptor: message) }
    #expect(pool.fileNames.isEmpty)
    #expect(pool.message("A") == nil)
    #expect(throws: SchemaError.self) { try pool.add(fileDescriptor: [0xff]) }
    let empty = file { $0.string(1, always: "c.proto") }
    try pool.add(fileDescriptor: empty)
    try pool.add(fileDescriptor: empty)
    let other = file {
      $0.string(2, always: "p")
      $0.string(1, always: "c.proto")
    }
    #expect(throws: SchemaError.self) { try pool.add(fileDescriptor: other) }
  }

  @Test("The pool and generated code agree about descriptor.proto, itself a proto2 file")
  func proto2() throws {
    let files = try Google_Protobuf_FileDescriptorSet(decoding: TestTypes.descriptorSet)
    #expect(files.encoded() == TestTypes.descriptorSet)
    let schema = Google_Protobuf_FileDescriptorSet.schema
    let dynamic = try DynamicMessage(decoding: TestTypes.descriptorSet, schema: schema)
    #expect(dynamic.encoded() == TestTypes.descriptorSet)
    let read = try Google_Protobuf_FileDescriptorSet(jsonString: files.jsonString())
    #expect(read == files)
    let options = try #require(DescriptorPool.generated.message("google.protobuf.FieldOptions"))
    #expect(options.field(named: "packed")?.hasPresence == true)
    #expect(DescriptorPool.generated.file(named: "google/protobuf/descriptor.proto")?.isProto3 == false)
  }

  @Test("Extensions are found by the message they extend")
  func extensions() throws {
    let pool = DescriptorPool(files: [Google_Protobuf_MethodOptions.file])
    var writer = MessageWriter()
    // extend google.protobuf.MethodOptions { string note = 50999; }
    let end = writer.count
    writer.int32(5, always: 9)
    writer.int32(4, always: 1)
    writer.int32(3, always: 50999)
    writer.string(2, always: ".google.protobuf.MethodOptions")
    writer.string(1, always: "note")
    writer.close(7, end)
    writer.string(3, always: "google/protobuf/descriptor.proto")
    writer.string(2, always: "test")
    writer.string(1, always: "note.proto")
    try pool.add(fileDescriptor: writer.bytes())
    #expect(pool.extensionNumbers(of: "google.protobuf.MethodOptions") == [50999])
    #expect(pool.extension(of: "google.protobuf.MethodOptions", number: 50999)?.fullName == "test.note")
    #expect(pool.file(extending: "google.protobuf.MethodOptions", number: 50999)?.name == "note.proto")
    #expect(pool.file(containing: "test.note")?.name == "note.proto")
  }
}

@Suite("Values")
struct ValueTests {
  @Test("A map keeps one value a key, whatever the number of pairs", arguments: [3, 8, 9, 5000])
  func maps(_ count: Int) {
    var pairs = (0..<count).map { (key: $0, value: "\($0)") }
    pairs.append((key: 0, value: "again"))
    let map = ProtoMap(pairs: pairs)
    #expect(map.count == count)
    #expect(map[0] == "again")
    let reversed = ProtoMap(pairs: Array(map.pairs.reversed()))
    #expect(map == reversed)
    #expect(map.hashValue == reversed.hashValue)
    #expect(map != ProtoMap(pairs: [(key: 0, value: "0")]))
  }

  @Test("A map is changed by key")
  func mapSubscript() {
    var map: ProtoMap = ["a": 1, "b": 2]
    map["a"] = 3
    map["c", default: 10] += 1
    map["b"] = nil
    #expect(map.keys == ["a", "c"])
    #expect(map.values == [3, 11])
  }

  @Test(
    "Base64 goes both ways",
    arguments: [
      ([], ""), ([0], "AA=="), ([0, 1], "AAE="), ([0, 1, 2], "AAEC"), ([255, 254, 253, 252], "//79/A=="),
    ] as [([UInt8], String)])
  func base64(_ bytes: [UInt8], _ text: String) {
    #expect(Base64.encode(bytes) == text)
    #expect(Array(text.utf8).withUnsafeBytes { Base64.decode($0) } == bytes)
  }
}
