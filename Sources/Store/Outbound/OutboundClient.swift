import Foundation
import Synchronization

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// Calls that leave the platform for other people's HTTP servers, each with its times and bounds.
///
/// Redirects are answers like others and are not followed: whoever is given a credential is the one that was named. Nothing is cached, no
/// cookie is kept. The session starts with the first exchange, so that who calls nobody pays for nothing.
public final class OutboundClient: Sendable {
  private enum State {
    case unused
    case open(URLSession)
    case closed
  }

  private let state = Mutex(State.unused)
  private let exchanges = OutboundExchanges()

  /// Makes a client that has no connection yet.
  public init() {}

  deinit {
    // The session holds on to its delegate, not to this.
    if case .open(let session) = state.withLock({ $0 }) { session.invalidateAndCancel() }
  }

  /// Closes its connections. Exchanges under way fail.
  public func shutDown() {
    let session = state.withLock { state -> URLSession? in
      defer { state = .closed }
      if case .open(let session) = state { return session }
      return nil
    }
    session?.invalidateAndCancel()
  }

  /// Asks, and reads the whole reply.
  ///
  /// Throws an `OutboundFailure`, or `CancellationError`, after which the connection is closed.
  public func send(_ request: OutboundRequest, within times: OutboundTimes, atMost limit: Int) async throws -> OutboundAnswer {
    try await exchange(request, within: times) { reply in
      OutboundAnswer(status: reply.status, headers: reply.headers, body: try await reply.rest(atMost: limit))
    }
  }

  /// Asks, and has a reader take the reply piece by piece. The time that the reader takes for itself counts for the whole alone.
  ///
  /// When the reader returns or throws before the reply's end, when a time is over, and when the caller is cancelled, the exchange is
  /// given up and its connection closed. Throws what the reader throws, an `OutboundFailure`, or `CancellationError`.
  public func exchange<R: Sendable>(
    _ request: OutboundRequest, within times: OutboundTimes, _ read: @escaping @Sendable (OutboundReply) async throws -> R
  ) async throws -> R {
    let task = try session().dataTask(with: try Self.message(of: request))
    let watch = OutboundWatch(times)
    let pieces = exchanges.begin(task)
    defer {
      task.cancel()
      exchanges.end(task)
    }
    return try await withThrowingTaskGroup(of: R?.self) { group in
      group.addTask { try await read(OutboundReply.begun(pieces, watch)) }
      group.addTask {
        try await watch.run()
        return nil
      }
      defer { group.cancelAll() }
      guard let result = try await group.next(), let result else { throw CancellationError() }
      return result
    }
  }

  private static func message(of request: OutboundRequest) throws -> URLRequest {
    guard let url = URL(string: request.url), ["http", "https"].contains(url.scheme?.lowercased()), url.host()?.isEmpty == false else {
      throw OutboundFailure.invalidURL
    }
    var message = URLRequest(url: url)
    message.httpMethod = request.method
    for header in request.headers { message.addValue(header.value, forHTTPHeaderField: header.name) }
    if !request.body.isEmpty { message.httpBody = Data(request.body) }
    return message
  }

  private func session() throws -> URLSession {
    try state.withLock { state in
      switch state {
      case .open(let session): return session
      case .closed: throw OutboundFailure.unreachable("the server stops")
      case .unused:
        let configuration = URLSessionConfiguration.ephemeral
        configuration.httpMaximumConnectionsPerHost = OutboundLimits.connections
        configuration.httpCookieStorage = nil
        configuration.urlCache = nil
        // The watch looks after the time.
        configuration.timeoutIntervalForRequest = 86_400
        let session = URLSession(configuration: configuration, delegate: exchanges, delegateQueue: nil)
        state = .open(session)
        return session
      }
    }
  }
}

/// What comes of the exchanges under way, handed to who reads each.
final class OutboundExchanges: NSObject, URLSessionDataDelegate {
  private let state = Mutex<[Int: OutboundPieces]>([:])

  func begin(_ task: URLSessionDataTask) -> OutboundPieces {
    let pieces = OutboundPieces()
    state.withLock { $0[task.taskIdentifier] = pieces }
    task.resume()
    return pieces
  }

  func end(_ task: URLSessionTask) { _ = state.withLock { $0.removeValue(forKey: task.taskIdentifier) } }

  private func pieces(of task: URLSessionTask) -> OutboundPieces? { state.withLock { $0[task.taskIdentifier] } }

  func urlSession(
    _ session: URLSession, dataTask: URLSessionDataTask, didReceive response: URLResponse,
    completionHandler: @escaping @Sendable (URLSession.ResponseDisposition) -> Void
  ) {
    guard let pieces = pieces(of: dataTask), let head = response as? HTTPURLResponse else { return completionHandler(.cancel) }
    let headers = head.allHeaderFields.map { (name: "\($0.key)".lowercased(), value: "\($0.value)") }
    completionHandler(pieces.add(.head(status: head.statusCode, headers: headers)) ? .allow : .cancel)
  }

  func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
    // Without a reader it is over already.
    if pieces(of: dataTask)?.add(.data(Array(data))) != true { dataTask.cancel() }
  }

  func urlSession(
    _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse, newRequest request: URLRequest,
    completionHandler: @escaping @Sendable (URLRequest?) -> Void
  ) {
    completionHandler(nil)
  }

  func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
    pieces(of: task)?.finish(error)
  }
}
