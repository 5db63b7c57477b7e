import Testing

@testable import SpanwireProtobuf

@Suite("JSON")
struct JSONTests {
  /// Input, and the JSON it comes out as; nil if it is to be refused.
  static let cases: [(input: String, output: String?)] = [
    ("{}", "{}"),
    (#"{"int32Field": 1, "int32_list": [1, 2]}"#, #"{"int32Field":1,"int32List":[1,2]}"#),
    // Integers: numbers or strings, whole in value.
    (#"{"int32Field": "-2147483648"}"#, #"{"int32Field":-2147483648}"#),
    (#"{"int32Field": 1e5}"#, #"{"int32Field":100000}"#),
    (#"{"int32Field": 2147483647.0}"#, #"{"int32Field":2147483647}"#),
    (#"{"int32Field": 2147483648}"#, nil),
    (#"{"int32Field": 0.5}"#, nil),
    (#"{"int32Field": "1 "}"#, nil),
    (#"{"int32Field": 01}"#, nil),
    (#"{"int32Field": "0x1"}"#, nil),
    (#"{"int32Field": true}"#, nil),
    (#"{"uint32Field": -1}"#, nil),
    (#"{"uint32Field": -0}"#, "{}"),
    (#"{"int64Field": 9223372036854775807}"#, #"{"int64Field":"9223372036854775807"}"#),
    (#"{"int64Field": "-9223372036854775808"}"#, #"{"int64Field":"-9223372036854775808"}"#),
    (#"{"int64Field": 9223372036854775808}"#, nil),
    (#"{"uint64Field": "18446744073709551615"}"#, #"{"uint64Field":"18446744073709551615"}"#),
    (#"{"uint64Field": 1e400}"#, nil),
    // Floating point.
    (#"{"doubleField": "NaN"}"#, #"{"doubleField":"NaN"}"#),
    (#"{"doubleField": "-Infinity"}"#, #"{"doubleField":"-Infinity"}"#),
    (#"{"doubleField": NaN}"#, nil),
    (#"{"doubleField": "1.5"}"#, #"{"doubleField":1.5}"#),
    (#"{"doubleField": 1e309}"#, nil),
    (#"{"doubleField": 1.7976931348623157e308}"#, #"{"doubleField":1.7976931348623157e+308}"#),
    (#"{"floatField": 3.5e38}"#, nil),
    (#"{"floatField": 0.1}"#, #"{"floatField":0.1}"#),
    (#"{"doubleField": "0x1p3"}"#, nil),
    (#"{"doubleField": ""}"#, nil),
    // Strings and bytes.
    (#"{"stringField": "\ud83c\udf75\u0000\/"}"#, #"{"stringField":"🍵\u0000/"}"#),
    (#"{"stringField": "\ud83c"}"#, nil),
    (#"{"stringField": "\udf75\ud83c"}"#, nil),
    (#"{"stringField": "\x41"}"#, nil),
    (#"{"stringField": 1}"#, nil),
    ("{\"stringField\": \"a\nb\"}", nil),
    (#"{"bytesField": "-_8"}"#, #"{"bytesField":"+/8="}"#),
    (#"{"bytesField": "+/8="}"#, #"{"bytesField":"+/8="}"#),
    (#"{"bytesField": "a"}"#, nil),
    (#"{"bytesField": "a*=="}"#, nil),
    // Bools and enums.
    (#"{"boolField": "true"}"#, nil),
    (#"{"boolField": 1}"#, nil),
    (#"{"enumField": "COLOUR_CRIMSON"}"#, #"{"enumField":"COLOUR_RED"}"#),
    (#"{"enumField": -3}"#, #"{"enumField":"COLOUR_BLUE"}"#),
    (#"{"enumField": 77}"#, #"{"enumField":77}"#),
    (#"{"enumField": "COLOUR_GREEN"}"#, nil),
    // Messages, names, repeats.
    (#"{"inner": {"a": 1}}"#, #"{"inner":{"a":1}}"#),
    (#"{"inner": []}"#, nil),
    (#"{"inner": {"b": 1}}"#, nil),
    (#"{"elsewhere": 1}"#, #"{"elsewhere":1}"#),
    (#"{"renamed": 1}"#, #"{"elsewhere":1}"#),
    (#"{"int32Field": 1, "int32_field": 2}"#, nil),
    (#"{"int32Field": 1, "int32Field": 2}"#, nil),
    (#"{"OddName1": 1, "odd__name2_": 2, "OddName3": 3}"#, #"{"OddName1":1,"oddName2":2,"OddName3":3}"#),
    (#"{"OddName1": 1, "oddName2": 2}"#, #"{"OddName1":1,"oddName2":2}"#),
    // Null leaves unset, but is no element.
    (#"{"int32Field": null, "inner": null, "int32List": null, "stringMap": null, "timestamp": null, "int64Wrapper": null}"#, "{}"),
    (#"{"int32List": [1, null]}"#, nil),
    (#"{"stringMap": {"a": null}}"#, nil),
    (#"{"value": null}"#, #"{"value":null}"#),
    (#"{"values": [null, 1, "a", true, [2], {"b": null}]}"#, #"{"values":[null,1,"a",true,[2],{"b":null}]}"#),
    (#"{"choiceNull": null}"#, #"{"choiceNull":null}"#),
    // Oneofs and presence.
    (#"{"choiceUint32": 1, "choiceString": "a"}"#, nil),
    (#"{"choiceUint32": null, "choiceString": "a"}"#, #"{"choiceString":"a"}"#),
    (#"{"choiceUint32": 0}"#, #"{"choiceUint32":0}"#),
    (#"{"optionalInt32": 0, "optionalString": ""}"#, #"{"optionalInt32":0,"optionalString":""}"#),
    // Maps.
    (#"{"int32Map": {"-1": "5"}, "boolMap": {"true": 1.5}}"#, #"{"int32Map":{"-1":"5"},"boolMap":{"true":1.5}}"#),
    (#"{"int32Map": {"a": 5}}"#, nil),
    (#"{"boolMap": {"True": 5}}"#, nil),
    (#"{"innerMap": {"a": {}}}"#, #"{"innerMap":{"a":{}}}"#),
    (#"{"stringMap": {"a": "1", "a": "2"}}"#, nil),
    // Well-known types.
    (#"{"timestamp": "1970-01-01T00:00:00Z"}"#, #"{"timestamp":"1970-01-01T00:00:00Z"}"#),
    (#"{"timestamp": "0001-01-01T00:00:00Z"}"#, #"{"timestamp":"0001-01-01T00:00:00Z"}"#),
    (#"{"timestamp": "9999-12-31T23:59:59.999999999Z"}"#, #"{"timestamp":"9999-12-31T23:59:59.999999999Z"}"#),
    (#"{"timestamp": "2024-02-29T12:34:56.5+01:30"}"#, #"{"timestamp":"2024-02-29T11:04:56.500Z"}"#),
    (#"{"timestamp": "1969-12-31T23:59:59.000001Z"}"#, #"{"timestamp":"1969-12-31T23:59:59.000001Z"}"#),
    (#"{"timestamp": "2023-02-29T00:00:00Z"}"#, nil),
    (#"{"timestamp": "0000-12-31T23:59:59Z"}"#, nil),
    (#"{"timestamp": "10000-01-01T00:00:00Z"}"#, nil),
    (#"{"timestamp": "1970-01-01T00:00:00"}"#, nil),
    (#"{"timestamp": "1970-01-01t00:00:00Z"}"#, nil),
    (#"{"timestamp": "1970-01-01T00:00:00z"}"#, nil),
    (#"{"timestamp": "0001-01-01T00:00:00+01:00"}"#, nil),
    (#"{"duration": "1.500s"}"#, #"{"duration":"1.500s"}"#),
    (#"{"duration": "-0.5s"}"#, #"{"duration":"-0.500s"}"#),
    (#"{"duration": "315576000000.999999999s"}"#, #"{"duration":"315576000000.999999999s"}"#),
    (#"{"duration": "315576000001s"}"#, nil),
    (#"{"duration": "1"}"#, nil),
    (#"{"fieldMask": "foo,barBaz.quxQuux"}"#, #"{"fieldMask":"foo,barBaz.quxQuux"}"#),
    (#"{"fieldMask": "foo_bar"}"#, nil),
    (#"{"fieldMask": ""}"#, #"{"fieldMask":""}"#),
    (#"{"structure": {"a": [1, {"b": "c"}], "d": null}}"#, #"{"structure":{"a":[1,{"b":"c"}],"d":null}}"#),
    (#"{"structure": {}}"#, #"{"structure":{}}"#),
    (#"{"listValue": [1, "a"]}"#, #"{"listValue":[1,"a"]}"#),
    (
      #"{"int64Wrapper": "5", "stringWrapper": "", "boolWrapper": false, "bytesWrapper": "AQI="}"#,
      #"{"int64Wrapper":"5","stringWrapper":"","boolWrapper":false,"bytesWrapper":"AQI="}"#
    ),
    (
      #"{"any": {"@type": "type.googleapis.com/spanwire.codectest.v1.Inner", "a": 5}}"#,
      #"{"any":{"@type":"type.googleapis.com/spanwire.codectest.v1.Inner","a":5}}"#
    ),
    (
      #"{"any": {"a": 5, "@type": "type.googleapis.com/spanwire.codectest.v1.Inner"}}"#,
      #"{"any":{"@type":"type.googleapis.com/spanwire.codectest.v1.Inner","a":5}}"#
    ),
    (
      #"{"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.5s"}}"#,
      #"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.500s"}}"#
    ),
    (
      #"{"any": {"@type": "type.googleapis.com/google.protobuf.Any", "value": {"@type": "x/google.protobuf.BoolValue", "value": true}}}"#,
      #"{"any":{"@type":"type.googleapis.com/google.protobuf.Any","value":{"@type":"x/google.protobuf.BoolValue","value":true}}}"#
    ),
    (#"{"any": {}}"#, #"{"any":{}}"#),
    (#"{"any": {"a": 5}}"#, nil),
    (#"{"any": {"@type": "", "value": ""}}"#, nil),
    (#"{"any": {"@type": "no-url", "value": ""}}"#, nil),
    (#"{"any": {"@type": "type.googleapis.com/unknown.Type"}}"#, nil),
    // The text itself.
    ("", nil), ("{", nil), ("{} {}", nil), ("[]", nil), ("{'a': 1}", nil), (#"{"int32Field": 1,}"#, nil), ("nul", nil),
    (#"{"int32Field": +1}"#, nil), (#"{"int32Field": .5}"#, nil), (#"{"doubleField": 1.}"#, nil), (#"{"doubleField": -}"#, nil),
    (" { \"int32List\" : [ 1 ,\t2 ] } ", #"{"int32List":[1,2]}"#),
  ]

  @Test("Text is read and written in proto3's mapping, or refused", arguments: cases.indices)
  func mapping(_ index: Int) throws {
    let (input, output) = Self.cases[index]
    do {
      let message = try DynamicMessage(jsonString: input, schema: TestTypes.everything, pool: TestTypes.pool)
      #expect(try message.jsonString(pool: TestTypes.pool) == output, "\(input)")
      let decoded = try DynamicMessage(decoding: message.encoded(), schema: TestTypes.everything)
      #expect(decoded.encoded() == message.encoded(), "\(input)")
    } catch let error as JSONError {
      #expect(output == nil, "\(input): \(error)")
    }
  }

  /// Where PyPI's json_format is laxer than the conformance suite: an array for a message, a field under both its names.
  static let judgeDiffers: Set<String> = [#"{"inner": []}"#, "[]", #"{"int32Field": 1, "int32_field": 2}"#]

  @Test("PyPI protobuf gives the same verdict and the same message", .enabled(if: Oracle.isAvailable))
  func judged() throws {
    let cases = Self.cases.filter { !$0.input.isEmpty && !$0.input.contains("\n") && !Self.judgeDiffers.contains($0.input) }
    let answers = Oracle.json(cases.map(\.input))
    try #require(answers.count == cases.count)
    for (item, answer) in zip(cases, answers) {
      #expect((answer.bytes != nil) == (item.output != nil), "\(item.input): \(answer.reason)")
      guard let theirs = answer.bytes, item.output != nil else { continue }
      let ours = try DynamicMessage(jsonString: item.input, schema: TestTypes.everything, pool: TestTypes.pool)
      let same = try DynamicMessage(decoding: theirs, schema: TestTypes.everything).encoded() == ours.encoded()
      #expect(same, "\(item.input)")
    }
  }

  @Test(
    "Errors tell where",
    arguments: [
      (#"{"innerList": [{"a": 1}, {"next": {"a": "x"}}]}"#, "innerList[1].next.a"),
      (#"{"innerMap": {"k": {"b": 1}}}"#, "innerMap.k.b"),
      (#"{"int32List": [1, 2, true]}"#, "int32List[2]"),
      (#"{"any": {"@type": "x/spanwire.codectest.v1.Inner", "a": []}}"#, "any.a"),
    ])
  func paths(_ input: String, _ path: String) {
    let error = #expect(throws: JSONError.self) {
      try DynamicMessage(jsonString: input, schema: TestTypes.everything, pool: TestTypes.pool)
    }
    #expect(error?.path == path)
  }

  @Test("Options: proto names, defaults, enum numbers, indentation, unknown names")
  func options() throws {
    let pool = TestTypes.pool
    var message = DynamicMessage(TestTypes.inner)
    #expect(try message.jsonString(options: .init(printsDefaults: true), pool: pool) == #"{"a":0,"more":[],"text":""}"#)
    message["more"] = .list([.int32(1), .int32(2)])
    #expect(try message.jsonString(options: .init(isIndented: true), pool: pool) == "{\n  \"more\": [\n    1,\n    2\n  ]\n}")
    var everything = DynamicMessage(TestTypes.everything)
    everything["enum_field"] = .enumeration(1)
    let options = JSONEncodingOptions(usesProtoNames: true, printsEnumNumbers: true)
    #expect(try everything.jsonString(options: options, pool: pool) == #"{"enum_field":1}"#)
    let lax = JSONDecodingOptions(ignoresUnknown: true)
    let text = #"{"nothing": [1, {"x": null}], "enumField": "COLOUR_GREEN", "enumList": ["COLOUR_RED", "COLOUR_GREEN"], "int32Field": 3}"#
    let read = try DynamicMessage(jsonString: text, schema: TestTypes.everything, options: lax, pool: pool)
    #expect(try read.jsonString(pool: pool) == #"{"int32Field":3,"enumList":["COLOUR_RED"]}"#)
  }

  @Test("Nesting is bounded on the way in and out")
  func depth() throws {
    func nested(_ levels: Int) -> String {
      String(repeating: #"{"next":"#, count: levels) + "{}" + String(repeating: "}", count: levels)
    }
    _ = try DynamicMessage(jsonString: nested(100), schema: TestTypes.inner, pool: TestTypes.pool)
    #expect(throws: JSONError.self) { try DynamicMessage(jsonString: nested(101), schema: TestTypes.inner, pool: TestTypes.pool) }
    let arrays = #"{"value":"# + String(repeating: "[", count: 100_000)
    #expect(throws: JSONError.self) { try DynamicMessage(jsonString: arrays, schema: TestTypes.everything, pool: TestTypes.pool) }
  }
}
