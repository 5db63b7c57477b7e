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
    func command(_ arguments: String...) throws -> String {
      let outcome = try spanwire(arguments + ["--server", server.address])
      guard outcome.code == 0 else { throw ProcessFailed(message: "\(arguments): \(outcome.output)") }
      return outcome.output
    }
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
}
