import Testing

@testable import protoc_gen_spanwire

@Suite struct NamingTests {
  @Test(
    "A field's name becomes lower camel case, with abbreviations in capitals unless they come first",
    arguments: [
      ("session_id", "sessionID"), ("id", "id"), ("id_token", "idToken"), ("HTTPServer", "httpserver"), ("base_url", "baseURL"),
      ("fieldname1", "fieldname1"), ("_field_name3", "fieldName3"), ("field__name4_", "fieldName4"), ("field0name5", "field0Name5"),
      ("fieldName7", "fieldName7"), ("FieldName8", "fieldName8"), ("FIELD_NAME11", "fieldName11"), ("utf8_text", "utf8Text"),
      ("ids", "ids"), ("description", "description"), ("hash_value", "hashValue_p"), ("self", "self_p"),
    ])
  func fields(_ name: String, _ expected: String) { #expect(SwiftName.field(name) == expected) }

  @Test(
    "An enum's members lose the enum's name where something sayable is left",
    arguments: [
      ("Lane", "LANE_CONTROL", "control"), ("PrincipalKind", "PRINCIPAL_KIND_OPS", "ops"), ("NullValue", "NULL_VALUE", "nullValue"),
      ("Kind", "KIND_2", "kind2"), ("Kind", "OTHER", "other"), ("Feature", "FEATURE_PROTO3_OPTIONAL", "proto3Optional"),
    ])
  func cases(_ name: String, _ value: String, _ expected: String) { #expect(SwiftName.enumCase(value, of: name) == expected) }

  @Test(
    "A package becomes a prefix",
    arguments: [("google.protobuf", "Google_Protobuf_"), ("a.snake_case.v1", "A_SnakeCase_V1_"), ("", "")])
  func packages(_ package: String, _ expected: String) { #expect(SwiftName.prefix(package: package) == expected) }

  @Test(
    "C names follow protoc-gen-c",
    arguments: [
      ("spanwire.city.v1.RouteRequest", "Spanwire__City__V1__RouteRequest", "spanwire__city__v1__route_request"),
      ("a.DLQEnqueued", "A__DLQEnqueued", "a__dlqenqueued"), ("a.snake_name", "A__SnakeName", "a__snake_name"),
    ])
  func c(_ name: String, _ type: String, _ lower: String) {
    #expect(CName.type(name) == type)
    #expect(CName.lower(name) == lower)
  }

  @Test("Options of unknown extensions are read from their bytes, packed or not")
  func rawFields() {
    let fields = RawFields([0x08, 0x01, 0x08, 0x96, 0x01, 0x0a, 0x02, 0x02, 0x03, 0x1a, 0x01, 0x78, 0x15, 0, 0, 0, 0, 0x20, 0x05])
    #expect(fields.numbers(1) == [1, 150, 2, 3])
    #expect(fields.strings(3) == ["x"])
    #expect(fields.numbers(4) == [5])
    #expect(RawFields([0x0a, 0x7f]).strings(1).isEmpty)
  }

  @Test("Base64 has its padding", arguments: [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")])
  func base64(_ text: String, _ expected: String) { #expect(String(base64: Array(text.utf8)) == expected) }
}
