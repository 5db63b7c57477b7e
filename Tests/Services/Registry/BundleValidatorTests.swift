import SpanwireSchema
import Testing

@testable import SpanwireRegistry

@Suite("Judging bundles")
struct BundleValidatorTests {
  @Test("the sample bundle has no mistakes, and a doubt for each place without hours")
  func sample() throws {
    let validator = Fixture.validated(try Fixture.sample)
    #expect(validator.problems.isEmpty, "\(validator.problems)")
    #expect(validator.warnings.count == 11)
  }

  @Test("the sample of what the platform shares has no mistakes either")
  func platform() throws {
    let validator = Fixture.validated(try Fixture.platform)
    #expect(validator.problems.isEmpty && validator.warnings.isEmpty, "\(validator.problems)")
    #expect(validator.bundle.definitions.count { $0.key.kind == .role } == 12)
    #expect(validator.bundle.definitions.count { $0.key.kind == .modelRoute } == 6)
  }

  @Test(
    "each mistake in an access policy is told with its path",
    arguments: [
      Mutation(
        find: "{category: event_feed}", replace: "{category: trace_data}",
        paths: [
          "access_policies[0].field_categories[5].category", "access_policies[0].grants[4].field_categories[3]",
          "access_policies[0].grants[7].field_categories[3]",
        ]),
      Mutation(
        find: "{category: audit_log, requires_approval: true,", replace: "{category: audit_log,",
        paths: ["access_policies[0].field_categories[16].approval_row_id"]),
      Mutation(
        find: "{category: personal_data, sensitive: true}",
        replace: "{category: personal_data, sensitive: true, approval_row_id: row-none}",
        paths: ["access_policies[0].field_categories[17].approval_row_id"]),
      Mutation(
        find: "      - {category: admin_flag_access, sensitive: true, requires_approval: true}\n", replace: "",
        paths: ["access_policies[0].field_categories"]),
      Mutation(
        find: "{rule_id: R3-cross-tenant, priority: 3,", replace: "{rule_id: R3-cross-tenant, priority: 2,",
        paths: ["access_policies[0].precedence_rules[2].priority"]),
      Mutation(
        find: "priority: 4, condition: view_as_write", replace: "priority: 4, condition: cross_tenant",
        paths: ["access_policies[0].precedence_rules[3]", "access_policies[0].precedence_rules"]),
      Mutation(
        find: "{rule_id: R8-masked-by-default, priority: 8", replace: "{rule_id: R8-masked-by-default, priority: 0",
        paths: (0..<7).map { "access_policies[0].precedence_rules[\($0)]" }
          + Array(repeating: "access_policies[0].precedence_rules", count: 7)),
      Mutation(
        find: "{rule_id: R5-approval, priority: 5", replace: "{rule_id: R5-approval, priority: 70",
        paths: ["access_policies[0].precedence_rules[4]", "access_policies[0].precedence_rules"]),
      Mutation(
        find: "priority: 6, condition: self_view", replace: "priority: 6, condition: full_moon",
        paths: ["access_policies[0].precedence_rules[5].condition", "access_policies[0].precedence_rules"]),
      Mutation(
        find: "{rule_id: R6-self-view, priority: 6", replace: "{rule_id: R6-self-view, priority: 0",
        paths: (0..<5).map { "access_policies[0].precedence_rules[\($0)].priority" }),
      Mutation(
        find: "{role_key: platform_sre, field_categories: [\"*\"]", replace: "{role_key: platform_king, field_categories: [\"*\"]",
        paths: ["access_policies[0].grants[1].role_key"]),
      Mutation(
        find: "field_categories: [incident_control, service_point_control], actions: [write]",
        replace: "field_categories: [incident_control, weather], actions: [read]",
        paths: [
          "access_policies[0].grants[2].field_categories[1]", "access_policies[0].grants[2]", "access_policies[0].grants[2]",
        ]),
      Mutation(
        find: "field_categories: [settlement_data], actions: [read, export]",
        replace: "field_categories: [settlement_data], actions: [look]",
        paths: ["access_policies[0].grants[13].actions[0]"]),
      Mutation(
        find: "{denial_id: DENY-AUDIT-WRITE, role_key: \"*\", field_categories: [audit_log], actions: [write]}",
        replace: "{denial_id: DENY-AUDIT-WRITE, role_key: external_agent, field_categories: [audit_log], actions: [write]}",
        paths: ["access_policies[0].denials[1]"]),
      Mutation(
        find: "environments: [prod]", replace: "environments: [moon]", paths: ["access_policies[0].denials[2].environments[0]"]),
      Mutation(
        find: "title: Masked by default", replace: "assist_ttl: 90000s", paths: ["access_policies[0].assist_ttl"]),
      Mutation(
        find: "access_policies:\n", replace: "access_policies:\n  - {access_policy_id: ACP-TWO}\n",
        paths: [
          "access_policies[0].access_policy_id", "access_policies[0].field_categories", "access_policies[0].field_categories",
        ] + Array(repeating: "access_policies[0].precedence_rules", count: 8) + [
          "access_policies[0].grants", "access_policies[1].access_policy_id",
        ]),
    ])
  func accessMistakes(_ mutation: Mutation) throws {
    let sample = try Fixture.platform
    let range = try #require(sample.range(of: mutation.find))
    let validator = Fixture.validated(sample.replacingCharacters(in: range, with: mutation.replace))
    #expect(validator.problems.map(\.path) == mutation.paths, "\(validator.problems)")
  }

  @Test("who works across tenants is for the platform to say, and a policy in which nobody could change anything is refused")
  func accessOfATenant() throws {
    let role = "roles: [{role_key: boss, category: business, platform_global: true}]"
    #expect(Fixture.validated(role, content: RegistryContent(tenant: "vienna")).problems.map(\.path) == ["roles[0].platform_global"])
    #expect(Fixture.validated(role, content: RegistryContent(tenant: "platform")).problems.isEmpty)
    let closed = try Fixture.platform.split(separator: "\n", omittingEmptySubsequences: false).filter {
      !$0.contains("registry_definitions]") && !$0.contains("[registry_definitions,") && !$0.contains("role_key: platform_admin, field")
    }.joined(separator: "\n")
    #expect(Fixture.validated(closed).problems.map(\.path).contains("access_policies[0].grants"))
  }

  /// A piece of YAML changed in the sample, and the paths of what is then wrong.
  struct Mutation: Sendable, CustomTestStringConvertible {
    var find: String
    var replace: String
    var paths: [String]
    var testDescription: String { replace }
  }

  @Test(
    "each mistake in the sample is told with its path",
    arguments: [
      Mutation(
        find: "current_version_id: PRDV-VIEN-COFFEE-PASS-1.0.0", replace: "current_version_id: PRDV-NONE",
        paths: ["products[0].current_version_id"]),
      Mutation(find: "time_zone: Europe/Vienna", replace: "time_zone: Europe/Wien", paths: ["markets[0].time_zone"]),
      Mutation(
        find: "market_codes: [AT-VIE]", replace: "market_codes: [AT-GRZ, AT-GRZ]",
        paths: ["product_versions[0].market_codes[0]", "product_versions[0].market_codes[1]", "product_versions[0].market_codes"]),
      Mutation(
        find: "journey_doc_id: TJM-VIEN-COFFEE-PASS-BASE\n    profile_ids", replace: "journey_doc_id: TJM-NONE\n    profile_ids",
        paths: ["product_versions[0].journey_doc_id"]),
      Mutation(find: "quantity: 3", replace: "quantity: 0", paths: ["product_versions[0].variants[0].grants[0].quantity"]),
      Mutation(
        find: "price: {micros: 12900000, currency: EUR}", replace: "price: {micros: -1, currency: eur}",
        paths: ["product_versions[0].variants[0].price.micros", "product_versions[0].variants[0].price.currency"]),
      Mutation(find: "latest_end_local: \"22:00\"", replace: "latest_end_local: \"25:00\"", paths: ["profiles[3].safety.latest_end_local"]),
      Mutation(
        find: "blocked_service_point_ids: []", replace: "blocked_service_point_ids: [SP-NONE]",
        paths: ["profiles[5].ops.blocked_service_point_ids[0]"]),
      Mutation(find: "min_experience_score: 0.3", replace: "min_experience_score: 3", paths: ["profiles[6].quality.min_experience_score"]),
      Mutation(
        find: "variant_id: VAR-THREE-COFFEES, weight: 100", replace: "variant_id: VAR-NINE, weight: 0",
        paths: ["experiments[0].arms[0].variant_id", "experiments[0].arms"]),
      Mutation(find: "agent_type: trip_planner, title", replace: "agent_type: planner, title", paths: ["agents[0].agent_type"]),
      Mutation(find: "title: A day of coffee", replace: "title: faulty", paths: ["journey_documents[0].nodes[0].node_id"]),
      Mutation(
        find: "redeem: {token_id: TOK-VIEN-COFFEE", replace: "redeem: {token_id: TOK-NONE",
        paths: ["journey_documents[0].nodes[3].redeem.token_id"]),
      Mutation(
        find: "visit: {service_point_id: SP-VIE-SIGHT-MICHAELERKIRCHE}", replace: "visit: {service_point_id: SP-NONE}",
        paths: ["journey_documents[0].nodes[5].visit.service_point_id"]),
      Mutation(
        find: "position: {latitude: 48.210367, longitude: 16.365387}", replace: "position: {latitude: 98, longitude: 16}",
        paths: ["service_points[0].position.latitude"]),
      Mutation(find: "vendor_id: VND-CENTRAL, name", replace: "vendor_id: VND-ZENTRAL, name", paths: ["service_points[0].vendor_id"]),
      Mutation(
        find: "vendor_id: VND-TIROLERHOF, name", replace: "vendor_id: VND-CENTRAL, name",
        paths: ["vendors[1].vendor_id", "service_points[1].vendor_id"]),
      Mutation(find: "title: One coffee", replace: "title: \"One\\tcoffee\"", paths: ["tokens[0].title"]),
      Mutation(
        find: "{token_id: TOK-VIEN-COFFEE, quantity: 3", replace: "{token_id: \"TOK VIEN\", quantity: 3",
        paths: ["product_versions[0].variants[0].grants[0].token_id"]),
    ])
  func mistakes(_ mutation: Mutation) throws {
    let sample = try Fixture.sample
    let range = try #require(sample.range(of: mutation.find))
    let validator = Fixture.validated(sample.replacingCharacters(in: range, with: mutation.replace))
    #expect(validator.problems.map(\.path) == mutation.paths, "\(validator.problems)")
    #expect(validator.problems.allSatisfy { $0.line != nil })
  }

  @Test("a reference to a definition that could not be read is not called unknown besides")
  func unread() throws {
    let sample = try Fixture.sample
    let broken = sample.replacingOccurrences(of: "redeemable_tags: [cafe]", with: "redeemable_tags: {cafe: 1}")
    let validator = Fixture.validated(broken)
    #expect(validator.problems.map(\.path) == ["tokens[0].redeemable_tags"])
  }

  @Test("hours that cannot be read are a doubt, not a mistake")
  func hours() throws {
    let sample = try Fixture.sample.replacingOccurrences(of: "\"Mo-Sa 08:00-21:00; PH,Su 10:00-21:00\"", with: "sometimes")
    let validator = Fixture.validated(sample)
    #expect(validator.problems.isEmpty)
    #expect(validator.warnings.count == 12)
    #expect(validator.warnings[0].text.contains("no such rule"))
  }

  @Test("what is published stays as it is: a change is a new version")
  func immutability() throws {
    let sample = try Fixture.sample
    let content = Fixture.content(sample)
    #expect(Fixture.validated(sample, content: content).problems.isEmpty)
    let cheaper = sample.replacingOccurrences(of: "micros: 12900000", with: "micros: 9900000")
    #expect(Fixture.validated(cheaper, content: content).problems.map(\.path) == ["product_versions[0].product_version_id"])
    let longer = sample.replacingOccurrences(of: "title: A day of coffee", with: "title: A long day of coffee")
    #expect(Fixture.validated(longer, content: content).problems.map(\.path) == ["journey_documents[0].version"])
    // What was published and then replaced, or removed, does not come back with another content.
    var replaced = content
    replaced.own = [:]
    #expect(Fixture.validated(longer, content: replaced).problems.map(\.path) == ["journey_documents[0].version"])
    let renamed = sample.replacingOccurrences(of: "name: \"Café Central\"", with: "name: Central")
    #expect(Fixture.validated(renamed, content: content).problems.isEmpty)
  }

  @Test("a bundle may speak of what is already there")
  func existingReferences() throws {
    let content = Fixture.content(try Fixture.sample)
    let addition = "products: [{product_id: PRD-2, title: Two, current_version_id: PRDV-VIEN-COFFEE-PASS-1.0.0}]"
    let validator = Fixture.validated(addition, content: content)
    #expect(validator.problems.map(\.path) == ["products[0].current_version_id"])
    #expect(validator.problems.first?.text.contains("a version of PRD-VIEN-COFFEE-PASS") == true)
  }

  /// A bundle for a registry that holds the sample, and what is wrong with it.
  struct Addition: Sendable, CustomTestStringConvertible {
    var yaml: String
    var mistakes: [String]
    var testDescription: String { yaml }
  }

  @Test(
    "definitions that govern agents and operators are judged too",
    arguments: [
      Addition(
        yaml: """
          model_routes:
            - {route_id: MR-1, task_type: greeting, provider: anthropic, model: haiku, priority: 1, fallback_route_ids: [MR-2, MR-2]}
            - {route_id: MR-2, task_type: greeting, model: sonnet, priority: -1, max_cost: {micros: -5, currency: USD}}
            - {route_id: MR-3, task_type: t, provider: p, model: m, conditions: {agent_slugs: [nobody, vienna-support]}}
          """,
        mistakes: [
          "model_routes[0].fallback_route_ids", "model_routes[1].provider", "model_routes[1].priority", "model_routes[1].max_cost.micros",
          "model_routes[2].conditions.agent_slugs[0]",
        ]),
      Addition(
        yaml: """
          model_routes:
            - {route_id: MR-1, task_type: t, provider: p, model: m, fallback_route_ids: [MR-2]}
            - {route_id: MR-2, task_type: t, provider: p, model: m, fallback_route_ids: [MR-3]}
            - {route_id: MR-3, task_type: t, provider: p, model: m, fallback_route_ids: [MR-2]}
          """,
        mistakes: ["model_routes[0].fallback_route_ids"]),
      Addition(
        yaml: """
          flags:
            - {flag_key: a, variants: {"on": true, "off": false}, default_variant: "off", depends_on: [b]}
            - {flag_key: b, variants: {"on": true, "off": false}, default_variant: "off", depends_on: [c]}
            - {flag_key: c, variants: {"on": true, "off": false}, default_variant: "off", depends_on: [a]}
          """,
        mistakes: ["flags[0].depends_on"]),
      Addition(
        yaml: """
          flags:
            - flag_key: size
              variants: {small: 1, big: two}
              default_variant: medium
              rollout_stage: ROLLOUT_STAGE_PILOT
              rollout_pct: 101
              user_overrides: {USR-1: huge}
              depends_on: [none]
              approval_row_id: row-none
              targeting: {if: [true, small], var: age}
            - {flag_key: empty, default_variant: x}
            - {flag_key: right, variants: {a: 1, b: 2.5}, default_variant: a, targeting: {if: [{">": [{var: age}, 18]}, b, a]}}
          """,
        mistakes: [
          "flags[0].depends_on[0]", "flags[0].approval_row_id", "flags[0].variants", "flags[0].default_variant",
          "flags[0].user_overrides[USR-1]", "flags[0].rollout_pct", "flags[0].rollout_variant", "flags[0].targeting",
          "flags[1].variants", "flags[1].default_variant",
        ]),
      Addition(
        yaml: "flags:\n"
          + (0..<18).map {
            """
              - {flag_key: f\($0), variants: {"on": true, "off": false}, default_variant: "off", depends_on: [\($0 < 17 ? "f\($0 + 1)" : "")]}

            """
          }.joined(),
        mistakes: ["flags[0].depends_on"]),
      Addition(
        yaml: """
          policies:
            - {policy_id: P-1, scope: global, budget: {daily: {micros: 5000000, currency: USD}, per_run: {micros: 500000, currency: EUR}}}
            - {policy_id: P-2, scope: "agent:nobody", rate_limit: {tool: browser.fetch}}
            - {policy_id: P-3, scope: "planet:mars", safety: {require_approval_for: [network_write, thinking]}}
            - {policy_id: P-4, scope: "tool:browser.fetch", allowlist: {allowed_domains: [github.com, "docs.*", "*.vercel.app", "a..b", "*"]}}
            - {policy_id: P-5, scope: global}
            - {policy_id: P-6, scope: global, allowlist: {allowed_domains: ["docs.*"], public_suffixes: [org, co.uk]}}
          """,
        mistakes: [
          "policies[0].budget.per_run.currency", "policies[1].scope", "policies[1].rate_limit.max_per_minute", "policies[2].scope",
          "policies[2].safety.require_approval_for[1]", "policies[3].allowlist.allowed_domains[1]",
          "policies[3].allowlist.allowed_domains[3]", "policies[3].allowlist.allowed_domains[4]", "policies[4]",
        ]),
      Addition(
        yaml: """
          roles:
            - {role_key: security_auditor, category: platform, title: Auditor}
            - {role_key: guest, category: visitors}
            - {role_key: partner, category: external, platform_global: true}
          approval_matrix:
            - {row_id: row-sensitive-override, title: Overrides, required_approvers: [security_auditor, platform_admin]}
            - {row_id: row-nobody}
          """,
        mistakes: [
          "roles[1].category", "roles[2].platform_global", "approval_matrix[0].required_approvers[1]",
          "approval_matrix[1].required_approvers",
        ]),
      Addition(
        yaml: """
          agents:
            - agent_slug: careful
              agent_type: support
              intents: [explain_limits]
              version: 2
              capability_tiers: [read]
              capabilities: [{tool: browser.fetch, permission_tier: network_read}, {permission_tier: read}]
              memory_read: [semantic, "two words"]
              model_policy: {default_model: haiku, fallback_models: [haiku], max_cost: {micros: 1, currency: dollars}}
          """,
        mistakes: [
          "agents[0].capabilities[0].permission_tier", "agents[0].capabilities[1].tool", "agents[0].memory_read[1]",
          "agents[0].model_policy.fallback_models", "agents[0].model_policy.max_cost.currency",
        ]),
      Addition(
        yaml: """
          removals:
            - {kind: vendor, id: VND-CENTRAL}
            - {kind: vendor, id: VND-NONE}
            - {kind: ghost, id: X}
            - {kind: product_version, id: PRDV-VIEN-COFFEE-PASS-1.0.0}
            - {kind: experiment, id: EXP-PASS-SIZE}
          vendors:
            - {vendor_id: VND-CENTRAL, name: Central}
          """,
        mistakes: ["removals[2].kind", "removals[0]", "removals[1]", "removals[3]"]),
      Addition(yaml: "removals: [{kind: experiment, id: EXP-PASS-SIZE}, {kind: agent, id: vienna-growth}]", mistakes: []),
    ])
  func additions(_ addition: Addition) throws {
    let content = Fixture.content(try Fixture.sample)
    let validator = Fixture.validated(addition.yaml, content: content)
    #expect(validator.problems.map(\.path) == addition.mistakes, "\(validator.problems)")
  }

  @Test("what tenant platform shares may be named, used under an own definition, and is no reason to keep what is removed")
  func shared() throws {
    let sample = try Fixture.sample
    var content = RegistryContent(tenant: "vienna")
    content.shared = Fixture.definitions(sample).filter { $0.key.kind.isShared }
    let product = "products: [{product_id: PRD-VIEN-COFFEE-PASS, title: Ours, current_version_id: PRDV-VIEN-COFFEE-PASS-1.0.0}]"
    #expect(Fixture.validated(product, content: content).problems.isEmpty)
    // Places are not shared: the journey's sight would have to be the tenant's own.
    let profile = "profiles: [{profile_id: PRF-1, ops: {blocked_service_point_ids: [SP-VIE-CAFE-CENTRAL]}}]"
    #expect(Fixture.validated(profile, content: content).problems.map(\.path) == ["profiles[0].ops.blocked_service_point_ids[0]"])
    content.own = Fixture.definitions(sample)
    #expect(Fixture.validated("removals: [{kind: vendor, id: VND-CENTRAL}]", content: content).problems.isEmpty)
    content.shared = [:]
    let gone = Fixture.validated("removals: [{kind: vendor, id: VND-CENTRAL}]", content: content).problems
    #expect(gone.map(\.path) == ["removals[0]"] && gone[0].text.contains("SP-VIE-CAFE-CENTRAL still names it, in vendor_id"))
  }

  @Test("an experiment keeps the versions whose variants it assigns")
  func experimentKeepsVersions() throws {
    let yaml = """
      removals:
        - {kind: product_version, id: PRDV-VIEN-COFFEE-PASS-1.0.0}
        - {kind: product, id: PRD-VIEN-COFFEE-PASS}
      """
    let problems = Fixture.validated(yaml, content: Fixture.content(try Fixture.sample)).problems
    #expect(problems.map(\.path) == ["removals[1]", "removals"])
    #expect(problems.last?.text.contains("VAR-THREE-COFFEES") == true)
  }

  @Test("a shared market keeps its clock")
  func sharedClock() throws {
    let sample = try Fixture.sample
    let market = "markets: [{market_code: AT-VIE, name: Vienna, city_code: VIE, time_zone: Europe/Rome, currency: EUR, country: AT}]"
    #expect(Fixture.validated(market, content: Fixture.content(sample)).problems.isEmpty)
    #expect(
      Fixture.validated(market, content: Fixture.content(sample, tenant: "platform")).problems.map(\.path) == ["markets[0].time_zone"])
  }
}
