import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireWellKnown

/// Collects what is wrong with a request, all of it, and refuses once: INVALID_ARGUMENT with `google.rpc.BadRequest`.
///
/// Field paths are those of the proto: `task.constraints.max_suggestions`.
public struct Validation: Sendable {
  /// Violations reported; a caller that makes more of them learns of the first.
  public static let maxViolations = 100

  public private(set) var violations: [(field: String, description: String)] = []

  public init() {}

  public var isClean: Bool { violations.isEmpty }

  public mutating func add(_ field: String, _ description: String) {
    if violations.count < Self.maxViolations { violations.append((field, description)) }
  }

  public mutating func check(_ condition: Bool, _ field: String, _ description: @autoclosure () -> String) {
    if !condition { add(field, description()) }
  }

  /// Throws what was collected.
  public func finish() throws {
    if let error = error(reason: .invalidFields) { throw error }
  }

  /// What was collected as the refusal it makes; nil when nothing was.
  func error(reason: Reason) -> RPCError? {
    if isClean { return nil }
    let summary = violations.count == 1 ? "\(violations[0].field): \(violations[0].description)" : "\(violations.count) fields are invalid"
    var error = RPCError.refusal(.invalidArgument, reason, summary)
    var badRequest = Google_Rpc_BadRequest()
    badRequest.fieldViolations = violations.map {
      var violation = Google_Rpc_BadRequest.FieldViolation()
      violation.field = $0.field
      violation.description = $0.description
      return violation
    }
    error.details.insert(Google_Protobuf_Any(packing: badRequest), at: 0)
    return error
  }

  // MARK: Kinds of fields

  /// An id that must be there.
  public mutating func id(_ value: String, _ field: String) {
    if value.isEmpty { return add(field, "is required") }
    check(Identifier.isValid(value), field, "must match [A-Za-z0-9._-]{1,128}")
  }

  public mutating func optionalID(_ value: String, _ field: String) {
    if !value.isEmpty { id(value, field) }
  }

  public mutating func ids(_ values: [String], _ field: String, max: Int) {
    check(values.count <= max, field, "at most \(max)")
    for (index, value) in values.prefix(max).enumerated() { id(value, "\(field)[\(index)]") }
  }

  public mutating func idempotencyKey(_ value: String, _ field: String = "idempotency_key") { id(value, field) }

  /// Text that must be there, of at most that many characters, without control characters other than line breaks and tabs.
  public mutating func text(_ value: String, _ field: String, max: Int) {
    if value.isEmpty { return add(field, "is required") }
    optionalText(value, field, max: max)
  }

  public mutating func optionalText(_ value: String, _ field: String, max: Int) {
    // Bytes first: counting characters of a text that is far too long is itself work.
    if value.utf8.count > max * 4 || value.count > max { return add(field, "is longer than \(max) characters") }
    let hasControl = value.utf8.contains { $0 < 32 && $0 != 9 && $0 != 10 && $0 != 13 || $0 == 127 }
    check(!hasControl, field, "holds control characters")
  }

  public mutating func range<Number: BinaryInteger>(_ value: Number, _ field: String, _ range: ClosedRange<Number>) {
    check(range.contains(value), field, "must be \(range.lowerBound) to \(range.upperBound)")
  }

  /// An enum value that this release knows; unspecified is allowed.
  public mutating func known<Value: MessageEnum & CaseIterable>(_ value: Value, _ field: String) {
    check(Value.allCases.contains(value), field, "\(value.rawValue) is no known value")
  }

  /// An enum value that must be given.
  public mutating func given<Value: MessageEnum & CaseIterable>(_ value: Value, _ field: String) {
    check(
      Value.allCases.contains(value) && value.rawValue != 0, field,
      value.rawValue == 0 ? "is required" : "\(value.rawValue) is no known value")
  }

  /// A page's size, 0 reading as the default.
  public mutating func pageSize(_ value: UInt32, _ field: String = "page_size", default defaultSize: Int, max: Int) -> Int {
    check(Int(value) <= max, field, "must be 1 to \(max)")
    return value == 0 ? defaultSize : min(Int(value), max)
  }

  public mutating func pageSize(
    _ value: UInt32, _ field: String = "page_size", default defaultSize: Int, in range: ClosedRange<Int>
  ) -> Int {
    pageSize(value, field, default: defaultSize, max: range.upperBound)
  }

  /// An amount of an ISO 4217 currency, not negative unless allowed.
  public mutating func money(_ value: Money?, _ field: String, allowsNegative: Bool = false) {
    guard let value else { return add(field, "is required") }
    check(
      value.currency.utf8.count == 3 && value.currency.utf8.allSatisfy { (65...90).contains($0) }, "\(field).currency", "must be ISO 4217")
    check(allowsNegative || value.micros >= 0, "\(field).micros", "must not be negative")
  }
}

extension RPCError {
  /// INVALID_ARGUMENT for one field.
  public static func invalidField(_ field: String, _ description: String, reason: Reason = .invalidFields) -> RPCError {
    var fields = Validation()
    fields.add(field, description)
    guard let error = fields.error(reason: reason) else { preconditionFailure("a violation was added") }
    return error
  }
}
