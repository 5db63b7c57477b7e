import SpanwireSchema

/// What the room knows of a kind of definition: its names, and how one is read from JSON. A new kind is a line here, a case in
/// `Definition+Value`, and a check in `BundleValidator+Definitions`.
struct DefinitionSection: Sendable {
  let kind: DefinitionKind
  /// As people and events call one.
  let word: String
  /// Its list in a bundle.
  let field: String
  /// The field that names a definition.
  let idField: String
  /// Fields of free JSON, in which a plain number of YAML is a number and not perhaps a text.
  let freeFields: Set<String>
  let decode: @Sendable (String) throws -> Definition.Value

  private init(
    _ kind: DefinitionKind, _ word: String, _ field: String, _ idField: String, free: Set<String> = [],
    decode: @escaping @Sendable (String) throws -> Definition.Value
  ) {
    self.kind = kind
    self.word = word
    self.field = field
    self.idField = idField
    self.decode = decode
    freeFields = free
  }

  static let all: [DefinitionSection] = [
    DefinitionSection(.market, "market", "markets", "market_code") { .market(try Market(jsonString: $0)) },
    DefinitionSection(.product, "product", "products", "product_id") { .product(try Product(jsonString: $0)) },
    DefinitionSection(.productVersion, "product_version", "product_versions", "product_version_id") {
      .productVersion(try ProductVersion(jsonString: $0))
    },
    DefinitionSection(.profile, "profile", "profiles", "profile_id") { .profile(try Profile(jsonString: $0)) },
    DefinitionSection(.journeyDocument, "journey_document", "journey_documents", "journey_doc_id") {
      .journeyDocument(try JourneyDocument(jsonString: $0))
    },
    DefinitionSection(.servicePoint, "service_point", "service_points", "service_point_id") {
      .servicePoint(try ServicePoint(jsonString: $0))
    },
    DefinitionSection(.token, "token", "tokens", "token_id") { .token(try Token(jsonString: $0)) },
    DefinitionSection(.vendor, "vendor", "vendors", "vendor_id") { .vendor(try Vendor(jsonString: $0)) },
    DefinitionSection(.experiment, "experiment", "experiments", "experiment_key") { .experiment(try Experiment(jsonString: $0)) },
    DefinitionSection(.agent, "agent", "agents", "agent_slug") { .agent(try AgentDefinition(jsonString: $0)) },
    DefinitionSection(.modelRoute, "model_route", "model_routes", "route_id") { .modelRoute(try ModelRoute(jsonString: $0)) },
    DefinitionSection(.flag, "flag", "flags", "flag_key", free: ["variants", "targeting", "metadata"]) {
      .flag(try FlagDefinition(jsonString: $0))
    },
    DefinitionSection(.policy, "policy", "policies", "policy_id") { .policy(try PolicyDefinition(jsonString: $0)) },
    DefinitionSection(.role, "role", "roles", "role_key") { .role(try RoleDefinition(jsonString: $0)) },
    DefinitionSection(.approvalRow, "approval_row", "approval_matrix", "row_id") { .approvalRow(try ApprovalRow(jsonString: $0)) },
    DefinitionSection(.accessPolicy, "access_policy", "access_policies", "access_policy_id") {
      .accessPolicy(try AccessPolicy(jsonString: $0))
    },
    DefinitionSection(.slaTarget, "sla_target", "sla_targets", "job_type") { .slaTarget(try SlaTarget(jsonString: $0)) },
  ]

  static func of(_ kind: DefinitionKind) -> DefinitionSection? { all.first { $0.kind == kind } }
}
