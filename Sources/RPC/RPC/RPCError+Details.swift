import SpanwireProtobuf
import SpanwireWellKnown

/// Typed details: what machines read of an error, as `google.rpc` defines it.
extension RPCError {
  /// A wrong value: INVALID_ARGUMENT with the path of the field that holds it, `google.rpc.BadRequest`.
  public static func invalidArgument(_ message: String, field: String? = nil) -> RPCError {
    guard let field else { return RPCError(.invalidArgument, message) }
    return invalidArgument([(field: field, description: message)])
  }

  /// Several wrong values. The message names the first.
  public static func invalidArgument(_ violations: [(field: String, description: String)]) -> RPCError {
    let message = violations.first.map { "\($0.field): \($0.description)" } ?? ""
    let more = violations.count > 1 ? ", and \(violations.count - 1) more" : ""
    let request = Google_Rpc_BadRequest(
      fieldViolations: violations.map { Google_Rpc_BadRequest.FieldViolation(field: $0.field, description: $0.description) })
    return RPCError(.invalidArgument, message + more).adding(request)
  }

  /// The same error with a reason that machines can tell apart, `google.rpc.ErrorInfo`.
  public func reason(_ reason: String, domain: String, metadata: ProtoMap<String, String> = [:]) -> RPCError {
    adding(Google_Rpc_ErrorInfo(reason: reason, domain: domain, metadata: metadata))
  }

  /// The same error with the advice to try again no sooner, `google.rpc.RetryInfo`.
  public func retry(after delay: Duration) -> RPCError {
    let (seconds, attoseconds) = delay.components
    return adding(
      Google_Rpc_RetryInfo(retryDelay: Google_Protobuf_Duration(seconds: seconds, nanos: Int32(attoseconds / 1_000_000_000))))
  }

  /// The same error with one more detail.
  public func adding(_ detail: some Message) -> RPCError {
    var error = self
    error.details.append(Google_Protobuf_Any(packing: detail))
    return error
  }

  /// The first detail of a type; nil if there is none, or none that can be decoded.
  public func detail<Detail: Message>(_ type: Detail.Type = Detail.self) -> Detail? {
    for any in details where any.packedTypeName == Detail.protoTypeName {
      if let detail = try? any.unpack(as: type) { return detail }
    }
    return nil
  }

  /// The reason, if the error bears one.
  public var errorInfo: Google_Rpc_ErrorInfo? { detail() }
  /// The fields that were wrong, if it says so.
  public var fieldViolations: [Google_Rpc_BadRequest.FieldViolation] { detail(Google_Rpc_BadRequest.self)?.fieldViolations ?? [] }
  /// How long to wait before another attempt, if it says so.
  ///
  /// Never negative, and never longer than the 10,000 years of `google.protobuf.Duration`, whatever the other side wrote.
  public var retryDelay: Duration? {
    detail(Google_Rpc_RetryInfo.self)?.retryDelay.map {
      .seconds(min(max($0.seconds, 0), 315_576_000_000)) + .nanoseconds(Int64(min(max($0.nanos, 0), 999_999_999)))
    }
  }
}

/// The whole of an error in one message, as `grpc-status-details-bin` carries it.
extension RPCError {
  /// The error as `google.rpc.Status`.
  public var status: Google_Rpc_Status {
    Google_Rpc_Status(code: Int32(code.rawValue), message: message, details: details)
  }

  /// nil for OK.
  public init?(status: Google_Rpc_Status, trailers: Metadata = Metadata()) {
    guard status.code != 0 else { return nil }
    self.init(
      UInt8(exactly: status.code).flatMap(Code.init(rawValue:)) ?? .unknown, status.message, details: status.details, trailers: trailers)
  }

  /// The name of the trailer that carries the details.
  package static let detailsTrailer = "grpc-status-details-bin"

  /// What the trailer carries: nil for an error without details, which needs none.
  package var encodedDetails: [UInt8]? { details.isEmpty ? nil : status.encoded() }

  /// Takes the details out of the trailers, if there are any that agree with the code.
  package mutating func takeDetails() {
    guard let bytes = trailers[bytes: Self.detailsTrailer].first else { return }
    trailers.removeAll(Self.detailsTrailer)
    guard let status = try? Google_Rpc_Status(decoding: bytes), status.code == Int32(code.rawValue) else { return }
    details = status.details
  }
}

extension Metadata {
  /// Adds the details of a status, under the name that is the protocol's own.
  package mutating func addDetails(_ status: [UInt8]) {
    append(form: .bytes, name: Array(RPCError.detailsTrailer.utf8), value: status)
  }
}
