import SpanwireHTTP2
import SpanwireProtobuf
import SpanwireRPC

/// How metadata and statuses stand in HTTP/2 headers; the same for both ends.
extension HTTP2Headers {
  func add(metadata: borrowing Metadata) {
    if metadata.isEmpty { return }
    metadata.forEachRecord { record in
      if record.isRawBytes {
        Base64.encodedBytes(record.value, padding: false).withUnsafeBytes { add(name: record.name, value: $0) }
      } else {
        add(name: record.name, value: record.value)
      }
    }
  }

  /// Adds a status that is not OK, with its message, details and trailing metadata.
  func add(_ error: RPCError) {
    add("grpc-status", text: String(error.code.rawValue))
    if !error.message.isEmpty {
      WireText.percentEncoded(error.message).withUnsafeBytes { add("grpc-message", value: $0) }
    }
    if let details = error.encodedDetails {
      Base64.encodedBytes(details, padding: false).withUnsafeBytes { add("grpc-status-details-bin", value: $0) }
    }
    add(metadata: error.trailers)
  }
}

/// What a content-type says of requests and responses alike: `application/grpc`, with a codec or parameters behind it.
enum ContentType {
  case grpc, unknownCodec, other

  init(_ value: UnsafeRawBufferPointer) {
    let base = "application/grpc".utf8.count
    guard value.count >= base, UnsafeRawBufferPointer(rebasing: value[..<base]) == "application/grpc" else {
      self = .other
      return
    }
    if value.count == base {
      self = .grpc
      return
    }
    switch value[base] {
    case UInt8(ascii: ";"), UInt8(ascii: " "): self = .grpc
    case UInt8(ascii: "+"):
      let codec = value[(base + 1)...].prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: " ") }
      self = UnsafeRawBufferPointer(rebasing: codec) == "proto" ? .grpc : .unknownCodec
    default: self = .other
    }
  }
}
