/// Frames that tests send, most of them for what is wrong with them.
extension RawFrame {
  package static let hasPriority: UInt8 = 0x20

  /// A frame of any type, also of those that HTTP/2 does not define.
  package init(type: UInt8, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []) {
    self.init(.data, flags: flags, stream: stream, payload: payload)
    typeByte = type
  }

  package static func headers(_ stream: UInt32, _ block: [UInt8], ends: Bool = true, endsBlock: Bool = true) -> RawFrame {
    RawFrame(.headers, flags: (ends ? endStream : 0) | (endsBlock ? endHeaders : 0), stream: stream, payload: block)
  }

  package static func continuation(_ stream: UInt32, _ block: [UInt8], endsBlock: Bool = true) -> RawFrame {
    RawFrame(.continuation, flags: endsBlock ? endHeaders : 0, stream: stream, payload: block)
  }

  package static func data(_ stream: UInt32, _ bytes: [UInt8], ends: Bool = true) -> RawFrame {
    RawFrame(.data, flags: ends ? endStream : 0, stream: stream, payload: bytes)
  }

  package static func reset(_ stream: UInt32, _ code: UInt32 = 8) -> RawFrame { RawFrame(.reset, stream: stream, payload: big(code)) }

  package static func windowUpdate(_ stream: UInt32, _ increment: UInt32) -> RawFrame {
    RawFrame(.windowUpdate, stream: stream, payload: big(increment))
  }

  package static func settings(_ values: [(UInt16, UInt32)] = []) -> RawFrame {
    RawFrame(.settings, payload: values.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 0xFF)] + big($0.1) })
  }

  package static let settingsAcknowledgement = RawFrame(.settings, flags: acknowledgement)

  package static func ping(_ payload: [UInt8]) -> RawFrame { RawFrame(.ping, payload: payload) }

  package static func priority(_ stream: UInt32, on parent: UInt32) -> RawFrame {
    RawFrame(.priority, stream: stream, payload: big(parent) + [15])
  }

  /// A header block in which every field is a literal that enters no table.
  package static func block(_ fields: [(String, String)]) -> [UInt8] { fields.flatMap { literal($0.0, $0.1) } }

  /// Requests that any HTTP/2 server understands.
  package static let get: [(String, String)] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "test")]
  package static let post: [(String, String)] = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "test")]

  /// A call of a method.
  package static func call(_ path: String) -> [(String, String)] {
    [
      (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test"), ("content-type", "application/grpc"),
      ("te", "trailers"),
    ]
  }
}
