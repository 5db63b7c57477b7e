import SpanwireDatabase
import SpanwireSchema

/// The rows of proposals: what is proposed, by whom, and what was decided.
enum ProposalStore {
  static func insert(_ proposal: Proposal, tenant: String, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      """
      INSERT INTO ao_proposal (
        tenant_id, proposal_id, agent_task_id, state, proposal, agent_slug, kind, product_runtime_session_id, created_at)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
      """, tenant, proposal.proposalID, proposal.agentTaskID, proposal.state.rawValue, proposal.encoded(), proposal.agentSlug,
      proposal.kind?.word ?? "", proposal.productRuntimeSessionID, proposal.createdAt?.nanosecondsSinceEpoch ?? 0, expecting: .rows(1))
  }

  static func update(_ proposal: Proposal, tenant: String, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      "UPDATE ao_proposal SET state = ?3, proposal = ?4 WHERE tenant_id = ?1 AND proposal_id = ?2",
      tenant, proposal.proposalID, proposal.state.rawValue, proposal.encoded(), expecting: .rows(1))
  }

  static func proposal(_ reader: borrowing some Reader & ~Copyable, tenant: String, id: String) throws -> Proposal? {
    try reader.first(
      "SELECT proposal FROM ao_proposal WHERE tenant_id = ?1 AND proposal_id = ?2", tenant, id,
      row: { try Proposal(decoding: $0.get(0, as: [UInt8].self)) })
  }

  static func proposals(_ reader: borrowing some Reader & ~Copyable, of key: AgentTaskKey) throws -> [Proposal] {
    // Asked directly, SQLite walks the tenant's proposals by their key, which it takes to be few.
    try reader.query(
      """
      SELECT proposal FROM ao_proposal WHERE tenant_id = ?1 AND proposal_id IN
        (SELECT proposal_id FROM ao_proposal WHERE tenant_id = ?1 AND agent_task_id = ?2) ORDER BY proposal_id LIMIT ?3
      """, key.tenant, key.id, Int(OrchestratorLimits.maxSuggestions) + 2, row: { try Proposal(decoding: $0.get(0, as: [UInt8].self)) })
  }

  /// A page of a tenant's proposals in the order of their ids; what is not said does not matter.
  static func proposals(
    _ reader: borrowing some Reader & ~Copyable, tenant: String, state: ProposalState, slug: String, session: String, kind: String,
    after id: String, limit: Int
  ) throws -> [Proposal] {
    try reader.query(
      """
      SELECT proposal FROM ao_proposal WHERE tenant_id = ?1 AND proposal_id > ?2 AND (?3 = 0 OR state = ?3)
      AND (?4 = '' OR agent_slug = ?4) AND (?5 = '' OR product_runtime_session_id = ?5) AND (?6 = '' OR kind = ?6)
      ORDER BY proposal_id LIMIT ?7
      """, tenant, id, state.rawValue, slug, session, kind, limit, row: { try Proposal(decoding: $0.get(0, as: [UInt8].self)) })
  }

  /// What became of a tenant's proposals, by agent and kind.
  static func impact(_ reader: borrowing some Reader & ~Copyable, tenant: String, slug: String, from: Int64) throws -> [Impact] {
    var impacts: [Impact] = []
    let counts = try reader.query(
      """
      SELECT agent_slug, kind, state, count(*) FROM ao_proposal
      WHERE tenant_id = ?1 AND (?2 = '' OR agent_slug = ?2) AND created_at >= ?3
      GROUP BY agent_slug, kind, state ORDER BY agent_slug, kind, state
      """, tenant, slug, from,
      row: { row in
        (
          slug: row.get(0, as: String.self), kind: row.get(1, as: String.self),
          state: ProposalState(rawValue: row.get(2, as: Int32.self)), count: row.get(3, as: UInt64.self)
        )
      })
    for found in counts {
      if impacts.last?.agentSlug != found.slug || impacts.last?.kind != found.kind {
        impacts.append(Impact(agentSlug: found.slug, kind: found.kind))
      }
      let last = impacts.count - 1
      impacts[last].proposed += found.count
      switch found.state {
      case .open: impacts[last].undecided += found.count
      case .accepted: impacts[last].accepted += found.count
      case .rejected: impacts[last].rejected += found.count
      case .applied: impacts[last].applied += found.count
      case .refused: impacts[last].refused += found.count
      default: break
      }
    }
    return impacts
  }
}
