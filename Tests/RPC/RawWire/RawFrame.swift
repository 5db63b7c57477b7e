/// One frame of HTTP/2 as bytes, honest or not (RFC 9113 §4.1).
package struct RawFrame: Sendable, Hashable {
  package enum Kind: UInt8, Sendable {
    case data, headers, priority, reset, settings, pushPromise, ping, goAway, windowUpdate, continuation
  }

  package static let endStream: UInt8 = 0x1
  package static let acknowledgement: UInt8 = 0x1
  package static let endHeaders: UInt8 = 0x4
  package static let padded: UInt8 = 0x8

  package var typeByte: UInt8
  package var flags: UInt8
  package var stream: UInt32
  package var payload: [UInt8]

  package init(_ type: Kind, flags: UInt8 = 0, stream: UInt32 = 0, payload: [UInt8] = []) {
    typeByte = type.rawValue
    self.flags = flags
    self.stream = stream
    self.payload = payload
  }

  /// DATA with so many bytes of padding.
  package static func data(_ bytes: [UInt8], padding: UInt8, stream: UInt32, ends: Bool = false) -> RawFrame {
    RawFrame(
      .data, flags: padded | (ends ? endStream : 0), stream: stream,
      payload: [padding] + bytes + [UInt8](repeating: 0, count: Int(padding)))
  }

  /// HEADERS in one block, every field a literal that enters no table, so that it can stand between a session's own blocks.
  package static func headers(_ fields: [(String, String)], stream: UInt32, ends: Bool, endsBlock: Bool = true) -> RawFrame {
    RawFrame(
      .headers, flags: (ends ? endStream : 0) | (endsBlock ? endHeaders : 0), stream: stream,
      payload: fields.flatMap { literal($0.0, $0.1) })
  }

  /// A field of HPACK, without indexing and without Huffman (RFC 7541 §6.2.2); names and values of up to 126 bytes.
  package static func literal(_ name: String, _ value: String) -> [UInt8] {
    precondition(name.utf8.count < 127 && value.utf8.count < 127)
    return [0, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)] + Array(value.utf8)
  }

  /// nil for a type that HTTP/2 does not define.
  package var type: Kind? { Kind(rawValue: typeByte) }
  package var isAcknowledgement: Bool { flags & Self.acknowledgement != 0 }

  package var bytes: [UInt8] {
    let count = UInt32(payload.count)
    return [UInt8(count >> 16 & 0xFF), UInt8(count >> 8 & 0xFF), UInt8(count & 0xFF), typeByte, flags] + Self.big(stream) + payload
  }

  package static func big(_ number: UInt32) -> [UInt8] {
    [UInt8(number >> 24), UInt8(number >> 16 & 0xFF), UInt8(number >> 8 & 0xFF), UInt8(number & 0xFF)]
  }

  /// The four bytes at a place of the payload as a number.
  package func number(at place: Int) -> UInt32 {
    payload.count < place + 4 ? 0 : payload[place..<place + 4].reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// Settings by identifier.
  package var settings: [UInt16: UInt32] {
    var settings: [UInt16: UInt32] = [:]
    for place in stride(from: 0, to: payload.count - 5, by: 6) {
      settings[UInt16(payload[place]) << 8 | UInt16(payload[place + 1])] = number(at: place + 2)
    }
    return settings
  }

  /// The first frame of what came, once it is whole.
  package static func take(from bytes: inout [UInt8]) -> RawFrame? {
    guard bytes.count >= 9 else { return nil }
    let count = Int(bytes[0]) << 16 | Int(bytes[1]) << 8 | Int(bytes[2])
    guard bytes.count >= 9 + count else { return nil }
    var frame = RawFrame(.data, flags: bytes[4], payload: Array(bytes[9..<9 + count]))
    frame.typeByte = bytes[3]
    frame.stream = bytes[5..<9].reduce(0) { $0 << 8 | UInt32($1) } & 0x7FFF_FFFF
    bytes.removeFirst(9 + count)
    return frame
  }
}
