import SpanwireSchema

/// What is asked for.
public enum AccessKind: String, Sendable, Hashable, CaseIterable { case read, write, export }

/// The environments a rule may be limited to.
public enum AccessEnvironment: String, Sendable, Hashable, CaseIterable { case prod, staging, dev }

/// What a precedence rule looks at. What each decides is its own; in which order they are asked, and under which names, the access policy
/// says.
public enum AccessCondition: String, Sendable, Hashable, CaseIterable {
  case unauthenticated
  case explicitDeny = "explicit_deny"
  case crossTenant = "cross_tenant"
  case viewAsWrite = "view_as_write"
  case approvalMissing = "approval_missing"
  case selfView = "self_view"
  case grant
  case always
}

/// The data access is decided by, made of the registry's definitions: roles, an access policy, and who must approve what.
///
/// The registry has judged them whole. What doesn't hold together none the less, because a role was taken out of what is shared, grants
/// nothing: an unknown role is nobody, and a row of approvals that is not there can't be satisfied.
public struct AccessModel: Sendable {
  struct Role: Sendable {
    /// Works across tenants.
    let isPlatformGlobal: Bool
    /// May act for a user under an assist grant, and see as one under a view-as grant.
    let mayAssist: Bool
  }

  struct Rule: Sendable {
    let id: String
    let condition: AccessCondition
    // Lines of the trace, put together once rather than in every decision.
    let passedLine: String
    let matchedLine: String
  }

  struct Scope: Sendable {
    private let categories: Set<String>
    private let isAll: Bool
    private let kinds: Set<AccessKind>

    init(_ categories: [String], _ actions: [String]) {
      isAll = categories.contains("*")
      self.categories = isAll ? [] : Set(categories)
      kinds = Set(actions.compactMap(AccessKind.init))
    }

    func contains(_ category: String, _ kind: AccessKind) -> Bool { kinds.contains(kind) && (isAll || categories.contains(category)) }
    func text(_ category: String) -> String { isAll ? "everything" : category }
  }

  struct Grant: Sendable {
    let scope: Scope
    let onlySelf: Bool
  }

  struct Denial: Sendable {
    let id: String
    /// Nil: every role.
    let role: String?
    let scope: Scope
    /// Empty: all.
    let environments: Set<AccessEnvironment>
  }

  /// In the order they are asked.
  let rules: [Rule]
  /// How long an assist or view-as grant may still run: a longer one was not made by the rules.
  let assistLimit: Int64
  let viewAsLimit: Int64
  private let roles: [String: Role]
  /// Of the categories that need approval: by whom, and for what.
  private let rows: [String: (row: String, kinds: Set<AccessKind>)]
  /// Of the flags that say by themselves who must approve them.
  private let flagRows: [String: String]
  private let grants: [String: [Grant]]
  let denials: [Denial]
  private let approvers: [String: [String]]

  /// The row that applies where a category names none.
  public static let sensitiveOverrideRow = "row-sensitive-override"
  /// The category of a flag in the policy-first chain.
  public static let flagCategory = "admin_flag_access"

  /// - Parameter flags: those that have a row of the approval matrix of their own; others are of no concern.
  public init(_ policy: AccessPolicy, roles: [RoleDefinition], approvalMatrix: [ApprovalRow], flags: [FlagDefinition] = []) {
    rules = policy.precedenceRules.sorted { ($0.priority, $0.ruleID) < ($1.priority, $1.ruleID) }.compactMap { rule in
      AccessCondition(rawValue: rule.condition).map {
        Rule(id: rule.ruleID, condition: $0, passedLine: "\(rule.ruleID): passed", matchedLine: "\(rule.ruleID): matched")
      }
    }
    assistLimit = (policy.assistTtl?.seconds ?? 8 * 3_600) * 1_000_000_000
    viewAsLimit = (policy.viewAsTtl?.seconds ?? 3_600) * 1_000_000_000
    self.roles = Dictionary(
      roles.map { ($0.roleKey, Role(isPlatformGlobal: $0.platformGlobal, mayAssist: $0.mayAssist)) }
    ) { _, last in last }
    rows = Dictionary(
      policy.fieldCategories.compactMap { category in
        guard category.sensitive || category.requiresApproval else { return nil }
        let kinds = category.approvalActions.compactMap(AccessKind.init)
        return (
          category.category,
          (
            category.approvalRowID.isEmpty ? Self.sensitiveOverrideRow : category.approvalRowID,
            kinds.isEmpty ? Set(AccessKind.allCases) : Set(kinds)
          )
        )
      }
    ) { _, last in last }
    flagRows = Dictionary(
      flags.compactMap { $0.approvalRowID.isEmpty ? nil : ($0.flagKey, $0.approvalRowID) }
    ) { _, last in last }
    grants = Dictionary(grouping: policy.grants, by: \.roleKey).mapValues { grants in
      grants.map { Grant(scope: Scope($0.fieldCategories, $0.actions), onlySelf: $0.onlySelf) }
    }
    denials = policy.denials.map {
      Denial(
        id: $0.denialID, role: $0.roleKey == "*" ? nil : $0.roleKey, scope: Scope($0.fieldCategories, $0.actions),
        environments: Set($0.environments.compactMap(AccessEnvironment.init)))
    }
    approvers = Dictionary(approvalMatrix.map { ($0.rowID, $0.requiredApprovers) }) { _, last in last }
  }

  func role(_ key: String) -> Role? { roles[key] }
  /// Who must approve what is of a category: a row of the approval matrix; nil for what needs no approval.
  ///
  /// - Parameters:
  ///   - target: what of the category; a flag may have a row of its own.
  ///   - kind: what is to be done; nil for anything that is done.
  func row(of category: String, target: String, for kind: AccessKind? = nil) -> String? {
    guard let (row, kinds) = rows[category], kind.map(kinds.contains) ?? true else { return nil }
    return category == Self.flagCategory ? flagRows[target] ?? row : row
  }
  func grants(of role: String) -> [Grant] { grants[role] ?? [] }
  /// The roles of which each must approve; nil for a row that isn't there.
  func approvers(_ row: String) -> [String]? { approvers[row] }

  /// Everything that can decide: the ids of rules, of denials and of rows of the approval matrix, each in its order.
  public var deciders: (rules: [String], denials: [String], rows: [String]) {
    (rules.map(\.id), denials.map(\.id), approvers.keys.sorted())
  }
}
