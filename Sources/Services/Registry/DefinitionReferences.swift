import SpanwireSchema

/// A place in a definition that names another one.
struct DefinitionReference: Hashable, Sendable {
  var field: String
  var key: DefinitionKey

  init(_ field: String, _ kind: DefinitionKind, _ id: String) {
    self.field = field
    key = DefinitionKey(kind, id)
  }
}

extension Definition.Value {
  /// Every definition that this one names, by the field that does. What is written down here is all that keeps a bundle from leaving a
  /// name without its definition, when it brings the one and when it takes out the other.
  var references: [DefinitionReference] {
    switch self {
    case .product(let product): [DefinitionReference("current_version_id", .productVersion, product.currentVersionID)]
    case .productVersion(let version): version.references
    case .profile(let profile): profile.references
    case .journeyDocument(let document): document.references
    case .servicePoint(let place):
      [DefinitionReference("market_code", .market, place.marketCode)] + optional("vendor_id", .vendor, place.vendorID)
    case .experiment(let experiment): [DefinitionReference("product_id", .product, experiment.productID)]
    case .modelRoute(let route):
      list("fallback_route_ids", .modelRoute, route.fallbackRouteIds)
        + list("conditions.agent_slugs", .agent, route.conditions?.agentSlugs ?? [])
    case .flag(let flag):
      list("depends_on", .flag, flag.dependsOn) + optional("approval_row_id", .approvalRow, flag.approvalRowID)
    case .policy(let policy):
      policy.scope.hasPrefix("agent:") ? [DefinitionReference("scope", .agent, String(policy.scope.dropFirst(6)))] : []
    case .approvalRow(let row): list("required_approvers", .role, row.requiredApprovers)
    case .accessPolicy(let policy): policy.references
    case .market, .token, .vendor, .agent, .role, .slaTarget: []
    }
  }
}

extension ProductVersion {
  fileprivate var references: [DefinitionReference] {
    var found = [DefinitionReference("product_id", .product, productID)]
    found += list("market_codes", .market, marketCodes)
    found.append(DefinitionReference("journey_doc_id", .journeyDocument, journeyDocID))
    found += list("profile_ids", .profile, profileIds)
    for (index, variant) in variants.enumerated() {
      for (number, grant) in variant.grants.enumerated() {
        found.append(DefinitionReference("variants[\(index)].grants[\(number)].token_id", .token, grant.tokenID))
      }
    }
    return found
  }
}

extension AccessPolicy {
  fileprivate var references: [DefinitionReference] {
    var found: [DefinitionReference] = []
    for (index, category) in fieldCategories.enumerated() where category.sensitive || category.requiresApproval {
      let row = category.approvalRowID.isEmpty ? "row-sensitive-override" : category.approvalRowID
      found.append(DefinitionReference("field_categories[\(index)].approval_row_id", .approvalRow, row))
    }
    for (index, grant) in grants.enumerated() { found.append(DefinitionReference("grants[\(index)].role_key", .role, grant.roleKey)) }
    for (index, denial) in denials.enumerated() where denial.roleKey != "*" {
      found.append(DefinitionReference("denials[\(index)].role_key", .role, denial.roleKey))
    }
    return found
  }
}

extension Profile {
  fileprivate var references: [DefinitionReference] {
    switch kind {
    case .token(let token): list("token.token_ids", .token, token.tokenIds)
    case .ops(let ops): list("ops.blocked_service_point_ids", .servicePoint, ops.blockedServicePointIds)
    case .loyalty, .pricing, .safety, .ui, .quality, nil: []
    }
  }
}

extension JourneyDocument {
  fileprivate var references: [DefinitionReference] {
    nodes.enumerated().flatMap { index, node -> [DefinitionReference] in
      switch node.kind {
      case .redeem(let redeem): [DefinitionReference("nodes[\(index)].redeem.token_id", .token, redeem.tokenID)]
      case .visit(let visit): optional("nodes[\(index)].visit.service_point_id", .servicePoint, visit.servicePointID)
      default: []
      }
    }
  }
}

private func list(_ field: String, _ kind: DefinitionKind, _ ids: [String]) -> [DefinitionReference] {
  ids.enumerated().map { DefinitionReference("\(field)[\($0.offset)]", kind, $0.element) }
}

private func optional(_ field: String, _ kind: DefinitionKind, _ id: String) -> [DefinitionReference] {
  id.isEmpty ? [] : [DefinitionReference(field, kind, id)]
}
