import Foundation
import Testing

/// Schedules of a server that dies: each time that came counts once, and so does the work that it began.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ScheduleTests {
  private struct Run: Decodable {
    var due: String
    var outcome: String
    var firings: Int
    var subjectId: String?

    /// Seconds since 1970.
    func second() throws -> Int {
      let date = try #require(ISO8601DateFormatter().date(from: String(due.prefix(19)) + "Z"))
      return Int(date.timeIntervalSince1970)
    }
  }

  private struct Task: Decodable { var agentTaskId: String }

  @Test("A schedule whose server is killed at commits, effects and by hand fires once for each time, and begins its work once")
  func killed() throws {
    let server = try ServerProcess()
    try server.start()
    func command(_ arguments: String...) throws -> String { try Self.run(arguments, server) }
    _ = try command(
      "schedules", "create", "pulse", "--every", "1s", "--agent-type", "ops_analyst", "--intent", "explain_incident", "--overlap", "allow")
    _ = try command("events", "tail", "--from-start", "--type", "schedule.fired", "--limit", "2")
    server.kill()
    for death in ["before-commit:3", "after-commit-before-reply:4", "after-effect-before-ack:2"] {
      let died = DispatchSemaphore(value: 0)
      server.onExit = { died.signal() }
      // It may die before it listens: what is due by then is done first.
      try? server.start(failpoint: death)
      died.wait()
      server.onExit = nil
    }
    try server.start()
    let before = try command("events", "tail", "--from-start", "--until-end", "--type", "schedule.fired", "--json").split(separator: "\n")
      .count
    _ = try command("events", "tail", "--from-start", "--type", "schedule.fired", "--limit", "\(before + 2)")
    _ = try command("schedules", "pause", "pulse", "--reason", "enough")
    #expect(try command("verify").contains("every schedule has its timer"))

    let lines = try command("schedules", "runs", "pulse", "--limit", "500", "--json").split(separator: "\n")
    let runs = try lines.map { try JSONDecoder().decode(Run.self, from: Data($0.utf8)) }.reversed()
    var due = try #require(runs.first).second()
    for run in runs {
      #expect(try run.second() == due, "no time counts twice, and none is left out")
      due += run.firings
    }
    let begun = runs.compactMap(\.subjectId).filter { !$0.isEmpty }
    #expect(begun.count >= 4 && Set(begun).count == begun.count)
    // The last of them may still be on its way.
    _ = try command("events", "tail", "--from-start", "--type", "agent.task.received", "--limit", "\(begun.count)")
    let tasks = try command("tasks", "list", "--limit", "500", "--json").split(separator: "\n").map {
      try JSONDecoder().decode(Task.self, from: Data($0.utf8)).agentTaskId
    }
    #expect(tasks.sorted() == begun.sorted())
    _ = server.terminate()
  }

  private static func run(_ arguments: [String], _ server: ServerProcess) throws -> String {
    let outcome = try spanwire(arguments + ["--server", server.address])
    guard outcome.code == 0 else { throw ProcessFailed(message: "\(arguments): \(outcome.output)") }
    return outcome.output
  }

  @Test("A schedule begins executions with the parameters that it was given")
  func executions() throws {
    let server = try ServerProcess()
    try server.start()
    func command(_ arguments: String...) throws -> String { try Self.run(arguments, server) }
    let both = try spanwire(
      [
        "schedules", "create", "both", "--every", "1s", "--execution", "ingest_file", "--agent-type", "support", "--intent",
        "explain_limits",
      ])
    #expect(both.code == 64 && both.output.contains("say what it begins"))
    _ = try command(
      "schedules", "create", "menus", "--every", "1s", "--execution", "ingest_file", "--parameters",
      #"{"name": "menu.txt", "content": "Melange"}"#)
    _ = try command("events", "tail", "--from-start", "--type", "job.completed", "--limit", "2")
    _ = try command("schedules", "pause", "menus", "--reason", "enough")
    let runs = try command("schedules", "runs", "menus", "--json").split(separator: "\n")
      .map { try JSONDecoder().decode(Run.self, from: Data($0.utf8)) }
    let begun = runs.compactMap(\.subjectId).filter { !$0.isEmpty }
    #expect(begun.count >= 2)
    let shown = try command("executions", "show", try #require(begun.last))
    #expect(shown.contains("ingest_file") && shown.contains("completed"), "\(shown)")
    #expect(try command("verify").contains("every schedule has its timer"))
    #expect(server.terminate() == 0)
  }
}
