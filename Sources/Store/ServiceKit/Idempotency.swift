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
  /// What the four make the wish known by: half of their SHA-256, so that nobody can find a wish that is known by the same as another's.
  public let wish: [UInt8]
  /// Tells the same request from another under the same key.
  public let requestHash: [UInt8]

  public init(tenant: String, principal: String, method: String, key: String, request: [UInt8]) {
    self.tenant = tenant
    self.principal = principal
    self.method = method
    self.key = key
    var name: [UInt8] = []
    name.reserveCapacity(tenant.utf8.count + principal.utf8.count + method.utf8.count + key.utf8.count + 3)
    for part in [tenant, principal, method] {
      name.append(contentsOf: part.utf8)
      name.append(0)  // which none of them holds
    }
    name.append(contentsOf: key.utf8)
    wish = Array(SHA256.hash(name)[..<16])
    requestHash = Fingerprint.of(request)
  }

  /// The key of a call, for the principal who wished it. `key` has passed `Validation.idempotencyKey`.
  public init(_ key: String, _ request: some Message, _ context: ServerContext) {
    let subject = context.principal.subject
    self.init(
      tenant: subject.tenant, principal: Caller(subject).name, method: context.method.path, key: key, request: request.encoded())
  }
}

/// Tells one request from another of the same caller under the same key. A mistake in 2^64 is as good as none, and who makes one on purpose
/// is given the outcome of the own earlier wish: it is no SHA-256, and a tenth of its work.
enum Fingerprint {
  /// 16 bytes. Stored: it may not change.
  static func of(_ bytes: [UInt8]) -> [UInt8] {
    var (first, second) = (0xcbf2_9ce4_8422_2325 as UInt64, UInt64(bytes.count) &+ 0x9E37_79B9_7F4A_7C15)
    func take(_ word: UInt64) {
      first = (first ^ word) &* 0x9E37_79B9_7F4A_7C15
      first ^= first >> 29
      second = (second ^ word) &* 0xC2B2_AE3D_27D4_EB4F
      second ^= second >> 31
    }
    bytes.withUnsafeBytes { bytes in
      var offset = 0
      while offset + 8 <= bytes.count {
        take(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
        offset += 8
      }
      var rest: UInt64 = 0
      while offset < bytes.count {
        rest = rest << 8 | UInt64(bytes[offset])
        offset += 1
      }
      take(rest)
    }
    return withUnsafeBytes(of: (first.bigEndian, second.bigEndian)) { [UInt8]($0) }
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

  /// Rows lie in the order in which they came, so that those of a commit lie together, and those that are to be forgotten.
  public static let migrations = Migrations(
    "idempotency",
    [
      .init(
        "outcomes by key",
        sqlite: """
          CREATE TABLE idempotency (
            created_at INTEGER NOT NULL,
            wish BLOB NOT NULL,
            request_hash BLOB NOT NULL,
            response BLOB,
            PRIMARY KEY (created_at, wish)
          ) STRICT, WITHOUT ROWID;
          CREATE UNIQUE INDEX idempotency_wish ON idempotency (wish);
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
          DELETE FROM idempotency WHERE (created_at, wish) IN
          (SELECT created_at, wish FROM idempotency WHERE created_at < ?1 ORDER BY created_at, wish LIMIT ?2)
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
      "SELECT request_hash, response FROM idempotency WHERE wish = ?1 AND created_at >= ?2", key.wish,
      now - Idempotency.retention.nanoseconds
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
      INSERT INTO idempotency (created_at, wish, request_hash, response) VALUES (?1, ?2, ?3, ?4)
      ON CONFLICT (wish) DO UPDATE SET
        created_at = excluded.created_at, request_hash = excluded.request_hash, response = excluded.response
      """, now, key.wish, key.requestHash, response, expecting: .rows(1))
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
