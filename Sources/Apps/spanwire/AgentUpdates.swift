import SpanwireSchema

/// Prints one step of an agent's answer.
func printUpdate(_ update: AgentTaskUpdate) {
  switch update.update {
  case .receipt(let it): print(printable("\(it.agentTaskID)  taken by \(it.agentSlug)"))
  case .progress(let it): print(printable("  \(it.percent) %  \(it.stage)  \(it.message)"))
  case .partial(let it): print(printable("  \(it.text)"))
  case .proposal(let it): printProposal(it)
  case .result(let it):
    print(printable("\(it.state.word)  \(it.failure)"))
    if !it.text.isEmpty { print(printable(it.text)) }
  case nil: break
  }
}

/// Prints a proposal: what it says, and what it would do.
func printProposal(_ proposal: Proposal) {
  let what: String =
    switch proposal.kind {
    case .route(let it): "route " + it.servicePointIds.joined(separator: " ")
    case .product(let it): "product \(it.productID) \(it.variantID)"
    case .recommendation(let it): "recommendation \(it.servicePointID) \(it.vendorID)"
    case .explanation(let it): it.text
    case .requestedAction(let it): "wish to \(it.action) \(it.target)"
    case nil: ""
    }
  print(printable("  \(proposal.proposalID)  \(proposal.state)  \(proposal.summary)"))
  print(printable("      \(what)\(proposal.refusedRule.isEmpty ? "" : "  (\(proposal.refusedRule))")"))
}
