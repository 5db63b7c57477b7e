import Foundation
import Testing

/// A budget that eight clients want at once, on a server that dies under them.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct BudgetTests {
  @Test(
    "Five hundred reservations by eight processes against a budget for a hundred grant exactly a hundred, also when the server is killed",
    arguments: [[], ["after-commit-before-reply:3", "before-commit:2", "after-commit-before-reply:1"]])
  func race(deaths: [String]) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "budget-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try makeStubs(
      [
        "policy/v1/policy", "policy/v1/approvals", "policy/v1/grants", "policy/v1/runtime", "money/v1/money", "options/v1/options",
      ], in: folder)
    let server = try ServerProcess()
    try server.start()
    let bundle = folder.appending(path: "race.yaml")
    try Data(
      """
      bundle_id: BND-RACE
      policies:
        - {policy_id: POL-RACE, scope: global, budget: {daily: {micros: 100000000, currency: USD}}}
      """.utf8
    ).write(to: bundle)
    let set = try spanwire(["registry", "apply", bundle.path, "--reason", "a race", "--server", server.address])
    #expect(set.code == 0, "\(set.output)")
    server.kill()
    var died = 0
    // The end of a process is what there is to wait for.
    let changed = DispatchSemaphore(value: 0)
    server.onExit = { changed.signal() }
    try server.start(toDieAt: deaths, died: &died)

    let clients = try (0..<8).map { number in
      let client = Process()
      let output = folder.appending(path: "C\(number)")
      _ = FileManager.default.createFile(atPath: output.path, contents: nil)
      client.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      client.arguments = [
        Checkout.python, Checkout.home.appending(path: "Tests/EndToEnd/budget_race.py").path, "--server", server.address,
        "--stubs", folder.path, "--name", "C\(number)", "--count", number < 4 ? "63" : "62",
      ]
      client.standardOutput = try FileHandle(forWritingTo: output)
      client.terminationHandler = { _ in changed.signal() }
      try client.run()
      return (process: client, output: output)
    }
    while clients.contains(where: \.process.isRunning) {
      changed.wait()
      if !server.isRunning {
        died += 1
        try server.start(toDieAt: deaths, died: &died)
      }
    }
    var granted: [Substring] = []
    for client in clients {
      #expect(client.process.terminationStatus == 0)
      granted += try String(contentsOf: client.output, encoding: .utf8).split(separator: "\n")
    }
    #expect(died == deaths.count)
    #expect(granted.count == 100 && Set(granted).count == 100)
    let held = try spanwire(["policy", "reservations", "--state", "held", "--limit", "500", "--json", "--server", server.address])
    #expect(held.output.split(separator: "\n").count == 100)
    let budget = try spanwire(["policy", "budgets", "--server", server.address])
    #expect(budget.output.contains("100 USD"), "\(budget.output)")
    let verify = try spanwire(["verify", "--server", server.address])
    #expect(verify.code == 0, "\(verify.output)")
    #expect(server.terminate() == 0)
  }
}
