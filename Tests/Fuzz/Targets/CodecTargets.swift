import CProtobufC
import CTestProtos
import SpanwireProtobuf
import SpanwireTestMessages
import SpanwireWellKnown

/// Every way into a message gives the same verdict and the same bytes, and what was written is read again.
func fuzzDecoder(_ input: inout FuzzInput) {
  switch input.byte() % 5 {
  case 0:
    checkDecoding(Everything.self, input.rest)
    checkAgainstProtobufC(input.rest)
  case 1: checkDecoding(OldWhole.self, input.rest)
  case 2: checkDecoding(Google_Protobuf_FileDescriptorProto.self, input.rest)
  case 3: checkDecoding(Google_Protobuf_Struct.self, input.rest)
  default: checkDecoding(Google_Protobuf_Any.self, input.rest)
  }
}

private func checkDecoding<M: Message>(_ type: M.Type, _ bytes: UnsafeRawBufferPointer) {
  withCopy(bytes) { bytes in
    let typed = Result { try M(decoding: bytes) }
    let dynamic = Result { try DynamicMessage(decoding: Array(bytes), schema: M.schema) }
    let view = Result { try DecodedMessage(decoding: bytes, table: M.table) }
    guard case .success(let message) = typed else {
      if case .success = dynamic { violated("only the dynamic decoder takes it") }
      if case .success = view { violated("only the view takes it") }
      return
    }
    guard case .success(let dynamic) = dynamic, case .success(let view) = view else {
      violated("only the typed decoder takes it")
    }
    let encoded = message.encoded()
    require(encoded == dynamic.encoded(), "typed and dynamic write different bytes")
    require(withExtendedLifetime(view) { M(cStruct: view.cStruct) }.encoded() == encoded, "a view reads another message")
    guard let again = try? M(decoding: encoded) else { violated("what was written is not read again") }
    require(again.encoded() == encoded, "what was written is read as something else")
    checkPrinting(message, dynamic)
  }
}

/// JSON of any message that has one reads back as what gives the same JSON.
private func checkPrinting<M: Message>(_ message: M, _ dynamic: DynamicMessage) {
  guard let text = try? message.jsonString() else { return }
  require((try? dynamic.jsonString()) == text, "typed and dynamic print different JSON")
  guard let read = try? M(jsonString: text) else { violated("our JSON is refused: \(text)") }
  require((try? read.jsonString()) == text, "our JSON is read as something else: \(text)")
}

/// protobuf-c reads what is canonical just as we do; of what is unknown it takes wrong wire types for a bool, and no groups.
private func checkAgainstProtobufC(_ bytes: UnsafeRawBufferPointer) {
  guard let message = try? DynamicMessage(decoding: Array(bytes), schema: Everything.schema), isKnown(message) else { return }
  let encoded = message.encoded()
  let oracle = encoded.withUnsafeBufferPointer {
    protobuf_c_message_unpack(spanwire__codectest__v1__everything__table(), nil, $0.count, $0.baseAddress)
  }
  guard let oracle else { violated("protobuf-c refuses what we wrote") }
  defer { protobuf_c_message_free_unpacked(oracle, nil) }
  require(Everything(cStruct: oracle).encoded() == encoded, "protobuf-c reads another message")
}

private func isKnown(_ message: DynamicMessage) -> Bool {
  func isKnown(_ value: DynamicValue) -> Bool {
    switch value {
    case .message(let message): SpanwireFuzz.isKnown(message)
    case .list(let values): values.allSatisfy(isKnown)
    case .map(let map): map.pairs.allSatisfy { isKnown($0.value) }
    default: true
    }
  }
  return message.unknownFields.isEmpty && message.fields.values.allSatisfy(isKnown)
}

/// Text is read alike typed and dynamic, and what is read prints as what reads the same.
func fuzzJSON(_ input: inout FuzzInput) {
  let choice = input.byte()
  var options = JSONDecodingOptions(ignoresUnknown: choice & 0x80 != 0)
  if choice & 0x40 != 0 { options.depth = 5 }
  let text = String(decoding: input.rest, as: UTF8.self)
  switch choice % 4 {
  case 0: checkJSON(OldWhole.self, text, options)
  case 1: checkJSON(Google_Protobuf_Value.self, text, options)
  default: checkJSON(Everything.self, text, options)
  }
}

private func checkJSON<M: Message>(_ type: M.Type, _ text: String, _ options: JSONDecodingOptions) {
  let dynamic = try? DynamicMessage(jsonString: text, schema: M.schema, options: options)
  guard let message = try? M(jsonString: text, options: options) else {
    // JSON says nothing of required fields; the wire form, which typed messages come through, does.
    guard let dynamic else { return }
    let isRead = (try? DynamicMessage(decoding: dynamic.encoded(), schema: M.schema)) != nil
    require(!isRead, "only the dynamic reader takes it")
    return
  }
  guard let dynamic else { violated("only the typed reader takes it") }
  require(message.encoded() == dynamic.encoded(), "typed and dynamic read different messages")
  guard let printed = try? message.jsonString() else { return }
  guard let again = try? M(jsonString: printed) else { violated("our JSON is refused: \(printed)") }
  require((try? again.jsonString()) == printed, "our JSON is read as something else: \(printed)")
  let loud = JSONEncodingOptions(usesProtoNames: true, printsDefaults: true, printsEnumNumbers: true, isIndented: true)
  guard let everything = try? message.jsonString(options: loud), let back = try? M(jsonString: everything) else {
    violated("the loud form is refused: \(printed)")
  }
  require((try? back.jsonString()) == printed, "the loud form says something else")
}

/// A pool takes a file or leaves it, whoever sent it; a message of a type that it took can be decoded.
func fuzzDescriptors(_ input: inout FuzzInput) {
  let pool = DescriptorPool()
  let content = input.bytes(Int(input.byte()))
  for file in [Google_Protobuf_Any.file, Google_Protobuf_Duration.file] { pool.add(file) }
  guard let file = try? pool.add(fileDescriptor: input.all()) else { return }
  for message in file.messages {
    guard let decoded = try? DynamicMessage(decoding: Array(content), schema: message) else { continue }
    let encoded = decoded.encoded()
    require((try? DynamicMessage(decoding: encoded, schema: message))?.encoded() == encoded)
    guard let text = try? decoded.jsonString(pool: pool) else { continue }
    _ = try? DynamicMessage(jsonString: text, schema: message, pool: pool)
  }
}
