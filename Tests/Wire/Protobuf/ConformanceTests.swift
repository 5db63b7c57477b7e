import SpanwireTestMessages
import Testing

@testable import SpanwireProtobuf

/// The categories of the public conformance suite for binary input, over every kind of field: what a value on the wire means alone, in
/// lists, in a oneof and in maps, what the last of two does, and where input ends too early. `tools/conformance` runs the suite itself.
@Suite("Conformance by category")
struct ConformanceTests {
  /// A kind of field: wire forms of single values, tag aside, and what they mean.
  struct Kind: Sendable {
    var name: String
    var wireType: UInt8
    var values: [(wire: String, value: DynamicValue)]
    /// The beginnings of values that end too early.
    var cut: [String]
  }

  static let varintCuts = ["", "80", "ffffff", "808080808080808080"]
  static let kinds: [Kind] = [
    Kind(
      name: "int32", wireType: 0,
      values: [
        ("00", .int32(0)), ("01", .int32(1)), ("8100", .int32(1)), ("ffffffff07", .int32(.max)), ("80808080f8ffffffff01", .int32(.min)),
        ("ffffffffffffffffff01", .int32(-1)), ("8080808020", .int32(0)), ("8180808020", .int32(1)), ("ffffffff0f", .int32(-1)),
      ], cut: varintCuts),
    Kind(
      name: "int64", wireType: 0,
      values: [
        ("00", .int64(0)), ("ffffffffffffffff7f", .int64(.max)), ("80808080808080808001", .int64(.min)),
        ("81808080808080808000", .int64(1)),
      ], cut: varintCuts),
    Kind(
      name: "uint32", wireType: 0,
      values: [("00", .uint32(0)), ("ffffffff0f", .uint32(.max)), ("ffffffff1f", .uint32(.max)), ("8180808020", .uint32(1))],
      cut: varintCuts),
    Kind(name: "uint64", wireType: 0, values: [("00", .uint64(0)), ("ffffffffffffffffff01", .uint64(.max))], cut: varintCuts),
    Kind(
      name: "sint32", wireType: 0,
      values: [
        ("00", .int32(0)), ("01", .int32(-1)), ("feffffff0f", .int32(.max)), ("ffffffff0f", .int32(.min)), ("8280808020", .int32(1)),
      ],
      cut: varintCuts),
    Kind(
      name: "sint64", wireType: 0,
      values: [("00", .int64(0)), ("feffffffffffffffff01", .int64(.max)), ("ffffffffffffffffff01", .int64(.min))], cut: varintCuts),
    Kind(name: "fixed32", wireType: 5, values: [("00000000", .uint32(0)), ("ffffffff", .uint32(.max))], cut: ["", "01", "010203"]),
    Kind(
      name: "fixed64", wireType: 1, values: [("0000000000000000", .uint64(0)), ("ffffffffffffffff", .uint64(.max))],
      cut: ["", "01", "01020304050607"]),
    Kind(name: "sfixed32", wireType: 5, values: [("ffffff7f", .int32(.max)), ("00000080", .int32(.min))], cut: ["", "010203"]),
    Kind(
      name: "sfixed64", wireType: 1, values: [("ffffffffffffff7f", .int64(.max)), ("0000000000000080", .int64(.min))],
      cut: ["", "01020304050607"]),
    Kind(
      name: "float", wireType: 5,
      values: [
        ("00000000", .float(0)), ("00000080", .float(-0.0)), ("cdcccc3d", .float(0.1)), ("01000000", .float(.leastNonzeroMagnitude)),
        ("ffff7f7f", .float(.greatestFiniteMagnitude)), ("0000807f", .float(.infinity)), ("000080ff", .float(-.infinity)),
      ], cut: ["", "010203"]),
    Kind(
      name: "double", wireType: 1,
      values: [
        ("0000000000000080", .double(-0.0)), ("9a9999999999b93f", .double(0.1)), ("ffffffffffffef7f", .double(.greatestFiniteMagnitude)),
        ("000000000000f07f", .double(.infinity)),
      ], cut: ["", "01020304050607"]),
    Kind(
      name: "bool", wireType: 0,
      values: [
        ("00", .bool(false)), ("01", .bool(true)), ("02", .bool(true)), ("8000", .bool(false)), ("80808080808080808001", .bool(true)),
      ], cut: varintCuts),
    Kind(
      name: "enum", wireType: 0,
      values: [
        ("00", .enumeration(0)), ("01", .enumeration(1)), ("fdffffffffffffffff01", .enumeration(-3)), ("4d", .enumeration(77)),
        ("8180808020", .enumeration(1)),
      ], cut: varintCuts),
    Kind(
      name: "string", wireType: 2, values: [("00", .string("")), ("03e28882", .string("∂")), ("0461006200", .string("a\0b\0"))],
      cut: ["", "01", "0561", "80", "ffffffff0f"]),
    Kind(name: "bytes", wireType: 2, values: [("00", .bytes([])), ("02ff00", .bytes([255, 0]))], cut: ["", "01", "0561", "80"]),
    Kind(
      name: "message", wireType: 2,
      values: [("00", .message(inner())), ("020805", .message(inner(5)))], cut: ["", "01", "0208", "0108", "0411ff", "03080580"]),
  ]

  static func inner(_ a: Int32? = nil) -> DynamicMessage {
    var message = DynamicMessage(TestTypes.inner)
    if let a { message["a"] = .int32(a) }
    return message
  }

  struct Case: Sendable {
    var name: String
    var wire: [UInt8]
    /// Nil if it is to be refused.
    var message: DynamicMessage?
  }

  static func field(_ name: String) -> FieldSchema { TestTypes.everything.field(named: name)! }

  static func tag(_ field: FieldSchema, _ wireType: UInt8) -> [UInt8] {
    var rest = UInt64(field.number) << 3 | UInt64(wireType)
    var bytes: [UInt8] = []
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    return bytes + [UInt8(rest)]
  }

  static func delimited(_ field: FieldSchema, _ content: [UInt8]) -> [UInt8] {
    precondition(content.count < 128)
    return tag(field, 2) + [UInt8(content.count)] + content
  }

  static func message(_ field: FieldSchema, _ value: DynamicValue) -> DynamicMessage {
    var message = DynamicMessage(TestTypes.everything)
    if field.hasPresence || field.isRepeated || !isDefault(value) { message.fields[field.number] = value }
    return message
  }

  static func isDefault(_ value: DynamicValue) -> Bool {
    switch value {
    case .float(let number): number.bitPattern == 0
    case .double(let number): number.bitPattern == 0
    default: [.int32(0), .int64(0), .uint32(0), .uint64(0), .bool(false), .enumeration(0), .string(""), .bytes([])].contains(value)
    }
  }

  static func plainName(_ kind: Kind) -> String { kind.name == "message" ? "inner" : kind.name + "_field" }
  static func listName(_ kind: Kind) -> String { kind.name == "message" ? "inner_list" : kind.name + "_list" }

  static let cases: [Case] = {
    var cases: [Case] = []
    for kind in kinds {
      func add(_ name: String, _ wire: [UInt8], _ message: DynamicMessage?) {
        cases.append(Case(name: "\(name) of \(kind.name)", wire: wire, message: message))
      }
      let single = [field(plainName(kind)), field("maybe_" + kind.name), field("kind_" + kind.name)]
      let isScalar = kind.wireType != 2
      let lists = [field(listName(kind))] + (isScalar ? [field("unpacked_" + kind.name)] : [])
      let wires = kind.values.map { unhex($0.wire) }
      for field in single {
        for (wire, value) in zip(wires, kind.values.map(\.value)) {
          add("a value", tag(field, kind.wireType) + wire, message(field, value))
        }
        if kind.name != "message" {
          let twice = tag(field, kind.wireType) + wires[1] + tag(field, kind.wireType) + wires[0]
          add("the last of two", twice, message(field, kind.values[0].value))
        }
      }
      for field in lists {
        let all = message(field, .list(kind.values.map(\.value)))
        add("a list, one by one", wires.flatMap { tag(field, kind.wireType) + $0 }, all)
        guard isScalar else { continue }
        add("a run", delimited(field, wires.flatMap { $0 }), all)
        let mixed = delimited(field, wires[0]) + wires.dropFirst().flatMap { tag(field, kind.wireType) + $0 } + delimited(field, [])
        add("runs and single values", mixed, all)
        for cut in kind.cut where !cut.isEmpty { add("a run that ends too early", delimited(field, wires[0] + unhex(cut)), nil) }
        add("a run longer than the message", tag(field, 2) + [UInt8(wires[0].count + 1)] + wires[0], nil)
      }
      for field in single + lists {
        for cut in kind.cut { add("a value that ends too early", tag(field, kind.wireType) + unhex(cut), nil) }
      }
      // The oneof forgets every other kind that came before.
      for other in kinds where other.name != kind.name {
        let (before, after) = (field("kind_" + other.name), field("kind_" + kind.name))
        let wire = tag(before, other.wireType) + unhex(other.values[1].wire) + tag(after, kind.wireType) + wires[0]
        add("a oneof after \(other.name)", wire, message(after, kind.values[0].value))
      }
    }
    return cases + maps
  }()

  /// Every kind of key: entries whole, with either side left out, the other way round, twice, and with something unknown.
  static let maps: [Case] = TestTypes.everything.fields.filter(\.isMap).flatMap { field -> [Case] in
    let (keyField, valueField) = (field.messageType!.field(number: 1)!, field.messageType!.field(number: 2)!)
    guard let keyKind = kinds.first(where: { name(keyField.type) == $0.name }),
      let valueKind = kinds.first(where: { name(valueField.type) == $0.name })
    else { return [] }
    let key = tag(keyField, keyKind.wireType) + unhex(keyKind.values[1].wire)
    let value = tag(valueField, valueKind.wireType) + unhex(valueKind.values[1].wire)
    let (keyValue, valueValue) = (keyKind.values[1].value, valueKind.values[1].value)
    let noKey = keyField.type.defaultValue!
    let noValue = valueField.type.defaultValue ?? .message(inner())
    func map(_ key: DynamicValue, _ value: DynamicValue) -> DynamicMessage { message(field, .map([key: value])) }
    return [
      Case(name: "an entry of \(field.name)", wire: delimited(field, key + value), message: map(keyValue, valueValue)),
      Case(name: "an entry the other way round of \(field.name)", wire: delimited(field, value + key), message: map(keyValue, valueValue)),
      Case(name: "an empty entry of \(field.name)", wire: delimited(field, []), message: map(noKey, noValue)),
      Case(name: "an entry without a key of \(field.name)", wire: delimited(field, value), message: map(noKey, valueValue)),
      Case(name: "an entry without a value of \(field.name)", wire: delimited(field, key), message: map(keyValue, noValue)),
      Case(
        name: "a key that comes twice of \(field.name)", wire: delimited(field, key) + delimited(field, key + value),
        message: map(keyValue, valueValue)),
      Case(
        name: "an entry with something unknown of \(field.name)", wire: delimited(field, key + [0x18, 0x05] + value),
        message: map(keyValue, valueValue)),
      Case(name: "an entry that ends too early of \(field.name)", wire: delimited(field, key + value.dropLast()), message: nil),
    ]
  }

  static func name(_ type: FieldType) -> String { type == .enumeration ? "enum" : "\(type)" }

  @Test("Values, dynamic messages and the table of cases agree")
  func table() throws {
    #expect(Self.cases.count > 900)
    for item in Self.cases {
      let dynamic = try? DynamicMessage(decoding: item.wire, schema: TestTypes.everything)
      let typed = try? Everything(decoding: item.wire)
      #expect(dynamic?.fields == item.message?.fields, "\(item.name): \(hex(item.wire))")
      #expect(typed?.encoded() == item.message?.encoded(), "\(item.name): \(hex(item.wire))")
    }
  }

  @Test("What JSON has a form for comes back from it")
  func json() throws {
    for item in Self.cases {
      guard let message = item.message else { continue }
      let text = try message.jsonString(pool: TestTypes.pool)
      let read = try DynamicMessage(jsonString: text, schema: TestTypes.everything, pool: TestTypes.pool)
      #expect(read == message, "\(item.name): \(text)")
    }
  }

  @Test("PyPI protobuf gives the same verdict and the same bytes", .enabled(if: Oracle.isAvailable))
  func judged() throws {
    let judged = Oracle.wire(Self.cases.map(\.wire))
    try #require(judged.count == Self.cases.count)
    // The judge keeps what is unknown in the entries of maps; we drop it, as C++ and Go do.
    for (item, answer) in zip(Self.cases, judged) where !item.name.contains("something unknown") {
      #expect(answer.bytes.map(hex) == (item.message?.encoded()).map(hex), "\(item.name): \(hex(item.wire)) \(answer.reason)")
    }
  }
}
