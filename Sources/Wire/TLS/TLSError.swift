import COpenSSL

/// What went wrong in TLS: the one place where OpenSSL's error queue becomes a Swift error.
public struct TLSError: Error, Sendable, Hashable, CustomStringConvertible {
  /// What was being done: `handshake`, `private key`.
  public let action: String
  /// OpenSSL's own words, the most telling of the queue.
  public let reason: String

  /// An error in doing something, and OpenSSL's reason.
  public init(_ action: String, reason: String) {
    self.action = action
    self.reason = reason
  }

  /// Takes the calling thread's error queue, and empties it.
  static func current(_ action: String) -> TLSError {
    var reason = ""
    while true {
      let code = ERR_get_error()
      if code == 0 { break }
      // The first is the cause, those after it only say who passed it on.
      if reason.isEmpty, let text = ERR_reason_error_string(code) { reason = String(cString: text) }
    }
    return TLSError(action, reason: reason.isEmpty ? "unknown" : reason)
  }

  /// What failed, and why.
  public var description: String { "TLS \(action): \(reason)" }
}
