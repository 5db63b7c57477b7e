import SpanwireDatabase
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireWellKnown

/// Refusals with a reason that programs can read: every one carries `google.rpc.ErrorInfo` with the reason's name and our domain.
extension RPCError {
  public static let reasonDomain = "spanwire"

  public static func refusal(
    _ code: Code, _ reason: Reason, _ message: String, metadata: [(String, String)] = []
  ) -> RPCError {
    var info = Google_Rpc_ErrorInfo()
    info.reason = reason.wireName
    info.domain = reasonDomain
    for (key, value) in metadata { info.metadata[key] = value }
    return RPCError(code, message, details: [Google_Protobuf_Any(packing: info)])
  }

  /// NOT_FOUND: there is none, or it is another tenant's.
  public static func missing(_ reason: Reason, _ message: String) -> RPCError { refusal(.notFound, reason, message) }

  /// FAILED_PRECONDITION: not in this state. The message says which state it is in and what is allowed there.
  public static func precondition(_ reason: Reason, _ message: String, metadata: [(String, String)] = []) -> RPCError {
    refusal(.failedPrecondition, reason, message, metadata: metadata)
  }

  /// PERMISSION_DENIED by a rule, whose id goes along; so does that of the audit record, for a denial that its refuser has audited.
  public static func denied(_ reason: Reason, rule: String, _ message: String, audit eventID: String = "") -> RPCError {
    let audited = eventID.isEmpty ? [] : [(auditKey, eventID)]
    return refusal(.permissionDenied, reason, message, metadata: [("rule", rule)] + audited)
  }

  /// Under which the metadata of a reason names the event that audits a denial.
  public static let auditKey = "audit_event_id"

  /// The same refusal, naming the event that audits it.
  public func audited(as eventID: String) -> RPCError {
    var error = self
    for (index, detail) in details.enumerated() {
      guard var info = try? detail.unpack(as: Google_Rpc_ErrorInfo.self), info.domain == Self.reasonDomain else { continue }
      info.metadata[Self.auditKey] = eventID
      error.details[index] = Google_Protobuf_Any(packing: info)
      return error
    }
    let info = Google_Rpc_ErrorInfo(reason: Reason.policyDenied.wireName, domain: Self.reasonDomain, metadata: [Self.auditKey: eventID])
    error.details.append(Google_Protobuf_Any(packing: info))
    return error
  }

  /// RESOURCE_EXHAUSTED or UNAVAILABLE, with when to try again, if that helps.
  public static func later(
    _ code: Code, _ reason: Reason, _ message: String, after delay: Duration?, metadata: [(String, String)] = []
  ) -> RPCError {
    var error = refusal(code, reason, message, metadata: metadata)
    guard let delay else { return error }
    var retry = Google_Rpc_RetryInfo()
    retry.retryDelay = Google_Protobuf_Duration(delay)
    error.details.append(Google_Protobuf_Any(packing: retry))
    return error
  }

  /// The reason that a refusal carries, if it is one of ours.
  public var reason: Reason? {
    for detail in details {
      guard let info = try? detail.unpack(as: Google_Rpc_ErrorInfo.self), info.domain == Self.reasonDomain else { continue }
      return Reason(wireName: info.reason)
    }
    return nil
  }

  /// The metadata of the reason: `rule` of a denial.
  public func reasonMetadata(_ key: String) -> String? {
    for detail in details {
      if let info = try? detail.unpack(as: Google_Rpc_ErrorInfo.self), let value = info.metadata[key] { return value }
    }
    return nil
  }

  /// Whether the callee decided so, and would again: not a matter of networks, load or time.
  public var isVerdict: Bool {
    switch code {
    case .cancelled, .unknown, .deadlineExceeded, .resourceExhausted, .aborted, .internal, .unavailable, .dataLoss: false
    default: true
    }
  }
}

extension Reason {
  /// The name without `REASON_`, as it stands in `ErrorInfo.reason`: `SESSION_NOT_FOUND`.
  public var wireName: String {
    // A case bears the proto's name in the other spelling.
    var name = ""
    for letter in "\(self)" {
      if letter.isUppercase { name += "_" }
      name += letter.uppercased()
    }
    return name
  }

  /// The reason of a name as it stands in `ErrorInfo.reason`.
  public init?(wireName: String) {
    guard let reason = Self.allCases.first(where: { $0.wireName == wireName }) else { return nil }
    self = reason
  }
}

/// What the store did to a caller, as its caller sees it.
extension DatabaseError: RPCErrorConvertible {
  public var rpcError: RPCError {
    switch self {
    case .busy(let limit):
      .later(.resourceExhausted, .queueFull, "the store is busy: \(limit) calls wait already", after: .milliseconds(100))
    case .outcomeUnknown:
      .refusal(.unavailable, .outcomeUnknown, "it is not known whether this happened; retry with the same idempotency key")
    case .unexpectedRowCount: .aborted("somebody else changed this at the same time; try again")
    case .full: .resourceExhausted("the store has no room left; nothing was changed")
    case .readOnly: .unavailable("the store may not be written; nothing was changed")
    case .corrupt: RPCError(.dataLoss, "the store is damaged")
    case .textHoldsNUL: RPCError(.invalidArgument, "text holds a NUL")
    case .closed: .unavailable("the store is closed")
    case .constraint, .engine, .locked, .schema: .internal("the store failed")
    }
  }
}
