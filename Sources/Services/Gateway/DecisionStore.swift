import SpanwireDatabase
import SpanwireSchema

/// Decisions on proposals: one row makes a decision the only one.
enum DecisionStore {
  /// Takes the decision; false when the proposal has one already.
  static func begin(_ proposal: Proposal, _ session: ProductRuntimeSession, in tx: borrowing Transaction) throws -> Bool {
    try tx.executeCounting(
      """
      INSERT INTO prg_decisions (tenant_id, proposal_id, session_id, proposal) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING
      """, session.tenantID, proposal.proposalID, session.productRuntimeSessionID, proposal.encoded()) == 1
  }

  static func find(
    _ id: String, tenant: String, in reader: borrowing some Reader & ~Copyable
  ) throws -> (proposal: Proposal, session: String)? {
    try reader.first("SELECT proposal, session_id FROM prg_decisions WHERE tenant_id = ?1 AND proposal_id = ?2", tenant, id) {
      (try Proposal(decoding: $0.get(0, as: [UInt8].self)), $0[1])
    }
  }

  static func applied(_ proposal: Proposal, tenant: String, in tx: borrowing Transaction) throws {
    var proposal = proposal
    proposal.state = .applied
    try tx.execute(
      "UPDATE prg_decisions SET proposal = ?3 WHERE tenant_id = ?1 AND proposal_id = ?2", tenant, proposal.proposalID,
      proposal.encoded(), expecting: .rows(1))
  }

  /// The decision could not be carried out: the proposal is open again.
  static func forget(_ id: String, tenant: String, in tx: borrowing Transaction) throws {
    try tx.execute("DELETE FROM prg_decisions WHERE tenant_id = ?1 AND proposal_id = ?2", tenant, id)
  }
}
