import Foundation
import Synchronization

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// What came of one exchange and was not read yet.
final class OutboundPieces: Sendable {
  enum Piece: Sendable {
    case head(status: Int, headers: [(name: String, value: String)])
    case data([UInt8])
    case failure(OutboundFailure)
  }

  private struct State {
    var unread = 0
    var hasHead = false
  }

  let stream: AsyncStream<Piece>
  private let continuation: AsyncStream<Piece>.Continuation
  private let state = Mutex(State())

  init() {
    // Bounded by giving up on what is not read.
    (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
  }

  /// Adds what came; false when its reader is so far behind that it is given up.
  func add(_ piece: Piece) -> Bool {
    let isTooMuch = state.withLock { state in
      if case .head = piece { state.hasHead = true }
      if case .data(let bytes) = piece { state.unread += bytes.count }
      return state.unread > OutboundLimits.unread
    }
    continuation.yield(isTooMuch ? .failure(.tooLarge(limit: OutboundLimits.unread)) : piece)
    if isTooMuch { continuation.finish() }
    return !isTooMuch
  }

  func finish(_ error: (any Error)?) {
    if let error { continuation.yield(.failure(failure(of: error as NSError))) }
    continuation.finish()
  }

  func taken(_ count: Int) { state.withLock { $0.unread -= count } }

  private func failure(of error: NSError) -> OutboundFailure {
    let cause = error.userInfo[NSUnderlyingErrorKey] as? NSError ?? error
    let text = String(cause.localizedDescription.prefix(OutboundLimits.errorLetters))
    return state.withLock(\.hasHead) ? .broken(text) : .unreachable(text)
  }
}

/// A reply that is being read, by one task.
public final class OutboundReply {
  /// 200, 404, ….
  public let status: Int
  /// Names in lower case.
  public let headers: [(name: String, value: String)]

  private let pieces: OutboundPieces
  private var iterator: AsyncStream<OutboundPieces.Piece>.Iterator
  private let watch: OutboundWatch

  private init(
    status: Int, headers: [(name: String, value: String)], _ pieces: OutboundPieces, _ iterator: AsyncStream<OutboundPieces.Piece>.Iterator,
    _ watch: OutboundWatch
  ) {
    self.status = status
    self.headers = headers
    self.pieces = pieces
    self.iterator = iterator
    self.watch = watch
  }

  /// The reply of an exchange, once its head has come.
  static func begun(_ pieces: OutboundPieces, _ watch: OutboundWatch) async throws -> OutboundReply {
    var iterator = pieces.stream.makeAsyncIterator()
    switch await iterator.next(isolation: #isolation) {
    case .head(let status, let headers):
      watch.rest()
      return OutboundReply(status: status, headers: headers, pieces, iterator, watch)
    case .failure(let failure):
      try Task.checkCancellation()
      throw failure
    case .data, nil:
      try Task.checkCancellation()
      throw OutboundFailure.broken("no head came")
    }
  }

  /// The first value of a header, by its name in lower case.
  public subscript(name: String) -> String? { headers.first { $0.name == name }?.value }

  /// The next piece of the body as it came, or nil at its end.
  public func next() async throws -> [UInt8]? {
    watch.expect()
    defer { watch.rest() }
    let piece = await iterator.next(isolation: #isolation)
    try Task.checkCancellation()
    switch piece {
    case .data(let bytes):
      pieces.taken(bytes.count)
      return bytes
    case .failure(let failure): throw failure
    case .head, nil: return nil
    }
  }

  /// What is left of the body. Throws `tooLarge` when that is more than may be.
  public func rest(atMost limit: Int) async throws -> [UInt8] {
    var all: [UInt8] = []
    while let piece = try await next() {
      guard all.count + piece.count <= limit else { throw OutboundFailure.tooLarge(limit: limit) }
      all += piece
    }
    return all
  }
}
