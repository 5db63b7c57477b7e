import SpanwireProtobuf

/// What travels with a call beside its messages: an ordered multimap of names to ASCII text or bytes.
///
/// Names are lower-case; those that end in `-bin` carry bytes, all others visible ASCII. `grpc-*` names are reserved to the
/// protocol and refused. Everything stands in one flat block, so that an empty `Metadata` costs nothing, a copy is a
/// reference, and what came off the wire is decoded only when somebody looks at it.
public struct Metadata: Sendable {
  /// Records of: name length (4), its top bit set when the value is bytes; value length (4); name; value. Those of text are the records of
  /// `HTTP2Headers`, so that a server's transport hands over a whole block.
  var block = MetadataBlock()
  /// How many records stand in the block.
  public internal(set) var count = 0

  static let recordHeader = 8
  static let bytesMark: UInt32 = 1 << 31

  enum Form {
    /// Visible ASCII; of a `-bin` name, the base64 text as it came off the wire.
    case text
    /// The bytes themselves; base64 is the transport's affair.
    case bytes
  }

  /// No pairs.
  public init() {}

  /// Whether there are no pairs.
  public var isEmpty: Bool { count == 0 }

  /// Adds a text value, keeping those of the same name.
  ///
  /// The name is lower-cased. Names that break the rules (see `isLegal(name:)`), `-bin` names and values with control characters
  /// are programming errors. Blanks and tabs at the ends of a value are no part of it: HTTP has none there.
  public mutating func add(_ name: String, _ value: String) {
    let name = name.lowercased()
    var value = value[...].utf8
    while let byte = value.first, byte == 0x20 || byte == 0x09 { value.removeFirst() }
    while let byte = value.last, byte == 0x20 || byte == 0x09 { value.removeLast() }
    precondition(Self.isLegal(name: name), "illegal metadata name \(name)")
    precondition(!name.hasSuffix("-bin"), "\(name) carries bytes")
    precondition(Self.isLegal(text: String(Substring(value))), "the value of \(name) holds control characters")
    append(form: .text, name: Array(name.utf8), value: Array(value))
  }

  /// Adds bytes under a name that ends in `-bin`, keeping those of the same name.
  public mutating func add(_ name: String, bytes: [UInt8]) {
    let name = name.lowercased()
    precondition(Self.isLegal(name: name) && name.hasSuffix("-bin"), "illegal name for bytes \(name)")
    append(form: .bytes, name: Array(name.utf8), value: bytes)
  }

  /// Adds every pair of another `Metadata`.
  public mutating func add(contentsOf other: Metadata) {
    if count == 0 {
      self = other
    } else {
      other.block.withBytes { bytes in block.append(bytes.count) { $0.copyMemory(from: bytes) } }
      count += other.count
    }
  }

  /// Replaces all values of a name by one.
  public mutating func set(_ name: String, _ value: String) {
    removeAll(name)
    add(name, value)
  }

  /// Drops all values of a name.
  public mutating func removeAll(_ name: String) {
    removeAll { $0 == name.lowercased() }
  }

  /// Drops every pair whose name satisfies the condition.
  public mutating func removeAll(where condition: (String) -> Bool) {
    guard count > 0 else { return }
    var rest = Metadata()
    forEachRecord { record in
      if !condition(record.nameString) {
        rest.append(form: record.form, name: Array(record.name), value: Array(record.value))
      }
    }
    self = rest
  }

  /// The first text value of a name.
  public subscript(_ name: String) -> String? {
    var found: String?
    scan(name) { record in
      found = record.form == .text ? String(decoding: record.value, as: UTF8.self) : Base64.encode(record.value, padding: false)
      return false
    }
    return found
  }

  /// All text values of a name, in order.
  public subscript(all name: String) -> [String] {
    var found: [String] = []
    scan(name) { record in
      found.append(record.form == .text ? String(decoding: record.value, as: UTF8.self) : Base64.encode(record.value, padding: false))
      return true
    }
    return found
  }

  /// All byte values of a `-bin` name, in order.
  ///
  /// The wire may join several values by commas, padded or not; a value that is not base64 is left out.
  public subscript(bytes name: String) -> [[UInt8]] {
    var found: [[UInt8]] = []
    scan(name) { record in
      if record.form == .bytes {
        found.append(Array(record.value))
      } else {
        for part in record.value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
          if let bytes = Base64.decode(UnsafeRawBufferPointer(rebasing: part)) { found.append(bytes) }
        }
      }
      return true
    }
    return found
  }

  /// The names in order, repeated as often as they occur.
  ///
  /// What came off the wire may bear others besides, which HTTP allows and user metadata may not: they are left out, so that whatever is
  /// listed here can be sent on.
  public var names: [String] {
    var found: [String] = []
    forEachRecord { record in
      let name = record.nameString
      if Self.isLegal(name: name) { found.append(name) }
    }
    return found
  }

  /// Whether user metadata may bear a name: `[0-9a-z_.-]`, not empty, at most 255 bytes, and not the protocol's own.
  public static func isLegal(name: String) -> Bool {
    var length = 0
    for byte in name.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."),
        UInt8(ascii: "-"):
        length += 1
      default: return false
      }
    }
    return length > 0 && length <= 255 && !name.hasPrefix("grpc-")
  }

  /// Whether a text value may go on the wire: anything that HTTP allows in a field. gRPC promises visible ASCII only, but what came in
  /// must be safe to send on.
  public static func isLegal(text: String) -> Bool {
    text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
  }
}

extension Metadata: ExpressibleByDictionaryLiteral {
  /// Text pairs, in order.
  public init(dictionaryLiteral elements: (String, String)...) {
    for (name, value) in elements { add(name, value) }
  }
}

extension Metadata: Hashable {
  /// Equal when the same names carry the same values in the same order, however each value is held.
  public static func == (left: Metadata, right: Metadata) -> Bool {
    left.count == right.count && (left.block == right.block || left.pairs == right.pairs)
  }

  /// Hashes names and values, in order.
  public func hash(into hasher: inout Hasher) {
    for pair in pairs { hasher.combine(pair.value) }
  }

  private struct Pair: Equatable {
    var name: String
    var value: [UInt8]
  }

  private var pairs: [Pair] {
    var pairs: [Pair] = []
    forEachRecord { record in
      let value = Array(record.value)
      guard record.form == .text, record.isBinaryName else {
        pairs.append(Pair(name: record.nameString, value: value))
        return
      }
      for part in value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
        pairs.append(Pair(name: record.nameString, value: part.withUnsafeBytes { Base64.decode($0) } ?? Array(part)))
      }
    }
    return pairs
  }
}

extension Metadata: CustomStringConvertible {
  /// Names and the sizes of their values: values may be secrets.
  public var description: String {
    var parts: [String] = []
    forEachRecord { parts.append("\($0.nameString)[\($0.value.count)]") }
    return parts.joined(separator: " ")
  }
}
