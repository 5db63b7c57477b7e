import SpanwireDatabase
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema

/// One wish, however often it is sent: the caller's key in the scope of tenant, principal and method, with what was asked.
public struct IdempotencyKey: Sendable, Hashable {
  public let tenant: String
  public let principal: String
  public let method: String
  public let key: String
  /// Tells the same request from another under the same key.
  public let requestHash: [UInt8]

  public init(tenant: String, principal: String, method: String, key: String, requestHash: [UInt8]) {
    self.tenant = tenant
    self.principal = principal
    self.method = method
    self.key = key
    self.requestHash = requestHash
  }

  /// The key of a call, for the principal who wished it. `key` has passed `Validation.idempotencyKey`.
  public init(_ key: String, _ request: some Message, _ context: ServerContext) {
    let subject = context.principal.subject
    self.init(
      tenant: subject.tenant, principal: Caller(subject).name, method: context.method.path, key: key,
      requestHash: SHA256.hash(request.encoded()))
  }
}

/// What is known of a wish.
public enum Recalled: Sendable, Hashable {
  /// It is new, or older than a day.
  case nothing
  /// It was accepted and its outcome is not there yet.
  case pending
  /// Its outcome, as encoded then.
  case done([UInt8])
}

public enum Idempotency {
  /// How long the first outcome is given again.
  public static let retention = Duration.seconds(24 * 60 * 60)
  /// Rows deleted in one transaction by `purge`: about a millisecond's work.
  public static let purgeBatch = 500

  public static let migrations = Migrations(
    "idempotency",
    [
      .init(
        "outcomes by key",
        sqlite: """
          CREATE TABLE idempotency (
            tenant_id TEXT NOT NULL,
            principal TEXT NOT NULL,
            method TEXT NOT NULL,
            key TEXT NOT NULL,
            request_hash BLOB NOT NULL,
            response BLOB,
            created_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, principal, method, key)
          ) STRICT, WITHOUT ROWID;
          """)
    ])

  /// Forgets what is older than a day; returns how many. Called from time to time, never in a call.
  public static func purge(_ database: any Database, now: Int64) async throws -> Int {
    let before = now - retention.nanoseconds
    var purged = 0
    while true {
      let count = try await database.transaction("idempotency.purge") { transaction in
        try transaction.executeCounting(
          """
          DELETE FROM idempotency WHERE (tenant_id, principal, method, key) IN
          (SELECT tenant_id, principal, method, key FROM idempotency WHERE created_at < ?1 LIMIT ?2)
          """, before, purgeBatch)
      }.value
      purged += count
      if count < purgeBatch { return purged }
    }
  }
}

extension Reader where Self: ~Copyable {
  /// What is known of a wish. The same key with another request throws ALREADY_EXISTS.
  public func recall(_ key: IdempotencyKey, at now: Int64) throws -> Recalled {
    let row = try first(
      """
      SELECT request_hash, response FROM idempotency
      WHERE tenant_id = ?1 AND principal = ?2 AND method = ?3 AND key = ?4 AND created_at >= ?5
      """, key.tenant, key.principal, key.method, key.key, now - Idempotency.retention.nanoseconds
    ) { (hash: $0.get(0, as: [UInt8].self), response: $0.get(1, as: [UInt8]?.self)) }
    guard let row else { return .nothing }
    guard row.hash == key.requestHash else {
      throw RPCError.refusal(.alreadyExists, .idempotencyKeyReused, "idempotency_key \(key.key) was used for another request")
    }
    return row.response.map { .done($0) } ?? .pending
  }
}

extension Transaction {
  /// Keeps the outcome of a wish, or with nil that it was accepted and the outcome will follow.
  public func remember(_ key: IdempotencyKey, _ response: [UInt8]?, at now: Int64) throws {
    try execute(
      """
      INSERT INTO idempotency (tenant_id, principal, method, key, request_hash, response, created_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      ON CONFLICT (tenant_id, principal, method, key) DO UPDATE SET
        request_hash = excluded.request_hash, response = excluded.response, created_at = excluded.created_at
      """, key.tenant, key.principal, key.method, key.key, key.requestHash, response, now, expecting: .rows(1))
  }

  /// Does what a wish asks, or returns what came of it before. The outcome is kept with what `body` writes.
  public func once<Response: Message>(_ key: IdempotencyKey, at now: Int64, _ body: () throws -> Response) throws -> Response {
    switch try recall(key, at: now) {
    case .done(let bytes): return try Response(decoding: bytes)
    case .pending: throw RPCError.aborted("the first call with idempotency_key \(key.key) is still under way")
    case .nothing:
      let response = try body()
      try remember(key, response.encoded(), at: now)
      return response
    }
  }
}
