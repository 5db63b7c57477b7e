import SpanwireProtobuf
import SpanwireSchema

/// Compares definitions field by field, on their wire form, so that it never forgets a field that the contract gains.
enum DefinitionDiff {
  /// What applying `new` over `old` changes.
  static func change(of key: DefinitionKey, from old: Definition.Value?, to new: Definition.Value) -> Change {
    guard let old else { return Change(action: .added, kind: key.kind, id: key.id) }
    if old == new { return Change(action: .unchanged, kind: key.kind, id: key.id) }
    return Change(action: .changed, kind: key.kind, id: key.id, fields: fields(old.message, new.message))
  }

  /// The names of the fields that differ between two messages of one type, in the order of their numbers.
  static func fields(_ old: any Message, _ new: any Message) -> [String] {
    let (before, after) = (parts(old.encoded()), parts(new.encoded()))
    let numbers = Set(before.keys).union(after.keys).filter { before[$0] != after[$0] }
    let schema = type(of: new).schema
    return numbers.sorted().map { schema.field(number: UInt32($0))?.name ?? "#\($0)" }
  }

  /// The bytes of each top-level field, by its number. The input is our own encoding and therefore well-formed.
  private static func parts(_ bytes: [UInt8]) -> [UInt64: [UInt8]] {
    var parts: [UInt64: [UInt8]] = [:]
    var index = 0
    func varint() -> UInt64 {
      var value: UInt64 = 0
      var shift: UInt64 = 0
      while bytes[index] & 0x80 != 0 {
        value |= UInt64(bytes[index] & 0x7F) << shift
        (index, shift) = (index + 1, shift + 7)
      }
      defer { index += 1 }
      return value | UInt64(bytes[index]) << shift
    }
    while index < bytes.count {
      let start = index
      let tag = varint()
      switch tag & 7 {
      case 0: _ = varint()
      case 1: index += 8
      case 2:
        let length = Int(varint())
        index += length
      case 5: index += 4
      default: preconditionFailure("our own encoding has no groups")
      }
      parts[tag >> 3, default: []] += bytes[start..<index]
    }
    return parts
  }
}
