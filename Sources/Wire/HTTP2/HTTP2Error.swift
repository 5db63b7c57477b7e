import CNghttp2

/// The error codes of RFC 9113 §7, as RST_STREAM and GOAWAY carry them. Unknown codes are kept.
public struct HTTP2ErrorCode: RawRepresentable, Hashable, Sendable {
  /// The number on the wire.
  public let rawValue: UInt32
  /// A code by its number, known or not.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The end of something in order.
  public static let noError = HTTP2ErrorCode(rawValue: 0x0)
  /// The peer broke the protocol.
  public static let protocolError = HTTP2ErrorCode(rawValue: 0x1)
  /// Something of our own went wrong.
  public static let internalError = HTTP2ErrorCode(rawValue: 0x2)
  /// The peer sent more than it was allowed.
  public static let flowControlError = HTTP2ErrorCode(rawValue: 0x3)
  /// The peer did not acknowledge settings in time.
  public static let settingsTimeout = HTTP2ErrorCode(rawValue: 0x4)
  /// A frame came for a stream that was closed.
  public static let streamClosed = HTTP2ErrorCode(rawValue: 0x5)
  /// A frame of a wrong size.
  public static let frameSizeError = HTTP2ErrorCode(rawValue: 0x6)
  /// The stream was not looked at: the request may be made again.
  public static let refusedStream = HTTP2ErrorCode(rawValue: 0x7)
  /// Nobody wants the stream any more.
  public static let cancel = HTTP2ErrorCode(rawValue: 0x8)
  /// Header compression is out of step; the connection is lost.
  public static let compressionError = HTTP2ErrorCode(rawValue: 0x9)
  /// The connection of a CONNECT was broken.
  public static let connectError = HTTP2ErrorCode(rawValue: 0xA)
  /// The peer asks too much.
  public static let enhanceYourCalm = HTTP2ErrorCode(rawValue: 0xB)
  /// TLS is weaker than HTTP/2 demands.
  public static let inadequateSecurity = HTTP2ErrorCode(rawValue: 0xC)
  /// The peer wants HTTP/1.1.
  public static let http11Required = HTTP2ErrorCode(rawValue: 0xD)
}

/// A connection that cannot go on: the one place where nghttp2's codes become a Swift error.
public struct HTTP2Error: Error, Hashable, CustomStringConvertible {
  /// nghttp2's number of the error.
  public let code: Int32

  init(code: some BinaryInteger) { self.code = Int32(truncatingIfNeeded: code) }

  /// The peer does not speak HTTP/2.
  public var isBadPreface: Bool { code == NGHTTP2_ERR_BAD_CLIENT_MAGIC.rawValue }

  /// nghttp2's words for the error.
  public var description: String { "HTTP/2: \(String(cString: nghttp2_strerror(code)))" }
}
