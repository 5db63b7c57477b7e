import SpanwireDatabase
import Synchronization

/// A store whose next transactions end as planned: refused, or with an outcome that nobody knows.
final class FlakyDatabase: Database {
  enum Fault: CaseIterable { case none, busy, lost, unknown }

  private let engine: any Database
  private let faults = Mutex<[Fault]>([])

  init(_ engine: any Database) { self.engine = engine }

  /// What becomes of the next transactions; after them all is well.
  func plan(_ next: [Fault]) { faults.withLock { $0 = next } }

  private struct Undone: Error {}

  func transaction<R: Sendable>(
    _ name: StaticString, _ body: @escaping @Sendable (borrowing Transaction) throws -> R
  ) async throws -> Committed<R> {
    switch faults.withLock({ $0.isEmpty ? .none : $0.removeFirst() }) {
    case .none: return try await engine.transaction(name, body)
    case .busy: throw DatabaseError.busy(limit: 0)
    case .unknown:
      _ = try await engine.transaction(name, body)
      throw DatabaseError.outcomeUnknown("planned")
    case .lost:
      do {
        _ = try await engine.transaction(name) { transaction in
          _ = try body(transaction)
          throw Undone()
        }
      } catch is Undone {}
      throw DatabaseError.outcomeUnknown("planned")
    }
  }

  func read<R: Sendable>(_ body: @escaping @Sendable (borrowing Snapshot) throws -> R) async throws -> R { try await engine.read(body) }

  func scan<R: Sendable>(_ body: @escaping @Sendable (borrowing Snapshot) throws -> R) async throws -> R { try await engine.scan(body) }

  func observe(_ observer: any CommitObserver) { engine.observe(observer) }

  func migrate(_ migrations: Migrations) async throws { try await engine.migrate(migrations) }

  func close() async {}
}

/// The same numbers for the same seed.
struct SeededNumbers {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 }

  mutating func below(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int((state >> 33) % UInt64(bound))
  }
}
