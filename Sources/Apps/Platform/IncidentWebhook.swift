import Foundation
import FoundationNetworking
import SpanwireRPC

/// Tells whoever listens behind a URL of changes of the incident mode: one POST of JSON each, within a bounded time. Who calls it tries
/// again.
struct IncidentWebhook: Sendable {
  let url: URL

  /// How long one call may take.
  private static let timeout: TimeInterval = 5

  /// Throws for what is no URL of HTTP.
  init(_ text: String) throws {
    guard let url = URL(string: text), ["http", "https"].contains(url.scheme?.lowercased()), url.host?.isEmpty == false else {
      throw PlatformError("the webhook of incidents is no URL of HTTP: \(text)")
    }
    self.url = url
  }

  func send(_ body: [UInt8]) async throws {
    var request = URLRequest(url: url, timeoutInterval: Self.timeout)
    request.httpMethod = "POST"
    request.setValue("application/json", forHTTPHeaderField: "content-type")
    request.httpBody = Data(body)
    let response: URLResponse
    do {
      (_, response) = try await URLSession.shared.data(for: request)
    } catch {
      throw RPCError.unavailable("the webhook cannot be reached: \(error.localizedDescription)")
    }
    let status = (response as? HTTPURLResponse)?.statusCode ?? 0
    guard (200..<300).contains(status) else { throw RPCError.unavailable("the webhook answered \(status)") }
  }
}
