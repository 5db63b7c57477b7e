import Foundation
import SpanwireOutbound
import SpanwireRPC

/// Tells whoever listens behind a URL of changes of the incident mode: one POST of JSON each, within a bounded time. Who calls it tries
/// again.
struct IncidentWebhook: Sendable {
  private let url: String
  private let client = OutboundClient()

  /// How long one call may take.
  private static let timeout = Duration.seconds(5)
  /// What may be answered; nobody reads it.
  private static let answerBytes = 64 * 1024

  /// Throws for what is no URL of HTTP.
  init(_ text: String) throws {
    guard let url = URL(string: text), ["http", "https"].contains(url.scheme?.lowercased()), url.host()?.isEmpty == false else {
      throw PlatformError("the webhook of incidents is no URL of HTTP: \(text)")
    }
    self.url = text
  }

  func send(_ body: [UInt8]) async throws {
    let request = OutboundRequest(method: "POST", url: url, headers: [(name: "content-type", value: "application/json")], body: body)
    let times = OutboundTimes(first: Self.timeout, idle: Self.timeout, whole: Self.timeout)
    let answer: OutboundAnswer
    do {
      answer = try await client.send(request, within: times, atMost: Self.answerBytes)
    } catch let failure as OutboundFailure {
      throw RPCError.unavailable("the webhook: \(failure)")
    }
    guard (200..<300).contains(answer.status) else { throw RPCError.unavailable("the webhook answered \(answer.status)") }
  }
}
