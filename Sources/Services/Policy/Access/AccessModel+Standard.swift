import SpanwireSchema

/// What decides as long as neither the tenant nor the platform has an access policy in the registry: a platform that nobody has set up yet
/// must know who may set it up. `Samples/platform.yaml` is the same as definitions, to change what is wanted otherwise.
extension AccessModel {
  public static let standard = AccessModel(standardPolicy, roles: standardRoles, approvalMatrix: standardApprovalMatrix)

  /// Twelve roles in four categories.
  static let standardRoles = [
    role("platform_admin", "platform", "Platform administrator", platformGlobal: true, mayAssist: true),
    role("platform_sre", "platform", "Site reliability engineer", platformGlobal: true),
    role("security_auditor", "platform", "Security auditor", platformGlobal: true),
    role("ops_lead", "operations", "Operations lead", mayAssist: true),
    role("ops_operator", "operations", "Operator"),
    role("support_agent", "operations", "Support agent", mayAssist: true),
    role("product_owner", "business", "Product owner"),
    role("market_manager", "business", "Market manager"),
    role("finance_settlement", "business", "Finance and settlement"),
    role("traveller", "external", "Traveller"),
    role("vendor", "external", "Vendor"),
    role("external_agent", "external", "Agent from outside"),
  ]

  static let standardApprovalMatrix = [
    ApprovalRow(rowID: sensitiveOverrideRow, title: "What is sensitive", requiredApprovers: ["security_auditor", "platform_admin"]),
    ApprovalRow(rowID: "row-audit-export", title: "The audit log", requiredApprovers: ["security_auditor"]),
    ApprovalRow(rowID: "row-tool-call", title: "A tool call", requiredApprovers: ["ops_lead"]),
    ApprovalRow(rowID: "row-tool-money", title: "A tool call that costs", requiredApprovers: ["ops_lead", "finance_settlement"]),
  ]

  static let standardPolicy = AccessPolicy(
    accessPolicyID: "ACP-STANDARD", title: "Masked by default",
    fieldCategories: [
      "session_data", "journey_data", "entitlement_data", "settlement_data", "event_feed", "trace_data", "incident_data",
      "registry_definitions",
      // Any of the control actions, where the question is only whether somebody is an operator at all.
      "control_action",
      "session_control", "journey_control", "service_point_control", "entitlement_control", "settlement_control", "incident_control",
      "runtime_policies",
    ].map { FieldCategory(category: $0) } + [
      FieldCategory(category: "audit_log", requiresApproval: true, approvalRowID: "row-audit-export", approvalActions: ["export"]),
      FieldCategory(category: "personal_data", sensitive: true),
      FieldCategory(category: "payment_reference", sensitive: true),
      FieldCategory(category: flagCategory, sensitive: true, requiresApproval: true),
      // Tool tiers: what an agent's tool may need somebody's word for.
      FieldCategory(category: "read", requiresApproval: true, approvalRowID: "row-tool-call"),
      FieldCategory(category: "network_read", requiresApproval: true, approvalRowID: "row-tool-call"),
      FieldCategory(category: "network_write", requiresApproval: true, approvalRowID: "row-tool-call"),
      FieldCategory(category: "money", requiresApproval: true, approvalRowID: "row-tool-money"),
      FieldCategory(category: "system_admin", requiresApproval: true),
      FieldCategory(category: "assist_grants"),
    ],
    precedenceRules: [
      PrecedenceRule(ruleID: "R1-unauthenticated", priority: 1, condition: "unauthenticated"),
      PrecedenceRule(ruleID: "R2-explicit-deny", priority: 2, condition: "explicit_deny"),
      PrecedenceRule(ruleID: "R3-cross-tenant", priority: 3, condition: "cross_tenant"),
      PrecedenceRule(ruleID: "R4-view-as-read-only", priority: 4, condition: "view_as_write"),
      PrecedenceRule(ruleID: "R5-approval", priority: 5, condition: "approval_missing"),
      PrecedenceRule(ruleID: "R6-self-view", priority: 6, condition: "self_view"),
      PrecedenceRule(ruleID: "R7-grant", priority: 7, condition: "grant"),
      PrecedenceRule(ruleID: "R8-masked-by-default", priority: 8, condition: "always"),
    ],
    grants: [
      grant("platform_admin", ["*"], ["read", "write", "export"]),
      grant("platform_sre", ["*"], ["read"]),
      grant("platform_sre", ["incident_control", "service_point_control"], ["write"]),
      grant("security_auditor", ["*"], ["read", "export"]),
      grant("ops_lead", observed + ["settlement_data", "audit_log"], ["read"]),
      grant("ops_lead", operated + ["entitlement_control", "runtime_policies", "assist_grants"], ["read", "write"]),
      grant("ops_lead", ["registry_definitions"], ["write"]),
      grant("ops_operator", observed, ["read"]),
      grant("ops_operator", operated, ["read", "write"]),
      grant("support_agent", ["session_data", "journey_data", "entitlement_data", "registry_definitions", "assist_grants"], ["read"]),
      grant("product_owner", ["registry_definitions"], ["read", "write"]),
      grant("product_owner", ["session_data", "runtime_policies"], ["read"]),
      grant("market_manager", ["registry_definitions", "service_point_control"], ["read", "write"]),
      grant("finance_settlement", ["settlement_data"], ["read", "export"]),
      grant("finance_settlement", ["settlement_control"], ["read", "write"]),
      grant("finance_settlement", ["entitlement_data"], ["read"]),
      grant("traveller", ["session_control", "journey_control"], ["read", "write"], onlySelf: true),
      grant("traveller", ["registry_definitions"], ["read"]),
      grant("vendor", ["settlement_data"], ["read"], onlySelf: true),
    ],
    denials: [
      AccessDenial(
        denialID: "DENY-AGENT-CONTROL", roleKey: "external_agent", fieldCategories: ["*"], actions: ["write", "export"]),
      AccessDenial(denialID: "DENY-AUDIT-WRITE", roleKey: "*", fieldCategories: ["audit_log"], actions: ["write"]),
      AccessDenial(
        denialID: "DENY-PAYMENT-EXPORT", roleKey: "*", fieldCategories: ["payment_reference"], actions: ["export"],
        environments: ["prod"]),
    ])

  private static let observed = [
    "session_data", "journey_data", "entitlement_data", "event_feed", "trace_data", "incident_data", "registry_definitions",
  ]
  private static let operated = [
    "control_action", "session_control", "journey_control", "service_point_control", "incident_control",
  ]

  private static func role(
    _ key: String, _ category: String, _ title: String, platformGlobal: Bool = false, mayAssist: Bool = false
  ) -> RoleDefinition {
    RoleDefinition(roleKey: key, category: category, title: title, platformGlobal: platformGlobal, mayAssist: mayAssist)
  }

  private static func grant(_ role: String, _ categories: [String], _ actions: [String], onlySelf: Bool = false) -> AccessGrant {
    AccessGrant(roleKey: role, fieldCategories: categories, actions: actions, onlySelf: onlySelf)
  }
}
