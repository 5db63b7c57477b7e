import SpanwireDatabase
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// The rows of effects.
public enum EffectStore {
  public static let migrations = Migrations(
    "effects",
    [
      .init(
        "effects and their outcomes",
        sqlite: """
          CREATE TABLE effect (
            number INTEGER NOT NULL PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            stream TEXT NOT NULL,
            method TEXT NOT NULL,
            request BLOB NOT NULL,
            due_at INTEGER NOT NULL,
            tenant_id TEXT NOT NULL,
            subject TEXT NOT NULL,
            traceparent TEXT NOT NULL,
            state INTEGER NOT NULL,
            attempts INTEGER NOT NULL,
            ended_at INTEGER NOT NULL,
            outcome BLOB
          ) STRICT;
          CREATE INDEX effect_due ON effect (due_at, number) WHERE state = 0;
          CREATE INDEX effect_failed ON effect (number) WHERE state = 2;
          CREATE INDEX effect_given_up ON effect (stream, number) WHERE state = 4;
          """)
    ])

  enum State: Int64, SQLValue {
    case pending = 0
    case succeeded = 1
    case failed = 2
    case cancelled = 3
    /// Tried as often as is allowed, without a verdict: it waits for an operator, and its stream with it.
    case givenUp = 4
  }

  /// Pending effects that are due, in order, after a place in it; not those of streams that wait for an operator.
  static func due(
    _ reader: borrowing some Reader & ~Copyable, now: Int64, after: (dueAt: Int64, number: Int64), limit: Int
  ) throws -> [Effect] {
    try reader.query(
      """
      SELECT number, id, owner, stream, method, request, due_at, tenant_id, subject, traceparent, attempts FROM effect
      WHERE state = 0 AND due_at <= ?1 AND (due_at, number) > (?2, ?3)
        AND NOT EXISTS (SELECT 1 FROM effect AS held WHERE held.state = 4 AND held.stream = effect.stream)
      ORDER BY due_at, number LIMIT ?4
      """, now, after.dueAt, after.number, limit
    ) { row in
      var effect = Effect(
        id: row[1], owner: row[2], stream: row[3], method: row[4], request: row[5], dueAt: row[6], tenant: row[7],
        subject: Principal(storedText: row[8]), trace: TraceContext(traceparent: row[9]))
      effect.number = row[0]
      effect.attempts = row[10]
      return effect
    }
  }

  /// When the next effect that is not due yet will be; nil when none waits.
  static func nextDue(_ reader: borrowing some Reader & ~Copyable, after now: Int64) throws -> Int64? {
    try reader.first("SELECT min(due_at) FROM effect WHERE state = 0 AND due_at > ?1", now) { $0.get(0, as: Int64?.self) }.flatMap { $0 }
  }

  /// How an effect ended; nil while it has not. Throws NOT_FOUND for an effect that there isn't.
  static func outcome(_ reader: borrowing some Reader & ~Copyable, of id: String) throws -> EffectOutcome? {
    let row = try reader.first("SELECT state, outcome FROM effect WHERE id = ?1", id) {
      (state: $0.get(0, as: State.self), outcome: $0.get(1, as: [UInt8]?.self))
    }
    guard let row else { throw RPCError.notFound("no effect \(id)") }
    switch row.state {
    case .pending: return nil
    case .succeeded: return .succeeded(row.outcome ?? [])
    case .failed: return .failed(RPCError(stored: row.outcome ?? []))
    case .cancelled: return .cancelled
    case .givenUp: throw RPCError.givenUp(id, RPCError(stored: row.outcome ?? []))
    }
  }

  /// The streams that wait for an operator.
  static func heldStreams(_ reader: borrowing some Reader & ~Copyable) throws -> [String] {
    try reader.query("SELECT DISTINCT stream FROM effect WHERE state = 4") { $0[0] }
  }

  /// Forgets outcomes that ended before a moment, never the newest row: its number must not be given again.
  static func purge(_ transaction: borrowing Transaction, endedBefore: Int64, limit: Int) throws -> Int {
    try transaction.executeCounting(
      """
      DELETE FROM effect WHERE number IN (SELECT number FROM effect WHERE state <> 0 AND ended_at < ?1
        AND number < (SELECT max(number) FROM effect) ORDER BY number LIMIT ?2)
      """, endedBefore, limit)
  }
}

extension Transaction {
  /// Stores an effect in this transaction; it is performed if and when the transaction commits.
  public func perform(_ effect: Effect) throws {
    precondition(!effect.id.isEmpty && !effect.owner.isEmpty && !effect.stream.isEmpty, "an effect has an id, an owner and a stream")
    var stored = effect
    stored.number = try (first("SELECT max(number) FROM effect") { $0.get(0, as: Int64?.self) }.flatMap { $0 } ?? 0) + 1
    try execute(
      """
      INSERT INTO effect (number, id, owner, stream, method, request, due_at, tenant_id, subject, traceparent, state, attempts, ended_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, 0, 0)
      """, stored.number, effect.id, effect.owner, effect.stream, effect.method, effect.request, effect.dueAt, effect.tenant,
      effect.subject?.storedText ?? "", effect.trace?.traceparent ?? "")
    publish(EffectChange(.stored(stored)))
  }

  /// Takes an effect back that has not ended; false when it has, or there is none. One that is being performed may still happen: whoever
  /// sets timers checks, when one fires, that it still means something.
  @discardableResult
  public func cancelEffect(_ id: String, at now: Int64) throws -> Bool {
    let stream = try first("SELECT stream FROM effect WHERE id = ?1 AND state = 4", id) { $0.get(0, as: String.self) }
    let found =
      try executeCounting(
        "UPDATE effect SET state = ?2, ended_at = ?3 WHERE id = ?1 AND state IN (0, 4)", id, EffectStore.State.cancelled, now) == 1
    if found { publish(EffectChange(.ended(id: id, .cancelled))) }
    if let stream { publish(EffectChange(.released(stream: stream))) }
    return found
  }

  /// Records how an effect ended that was pending, or given up; false when it had ended before.
  func endEffect(_ effect: Effect, _ outcome: EffectOutcome, at now: Int64) throws -> Bool {
    let state: EffectStore.State
    let bytes: [UInt8]
    switch outcome {
    case .succeeded(let response): (state, bytes) = (.succeeded, response)
    case .failed(let error): (state, bytes) = (.failed, error.stored)
    case .cancelled: (state, bytes) = (.cancelled, [])
    }
    let found =
      try executeCounting(
        "UPDATE effect SET state = ?2, outcome = ?3, ended_at = ?4, attempts = ?5 WHERE number = ?1 AND state IN (0, 4)",
        effect.number, state, bytes, now, effect.attempts) == 1
    if found { publish(EffectChange(.ended(id: effect.id, outcome))) }
    return found
  }
}

extension Transaction {
  /// Keeps what an attempt failed with, so that it can be seen, and counted after a restart.
  func noteAttempt(_ effect: Effect, _ error: RPCError) throws {
    try execute(
      "UPDATE effect SET attempts = ?2, outcome = ?3 WHERE number = ?1 AND state = 0", effect.number, effect.attempts, error.stored)
  }

  /// Leaves a pending effect to an operator; false when it has ended.
  func giveUpEffect(_ effect: Effect, _ error: RPCError, at now: Int64) throws -> Bool {
    let found =
      try executeCounting(
        "UPDATE effect SET state = 4, attempts = ?2, outcome = ?3, ended_at = ?4 WHERE number = ?1 AND state = 0", effect.number,
        effect.attempts, error.stored, now) == 1
    if found { publish(EffectChange(.givenUp(id: effect.id, stream: effect.stream, error))) }
    return found
  }

  /// Ends an effect that was given up as failed for good; false when it was not.
  func discardEffect(_ effect: Effect, _ error: RPCError, at now: Int64) throws -> Bool {
    guard try first("SELECT 1 FROM effect WHERE number = ?1 AND state = 4", effect.number, row: { _ in true }) != nil else { return false }
    publish(EffectChange(.released(stream: effect.stream)))
    return try endEffect(effect, .failed(error), at: now)
  }

  /// Lets an effect that was given up be performed again, with all its attempts; false when it was not.
  public func redriveEffect(_ id: String) throws -> Bool {
    let stream = try first(
      "UPDATE effect SET state = 0, attempts = 0, ended_at = 0 WHERE id = ?1 AND state = 4 RETURNING stream", id
    ) { $0.get(0, as: String.self) }
    if let stream { publish(EffectChange(.released(stream: stream))) }
    return stream != nil
  }
}

/// Tells the dispatcher, in the order of commits, what has become of an effect.
final class EffectChange: CommitItem {
  enum Kind: Sendable {
    case stored(Effect)
    case ended(id: String, EffectOutcome)
    /// It waits for an operator, and its stream with it.
    case givenUp(id: String, stream: String, RPCError)
    /// The stream no longer waits for an operator.
    case released(stream: String)
  }

  let kind: Kind

  init(_ kind: Kind) { self.kind = kind }
}

extension Principal {
  /// The principal itself, without whom it acts for. One line: none of the parts can hold the separator, since ids have no control characters.
  package var storedText: String {
    [
      "\(kind.rawValue)", id, tenant, organization, roles.joined(separator: "\u{1E}"), scopes.joined(separator: "\u{1E}"),
      "\(surface.rawValue)",
    ].joined(separator: "\u{1F}")
  }

  package convenience init?(storedText: String) {
    let parts = storedText.split(separator: "\u{1F}", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 7, let kind = UInt8(parts[0]).flatMap(Kind.init(rawValue:)),
      let surface = UInt8(parts[6]).flatMap(Surface.init(rawValue:))
    else { return nil }
    self.init(
      kind: kind, id: parts[1], tenant: parts[2], organization: parts[3], roles: parts[4].split(separator: "\u{1E}").map(String.init),
      scopes: parts[5].split(separator: "\u{1E}").map(String.init), surface: surface)
  }
}

extension RPCError {
  /// As `google.rpc.Status`, details and all: who awaits an effect is told what its callee would have told it.
  var stored: [UInt8] { Google_Rpc_Status(code: Int32(code.rawValue), message: message, details: details).encoded() }

  init(stored: [UInt8]) {
    guard let status = try? Google_Rpc_Status(decoding: stored), let code = UInt8(exactly: status.code).flatMap(Code.init(rawValue:)) else {
      self.init(.unknown, "the stored status cannot be read")
      return
    }
    self.init(code, status.message, details: status.details)
  }

  /// What those are told who await an effect that was given up.
  static func givenUp(_ id: String, _ last: RPCError) -> RPCError {
    .refusal(
      .unavailable, .effectGivenUp, "effect \(id) got no verdict and waits for an operator; last: \(last.code) \(last.message)",
      metadata: [("effect_id", id)])
  }
}
