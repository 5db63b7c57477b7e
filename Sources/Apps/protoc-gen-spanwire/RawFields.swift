/// Fields of a message without its declaration: how the generator reads options that it does not know the types of.
///
/// Only for what protoc has written: malformed input reads as its sound beginning.
struct RawFields {
  private var varints: [(number: UInt64, value: UInt64)] = []
  private var runs: [(number: UInt64, bytes: ArraySlice<UInt8>)] = []

  init(_ bytes: some Sequence<UInt8>) {
    var rest = Array(bytes)[...]
    while let tag = Self.varint(&rest) {
      let number = tag >> 3
      switch tag & 7 {
      case 0:
        guard let value = Self.varint(&rest) else { return }
        varints.append((number, value))
      case 1: rest = rest.dropFirst(8)
      case 5: rest = rest.dropFirst(4)
      case 2:
        guard let length = Self.varint(&rest), length <= UInt64(rest.count) else { return }
        runs.append((number, rest.prefix(Int(length))))
        rest = rest.dropFirst(Int(length))
      default: return
      }
    }
  }

  func messages(_ number: UInt64) -> [RawFields] { runs.filter { $0.number == number }.map { RawFields($0.bytes) } }

  func strings(_ number: UInt64) -> [String] {
    runs.filter { $0.number == number }.map { String(decoding: $0.bytes, as: UTF8.self) }
  }

  /// Varints of a field, one by one or packed.
  func numbers(_ number: UInt64) -> [UInt64] {
    var out = varints.filter { $0.number == number }.map(\.value)
    for run in runs where run.number == number {
      var rest = run.bytes
      while let value = Self.varint(&rest) { out.append(value) }
    }
    return out
  }

  private static func varint(_ bytes: inout ArraySlice<UInt8>) -> UInt64? {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while let byte = bytes.popFirst(), shift < 64 {
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
    return nil
  }
}
