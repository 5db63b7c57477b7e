import Glibc

/// A system call that failed: the one place where `errno` becomes a Swift error.
public struct SystemError: Error, Hashable, CustomStringConvertible {
  public let call: String
  public let code: Int32

  /// Takes the calling thread's `errno` unless told another.
  public init(_ call: String, code: Int32 = errno) {
    self.call = call
    self.code = code
  }

  public var description: String { "\(call): \(String(cString: strerror(code)))" }
}
