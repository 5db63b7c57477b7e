import SpanwireDatabase
import SpanwireSchema

/// The rows of artifacts, of whose they are made, and of their content, each of which is there once in its tenant.
enum ArtifactStore {
  static func insert(_ artifact: Artifact, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      """
      INSERT INTO exec_artifact (tenant_id, artifact_id, artifact_type, session_id, execution_id, state, sandbox, artifact)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
      """, artifact.tenantID, artifact.artifactID, artifact.artifactType, artifact.sessionID, artifact.producedBy?.executionID ?? "",
      artifact.lifecycleState.rawValue, artifact.sandbox, artifact.encoded(), expecting: .rows(1))
    for parent in artifact.parentArtifacts {
      try transaction.execute(
        "INSERT INTO exec_lineage (tenant_id, parent_id, artifact_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING", artifact.tenantID,
        parent, artifact.artifactID)
    }
  }

  static func update(_ artifact: Artifact, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      "UPDATE exec_artifact SET state = ?3, artifact = ?4 WHERE tenant_id = ?1 AND artifact_id = ?2", artifact.tenantID,
      artifact.artifactID, artifact.lifecycleState.rawValue, artifact.encoded(), expecting: .rows(1))
  }

  static func artifact(_ reader: borrowing some Reader & ~Copyable, tenant: String, id: String) throws -> Artifact? {
    try reader.first(
      "SELECT artifact FROM exec_artifact WHERE tenant_id = ?1 AND artifact_id = ?2", tenant, id, row: Self.decoded)
  }

  /// A page of a tenant's artifacts in the order of their ids; without a state those that are neither archived nor deleted.
  static func page(
    _ reader: borrowing some Reader & ~Copyable, tenant: String, _ request: ListArtifactsRequest, after id: String, limit: Int
  ) throws -> [Artifact] {
    let state = request.state.rawValue
    if !request.parentArtifact.isEmpty {
      return try reader.query(
        """
        SELECT artifact FROM exec_artifact WHERE tenant_id = ?1 AND artifact_id IN
          (SELECT artifact_id FROM exec_lineage WHERE tenant_id = ?1 AND parent_id = ?2 AND artifact_id > ?3)
        AND sandbox = ?4 AND (?5 = '' OR artifact_type = ?5) AND (?6 = '' OR session_id = ?6) AND (?7 = '' OR execution_id = ?7)
        AND (state = ?8 OR ?8 = 0 AND state < 4) ORDER BY artifact_id LIMIT ?9
        """, tenant, request.parentArtifact, id, request.sandbox, request.artifactType, request.sessionID, request.executionID, state,
        limit, row: Self.decoded)
    }
    return try reader.query(
      """
      SELECT artifact FROM exec_artifact WHERE tenant_id = ?1 AND artifact_id > ?2
      AND sandbox = ?3 AND (?4 = '' OR artifact_type = ?4) AND (?5 = '' OR session_id = ?5) AND (?6 = '' OR execution_id = ?6)
      AND (state = ?7 OR ?7 = 0 AND state < 4) ORDER BY artifact_id LIMIT ?8
      """, tenant, id, request.sandbox, request.artifactType, request.sessionID, request.executionID, state, limit, row: Self.decoded)
  }

  private static func decoded(_ row: Row) throws -> Artifact { try Artifact(decoding: row.get(0, as: [UInt8].self)) }

  // MARK: Content

  /// Keeps content under its hash, or counts one who uses what is there.
  static func keep(_ content: [UInt8], sha256: String, tenant: String, _ transaction: borrowing Transaction) throws {
    let uses = try transaction.first(
      """
      INSERT INTO exec_content (tenant_id, sha256, size, uses) VALUES (?1, ?2, ?3, 1)
      ON CONFLICT (tenant_id, sha256) DO UPDATE SET uses = exec_content.uses + 1 RETURNING uses
      """, tenant, sha256, content.count, row: { $0.get(0, as: Int64.self) })
    if uses != 1 { return }
    for (number, start) in stride(from: 0, to: content.count, by: ExecutionsLimits.pieceBytes).enumerated() {
      try transaction.execute(
        "INSERT INTO exec_piece (tenant_id, sha256, number, data) VALUES (?1, ?2, ?3, ?4)", tenant, sha256, number,
        Array(content[start..<min(start + ExecutionsLimits.pieceBytes, content.count)]), expecting: .rows(1))
    }
  }

  /// One use less of content; with the last the content goes.
  static func release(sha256: String, tenant: String, _ transaction: borrowing Transaction) throws {
    let uses = try transaction.first(
      "UPDATE exec_content SET uses = uses - 1 WHERE tenant_id = ?1 AND sha256 = ?2 RETURNING uses", tenant, sha256,
      row: { $0.get(0, as: Int64.self) })
    guard let uses, uses <= 0 else { return }
    try transaction.execute("DELETE FROM exec_content WHERE tenant_id = ?1 AND sha256 = ?2", tenant, sha256)
    try transaction.execute("DELETE FROM exec_piece WHERE tenant_id = ?1 AND sha256 = ?2", tenant, sha256)
  }

  static func pieces(_ reader: borrowing some Reader & ~Copyable, sha256: String, tenant: String) throws -> [[UInt8]] {
    try reader.query(
      "SELECT data FROM exec_piece WHERE tenant_id = ?1 AND sha256 = ?2 ORDER BY number LIMIT ?3", tenant, sha256,
      ExecutionsLimits.contentBytes / ExecutionsLimits.pieceBytes + 1, row: { $0[0] })
  }
}

/// The rows of handlers: who was named for which intent, with which priority.
enum HandlerStore {
  static func put(_ handler: IntentHandlerInfo, tenant: String, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      """
      INSERT INTO exec_handler (tenant_id, intent_type, handler_name, handler) VALUES (?1, ?2, ?3, ?4)
      ON CONFLICT (tenant_id, intent_type, handler_name) DO UPDATE SET handler = excluded.handler
      """, tenant, handler.intentType, handler.handlerName, handler.encoded(), expecting: .rows(1))
  }

  /// A tenant's handlers of an intent, or with an empty one of all.
  static func handlers(
    _ reader: borrowing some Reader & ~Copyable, tenant: String, intentType: String
  ) throws -> [IntentHandlerInfo] {
    try reader.query(
      """
      SELECT handler FROM exec_handler WHERE tenant_id = ?1 AND (?2 = '' OR intent_type = ?2) ORDER BY intent_type, handler_name LIMIT ?3
      """, tenant, intentType, ExecutionsLimits.handlers, row: { try IntentHandlerInfo(decoding: $0.get(0, as: [UInt8].self)) })
  }
}
