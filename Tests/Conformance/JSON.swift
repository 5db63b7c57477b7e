import SpanwireProtobuf
import SpanwireRPCServices
import SpanwireWellKnown
import Testing

/// The JSON mapping of proto3: row 40.
extension Checklist {
  static let json: [Case] = wellKnown + scalars + namesAndEnums + refusals

  /// A message in JSON, read and printed again.
  private static func json<M: Message>(_ name: String, _ type: M.Type, _ text: String, prints: String? = nil) -> Case {
    Case(row: 40, side: .codec, name: "\(name): \(text)") {
      _ = Google_Rpc_Status.schema  // registered, so that an Any can hold it
      let message = try M(jsonString: text)
      #expect(try message.jsonString() == prints ?? text)
      // Through the binary form nothing is lost.
      let bytes = message.encoded()
      #expect(try bytes.withUnsafeBytes { bytes throws in try M(decoding: bytes) }.jsonString() == prints ?? text)
    }
  }

  private static func refused<M: Message>(_ name: String, _ type: M.Type, _ text: String) -> Case {
    Case(row: 40, side: .codec, name: "\(name) is refused: \(text)") {
      #expect(throws: JSONError.self) { try M(jsonString: text) }
    }
  }

  private static let wellKnown: [Case] = [
    json("Timestamp", Google_Protobuf_Timestamp.self, #""1970-01-01T00:00:00Z""#),
    json("Timestamp", Google_Protobuf_Timestamp.self, #""0001-01-01T00:00:00Z""#),
    json("Timestamp", Google_Protobuf_Timestamp.self, #""9999-12-31T23:59:59.999999999Z""#),
    json(
      "Timestamp with an offset", Google_Protobuf_Timestamp.self, #""1970-01-01T01:00:00.5+01:00""#, prints: #""1970-01-01T00:00:00.500Z""#),
    json("Duration", Google_Protobuf_Duration.self, #""-1.500s""#), json("Duration", Google_Protobuf_Duration.self, #""315576000000s""#),
    json("Duration", Google_Protobuf_Duration.self, #""0.000000001s""#),
    json("FieldMask", Google_Protobuf_FieldMask.self, #""fooBar,baz.quxQuux""#), json("Empty", Google_Protobuf_Empty.self, "{}"),
    json("Struct", Google_Protobuf_Struct.self, #"{"a":null,"b":[1,"x",true,{"c":1.5}]}"#),
    json("Value", Google_Protobuf_Value.self, "null"), json("Value", Google_Protobuf_Value.self, #"[[],{}]"#),
    json("Any", Google_Protobuf_Any.self, #"{"@type":"type.googleapis.com/google.rpc.Status","code":5,"message":"x"}"#),
    json(
      "Any of a type with a form of its own", Google_Protobuf_Any.self,
      #"{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}"#),
    json("a wrapper is its value", Google_Protobuf_BoolValue.self, "true"),
  ]

  private static let scalars: [Case] = [
    json("int64 is a string", Google_Protobuf_Int64Value.self, #""-9223372036854775808""#),
    json("int64 may come as a number", Google_Protobuf_Int64Value.self, "12", prints: #""12""#),
    json("uint64 is a string", Google_Protobuf_UInt64Value.self, #""18446744073709551615""#),
    json("int32 is a number", Google_Protobuf_Int32Value.self, "-2147483648"),
    json("int32 may come as a string, or with an exponent", Google_Protobuf_Int32Value.self, "1e3", prints: "1000"),
    json("int32 in quotes", Google_Protobuf_Int32Value.self, #""7""#, prints: "7"),
    json("NaN", Google_Protobuf_DoubleValue.self, #""NaN""#), json("Infinity", Google_Protobuf_DoubleValue.self, #""Infinity""#),
    json("-Infinity", Google_Protobuf_FloatValue.self, #""-Infinity""#),
    json("a number in quotes", Google_Protobuf_DoubleValue.self, #""1.5""#, prints: "1.5"),
    json("bytes in base64", Google_Protobuf_BytesValue.self, #""+/8=""#),
    json("bytes in the other alphabet, without padding", Google_Protobuf_BytesValue.self, #""-_8""#, prints: #""+/8=""#),
    json("a surrogate pair", Google_Protobuf_StringValue.self, #""\ud83d\ude08""#, prints: "\"😈\""),
  ]

  private typealias Check = Grpc_Health_V1_HealthCheckResponse

  private static let namesAndEnums: [Case] = [
    json("json_name", Google_Rpc_BadRequest.self, #"{"fieldViolations":[{"field":"f"}]}"#),
    json(
      "the original name is read", Google_Rpc_BadRequest.self, #"{"field_violations":[{"field":"f"}]}"#,
      prints: #"{"fieldViolations":[{"field":"f"}]}"#),
    json("an enum by its name", Check.self, #"{"status":"NOT_SERVING"}"#),
    json("an enum by its number", Check.self, #"{"status":2}"#, prints: #"{"status":"NOT_SERVING"}"#),
    json("an enum's unknown number", Check.self, #"{"status":77}"#),
    json("null is nothing", Google_Rpc_Status.self, #"{"code":null,"message":null,"details":null}"#, prints: "{}"),
    json("a map", Google_Rpc_ErrorInfo.self, #"{"metadata":{"a":"b"}}"#),
    Case(row: 40, side: .codec, name: "unknown fields are ignored if one says so") {
      var options = JSONDecodingOptions()
      options.ignoresUnknown = true
      let status = try Google_Rpc_Status(jsonString: #"{"code":5,"nothing":[{}]}"#, options: options)
      #expect(status.code == 5)
    },
  ]

  private static let refusals: [Case] = [
    refused("an unknown field", Google_Rpc_Status.self, #"{"nothing":1}"#),
    refused("a field twice", Google_Rpc_Status.self, #"{"code":1,"code":2}"#),
    refused("an unknown enum name", Check.self, #"{"status":"NOPE"}"#),
    refused("a number too large", Google_Protobuf_Int32Value.self, "2147483648"),
    refused("a fraction", Google_Protobuf_Int32Value.self, "1.5"), refused("a leading zero", Google_Protobuf_Int32Value.self, "01"),
    refused("a bare NaN", Google_Protobuf_DoubleValue.self, "NaN"), refused("a trailing comma", Google_Rpc_Status.self, #"{"code":1,}"#),
    refused("what follows", Google_Rpc_Status.self, "{} {}"), refused("a lone surrogate", Google_Protobuf_StringValue.self, #""\ud83d""#),
    refused("a time before the first", Google_Protobuf_Timestamp.self, #""0000-01-01T00:00:00Z""#),
    refused("a time in lower case", Google_Protobuf_Timestamp.self, #""1970-01-01t00:00:00z""#),
    refused("a duration too long", Google_Protobuf_Duration.self, #""315576000001s""#),
    refused("a field mask that does not come back", Google_Protobuf_FieldMask.self, #""foo_bar""#),
    refused("an Any of an unknown type", Google_Protobuf_Any.self, #"{"@type":"type.googleapis.com/no.Such"}"#),
    refused("a bool in quotes", Google_Protobuf_BoolValue.self, #""true""#),
  ]
}
