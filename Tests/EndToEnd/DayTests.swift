import Foundation
import Testing

/// The main job, with real processes: the server, the command and a Python program on stock gRPC.
@Suite(.serialized)
final class DayTests {
  let server: ServerProcess

  static let services = [
    "spanwire.gateway.v1.ProductRuntimeGateway", "spanwire.registry.v1.Registry", "spanwire.policy.v1.Policy",
    "spanwire.journeys.v1.JourneyRuntime", "spanwire.agents.v1.AgentOrchestrator", "spanwire.entitlements.v1.Trutta",
    "spanwire.city.v1.Lem", "spanwire.flags.v1.Flags", "spanwire.chain.v1.Chain", "flagd.evaluation.v1.Service",
    "flagd.evaluation.v2.Service",
    "flagd.sync.v1.FlagSyncService", "spanwire.events.v1.Events", "spanwire.observability.v1.Collector",
    "opentelemetry.proto.collector.trace.v1.TraceService",
  ]

  init() throws {
    server = try ServerProcess()
    try server.start()
  }

  @Test("A day in Vienna is played, malformed requests change nothing, and the README's tour works")
  func day() throws {
    let day = try spanwire([
      "demo", "--server", server.address, "--home", Checkout.home.path, "--python", Checkout.python, "--run", "first",
    ])
    #expect(day.code == 0, "\(day.output)")
    let surface = try run(
      Checkout.python,
      [Checkout.home.appending(path: "Tests/EndToEnd/surface.py").path, "--server", server.address] + Self.services)
    #expect(surface.code == 0, "\(surface.output)")

    let stubs = server.data.appending(path: "stubs")
    try FileManager.default.createDirectory(at: stubs, withIntermediateDirectories: true)
    try makeStubs(in: stubs)
    let bad = try run(
      Checkout.python,
      [
        Checkout.home.appending(path: "Tests/EndToEnd/bad_input.py").path, "--server", server.address,
        "--stubs", stubs.path, "--database", server.data.appending(path: "spanwire.db").path,
      ])
    #expect(bad.code == 0, "\(bad.output)")

    for (number, command) in try tour().enumerated() {
      let environment = [
        "PATH": "\(Checkout.spanwire.deletingLastPathComponent().path):\(ProcessInfo.processInfo.environment["PATH"] ?? "")",
        "SPANWIRE_SERVER": server.address, "SPANWIRE_TOKEN": "dev:ops:OPS-0001:vienna:ops_lead,finance_settlement",
      ]
      let step = try run("bash", ["-euc", command], environment: environment)
      #expect(step.code == 0, "step \(number + 1) of the tour: \(command)\n\(step.output)")
      #expect(!step.output.isEmpty, "step \(number + 1) of the tour printed nothing: \(command)")
    }

    let again = try spanwire([
      "demo", "--server", server.address, "--home", Checkout.home.path, "--python", Checkout.python, "--run", "second",
    ])
    #expect(again.code == 0, "\(again.output)")
    #expect(server.terminate() == 0, "a server that is asked to stop drains and exits with 0")
  }

  /// The commands of the README's tour, but for the one that sets up the shell.
  private func tour() throws -> [String] {
    let readme = try String(contentsOf: Checkout.home.appending(path: "README.md"), encoding: .utf8)
    let start = try #require(readme.range(of: "<!-- tour:"))
    let section = readme[start.upperBound...].components(separatedBy: "```")[1]
    let commands = section.split(separator: "\n").filter { $0.hasPrefix("$ ") }.map { String($0.dropFirst(2)) }
    try #require(commands.count >= 8)
    return commands.filter { !$0.hasPrefix("export ") }
  }
}
