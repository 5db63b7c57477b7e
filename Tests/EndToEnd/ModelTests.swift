import Foundation
import SpanwireModelServer
import Testing

/// Language models as docs/models.md says, with the provider of the test tree, over real RPC and HTTP.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct ModelTests {
  /// The files of docs/models.md by their names.
  private static func files() throws -> [String: String] {
    let page = try String(contentsOf: Checkout.home.appending(path: "docs/models.md"), encoding: .utf8)
    var files: [String: String] = [:]
    // Before each file a line with its name.
    let parts = page.components(separatedBy: "```yaml\n")
    for (before, after) in zip(parts, parts.dropFirst()) {
      guard let name = before.split(separator: "`").dropLast().last, name.hasSuffix(".yaml") else { continue }
      files[String(name)] = after.components(separatedBy: "```")[0]
    }
    return files
  }

  private struct Setting {
    let models: ModelServer
    let server: ServerProcess
    let configuration: String

    init() throws {
      models = try ModelServer(key: "sk-of-the-page")
      server = try ServerProcess()
      configuration = server.data.appending(path: "models.yaml").path
      let files = try ModelTests.files()
      for (name, text) in files {
        let text = text.replacingOccurrences(of: "http://127.0.0.1:8000", with: models.address)
        try Data(text.utf8).write(to: server.data.appending(path: name))
      }
      setenv("MODELS_KEY", "sk-of-the-page", 1)
    }

    func start(clock: String = ServerProcess.clock) throws {
      try server.start(["--models", configuration, "--clock", clock])
    }

    func run(_ command: String..., code: Int32 = 0, says: [String] = []) throws -> String {
      let outcome = try spanwire(command + ["--server", server.address])
      #expect(outcome.code == code, "\(command): \(outcome.output)")
      for text in says { #expect(outcome.output.contains(text), "\(command) does not say \(text): \(outcome.output)") }
      return outcome.output
    }

    func apply(_ file: String) throws {
      _ = try run("registry", "apply", file, "--reason", "a guide with a model")
    }
  }

  @Test("A model is used as the page says: it looks places up, proposes, and what it cost is seen")
  func page() throws {
    let setting = try Setting()
    try setting.start()
    try setting.apply(Checkout.home.appending(path: "Samples/vienna-coffee-pass.yaml").path)
    try setting.apply(setting.server.data.appending(path: "guide.yaml").path)
    let listed = try setting.run("models", says: ["local", "planner", "0.15 USD", "128000"])
    #expect(!listed.contains("sk-of-the-page"))
    _ = try setting.run(
      "models", "route", "model-guide", "suggest_next_stop", says: ["MR-GUIDE ", "MR-GUIDE-RULES", "built_in", "0.05 USD"])
    let told = try setting.run(
      "tasks", "run", "journey_guide", "suggest_next_stop", "--market", "AT-VIE", "--timeout-ms", "60000",
      says: ["completed", "I suggest two cafés", "Two near ones", "SP-VIE-"])
    let id = String(told.prefix { $0 != " " })
    let shown = try setting.run("tasks", "show", id, says: ["epoch 1  model", "local/planner  completed  stop", "costs "])
    #expect(!shown.contains("sk-of-the-page"))
    _ = try setting.run("tasks", "--intent", "suggest_next_stop", "--type", "journey_guide", says: [id])
    let none = try setting.run("tasks", "--intent", "explain_limits")
    #expect(!none.contains(id))
    _ = try setting.run(
      "tasks", "proposals", "--agent", "model-guide", "--kind", "route_change", "--state", "open", says: ["Two near ones", id])
    _ = try setting.run("tasks", "impact", "--json", says: ["\"agentSlug\":\"model-guide\"", "\"undecided\":\"1\""])
    _ = try setting.run("policy", "budgets", says: ["POL-MODELS"])
    _ = try setting.run("verify", says: ["ao.tasks"])
    #expect(setting.server.terminate() == 0)
  }

  @Test("A server that is killed in the middle of an answer asks again, and what it had set aside comes back")
  func killed() throws {
    let setting = try Setting()
    try setting.start()
    let bundle = setting.server.data.appending(path: "held.yaml")
    let models = try String(contentsOfFile: setting.configuration, encoding: .utf8).replacingOccurrences(of: "words:1000", with: "held:40")
    try Data(models.utf8).write(to: URL(fileURLWithPath: setting.configuration))
    try Data(
      """
      bundle_id: BND-HELD
      agents:
        - {agent_slug: held-guide, agent_type: journey_guide, title: Guide, intents: [suggest_next_stop], by_model: true, capability_tiers: [read],
           model_policy: {default_model: "held:40"}}
      policies:
        - {policy_id: POL-HELD, scope: "tool:model.local", budget: {daily: {micros: 100000, currency: USD}}}
      """.utf8
    ).write(to: bundle)
    #expect(setting.server.terminate() == 0)
    try setting.start()
    try setting.apply(bundle.path)
    let submitted = try setting.run(
      "tasks", "submit", "journey_guide", "suggest_next_stop", "--market", "AT-VIE", "--timeout-ms", "60000")
    let id = String(submitted.prefix { $0 != " " })
    try ask(setting.models, "GET", "/held")
    setting.server.kill()
    try setting.start(clock: "2026-05-19T09:30:00+02:00")
    // It is asked again, by the next attempt: both halves of that answer come.
    try ask(setting.models, "GET", "/held")
    try ask(setting.models, "POST", "/release")
    var shown = ""
    repeat { shown = try setting.run("tasks", "show", id) } while shown.contains("running")
    #expect(shown.contains("completed") && shown.contains("lost") && shown.contains("epoch 2  model"), "\(shown)")
    var held = ""
    repeat {
      held = try setting.run("policy", "reservations", "--state", "held", "--json")
    } while held.contains("reservationId")
    let reservations = try setting.run("policy", "reservations", "--json")
    #expect(reservations.contains("EXPIRED") && reservations.contains("SETTLED"), "\(reservations)")
    _ = try setting.run("verify")
    #expect(setting.server.terminate() == 0)
  }

  /// Asks the provider what only tests ask: whether an answer is held, or to let it go on.
  private func ask(_ models: ModelServer, _ method: String, _ path: String) throws {
    let program = "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[2], method=sys.argv[1])).read()"
    let asked = try run(Checkout.python, ["-c", program, method, models.address + path])
    guard asked.code == 0 else { throw ProcessFailed(message: asked.output) }
  }
}
