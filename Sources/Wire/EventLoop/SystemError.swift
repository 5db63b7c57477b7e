import Glibc

/// A system call that failed: the one place where `errno` becomes a Swift error.
public struct SystemError: Error, Hashable, CustomStringConvertible {
  /// The system call that failed.
  public let call: String
  /// Its errno.
  public let code: Int32

  /// Takes the calling thread's `errno` unless told another.
  public init(_ call: String, code: Int32 = errno) {
    self.call = call
    self.code = code
  }

  /// The call and the system's words for its errno.
  public var description: String { "\(call): \(String(cString: strerror(code)))" }
}
