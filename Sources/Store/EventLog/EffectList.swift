import SpanwireDatabase
import SpanwireRPC

/// An effect as operators see it.
public struct ListedEffect: Sendable {
  public let effect: Effect
  public let state: ListedState
  /// What the last attempt, or the callee's verdict, said; nil when nothing has failed.
  public let error: RPCError?
  /// When it ended, or was given up; 0 while it is pending.
  public let endedAt: Int64

  /// Its place in the list of its state.
  public var place: EffectPlace { EffectPlace(dueAt: effect.dueAt, stream: effect.stream, number: effect.number) }
}

/// States that can be listed. Those that ended well are not: there are many, and nobody need do anything about them.
public enum ListedState: Sendable, Hashable {
  /// Due, under way, tried again, or waiting for its time.
  case pending
  /// Its callee has refused it; its owner was told.
  case failed
  /// It waits for an operator.
  case givenUp
  case ended
}

/// Where a list of effects goes on.
public struct EffectPlace: Sendable, Hashable {
  public var dueAt: Int64
  public var stream: String
  public var number: Int64

  public init(dueAt: Int64 = -1, stream: String = "", number: Int64 = 0) {
    self.dueAt = dueAt
    self.stream = stream
    self.number = number
  }
}

extension EffectStore {
  /// One effect, whatever its state.
  static func find(_ reader: borrowing some Reader & ~Copyable, _ id: String) throws -> ListedEffect? {
    try reader.first(
      """
      SELECT number, id, owner, stream, method, request, due_at, tenant_id, subject, traceparent, attempts, state, outcome, ended_at
      FROM effect WHERE id = ?1
      """, id, row: listed)
  }

  /// Whose effect it is; nil when there is none.
  public static func tenant(_ reader: borrowing some Reader & ~Copyable, of id: String) throws -> String? {
    try reader.first("SELECT tenant_id FROM effect WHERE id = ?1", id) { $0[0] }
  }

  /// A tenant's effects of one state after a place: pending ones as they fall due, others by stream or in the order they were written.
  public static func list(
    _ reader: borrowing some Reader & ~Copyable, _ state: ListedState, tenant: String, after place: EffectPlace, limit: Int
  ) throws -> [ListedEffect] {
    switch state {
    case .pending:
      try reader.query(
        """
        SELECT number, id, owner, stream, method, request, due_at, tenant_id, subject, traceparent, attempts, state, outcome, ended_at
        FROM effect WHERE state = 0 AND tenant_id = ?1 AND (due_at, number) > (?2, ?3) ORDER BY due_at, number LIMIT ?4
        """, tenant, place.dueAt, place.number, limit, row: listed)
    case .failed:
      try reader.query(
        """
        SELECT number, id, owner, stream, method, request, due_at, tenant_id, subject, traceparent, attempts, state, outcome, ended_at
        FROM effect WHERE state = 2 AND tenant_id = ?1 AND number > ?2 ORDER BY number LIMIT ?3
        """, tenant, place.number, limit, row: listed)
    case .givenUp:
      try reader.query(
        """
        SELECT number, id, owner, stream, method, request, due_at, tenant_id, subject, traceparent, attempts, state, outcome, ended_at
        FROM effect WHERE state = 4 AND tenant_id = ?1 AND (stream, number) > (?2, ?3) ORDER BY stream, number LIMIT ?4
        """, tenant, place.stream, place.number, limit, row: listed)
    case .ended: []
    }
  }

  private static func listed(_ row: Row) -> ListedEffect {
    var effect = Effect(
      id: row[1], owner: row[2], stream: row[3], method: row[4], request: row[5], dueAt: row[6], tenant: row[7],
      subject: Principal(storedText: row[8]), trace: TraceContext(traceparent: row[9]))
    effect.number = row[0]
    effect.attempts = row[10]
    let state: ListedState =
      switch row.get(11, as: State.self) {
      case .pending: .pending
      case .failed: .failed
      case .givenUp: .givenUp
      case .succeeded, .cancelled: .ended
      }
    let outcome = state == .ended ? nil : row.get(12, as: [UInt8]?.self)
    return ListedEffect(effect: effect, state: state, error: outcome.map(RPCError.init(stored:)), endedAt: row[13])
  }
}
