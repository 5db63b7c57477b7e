/// What HTTP/2 itself makes of a field's name.
public enum HTTP2FieldName: UInt8, Sendable {
  /// A pseudo-header of requests.
  case method, scheme, path, authority
  /// The pseudo-header of responses.
  case status
  /// Any other name that begins with a colon.
  case unknownPseudo
  /// A field that says something about the message as such.
  case host, contentLength, te
  /// One that speaks of an HTTP/1.1 connection, and has no place here (RFC 9113, section 8.2.2).
  case ofConnection
  /// All others.
  case other

  /// The meaning of a name in lower case.
  @inline(__always)
  init(_ name: UnsafeRawBufferPointer) {
    switch name.count {
    case 2 where name == "te": self = .te
    case 4 where name == "host": self = .host
    case 5 where name == ":path": self = .path
    case 7 where name == ":method": self = .method
    case 7 where name == ":scheme": self = .scheme
    case 7 where name == ":status": self = .status
    case 7 where name == "upgrade": self = .ofConnection
    case 10 where name == ":authority": self = .authority
    case 10 where name == "connection" || name == "keep-alive": self = .ofConnection
    case 14 where name == "content-length": self = .contentLength
    case 16 where name == "proxy-connection": self = .ofConnection
    case 17 where name == "transfer-encoding": self = .ofConnection
    default: self = name.first == UInt8(ascii: ":") ? .unknownPseudo : .other
    }
  }
}
