import Foundation
import Testing

/// Executions from a terminal, through the deaths of their server.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct ExecutionCommandTests {
  @discardableResult
  private func run(_ server: ServerProcess, _ arguments: String..., code: Int32 = 0, says: [String] = []) throws -> String {
    let outcome = try spanwire(arguments + ["--server", server.address])
    #expect(outcome.code == code, "\(arguments) ended with \(outcome.code): \(outcome.output)")
    for text in says { #expect(outcome.output.contains(text), "\(arguments) does not say \(text): \(outcome.output)") }
    return outcome.output
  }

  @Test("Everything that executions offer is done by hand: run, look, replay, compare, keep, throw away")
  func byHand() throws {
    let server = try ServerProcess()
    try server.start()
    try run(server, "executions", "intents", says: ["compose_journey", "ingest_file", "settlement_report", "platform"])
    let output = try run(
      server, "executions", "run", "ingest_file", #"{"name": "menu.txt", "content": "Melange"}"#, "--session", "PRS-1",
      says: ["job.received", "job.completed", "step 1  examine  done", "artifact ART-"])
    let id = try #require(output.firstMatch(of: /EXE-[0-9A-Z]{26}/)).output
    let artifact = "ART-\(id.dropFirst(4))-file"
    try run(server, "executions", says: [String(id), "completed"])
    try run(server, "executions", "show", String(id), "--json", says: [#""status":"EXECUTION_STATUS_COMPLETED""#])
    try run(server, "executions", "records", String(id), says: ["file.ingested"])
    try run(server, "timeline", String(id), says: ["job.dispatched", "artifact.changed", "wal.appended"])
    let replayed = try run(
      server, "replay", String(id), "--from-step", "store", "--reason", "to see", says: ["in a sandbox", "examine  reused", "store  done"])
    let again = try #require(replayed.firstMatch(of: /EXE-[0-9A-Z]{26}/)).output
    try run(server, "replay", String(id), "--live", "--reason", "make good", code: 77, says: ["REPLAY-APPROVAL"])
    try run(server, "diff", String(id), String(again), says: ["input  same", "step store  same input", "artifact_id"])
    #expect(try run(server, "artifacts", "read", artifact) == "Melange")
    try run(server, "artifacts", "--execution", String(id), says: [artifact, "ready"])
    let file = server.data.appending(path: "note.txt")
    try Data("a note".utf8).write(to: file)
    let kept = try run(server, "artifacts", "store", file.path, "--parent", artifact, says: ["ready", "6 bytes"])
    let note = String(kept.prefix { $0 != " " })
    try run(server, "artifacts", "show", note, says: ["made of", artifact])
    try run(server, "artifacts", "delete", note, "--reason", "tidy", code: 76, says: ["can become archived"])
    try run(server, "artifacts", "archive", note, "--reason", "tidy", says: ["archived"])
    try run(server, "artifacts", "delete", note, "--reason", "tidy", says: ["deleted"])
    try run(server, "state", "set", "PRS-1", #"{"cups": 1}"#, "--if-at", "0", says: ["session:vienna:PRS-1  revision 1"])
    try run(server, "state", "set", "PRS-1", #"{"cups": 2}"#, "--if-at", "0", code: 75, says: ["is at revision 1, not 0"])
    try run(server, "state", "get", "PRS-1", says: [#"{"cups":1}"#])
    try run(server, "state", says: ["session:vienna:PRS-1"])
    try run(server, "state", "delete", "PRS-1")
    try run(server, "executions", "run", "roast_beans", code: 76, says: ["INTENT_UNKNOWN"])
    try run(server, "executions", "register", "roast_beans", "roastery", "--priority", "5", says: ["priority 5"])
    let waiting = String(try run(server, "executions", "submit", "roast_beans", says: ["created"]).prefix { $0 != " " })
    try run(server, "executions", "cancel", waiting, "--reason", "nobody roasts", says: ["cancelled"])
    let failed = try run(server, "executions", "run", "ingest_file", says: ["failed", "parameters.name"])
    let lost = try #require(failed.firstMatch(of: /EXE-[0-9A-Z]{26}/)).output
    var letters = ""
    // The dead letter is handed over after the execution's end.
    while !letters.contains("ingest_file") { letters = try run(server, "dlq") }
    let item = try #require(letters.firstMatch(of: /DLQ-[0-9A-Z]{26}/)).output
    try run(server, "dlq", "show", String(item), says: [String(lost), "epoch 1  built_in"])
    try run(server, "dlq", "redrive", String(item), "--reason", "once more", says: ["is done again as EXE-"])
    try run(server, "verify", says: ["executions.records"])
    #expect(server.terminate() == 0)
  }

  @Test("A handler in Python, written as the README says, serves an intent; killed in the middle, it leaves the rest to another")
  func fromTheReadme() throws {
    let server = try ServerProcess()
    try server.start()
    let readme = try String(contentsOf: Checkout.home.appending(path: "Examples/Agents/README.md"), encoding: .utf8)
    let part = try #require(readme.components(separatedBy: "<!-- file: my_handler.py -->").dropFirst().first)
    let program = part.components(separatedBy: "```")[1].drop { $0 != "\n" }.dropFirst()
    #expect(program.split(separator: "\n", omittingEmptySubsequences: false).count < 40)
    // The same, but that it dies after its first step.
    let dying = program.replacing("    run.append(", with: "    os.kill(os.getpid(), 9)\n    run.append(")
    func worker(_ text: String, _ id: String) throws -> Process {
      let file = server.data.appending(path: "\(id).py")
      try Data(text.utf8).write(to: file)
      let process = Process()
      process.executableURL = URL(fileURLWithPath: Checkout.python)
      process.arguments = [file.path]
      process.environment = ProcessInfo.processInfo.environment.merging([
        "PYTHONPATH": Checkout.home.appending(path: "Examples/Agents").path, "SPANWIRE_SERVER": server.address, "WORKER_ID": id,
        "SPANWIRE_PROTOS": Checkout.home.appending(path: "Protos").path,
      ]) { $1 }
      process.standardError = FileHandle.nullDevice
      try process.run()
      return process
    }
    let first = try worker(String(dying), "roaster-1")
    while !(try run(server, "executions", "intents", "roast_beans")).contains("1 workers") {}
    let id = String(try run(server, "executions", "submit", "roast_beans", #"{"grams": 250}"#, says: ["created"]).prefix { $0 != " " })
    first.waitUntilExit()
    let second = try worker(String(program), "roaster-2")
    try run(server, "executions", "watch", id, says: ["job.completed"])
    let shown = try run(
      server, "executions", "show", id,
      says: ["completed", "epoch 1  worker:roaster-1", "lost", "worker:roaster-2", "step 1  sort  done  attempts 1", "-bag"])
    #expect(shown.contains(#"{"grams":250}"#), "\(shown)")
    try run(server, "state", "get", "operations", says: ["-bag"])
    try run(server, "verify")
    #expect(server.terminate() == 0)
    second.terminate()
    second.waitUntilExit()
  }

  @Test(
    "A server that dies at one commit of an execution after the other loses nothing of it and repeats nothing that was done",
    arguments: [
      "before-commit", "after-commit-before-reply",
    ])
  func deaths(point: String) throws {
    let server = try ServerProcess()
    try server.start()  // a fresh folder's migrations are nobody's execution
    server.kill()
    let ask = [
      "executions", "run", "ingest_file", #"{"name": "menu.txt", "content": "Melange"}"#, "--idempotency-key", "K", "--server",
    ]
    var (commit, died, output) = (0, 0, "")
    while true {
      commit += 1
      // The first commits are those of its start.
      guard (try? server.start(failpoint: "\(point):\(commit)")) != nil else { continue }
      let outcome = try spanwire(ask + [server.address])
      output = outcome.output
      if outcome.code == 0 { break }
      died += 1
      server.kill()
    }
    #expect(died >= 3, "the server died only \(died) times")
    #expect(output.contains("job.completed"))
    server.kill()
    try server.start()
    let id = try #require(output.firstMatch(of: /EXE-[0-9A-Z]{26}/)).output
    let shown = try run(server, "executions", "show", String(id))
    let epochs = shown.matches(of: /epoch \d+/).map(\.output)
    #expect(epochs.count >= 2 && Set(epochs).count == epochs.count, "\(shown)")
    let events = try run(server, "timeline", String(id), "--limit", "500", "--json").split(separator: "\n")
    for (type, count) in [("job.received", 1), ("job.completed", 1), ("wal.appended", 1), ("artifact.changed", 2)] {
      #expect(events.count { $0.contains("\"type\":\"\(type)\"") } == count, "\(type): \(events.joined(separator: "\n"))")
    }
    for step in ["examine", "store"] {
      let done = events.count { $0.contains("\"stepId\":\"\(step)\"") && $0.contains("\"message\":\"done\"") }
      #expect(done == 1, "\(step) was done \(done) times")
    }
    try run(server, "verify")
    #expect(server.terminate() == 0)
  }
}
