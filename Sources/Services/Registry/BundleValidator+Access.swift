import SpanwireSchema
import SpanwireServiceKit

/// What must hold for an access policy, as a whole: that it names only what there is, that its order is safe, and that every rule, grant
/// and denial in it can come to decide something.
extension BundleValidator {
  private static let denying: Set<String> = ["unauthenticated", "explicit_deny", "cross_tenant", "view_as_write", "approval_missing"]
  private static let allowing: Set<String> = ["self_view", "grant"]
  private static let last = "always"
  private static let everything = "*"
  /// What the chain and the registry ask for by name.
  private static let asked = ["admin_flag_access", "registry_definitions"]

  mutating func check(_ policy: AccessPolicy) {
    text("title", policy.title)
    for (field, count) in [
      ("field_categories", policy.fieldCategories.count), ("precedence_rules", policy.precedenceRules.count),
      ("grants", policy.grants.count), ("denials", policy.denials.count),
    ] where count > RegistryLimits.accessEntries {
      return mistake(field, "has \(count) entries; the limit is \(RegistryLimits.accessEntries)")
    }
    checkAlone(policy)
    let categories = checkCategories(policy)
    checkOrder(policy.precedenceRules)
    checkGrants(policy.grants, categories)
    checkDenials(policy.denials, categories)
    for (field, ttl) in [("assist_ttl", policy.assistTtl), ("view_as_ttl", policy.viewAsTtl)] {
      guard let ttl else { continue }
      if !(1...RegistryLimits.accessGrantSeconds).contains(ttl.seconds) {
        mistake(field, "must be from one second to \(RegistryLimits.accessGrantSeconds / 3_600) hours")
      }
    }
  }

  /// Two would leave open which one holds.
  private mutating func checkAlone(_ policy: AccessPolicy) {
    let others = definitions(.accessPolicy).filter { $0 != policy.accessPolicyID }
    if let other = others.first {
      mistake("access_policy_id", "there is \(other) already, and a tenant has one access policy: change it, or take it out")
    }
  }

  private mutating func checkCategories(_ policy: AccessPolicy) -> Set<String> {
    var known: Set<String> = []
    for (index, category) in policy.fieldCategories.enumerated() {
      let field = "field_categories[\(index)]"
      id("\(field).category", category.category)
      if !known.insert(category.category).inserted { mistake("\(field).category", "\(category.category) stands there twice") }
      if !category.approvalRowID.isEmpty, !category.sensitive, !category.requiresApproval {
        mistake("\(field).approval_row_id", "is never asked for: the category is neither sensitive nor does it require approval")
      }
      for (index, action) in category.approvalActions.enumerated() where !["read", "write", "export"].contains(action) {
        mistake("\(field).approval_actions[\(index)]", "must be read, write or export")
      }
    }
    for name in Self.asked where !known.contains(name) {
      mistake("field_categories", "the category \(name) is missing, for which the platform asks")
    }
    return known
  }

  /// Each condition once; what denies before what allows; at last the rule that leaves nothing open.
  private mutating func checkOrder(_ rules: [PrecedenceRule]) {
    unique("precedence_rules", rules.map(\.ruleID))
    var priorities: [UInt32: String] = [:]
    for (index, rule) in rules.enumerated() {
      let field = "precedence_rules[\(index)]"
      id("\(field).rule_id", rule.ruleID)
      if let other = priorities.updateValue(rule.ruleID, forKey: rule.priority) {
        mistake("\(field).priority", "\(other) has the priority \(rule.priority) too")
      }
    }
    let conditions = Self.denying.union(Self.allowing).union([Self.last])
    var first: [String: String] = [:]
    var allows: String?
    for (index, rule) in rules.enumerated().sorted(by: { ($0.element.priority, $0.offset) < ($1.element.priority, $1.offset) }) {
      let field = "precedence_rules[\(index)]"
      if !conditions.contains(rule.condition) {
        mistake("\(field).condition", "must be one of \(conditions.sorted().joined(separator: ", "))")
      } else if let end = first[Self.last] {
        mistake(field, "is unreachable: \(end) comes first, and matches everything")
      } else if let other = first[rule.condition] {
        mistake(field, "is unreachable: \(other) comes first, and has the same condition")
      } else {
        if let allows, Self.denying.contains(rule.condition) {
          mistake("\(field).priority", "denies, so it must be asked before \(allows), which allows")
        }
        if Self.allowing.contains(rule.condition) { allows = allows ?? rule.ruleID }
        first[rule.condition] = rule.ruleID
      }
    }
    for condition in conditions.sorted() where first[condition] == nil {
      mistake("precedence_rules", "there is no rule for the condition \(condition)")
    }
  }

  private mutating func checkGrants(_ grants: [AccessGrant], _ categories: Set<String>) {
    for (index, grant) in grants.enumerated() {
      let field = "grants[\(index)]"
      check(grant.fieldCategories, grant.actions, categories, at: field)
      for category in grant.fieldCategories {
        let cover = grants[..<index].firstIndex { former in
          former.roleKey == grant.roleKey && (!former.onlySelf || grant.onlySelf) && Self.covers(former.fieldCategories, category)
            && Set(grant.actions).isSubset(of: former.actions)
        }
        if let cover, !grant.actions.isEmpty { mistake(field, "is unreachable for \(category): grants[\(cover)] grants the same") }
      }
    }
    let maySteer = grants.contains {
      Self.covers($0.fieldCategories, "registry_definitions") && $0.actions.contains("write") && !$0.onlySelf
    }
    if !maySteer { mistake("grants", "nobody would be granted to write registry_definitions, so nothing could be changed any more") }
  }

  private mutating func checkDenials(_ denials: [AccessDenial], _ categories: Set<String>) {
    unique("denials", denials.map(\.denialID))
    for (index, denial) in denials.enumerated() {
      let field = "denials[\(index)]"
      id("\(field).denial_id", denial.denialID)
      check(denial.fieldCategories, denial.actions, categories, at: field)
      unique("\(field).environments", denial.environments)
      for (number, name) in denial.environments.enumerated() where !["prod", "staging", "dev"].contains(name) {
        mistake("\(field).environments[\(number)]", "must be prod, staging or dev")
      }
      for category in denial.fieldCategories {
        let cover = denials[..<index].first { former in
          [denial.roleKey, Self.everything].contains(former.roleKey) && Self.covers(former.fieldCategories, category)
            && Set(denial.actions).isSubset(of: former.actions)
            && (former.environments.isEmpty || !denial.environments.isEmpty && Set(denial.environments).isSubset(of: former.environments))
        }
        if let cover { mistake(field, "is unreachable for \(category): \(cover.denialID) denies the same") }
      }
    }
  }

  /// The categories and actions that a grant or a denial is for.
  private mutating func check(_ names: [String], _ actions: [String], _ categories: Set<String>, at field: String) {
    if names.isEmpty { mistake("\(field).field_categories", "must name at least one category") }
    unique("\(field).field_categories", names)
    for (index, name) in names.enumerated() where name != Self.everything && !categories.contains(name) {
      mistake("\(field).field_categories[\(index)]", "there is no category \(name)")
    }
    if names.count > 1, names.contains(Self.everything) {
      mistake("\(field).field_categories", "names all categories, and some of them besides")
    }
    if actions.isEmpty { mistake("\(field).actions", "must name at least one action") }
    unique("\(field).actions", actions)
    for (index, action) in actions.enumerated() where !["read", "write", "export"].contains(action) {
      mistake("\(field).actions[\(index)]", "must be read, write or export")
    }
  }

  private static func covers(_ names: [String], _ category: String) -> Bool { names.contains(category) || names.contains(everything) }
}
