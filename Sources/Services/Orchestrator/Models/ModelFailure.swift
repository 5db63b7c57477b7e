import Foundation
import SpanwireOutbound
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Why a model gave no answer.
struct ModelFailure: Error, Sendable {
  /// In the words that records and operators see.
  enum Reason: String, Sendable, Hashable {
    // Nobody was asked.
    case circuitOpen = "circuit_open"
    case refusedByPolicy = "refused_by_policy"
    case overCost = "over_cost"
    case notConfigured = "not_configured"
    // The provider said so.
    case rateLimited = "rate_limited"
    case serverError = "server_error"
    case overloaded
    case unauthorized
    case unknownModel = "unknown_model"
    case badRequest = "bad_request"
    case contextLengthExceeded = "context_length_exceeded"
    // The model did.
    case contentFilter = "content_filter"
    case refusal
    case tooManyTools = "too_many_tools"
    case empty
    // The exchange failed.
    case unreachable
    case timedOut = "timed_out"
    case truncated
    case malformed
    case wrongType = "wrong_content_type"
    case tooLarge = "too_large"
    // Money ran out in the middle.
    case budgetExhausted = "budget_exhausted"
  }

  var reason: Reason
  var text: String
  /// When the provider, a policy or a circuit may be asked again, if it is known.
  var retryAfter: Duration?
  /// The policy that refused, and the code with which it did.
  var policy = ""
  var code = RPCError.Code.unavailable

  init(_ reason: Reason, _ text: String, retryAfter: Duration? = nil, policy: String = "") {
    self.reason = reason
    self.text = text
    self.retryAfter = retryAfter
    self.policy = policy
  }

  init(_ failure: OutboundFailure) {
    switch failure {
    case .timedOut: self.init(.timedOut, failure.description)
    case .broken: self.init(.truncated, failure.description)
    case .tooLarge: self.init(.tooLarge, failure.description)
    case .invalidURL, .unreachable: self.init(.unreachable, failure.description)
    }
  }

  /// Of an answer that is no stream of events: what the provider says went wrong, in the shape that OpenAI gives it, if it has that.
  init(status: Int, body: [UInt8], retryAfter header: String?) {
    let said = try? JSONDecoder().decode(Shape.self, from: Data(body)).error
    let text = "HTTP \(status)" + (said?.message.map { ": \($0)" } ?? "")
    let wait = header.flatMap { Int64($0.trimmingCharacters(in: .whitespaces)) }
      .map { Duration.seconds(min(max($0, 0), OrchestratorLimits.modelRetryAfterSeconds)) }
    let reason: Reason =
      switch (status, said?.code) {
      case (_, "context_length_exceeded"): .contextLengthExceeded
      case (_, "content_filter"): .contentFilter
      case (429, _): .rateLimited
      case (401, _), (403, _): .unauthorized
      case (404, _): .unknownModel
      case (503, _), (529, _): .overloaded
      case (500..., _): .serverError
      default: .badRequest
      }
    self.init(reason, text, retryAfter: wait)
  }

  /// Of policy's refusal to let a model be asked, or to let it go on; any other error stays what it is.
  static func refusal(_ error: any Error, as reason: Reason) -> any Error {
    guard let error = error as? RPCError, error.reason == .policyDenied else { return error }
    var failure = ModelFailure(reason, error.message, retryAfter: error.retryDelay, policy: error.reasonMetadata("rule") ?? "")
    failure.code = error.code
    return failure
  }

  private struct Shape: Decodable {
    struct Fault: Decodable {
      var message: String?
      var code: String?

      enum CodingKeys: CodingKey { case message, code }

      init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        message = try? values.decode(String.self, forKey: .message)
        // Some servers give the status as a number here.
        code = try? values.decode(String.self, forKey: .code)
      }
    }

    var error: Fault
  }

  /// What it says of the provider to its circuit.
  var outcome: CircuitBreaker.Outcome {
    switch reason {
    case .circuitOpen, .refusedByPolicy, .overCost, .notConfigured, .budgetExhausted: .neutral
    case .badRequest, .contextLengthExceeded, .contentFilter, .refusal, .tooManyTools, .empty, .unknownModel: .success
    default: .failure
    }
  }

  /// Whether the same model would only say so again.
  var isFinal: Bool {
    switch reason {
    case .overCost, .notConfigured, .unauthorized, .unknownModel, .badRequest, .contextLengthExceeded, .contentFilter, .refusal,
      .tooManyTools, .refusedByPolicy:
      true
    default: false
    }
  }

  /// Whether another model may be asked instead. An exhausted budget is exhausted for all.
  var mayFallBack: Bool { reason != .budgetExhausted }
}

extension String {
  /// The text as it may be kept: without the secret, on one line, and not too long.
  func redacted(_ secret: String?) -> String {
    var text = self
    if let secret, !secret.isEmpty { text = text.replacingOccurrences(of: secret, with: "[key]") }
    let line = text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : Character($0) }
    return String(String(line).prefix(OrchestratorLimits.modelErrorLetters))
  }
}
