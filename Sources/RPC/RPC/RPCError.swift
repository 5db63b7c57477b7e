import SpanwireProtobuf
import SpanwireWellKnown

/// The outcome of a call that did not succeed, as it crosses the wire: one of the 16 codes of gRPC, a message, typed details.
///
/// Handlers throw it and callers catch it; it looks the same whether the call stayed in the process or crossed a network.
/// Local misuse of the library is never an `RPCError`.
public struct RPCError: Error, Sendable, Hashable {
  /// The status codes of gRPC without OK, with their wire numbers.
  public enum Code: UInt8, Sendable, Hashable, CaseIterable {
    case cancelled = 1
    case unknown = 2
    case invalidArgument = 3
    case deadlineExceeded = 4
    case notFound = 5
    case alreadyExists = 6
    case permissionDenied = 7
    case resourceExhausted = 8
    case failedPrecondition = 9
    case aborted = 10
    case outOfRange = 11
    case unimplemented = 12
    case `internal` = 13
    case unavailable = 14
    case dataLoss = 15
    case unauthenticated = 16
  }

  /// One reference, so that an outcome that is no error costs a call a word.
  private var parts: Parts

  private final class Parts: @unchecked Sendable {
    // Sendable: changed only while a single value refers to it.
    var code: Code
    var message: String
    var details: [Google_Protobuf_Any]
    var trailers: Metadata

    init(_ code: Code, _ message: String, _ details: [Google_Protobuf_Any], _ trailers: Metadata) {
      self.code = code
      self.message = message
      self.details = details
      self.trailers = trailers
    }
  }

  /// An outcome; without message, details and trailers unless given.
  public init(_ code: Code, _ message: String = "", details: [Google_Protobuf_Any] = [], trailers: Metadata = Metadata()) {
    parts = Parts(code, message, details, trailers)
  }

  /// Which of the sixteen.
  public var code: Code {
    get { parts.code }
    set { own().code = newValue }
  }
  /// For developers and logs; empty is allowed. Never carries internals of the callee that the caller may not see.
  public var message: String {
    get { parts.message }
    set { own().message = newValue }
  }
  /// Machine-readable details, carried in `grpc-status-details-bin`.
  public var details: [Google_Protobuf_Any] {
    get { parts.details }
    set { own().details = newValue }
  }
  /// Trailing metadata that goes with the status.
  public var trailers: Metadata {
    get { parts.trailers }
    set { own().trailers = newValue }
  }

  private mutating func own() -> Parts {
    if !isKnownUniquelyReferenced(&parts) { parts = Parts(code, message, details, trailers) }
    return parts
  }

  /// Equal when every part is.
  public static func == (left: RPCError, right: RPCError) -> Bool {
    left.code == right.code && left.message == right.message && left.details == right.details && left.trailers == right.trailers
  }

  /// Hashes every part.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(code)
    hasher.combine(message)
    hasher.combine(details)
    hasher.combine(trailers)
  }
}

extension RPCError: CustomStringConvertible {
  /// The code's name and the message.
  public var description: String {
    message.isEmpty ? code.name : "\(code.name): \(message)"
  }
}

extension RPCError.Code: CustomStringConvertible {
  /// The name as gRPC writes it, `NOT_FOUND`.
  public var name: String {
    switch self {
    case .cancelled: "CANCELLED"
    case .unknown: "UNKNOWN"
    case .invalidArgument: "INVALID_ARGUMENT"
    case .deadlineExceeded: "DEADLINE_EXCEEDED"
    case .notFound: "NOT_FOUND"
    case .alreadyExists: "ALREADY_EXISTS"
    case .permissionDenied: "PERMISSION_DENIED"
    case .resourceExhausted: "RESOURCE_EXHAUSTED"
    case .failedPrecondition: "FAILED_PRECONDITION"
    case .aborted: "ABORTED"
    case .outOfRange: "OUT_OF_RANGE"
    case .unimplemented: "UNIMPLEMENTED"
    case .internal: "INTERNAL"
    case .unavailable: "UNAVAILABLE"
    case .dataLoss: "DATA_LOSS"
    case .unauthenticated: "UNAUTHENTICATED"
    }
  }

  /// The name as gRPC writes it.
  public var description: String { name }

  /// The code of a name as gRPC writes it; nil for `OK` and for strangers.
  public init?(name: String) {
    guard let code = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = code
  }
}

extension RPCError {
  /// CANCELLED: nobody wants the result any more.
  public static func cancelled(_ message: String = "cancelled") -> RPCError { RPCError(.cancelled, message) }
  /// DEADLINE_EXCEEDED: it was not there in time.
  public static func deadlineExceeded(_ message: String = "deadline exceeded") -> RPCError { RPCError(.deadlineExceeded, message) }
  /// NOT_FOUND: what was asked for is not there.
  public static func notFound(_ message: String) -> RPCError { RPCError(.notFound, message) }
  /// ALREADY_EXISTS: what should be made is there.
  public static func alreadyExists(_ message: String) -> RPCError { RPCError(.alreadyExists, message) }
  /// PERMISSION_DENIED: the caller is known and may not.
  public static func permissionDenied(_ message: String) -> RPCError { RPCError(.permissionDenied, message) }
  /// RESOURCE_EXHAUSTED: a limit is reached.
  public static func resourceExhausted(_ message: String) -> RPCError { RPCError(.resourceExhausted, message) }
  /// FAILED_PRECONDITION: the state of things does not allow it; trying again alone does not help.
  public static func failedPrecondition(_ message: String) -> RPCError { RPCError(.failedPrecondition, message) }
  /// ABORTED: somebody else was quicker; the caller may begin anew.
  public static func aborted(_ message: String) -> RPCError { RPCError(.aborted, message) }
  /// OUT_OF_RANGE: past the end of what there is.
  public static func outOfRange(_ message: String) -> RPCError { RPCError(.outOfRange, message) }
  /// UNIMPLEMENTED: nobody serves that here.
  public static func unimplemented(_ message: String) -> RPCError { RPCError(.unimplemented, message) }
  /// INTERNAL: something that must not happen did.
  public static func `internal`(_ message: String) -> RPCError { RPCError(.internal, message) }
  /// UNAVAILABLE: not now; trying again may help.
  public static func unavailable(_ message: String) -> RPCError { RPCError(.unavailable, message) }
  /// UNAUTHENTICATED: the caller is not known.
  public static func unauthenticated(_ message: String) -> RPCError { RPCError(.unauthenticated, message) }

  /// A request whose bytes are not the message they claim to be: INTERNAL, as gRPC has it, with the path of the field.
  public static func undecodable(_ error: DecodingError) -> RPCError {
    RPCError(.internal, "undecodable message: \(error)")
  }

  /// What the caller may learn of an error that ended a handler.
  ///
  /// An `RPCError` passes as it is, and so does what knows its own outcome. `CancellationError` means whatever stopped the call. Anything else is the callee's own
  /// affair: UNKNOWN, without a word of it.
  public static func outcome(of error: any Error, in context: CallContext?) -> RPCError {
    if let error = error as? RPCError { return error }
    if let error = error as? any RPCErrorConvertible { return error.rpcError }
    if error is CancellationError {
      return context?.cancellationCode == .deadlineExceeded ? .deadlineExceeded() : .cancelled()
    }
    return RPCError(.unknown, "the handler failed")
  }
}

/// An error of a lower layer that knows what it means on the wire. Handlers let it pass through them.
public protocol RPCErrorConvertible: Error {
  /// What the caller may learn of it.
  var rpcError: RPCError { get }
}
