import SpanwireHTTP2
import SpanwireRPC

/// What the header blocks of a response say.
struct ResponseHead {
  /// Leading metadata, without what belongs to the protocol.
  private(set) var metadata = Metadata()
  /// A status among the leading fields: it counts if nothing follows.
  private(set) var leadingStatus: Int?
  private(set) var encoding = ResponseEncoding.identity
  private(set) var pushback: RetryPushback?
  var hasBody = false

  private var httpStatus = 0
  private var contentType = ContentType.other
  private var leadingMessage = ""
  private var trailingStatus: Int?
  private var trailingMessage = ""
  private var trailers = Metadata()
  private var hasTrailers = false

  /// Why this is no gRPC response at all; nil if it is, or if a status says what it is.
  var refusal: RPCError? {
    if leadingStatus != nil { return nil }
    switch contentType {
    case .grpc: return nil
    case .unknownCodec: return .internal("the response has a codec that nobody asked for")
    case .other:
      return httpStatus == 200 ? RPCError(.unknown, "the response is not application/grpc") : ClientStatus.error(ofHTTPStatus: httpStatus)
    }
  }

  mutating func readLeading(_ headers: borrowing HTTP2Headers) {
    headers.forEach { name, value in
      if name == ":status" {
        httpStatus = Self.number(value) ?? 0
      } else if name == "content-type" {
        contentType = ContentType(value)
      } else if name == "grpc-encoding" {
        let text = String(decoding: value, as: UTF8.self)
        encoding = text == "identity" ? .identity : Compression(rawValue: text).map { .compressed($0) } ?? .unknown(text)
      } else if name == "grpc-status" {
        leadingStatus = Self.number(value) ?? 2
      } else if name == "grpc-message" {
        leadingMessage = WireText.percentDecoded(value)
      } else if name == "grpc-retry-pushback-ms" {
        pushback = RetryPushback(value)
      } else if !Self.isReserved(name) {
        metadata.appendWire(name: name, value: value)
      }
    }
  }

  mutating func readTrailers(_ headers: borrowing HTTP2Headers) {
    hasTrailers = true
    headers.forEach { name, value in
      if name == "grpc-status" {
        trailingStatus = Self.number(value) ?? 2
      } else if name == "grpc-message" {
        trailingMessage = WireText.percentDecoded(value)
      } else if name == "grpc-retry-pushback-ms" {
        pushback = RetryPushback(value)
      } else if !Self.isReserved(name) {
        trailers.appendWire(name: name, value: value)
      }
    }
  }

  /// What the call ended with, and its trailing metadata.
  func outcome(isTruncated: Bool) -> (RPCError?, Metadata) {
    if !hasTrailers, !hasBody, leadingStatus != nil {
      return finish(leadingStatus, leadingMessage, metadata, isTruncated)
    }
    return finish(trailingStatus, trailingMessage, trailers, isTruncated)
  }

  private func finish(_ status: Int?, _ message: String, _ trailers: Metadata, _ isTruncated: Bool) -> (RPCError?, Metadata) {
    switch ClientStatus.outcome(status: status, message: message, trailers: trailers) {
    case .none where httpStatus != 200: return (ClientStatus.error(ofHTTPStatus: httpStatus), trailers)
    case .none: return (RPCError(.unknown, "the server ended the call without a status"), trailers)
    case .some(.none):
      return (isTruncated ? .internal("the response ends in the middle of a message") : nil, trailers)
    case .some(.some(let error)): return (error, error.trailers)
    }
  }

  /// Digits alone: a sign would make an OK of `-0`.
  private static func number(_ text: UnsafeRawBufferPointer) -> Int? {
    guard (1...3).contains(text.count), text.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else { return nil }
    return text.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
  }

  /// Fields of HTTP and gRPC that are not the caller's. The status details stay: they are read where the status is.
  private static func isReserved(_ name: UnsafeRawBufferPointer) -> Bool {
    if name.first == UInt8(ascii: ":") || name == "content-type" { return true }
    return name.starts(with: "grpc-".utf8) && !(name == "grpc-status-details-bin")
  }
}
