import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What agents proposed and what became of it.
extension OrchestratorServer {
  public func listProposals(_ request: ListProposalsRequest, context: ServerContext) async throws -> ListProposalsResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    validation.known(request.state, "state")
    validation.optionalID(request.agentSlug, "agent_slug")
    validation.optionalID(request.productRuntimeSessionID, "product_runtime_session_id")
    validation.check(
      request.kind.isEmpty || Proposal.Kind.words.contains(request.kind), "kind",
      "must be one of \(Proposal.Kind.words.joined(separator: ", "))")
    let size = validation.pageSize(request.pageSize, default: OrchestratorLimits.defaultPageSize, max: OrchestratorLimits.maxPageSize)
    try validation.finish()
    let after = try PageToken.decode(request.pageToken)
    let page = try await environment.database.scan { snapshot in
      try ProposalStore.proposals(
        snapshot, tenant: tenant, state: request.state, slug: request.agentSlug, session: request.productRuntimeSessionID,
        kind: request.kind, after: after, limit: size + 1)
    }
    var response = ListProposalsResponse(proposals: Array(page.prefix(size)))
    if page.count > size, let last = response.proposals.last { response.nextPageToken = PageToken.encode(last.proposalID) }
    return response
  }

  public func summarizeImpact(_ request: SummarizeImpactRequest, context: ServerContext) async throws -> SummarizeImpactResponse {
    let tenant = try Caller(context).tenant
    var validation = Validation()
    validation.optionalID(request.agentSlug, "agent_slug")
    try validation.finish()
    let from = request.createdFrom?.nanosecondsSinceEpoch ?? .min
    return SummarizeImpactResponse(
      impacts: try await environment.database.scan { snapshot in
        try ProposalStore.impact(snapshot, tenant: tenant, slug: request.agentSlug, from: from)
      })
  }
}

extension Proposal.Kind {
  /// All kinds, as events and policy name them.
  static let words = ["route_change", "product", "recommendation", "explanation", "requested_action"]
}
