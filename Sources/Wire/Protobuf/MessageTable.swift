import CProtobufC
import Synchronization

/// How a value lies in memory and on the wire.
enum FieldKind: UInt8 {
  case varint32, varint64, bool, zigzag32, zigzag64, fixed32, fixed64, bytes, string, message

  /// Bytes that one value takes in the C struct.
  @inline(__always) var size: Int {
    switch self {
    case .varint32, .bool, .zigzag32, .fixed32: 4
    case .bytes, .string: 16
    case .varint64, .zigzag64, .fixed64, .message: 8
    }
  }

  @inline(__always) var wireType: UInt32 {
    switch self {
    case .varint32, .varint64, .bool, .zigzag32, .zigzag64: 0
    case .fixed64: 1
    case .bytes, .string, .message: 2
    case .fixed32: 5
    }
  }
}

/// How presence is kept in the C struct.
enum FieldMode: UInt8 {
  /// The value itself tells (a default, a null pointer).
  case plain
  /// A `has_` flag at the quantifier.
  case flagged
  /// The field's number in the case at the quantifier.
  case oneof
  /// A count at the quantifier, a pointer to the elements at the offset.
  case repeated
}

/// What proto2 says of a field beyond its kind. Such fields bear a wire type that nothing matches, so that the common path of the
/// decoder pays nothing for them.
enum FieldRule: UInt8 {
  case none
  /// A message between a start and an end tag.
  case group
  /// An enum that knows all its values: others count as unknown fields.
  case closedEnum
  /// A map to a closed enum: an entry with another value counts as unknown.
  case closedEnumMap

  static let wireType: UInt8 = 0xff
}

/// The values of a closed enum, in memory that is never freed.
struct ClosedEnum {
  private let numbers: UnsafeMutableBufferPointer<Int32>

  init(_ numbers: some Sequence<Int32>) {
    let sorted = Set(numbers).sorted()
    self.numbers = .allocate(capacity: sorted.count)
    _ = self.numbers.initialize(fromContentsOf: sorted)
  }

  func contains(_ number: Int32) -> Bool {
    var low = 0
    var high = numbers.count
    while low < high {
      let middle = (low + high) / 2
      if numbers[middle] < number { low = middle + 1 } else { high = middle }
    }
    return low < numbers.count && numbers[low] == number
  }
}

/// One field, flat so that the decoder meets no reference count.
struct FieldEntry {
  var number: UInt32
  var offset: Int32
  var quantifier: Int32
  var kind: FieldKind
  var mode: FieldMode
  var wireType: UInt8
  /// What is written before a value that is neither a run nor a group.
  var tag: UInt32 = 0
  /// Repeated scalars come one by one or as a run.
  var packable: Bool
  /// Repeated scalars are written as a run.
  var isPacked = false
  var isUnsigned32 = false
  var rule = FieldRule.none
  var isRequired = false
  var child: UnsafeMutablePointer<TableCore>?
  var closedEnum: ClosedEnum?
  /// Immortal; for paths in errors.
  var name: UnsafePointer<CChar>?

  mutating func setRule(_ new: FieldRule) {
    rule = new
    wireType = FieldRule.wireType
    packable = false
  }

  mutating func close(_ values: ClosedEnum) {
    closedEnum = values
    setRule(.closedEnum)
  }
}

/// A message's fields, in memory that is never freed: tables live as long as the process.
struct TableCore: ~Copyable {
  let typeName: String
  let descriptor: UnsafePointer<ProtobufCMessageDescriptor>?
  let size: Int
  let count: Int
  let fields: UnsafeMutablePointer<FieldEntry>
  /// A tag of one byte, wire type included → index into `fields`, 0xff for none.
  let byTag: UnsafeMutablePointer<UInt8>
  /// Field number below 64 → index into `fields`, 0xff for none.
  let byNumber: UnsafeMutablePointer<UInt8>
  /// Whether a required field may be missing, in the message or below it.
  var mayLackRequired: Bool
  /// The struct as `message_init` leaves it, when that is not all zeroes (proto2 defaults).
  let template: UnsafeMutableRawPointer?
  let children: @Sendable () -> [MessageTable.Child]
  let isLinked = Atomic<Bool>(false)

  /// Gives a field of this message a rule, so that the tag alone no longer says what to do.
  func setRule(_ rule: FieldRule, of field: UnsafeMutablePointer<FieldEntry>) {
    for tag in 0..<128 where fields + Int(byTag[tag]) == field { byTag[tag] = 0xff }
    field.pointee.setRule(rule)
  }

  /// For the entry of a map: its value is a message. One left out is an empty one, which may be one too few.
  mutating func setMapValue(_ value: UnsafeMutablePointer<TableCore>) {
    guard let field = field(2) else { preconditionFailure("the entry of a map has a value") }
    field.pointee.child = value
    let values = UnsafeBufferPointer(start: value.pointee.fields, count: value.pointee.count)
    field.pointee.isRequired = values.contains(where: \.isRequired)
    if field.pointee.isRequired { mayLackRequired = true }
  }

  @inline(__always)
  func field(_ number: UInt32) -> UnsafeMutablePointer<FieldEntry>? {
    if number < 64 {
      let index = byNumber[Int(number)]
      return index == 0xff ? nil : fields + Int(index)
    }
    return search(number)
  }

  @inline(never)
  private func search(_ number: UInt32) -> UnsafeMutablePointer<FieldEntry>? {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if fields[middle].number < number { low = middle + 1 } else { high = middle }
    }
    return low < count && fields[low].number == number ? fields + low : nil
  }
}

/// The table of one message type, by which it is decoded and relayed: immutable once linked to the tables of its submessages.
///
/// A pointer to what is never freed, so that handing it around costs nothing. Types may contain themselves: a table is made without its
/// children and linked at its first use.
public struct MessageTable: @unchecked Sendable {  // what it points to is written only in init and under `linking`, read after `isLinked`
  /// The table of a message field, or what makes one for a map field.
  public struct Child {
    fileprivate enum Kind {
      case message(MessageTable)
      case group(MessageTable)
      case map(strings: [UInt32], value: MessageTable?, closedEnum: Bool)
    }

    fileprivate let number: UInt32
    fileprivate let kind: Kind

    /// A field, single or repeated, of a message type.
    public static func message(_ number: UInt32, _ table: MessageTable) -> Child { Child(number: number, kind: .message(table)) }

    /// A proto2 group, single or repeated.
    public static func group(_ number: UInt32, _ table: MessageTable) -> Child { Child(number: number, kind: .group(table)) }

    /// A map field.
    /// - Parameters:
    ///   - strings: 1 if the key is a string, 2 if the value is.
    ///   - value: the table of the values if they are messages.
    ///   - closedEnum: whether the values are of a proto2 enum.
    public static func map(
      _ number: UInt32, strings: [UInt32] = [], value: MessageTable? = nil, closedEnum: Bool = false
    ) -> Child {
      Child(number: number, kind: .map(strings: strings, value: value, closedEnum: closedEnum))
    }
  }

  /// The full name on the wire.
  public var typeName: String { core.pointee.typeName }
  let core: UnsafeMutablePointer<TableCore>

  /// Held while tables are linked; linking takes no other lock but the once of a static `table`, whose init takes none.
  private static let linking = Mutex<Void>(())

  /// The table of a message with a generated C struct.
  /// - Parameters:
  ///   - descriptor: protobuf-c's own, which lives for ever.
  ///   - strings: numbers of the fields that are strings; the C schema declares them all as bytes.
  ///   - closedEnums: numbers of the fields, maps aside, that are of a proto2 enum, whose unnamed values count as unknown fields.
  ///   - required: numbers of the fields that must come; the C schema declares them as optional.
  ///   - children: the tables of fields that are messages or maps.
  public init(
    typeName: String, descriptor: UnsafePointer<ProtobufCMessageDescriptor>, strings: [UInt32] = [], closedEnums: [UInt32] = [],
    required: [UInt32] = [], children: @escaping @Sendable () -> [Child] = { [] }
  ) {
    core = Self.makeCore(
      typeName, descriptor, strings: Set(strings), closedEnums: Set(closedEnums), required: Set(required), children: children)
  }

  init(core: UnsafeMutablePointer<TableCore>) { self.core = core }

  /// The core with every table below it in place.
  @inline(__always)
  var linked: UnsafeMutablePointer<TableCore> {
    if !core.pointee.isLinked.load(ordering: .acquiring) { link() }
    return core
  }

  @inline(never)
  private func link() {
    Self.linking.withLock { _ in
      if core.pointee.isLinked.load(ordering: .relaxed) { return }
      var seen: Set<UnsafeMutablePointer<TableCore>> = [core]
      var open = [self]
      while let table = open.popLast() {
        table.connect { child in
          guard !child.core.pointee.isLinked.load(ordering: .relaxed), seen.insert(child.core).inserted else { return }
          open.append(child)
        }
      }
      if seen.contains(where: { $0.pointee.mayLackRequired }) { spreadRequired(Array(seen)) }
      // Only now: another thread that sees one of them linked must find everything below it in place.
      for core in seen { core.pointee.isLinked.store(true, ordering: .releasing) }
    }
  }

  private func connect(_ visit: (MessageTable) -> Void) {
    for child in core.pointee.children() {
      guard let entry = core.pointee.field(child.number), entry.pointee.kind == .message else {
        preconditionFailure("\(typeName) has no message field \(child.number)")
      }
      switch child.kind {
      case .message(let table):
        entry.pointee.child = table.core
        visit(table)
      case .group(let table):
        entry.pointee.child = table.core
        core.pointee.setRule(.group, of: entry)
        visit(table)
      case .map(let strings, let value, let closedEnum):
        if closedEnum { core.pointee.setRule(.closedEnumMap, of: entry) }
        if entry.pointee.child == nil {
          entry.pointee.child = Self.makeCore(
            typeName, entryDescriptor(child.number), strings: Set(strings), closedEnums: closedEnum ? [2] : [])
        }
        if let value {
          entry.pointee.child!.pointee.setMapValue(value.core)
          visit(value)
        }
      }
    }
    for index in 0..<core.pointee.count where core.pointee.fields[index].kind == .message {
      precondition(core.pointee.fields[index].child != nil, "\(typeName) lacks the table of field \(core.pointee.fields[index].number)")
    }
  }

  /// Lets the messages above those with required fields know.
  private func spreadRequired(_ cores: [UnsafeMutablePointer<TableCore>]) {
    // The entries of maps have no table of their own among these.
    var below = cores
    for core in cores {
      for field in UnsafeBufferPointer(start: core.pointee.fields, count: core.pointee.count) {
        if let child = field.child { below.append(child) }
      }
    }
    var changed = true
    while changed {
      changed = false
      for core in below where !core.pointee.mayLackRequired {
        let fields = UnsafeBufferPointer(start: core.pointee.fields, count: core.pointee.count)
        guard fields.contains(where: { $0.child?.pointee.mayLackRequired ?? false }) else { continue }
        core.pointee.mayLackRequired = true
        changed = true
      }
    }
  }

  private func entryDescriptor(_ number: UInt32) -> UnsafePointer<ProtobufCMessageDescriptor> {
    guard let descriptor = core.pointee.descriptor, let field = protobuf_c_message_descriptor_get_field(descriptor, number) else {
      preconditionFailure("\(typeName) has no C descriptor for map field \(number)")
    }
    return field.pointee.descriptor!.assumingMemoryBound(to: ProtobufCMessageDescriptor.self)
  }
}

extension MessageTable {
  private static func makeCore(
    _ typeName: String, _ descriptor: UnsafePointer<ProtobufCMessageDescriptor>, strings: Set<UInt32>, closedEnums: Set<UInt32> = [],
    required: Set<UInt32> = [], children: @escaping @Sendable () -> [Child] = { [] }
  ) -> UnsafeMutablePointer<TableCore> {
    let source = descriptor.pointee
    var entries: [FieldEntry] = []
    for index in 0..<Int(source.n_fields) {
      let field = source.fields[index]
      var kind = kind(of: field.type)
      if kind == .bytes, strings.contains(field.id) { kind = .string }
      let mode: FieldMode =
        if field.label == PROTOBUF_C_LABEL_REPEATED {
          .repeated
        } else if field.flags & UInt32(PROTOBUF_C_FIELD_FLAG_ONEOF.rawValue) != 0 {
          .oneof
        } else if field.label == PROTOBUF_C_LABEL_OPTIONAL && field.quantifier_offset != 0 {
          .flagged
        } else {
          .plain
        }
      var entry = FieldEntry(
        number: field.id, offset: Int32(field.offset), quantifier: Int32(field.quantifier_offset), kind: kind, mode: mode,
        wireType: UInt8(kind.wireType), packable: mode == .repeated && kind.wireType != 2,
        isPacked: field.flags & UInt32(PROTOBUF_C_FIELD_FLAG_PACKED.rawValue) != 0, isUnsigned32: field.type == PROTOBUF_C_TYPE_UINT32,
        isRequired: required.contains(field.id), child: nil, name: field.name)
      if closedEnums.contains(field.id), let values = field.descriptor?.assumingMemoryBound(to: ProtobufCEnumDescriptor.self).pointee {
        entry.close(ClosedEnum(UnsafeBufferPointer(start: values.values, count: Int(values.n_values)).map(\.value)))
      }
      entries.append(entry)
    }
    return makeCore(
      typeName, descriptor: descriptor, size: source.sizeof_message, entries: entries, template: template(of: source), children: children)
  }

  /// - Parameter descriptor: nil for a message that is known only at run time.
  static func makeCore(
    _ typeName: String, descriptor: UnsafePointer<ProtobufCMessageDescriptor>? = nil, size: Int, entries: [FieldEntry],
    template: UnsafeMutableRawPointer? = nil, children: @escaping @Sendable () -> [Child]
  ) -> UnsafeMutablePointer<TableCore> {
    let sorted = entries.sorted { $0.number < $1.number }
    let fields = UnsafeMutablePointer<FieldEntry>.allocate(capacity: max(sorted.count, 1))
    let byNumber = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
    byNumber.initialize(repeating: 0xff, count: 64)
    let byTag = UnsafeMutablePointer<UInt8>.allocate(capacity: 128)
    byTag.initialize(repeating: 0xff, count: 128)
    for (index, var entry) in sorted.enumerated() {
      entry.tag = entry.number << 3 | entry.kind.wireType
      (fields + index).initialize(to: entry)
      // Numbers below 64 are at most 63 fields, so the index fits a byte.
      if entry.number < 64 { byNumber[Int(entry.number)] = UInt8(index) }
      if entry.number < 16, entry.wireType != FieldRule.wireType {
        byTag[Int(entry.number) << 3 | Int(entry.wireType)] = UInt8(index)
        if entry.packable { byTag[Int(entry.number) << 3 | 2] = UInt8(index) }
      }
    }
    let core = UnsafeMutablePointer<TableCore>.allocate(capacity: 1)
    core.initialize(
      to: TableCore(
        typeName: typeName, descriptor: descriptor, size: size, count: sorted.count, fields: fields, byTag: byTag, byNumber: byNumber,
        mayLackRequired: entries.contains(where: \.isRequired), template: template, children: children))
    return core
  }

  private static func kind(of type: ProtobufCType) -> FieldKind {
    switch type {
    case PROTOBUF_C_TYPE_INT32, PROTOBUF_C_TYPE_UINT32, PROTOBUF_C_TYPE_ENUM: .varint32
    case PROTOBUF_C_TYPE_INT64, PROTOBUF_C_TYPE_UINT64: .varint64
    case PROTOBUF_C_TYPE_SINT32: .zigzag32
    case PROTOBUF_C_TYPE_SINT64: .zigzag64
    case PROTOBUF_C_TYPE_SFIXED32, PROTOBUF_C_TYPE_FIXED32, PROTOBUF_C_TYPE_FLOAT: .fixed32
    case PROTOBUF_C_TYPE_SFIXED64, PROTOBUF_C_TYPE_FIXED64, PROTOBUF_C_TYPE_DOUBLE: .fixed64
    case PROTOBUF_C_TYPE_BOOL: .bool
    case PROTOBUF_C_TYPE_BYTES: .bytes
    case PROTOBUF_C_TYPE_MESSAGE: .message
    default: preconditionFailure("the C schema declares every string as bytes")
    }
  }

  private static func template(of source: ProtobufCMessageDescriptor) -> UnsafeMutableRawPointer? {
    guard let initialise = source.message_init else { return nil }
    let memory = UnsafeMutableRawPointer.allocate(byteCount: source.sizeof_message, alignment: 8)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: source.sizeof_message)
    initialise(memory.assumingMemoryBound(to: ProtobufCMessage.self))
    let bytes = UnsafeRawBufferPointer(start: memory, count: source.sizeof_message)
    if bytes.dropFirst(8).allSatisfy({ $0 == 0 }) {
      memory.deallocate()
      return nil
    }
    return memory
  }
}
