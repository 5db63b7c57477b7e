import Foundation
import Testing

/// What an operator and a traveller do in a terminal: the commands of `spanwire registry`, `spanwire sessions` and those of the city, their
/// output and their exit codes.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct ByHandTests {
  static let traveller = "dev:user:USR-0001:vienna:traveller"
  static let sample = "Samples/vienna-coffee-pass.yaml"

  /// A command, and what comes of it.
  struct Step {
    var command: [String]
    var token: String?
    var code: Int32 = 0
    /// What the output holds.
    var says: [String] = []

    init(_ command: String..., by token: String? = nil, code: Int32 = 0, says: [String] = []) {
      self.command = command
      self.token = token
      self.code = code
      self.says = says
    }
  }

  /// Runs a command against a server; the output.
  @discardableResult
  func run(_ step: Step, _ server: ServerProcess) throws -> String {
    var arguments = step.command + ["--server", server.address]
    if let token = step.token { arguments += ["--token", token] }
    let outcome = try spanwire(arguments)
    let name = step.command.joined(separator: " ")
    #expect(outcome.code == step.code, "\(name): \(outcome.output)")
    for text in step.says { #expect(outcome.output.contains(text), "\(name) does not say \(text): \(outcome.output)") }
    return outcome.output
  }

  @Test("The registry is filled, asked, changed, watched, followed back and emptied by hand")
  func registry() throws {
    let server = try ServerProcess()
    try server.start()
    let sample = try String(contentsOf: Checkout.home.appending(path: Self.sample), encoding: .utf8)
    func file(_ name: String, _ changes: [(String, String)]) throws -> String {
      let url = server.data.appending(path: name)
      try changes.reduce(sample) { $0.replacingOccurrences(of: $1.0, with: $1.1) }.write(to: url, atomically: true, encoding: .utf8)
      return url.path
    }
    let renamed = try file("renamed.yaml", [("name: \"Demel\"", "name: \"Demel am Kohlmarkt\"")])
    let broken = try file("broken.yaml", [("Europe/Vienna", "Europe/Wien"), ("quantity: 3", "quantity: 0")])
    let platform = "dev:ops:OPS-0009:platform:platform_admin"
    let steps = [
      Step("registry", "check", Self.sample, says: ["+ market AT-VIE", "against revision 0"]),
      Step("registry", "apply", Self.sample, "--dry-run", says: ["not applied"]),
      Step("registry", "apply", Self.sample, "--reason", "the beginning", says: ["revision 1", "warning: "]),
      Step("registry", "apply", "Samples/platform.yaml", by: platform, says: ["+ role platform_admin", "revision 1"]),
      Step("registry", "apply", broken, code: 65, says: ["broken.yaml:9: markets[0].time_zone", "grants[0].quantity", "3 mistakes"]),
      Step("registry", "check", broken, "--json", code: 65, says: ["\"path\":\"markets[0].time_zone\""]),
      Step("registry", "apply", renamed, says: ["~ vendor VND-DEMEL (name)", "76 unchanged", "revision 2"]),
      Step("registry", "get", "vendor", "VND-DEMEL", says: ["Demel am Kohlmarkt"]),
      Step("registry", "get", "vendor", "VND-DEMEL", "--revision", "1", says: ["\"name\":\"Demel\""]),
      Step("registry", "get", "vendor", "VND-NONE", code: 66),
      Step("registry", "list", "market", says: ["AT-VIE"]),
      Step("registry", "list", "model_route", "--shared", says: ["MR-STRATEGY-PLANNING"]),
      Step("registry", "get", "role", "ops_lead", says: ["\"tenantId\":\"platform\""]),
      Step("registry", "list", "ghost", code: 64, says: ["journey_document"]),
      Step("registry", "check", "--revision", "1", says: ["~ vendor VND-DEMEL (name)"]),
      Step("registry", "rollback", "1", code: 64),
      Step("registry", "rollback", "1", "--reason", "the old name", says: ["revision 3"]),
      Step("registry", "rollback", "9", "--reason", "too far", code: 65, says: ["lies ahead"]),
      Step("registry", "remove", "agent", "vienna-growth", "--reason", "nobody asks it", says: ["- agent vienna-growth", "revision 4"]),
      Step("registry", "remove", "vendor", "VND-DEMEL", code: 65, says: ["still names it"]),
      Step("registry", "remove", "vendor", "VND-NONE", code: 65),
      Step("registry", "history", "--changes", says: ["rolled back to 1", "nobody asks it", "- agent vienna-growth", "the beginning"]),
      Step("registry", "history", "vendor", "VND-DEMEL", "--json", "--limit", "1", says: ["\"revision\":\"3\""]),
      Step("registry", "watch", "--after", "2", "--limit", "2", says: ["rolled back to 1", "- agent vienna-growth"]),
      Step("registry", "apply", Self.sample, by: Self.traveller, code: 77),
    ]
    for step in steps { try run(step, server) }
    let resolve = Step(
      "registry", "resolve", "PRD-VIEN-COFFEE-PASS", "--market", "AT-VIE", "--user", "USR-0001", "--segment", "tourist", "--experiment",
      "EXP-PASS-SIZE", says: ["EXP-PASS-SIZE → VAR-THREE-COFFEES", "revision  4, of tenant platform 1"])
    let config = try run(resolve, server)
    #expect(try run(resolve, server) == config)
    let reference = String(config.prefix { $0 != " " })
    #expect(try run(Step("registry", "snapshot", reference), server) == config)
    try run(Step("registry", "snapshot", "SNAP-NONE", code: 66), server)
    #expect(server.terminate() == 0)
  }

  @Test("A session is taken through its life by hand, and operators find, follow and control it")
  func sessions() throws {
    let server = try ServerProcess()
    try server.start()
    try run(Step("registry", "apply", Self.sample), server)
    func open(_ options: String...) throws -> String {
      var step = Step("sessions", "open", "PRD-VIEN-COFFEE-PASS", "--market", "AT-VIE", by: Self.traveller, says: ["ready"])
      step.command += options
      return String(try run(step, server).prefix { $0 != " " })
    }
    try run(Step("sessions", "open", "PRD-NONE", "--market", "AT-VIE", by: Self.traveller, code: 1, says: ["failed", "config: "]), server)
    let session = try open("--segment", "tourist", "--experiment", "EXP-PASS-SIZE")
    try run(Step("sessions", "buy", session, "--payment", "PAY-1", by: Self.traveller, says: ["VAR-THREE-COFFEES", "3 × TOK"]), server)
    try run(Step("journeys", "start", session, by: Self.traveller, says: ["plan"]), server)
    try run(Step("sessions", "close", session, by: Self.traveller, code: 76, says: ["close is not possible while active"]), server)
    let asked = try run(
      Step(
        "sessions", "ask", session, "trip_planner", "build_initial_route", "--position", "48.2085,16.3721", "--suggestions", "2",
        by: Self.traveller, says: ["taken by vienna-trip-planner", "completed"]), server)
    let proposals = asked.split(whereSeparator: \.isWhitespace).filter { $0.hasPrefix("PRP-") }.map(String.init)
    try #require(proposals.count == 2)
    try run(Step("sessions", "accept", session, proposals[0], by: Self.traveller, says: ["applied", "→ SP-VIE-"]), server)
    try run(Step("sessions", "accept", session, proposals[0], by: Self.traveller, code: 76, says: ["PROPOSAL_ALREADY_DECIDED"]), server)
    try run(Step("sessions", "reject", session, proposals[1], "--reason", "too short", by: Self.traveller, says: ["rejected"]), server)
    let steps = [
      Step("sessions", "show", session, says: [session, "USR-0001", "JRN-"]),
      Step("sessions", "list", "--state", "active", "--market", "AT-VIE", says: [session]),
      Step("sessions", "list", "--state", "active", "--before", "2020-01-01T00:00:00Z", "--json"),
      Step("sessions", "list", "--state", "sleeping", code: 64, says: ["post_journey"]),
      Step("sessions", "watch", session, "--until-end", says: ["session.created", "purchase.completed", "recommendation.rejected"]),
      Step("sessions", "control", "flag-risk", session, "--reason", "odd payments", says: ["incident INC-"]),
      Step("sessions", "list", "--risk", says: [session, "risk"]),
      Step("sessions", "list", "--no-risk", "--state", "failed"),
      Step("sessions", "control", "skip-node", session, "--reason", "r", code: 64, says: ["--node"]),
      Step(
        "sessions", "control", "block", "SP-VIE-CAFE-CENTRAL", "--reason", "a water pipe", "--until", "2026-05-19T18:00:00Z",
        says: ["done"]),
      Step("sessions", "control", "unblock", "SP-VIE-CAFE-CENTRAL", "--reason", "mended", says: ["done"]),
      Step("sessions", "control", "cancel", session, "--reason", "r", by: Self.traveller, code: 77),
      Step("sessions", "abort-journeys", "--market", "AT-VIE", "--reason", "a storm", "--dry-run", says: ["would abort JRN-"]),
      Step("sessions", "abort-journeys", "--market", "AT-VIE", "--reason", "a storm", says: ["aborted JRN-", "incident INC-"]),
      Step("sessions", "abort-journeys", "--market", "AT-GRZ", "--reason", "a storm", says: ["0 journeys"]),
      Step("verify"),
    ]
    for step in steps { try run(step, server) }
    let other = try open("--segment", "local")
    try run(Step("sessions", "close", other, "--reason", "rain", by: Self.traveller, says: ["cancelled", "rain"]), server)
    try run(Step("sessions", "control", "complete", other, "--reason", "r", code: 76, says: ["while cancelled"]), server)
    try run(Step("sessions", "show", session, by: "dev:user:USR-0002:vienna:traveller", code: 66), server)
    #expect(server.terminate() == 0)
  }

  @Test("Flags are asked, approved, moved and looked back on by hand; the chain asks policy before them; cases test who may do what")
  func governance() throws {
    let server = try ServerProcess()
    try server.start()
    let flag = "payments-live-capture"
    for step in [
      Step("registry", "apply", "Samples/flags.yaml", "--reason", "the flags", says: ["+ flag \(flag)"]),
      Step(
        "registry", "apply", "Samples/platform.yaml", by: "dev:ops:OPS-0009:platform:platform_admin", says: ["+ access_policy ACP-STANDARD"]
      ),
      Step("policy", "test", "Samples/access-cases.yaml", "--require-coverage", says: ["27 of 27 cases as expected"]),
      Step("flags", "explain", flag, "--user", "anna", says: ["false  approval_missing, stage draft"]),
      Step("flags", "explain", "no-such-flag", says: ["unknown_flag: matched"]),
      Step("flags", "is-enabled", "ops-trace-view", "--tier", "gold", code: 1, says: ["not enabled"]),
      Step("flags", "promote", flag, "--reason", "r", code: 77, says: ["FLAG-APPROVAL"]),
      Step("flags", "pause", flag, "--reason", "r", code: 76, says: ["only promote"]),
      Step("flags", "promote", "console-dark-theme", "--reason", "it is dark", "--from", "draft", says: ["console-dark-theme: internal"]),
      Step("flags", "is-enabled", "console-dark-theme", says: ["enabled  stage-internal"]),
      Step("flags", "pause", "console-dark-theme", "--reason", "too dark", says: ["paused, resumes as internal"]),
      Step("flags", "resume", "console-dark-theme", "--reason", "lamps", says: [": internal"]),
      Step("flags", "rollback", "console-dark-theme", "--reason", "day", says: [": rolled_back"]),
      Step("flags", "status", "console-dark-theme", says: ["rolled_back", "defaultVariant"]),
      Step("flags", "history", "console-dark-theme", "--limit", "3", says: ["too dark", "lamps", "day"]),
      Step(
        "chain", "console-dark-theme", "--role", "ops_lead", "--user", "olga", "--tenant", "vienna",
        says: ["policy skipped, flag evaluated"]),
      Step(
        "chain", flag, "--role", "platform_admin", "--user", "OPS-0001", "--tenant", "vienna", code: 1,
        says: ["policy deny, flag short_circuited_by_policy", "security_auditor, platform_admin", "POLICY/R5-approval: matched"]),
      Step(
        "chain", "no-such-flag", "--role", "platform_admin", "--user", "OPS-0001", "--tenant", "vienna", code: 1,
        says: ["unknown_flag_key in derive_sensitivity"]),
    ] { try run(step, server) }
    let asked = try run(
      Step("approvals", "request", "admin_flag_access", "--target", flag, "--reason", "go live", says: ["waits for security_auditor"]),
      server)
    let approval = String(asked.prefix { $0 != " " })
    for step in [
      Step("approvals", "approve", approval, by: "dev:ops:OPS-0002:vienna:security_auditor", says: ["waits for platform_admin"]),
      Step("approvals", "approve", approval, by: "dev:ops:OPS-0003:vienna:platform_admin", says: ["approved"]),
      Step("flags", "promote", flag, "--reason", "go live", "--approval", approval, says: ["\(flag): internal, under \(approval)"]),
      Step(
        "chain", flag, "--role", "platform_admin", "--user", "OPS-0001", "--tenant", "vienna", "--approvals", approval,
        says: ["policy allow, flag evaluated", "true  stage-internal", "FLAGS/stage-internal: matched"]),
      Step("events", "tail", "--from-start", "--until-end", "--type", "policy.flag.*", says: ["policy.flag.transitioned"]),
      Step("verify"),
    ] { try run(step, server) }
    #expect(server.terminate() == 0)
  }
}
