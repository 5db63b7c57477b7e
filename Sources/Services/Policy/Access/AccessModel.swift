/// What is asked for.
public enum AccessKind: String, Sendable, Hashable, CaseIterable { case read, write, export }

/// The environments a rule may be limited to.
public enum AccessEnvironment: String, Sendable, Hashable, CaseIterable { case prod, staging, dev }

/// The data access is decided by: roles, categories of fields, grants, denials, and who must approve what.
public struct AccessModel: Sendable, Hashable {
  public enum RoleCategory: String, Sendable, Hashable, CaseIterable { case platform, operations, business, external }

  public struct Role: Sendable, Hashable {
    public var key: String
    public var category: RoleCategory
    /// Works across tenants.
    public var isPlatformGlobal: Bool
    /// May act for a user under an assist grant, and see as one under a view-as grant.
    public var mayAssist: Bool

    public init(_ key: String, _ category: RoleCategory, isPlatformGlobal: Bool = false, mayAssist: Bool = false) {
      self.key = key
      self.category = category
      self.isPlatformGlobal = isPlatformGlobal
      self.mayAssist = mayAssist
    }
  }

  /// A category of fields or actions.
  public struct FieldCategory: Sendable, Hashable {
    public var key: String
    public var isSensitive: Bool
    public var requiresApproval: Bool
    /// The row of the approval matrix that applies; empty: `row-sensitive-override`.
    public var approvalRow: String

    public init(_ key: String, isSensitive: Bool = false, requiresApproval: Bool = false, approvalRow: String = "") {
      self.key = key
      self.isSensitive = isSensitive
      self.requiresApproval = requiresApproval
      self.approvalRow = approvalRow
    }
  }

  public struct Grant: Sendable, Hashable {
    public var role: String
    /// A category's key, or `*`.
    public var category: String
    public var kinds: Set<AccessKind>
    /// Only where the actor is the target.
    public var onlySelf: Bool

    public init(_ role: String, _ category: String, _ kinds: Set<AccessKind>, onlySelf: Bool = false) {
      self.role = role
      self.category = category
      self.kinds = kinds
      self.onlySelf = onlySelf
    }
  }

  /// An explicit no, which nothing overrides but being unauthenticated.
  public struct Denial: Sendable, Hashable {
    public var id: String
    /// A role's key, or `*`.
    public var role: String
    /// A category's key, or `*`.
    public var category: String
    public var kinds: Set<AccessKind>
    /// Empty: all.
    public var environments: Set<AccessEnvironment>

    public init(
      _ id: String, role: String, category: String, kinds: Set<AccessKind>, environments: Set<AccessEnvironment> = []
    ) {
      self.id = id
      self.role = role
      self.category = category
      self.kinds = kinds
      self.environments = environments
    }
  }

  public struct ApprovalRow: Sendable, Hashable {
    public var id: String
    /// One approval by each of these roles, each by another person, none by the actor.
    public var requiredApprovers: [String]

    public init(_ id: String, requiredApprovers: [String]) {
      self.id = id
      self.requiredApprovers = requiredApprovers
    }
  }

  public var roles: [Role]
  public var categories: [FieldCategory]
  public var grants: [Grant]
  public var denials: [Denial]
  public var approvalMatrix: [ApprovalRow]
  /// How long an assist or view-as grant may still run: a longer one was not made by the rules.
  public var assistLimitNanoseconds: Int64
  public var viewAsLimitNanoseconds: Int64

  public init(
    roles: [Role], categories: [FieldCategory], grants: [Grant], denials: [Denial], approvalMatrix: [ApprovalRow],
    assistLimitNanoseconds: Int64 = 8 * 3_600_000_000_000, viewAsLimitNanoseconds: Int64 = 3_600_000_000_000
  ) {
    self.roles = roles
    self.categories = categories
    self.grants = grants
    self.denials = denials
    self.approvalMatrix = approvalMatrix
    self.assistLimitNanoseconds = assistLimitNanoseconds
    self.viewAsLimitNanoseconds = viewAsLimitNanoseconds
  }

  /// The row that applies where a category names none.
  public static let sensitiveOverrideRow = "row-sensitive-override"
  /// The category of a flag in the policy-first chain.
  public static let flagCategory = "admin_flag_access"

  func role(_ key: String) -> Role? { roles.first { $0.key == key } }
  func category(_ key: String) -> FieldCategory? { categories.first { $0.key == key } }
  func approvalRow(_ id: String) -> ApprovalRow? { approvalMatrix.first { $0.id == id } }

  /// Who must approve what is of a category; nil for a category that needs no approval.
  func approvalRow(forCategory key: String) -> ApprovalRow? {
    guard let category = category(key), category.isSensitive || category.requiresApproval else { return nil }
    return approvalRow(category.approvalRow.isEmpty ? Self.sensitiveOverrideRow : category.approvalRow)
  }
}

extension AccessModel {
  /// The platform's own model: twelve roles in four categories. A deployment replaces what it wants otherwise.
  public static let standard = AccessModel(
    roles: [
      Role("platform_admin", .platform, isPlatformGlobal: true, mayAssist: true),
      Role("platform_sre", .platform, isPlatformGlobal: true),
      Role("security_auditor", .platform, isPlatformGlobal: true),
      Role("ops_lead", .operations, mayAssist: true),
      Role("ops_operator", .operations),
      Role("support_agent", .operations, mayAssist: true),
      Role("product_owner", .business),
      Role("market_manager", .business),
      Role("finance_settlement", .business),
      Role("traveller", .external),
      Role("vendor", .external),
      Role("external_agent", .external),
    ],
    categories: [
      FieldCategory("session_data"), FieldCategory("journey_data"), FieldCategory("entitlement_data"), FieldCategory("settlement_data"),
      FieldCategory("event_feed"), FieldCategory("trace_data"), FieldCategory("incident_data"), FieldCategory("registry_definitions"),
      // Any of the control actions, where the question is only whether somebody is an operator at all.
      FieldCategory("control_action"),
      FieldCategory("session_control"), FieldCategory("journey_control"), FieldCategory("service_point_control"),
      FieldCategory("entitlement_control"), FieldCategory("settlement_control"), FieldCategory("incident_control"),
      FieldCategory("audit_log", requiresApproval: true, approvalRow: "row-audit-export"),
      FieldCategory("personal_data", isSensitive: true),
      FieldCategory("payment_reference", isSensitive: true),
      FieldCategory(flagCategory, isSensitive: true, requiresApproval: true),
      FieldCategory("runtime_policies"),
      // Tool tiers: what an agent's tool may need somebody's word for.
      FieldCategory("read", requiresApproval: true, approvalRow: "row-tool-call"),
      FieldCategory("network_read", requiresApproval: true, approvalRow: "row-tool-call"),
      FieldCategory("network_write", requiresApproval: true, approvalRow: "row-tool-call"),
      FieldCategory("money", requiresApproval: true, approvalRow: "row-tool-money"),
      FieldCategory("system_admin", requiresApproval: true),
    ],
    grants: operatorGrants + businessGrants + externalGrants,
    denials: [
      Denial("DENY-AGENT-CONTROL", role: "external_agent", category: "*", kinds: [.write, .export]),
      Denial("DENY-AUDIT-WRITE", role: "*", category: "audit_log", kinds: [.write]),
      Denial("DENY-PAYMENT-EXPORT", role: "*", category: "payment_reference", kinds: [.export], environments: [.prod]),
    ],
    approvalMatrix: [
      ApprovalRow(sensitiveOverrideRow, requiredApprovers: ["security_auditor", "platform_admin"]),
      ApprovalRow("row-audit-export", requiredApprovers: ["security_auditor"]),
      ApprovalRow("row-tool-call", requiredApprovers: ["ops_lead"]),
      ApprovalRow("row-tool-money", requiredApprovers: ["ops_lead", "finance_settlement"]),
    ])

  private static let observed = [
    "session_data", "journey_data", "entitlement_data", "event_feed", "trace_data", "incident_data", "registry_definitions",
  ]

  private static let operatorGrants: [Grant] =
    [
      Grant("platform_admin", "*", [.read, .write, .export]), Grant("platform_sre", "*", [.read]),
      Grant("platform_sre", "incident_control", [.read, .write]), Grant("platform_sre", "service_point_control", [.read, .write]),
      Grant("security_auditor", "*", [.read, .export]), Grant("ops_lead", "settlement_data", [.read]),
    ]
    + ["ops_lead", "ops_operator"].flatMap { role in
      observed.map { Grant(role, $0, [.read]) }
        + ["control_action", "session_control", "journey_control", "service_point_control", "incident_control"].map {
          Grant(role, $0, [.read, .write])
        }
    }
    + [Grant("ops_lead", "entitlement_control", [.read, .write]), Grant("ops_lead", "registry_definitions", [.read, .write])]
    + ["session_data", "journey_data", "entitlement_data", "registry_definitions"].map { Grant("support_agent", $0, [.read]) }

  private static let businessGrants: [Grant] = [
    Grant("ops_lead", "runtime_policies", [.read, .write]), Grant("product_owner", "runtime_policies", [.read]),
    Grant("product_owner", "registry_definitions", [.read, .write]), Grant("product_owner", "session_data", [.read]),
    Grant("market_manager", "registry_definitions", [.read, .write]), Grant("market_manager", "service_point_control", [.read, .write]),
    Grant("finance_settlement", "settlement_data", [.read, .export]), Grant("finance_settlement", "settlement_control", [.read, .write]),
    Grant("finance_settlement", "entitlement_data", [.read]),
  ]

  private static let externalGrants: [Grant] = [
    Grant("traveller", "session_control", [.read, .write], onlySelf: true),
    Grant("traveller", "journey_control", [.read, .write], onlySelf: true),
    Grant("traveller", "registry_definitions", [.read]), Grant("vendor", "settlement_data", [.read], onlySelf: true),
  ]
}
