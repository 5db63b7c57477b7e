import Foundation
import Testing

/// Agents in processes of their own: written as the README says, killed, stopped and revived.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct AgentTests {
  private static let readme = Checkout.home.appending(path: "Examples/Agents/README.md")
  private static let ask = ["tasks", "run", "journey_guide", "suggest_next_stop", "--market", "AT-VIE", "--timeout-ms", "60000"]

  /// The files that the README has its reader write.
  private static func files() throws -> [String: String] {
    let text = try String(contentsOf: readme, encoding: .utf8)
    var files: [String: String] = [:]
    for part in text.components(separatedBy: "<!-- file: ").dropFirst() {
      let name = String(part.prefix { $0 != " " })
      let block = part.components(separatedBy: "```")[1]
      files[name] = String(block.drop { $0 != "\n" }.dropFirst())
    }
    return files
  }

  /// A program in Python beside a server; its output is read line by line.
  private final class Worker {
    let process = Process()
    private let output = Pipe()
    private let input = Pipe()
    private let errors = Pipe()

    init(_ program: String, _ arguments: [String], _ server: ServerProcess, id: String) throws {
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = [Checkout.python, program] + arguments
      process.environment = ProcessInfo.processInfo.environment.merging([
        "PYTHONPATH": Checkout.home.appending(path: "Examples/Agents").path, "SPANWIRE_SERVER": server.address, "WORKER_ID": id,
      ]) { $1 }
      process.standardOutput = output
      process.standardInput = input
      process.standardError = errors
      try process.run()
    }

    deinit {
      if process.isRunning { signal(SIGKILL) }
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    func goOn() throws { try input.fileHandleForWriting.write(contentsOf: Data("\n".utf8)) }

    func line() throws -> String { try Self.line(output) }

    func error() throws -> String { try Self.line(errors) }

    private static func line(_ pipe: Pipe) throws -> String {
      var line = Data()
      while let byte = try pipe.fileHandleForReading.read(upToCount: 1), !byte.isEmpty, byte[byte.startIndex] != UInt8(ascii: "\n") {
        line.append(byte)
      }
      return String(decoding: line, as: UTF8.self)
    }
  }

  /// A command that is awaited while others go on.
  private func begin(_ arguments: [String], _ server: ServerProcess) throws -> (Process, Pipe) {
    let (process, output) = (Process(), Pipe())
    process.executableURL = Checkout.spanwire
    process.arguments = arguments + ["--server", server.address, "--token", "dev:ops:OPS-0001:vienna:ops_lead"]
    process.standardOutput = output
    try process.run()
    return (process, output)
  }

  private func end(_ command: (Process, Pipe)) throws -> String {
    let output = try command.1.fileHandleForReading.readToEnd() ?? Data()
    command.0.waitUntilExit()
    return String(decoding: output, as: UTF8.self)
  }

  @Test("A worker of fewer than forty lines, written as the README says, does what one that was killed, and one that slept, left undone")
  func fromTheReadme() throws {
    let server = try ServerProcess()
    try server.start()
    let files = try Self.files()
    for (name, text) in files { try Data(text.utf8).write(to: server.data.appending(path: name)) }
    let program = try #require(files["my_guide.py"])
    #expect(program.split(separator: "\n", omittingEmptySubsequences: false).count < 40)
    let applied = try spanwire([
      "registry", "apply", server.data.appending(path: "guide.yaml").path, "--reason", "a guide of our own", "--server", server.address,
    ])
    #expect(applied.code == 0, "\(applied.output)")
    let held = Checkout.home.appending(path: "Tests/EndToEnd/held_agent.py").path

    // Killed in the middle of a task: the caller's stream goes on, with the answer of another.
    let first = try Worker(held, ["held-1"], server, id: "")
    let asked = try begin(Self.ask, server)
    #expect(try first.line() == "took 1")
    first.signal(SIGKILL)
    let guide = try Worker(server.data.appending(path: "my_guide.py").path, [], server, id: "guide-1")
    let answer = try end(asked)
    #expect(answer.contains("Begins again") && answer.contains("I would have a coffee at the Central.") && answer.contains("completed"))
    let id = String(answer.prefix { $0 != " " })
    let shown = try spanwire(["tasks", "show", id, "--server", server.address])
    #expect(shown.output.contains("epoch 1  worker:held-1") && shown.output.contains("epoch 2  worker:guide-1"), "\(shown.output)")

    // Stopped in the middle of a task, and revived when another has done it: its late answer is refused.
    guide.signal(SIGTERM)
    guide.process.waitUntilExit()
    #expect(guide.process.terminationStatus == 0)
    let second = try Worker(held, ["held-2"], server, id: "")
    let again = try begin(Self.ask, server)
    #expect(try second.line() == "took 1")
    second.signal(SIGSTOP)
    let other = try Worker(server.data.appending(path: "my_guide.py").path, [], server, id: "guide-2")
    #expect(try end(again).contains("I would have a coffee at the Central."))
    try second.goOn()
    second.signal(SIGCONT)
    #expect(try second.error().contains("epoch 1 is over, 2 stands"))

    let workers = try spanwire(["workers", "--server", server.address])
    for text in ["held-1", "detached", "guide-2", "attached", "tasks waiting: 0, running: 0"] {
      #expect(workers.output.contains(text), "\(workers.output)")
    }
    // Of four turns two were aborted, and of what the two workers said that were given up nothing was accepted.
    let turns = try spanwire(["turns", "--server", server.address]).output
    #expect(turns.components(separatedBy: "commit").count == 3 && turns.components(separatedBy: "abort").count == 3, "\(turns)")
    let told = try spanwire(["turns", "watch", "--until-end", "--server", server.address]).output
    #expect(told.components(separatedBy: "output_accepted").count == 3 && told.contains("turn_stale_epoch_reject"), "\(told)")
    let verified = try spanwire(["verify", "--server", server.address])
    #expect(verified.code == 0 && verified.output.contains("turns.have their plans and their evidence"), "\(verified.output)")
    // A worker that is attached does not keep the server from draining.
    #expect(server.terminate() == 0)
    other.signal(SIGTERM)
    other.process.waitUntilExit()
    #expect(other.process.terminationStatus == 0)
  }

  @Test("Tasks, workers, dead letters and circuits are seen and handled from a terminal")
  func byHand() throws {
    let server = try ServerProcess()
    try server.start()
    let bundle = server.data.appending(path: "guide.yaml")
    try Data(try #require(try Self.files()["guide.yaml"]).utf8).write(to: bundle)
    func run(_ command: String..., code: Int32 = 0, says: [String] = []) throws -> String {
      let outcome = try spanwire(command + ["--server", server.address])
      #expect(outcome.code == code, "\(command): \(outcome.output)")
      for text in says { #expect(outcome.output.contains(text), "\(command) does not say \(text): \(outcome.output)") }
      return outcome.output
    }
    _ = try run("registry", "apply", bundle.path, "--reason", "a guide of our own")
    // Nobody is attached: its time runs out.
    let output = try run(
      "tasks", "run", "journey_guide", "explain_limits", "--market", "AT-VIE", "--timeout-ms", "50",
      says: ["timed_out", "no answer within 50 ms"])
    let task = String(output.prefix { $0 != " " })
    let listed = try run("dlq", says: ["pending", "vienna-journey-guide", "no answer within 50 ms"])
    let item = try #require(listed.split(separator: "\n").last?.split(separator: " ").first.map(String.init))
    _ = try run("dlq", "show", item, says: [task])
    _ = try run("dlq", "redrive", "--all", "--reason", "once more", says: ["\(item) is done again as ATASK-"])
    _ = try run("dlq", "discard", item, "--reason", "no", code: 76, says: ["DEAD_LETTER_REVIEWED"])
    let submitted = try run(
      "tasks", "submit", "journey_guide", "explain_limits", "--market", "AT-VIE", "--timeout-ms", "60000", says: ["received"])
    let waiting = String(submitted.prefix { $0 != " " })
    _ = try run("tasks", "cancel", waiting, "--reason", "not needed", says: ["cancelled"])
    _ = try run("tasks", "cancel", waiting, "--reason", "not needed", code: 76)
    _ = try run("tasks", "--agent", "vienna-journey-guide", "--state", "cancelled", says: [waiting, "not needed"])
    _ = try run("tasks", "show", "ATASK-NONE", code: 66, says: ["AGENT_TASK_NOT_FOUND"])
    _ = try run("workers", says: ["tasks waiting"])
    _ = try run("workers", "drain", "nobody", "--reason", "none", code: 66, says: ["WORKER_NOT_FOUND"])
    let circuit = "agent:vienna-journey-guide"
    _ = try run("breakers", "set", circuit, "--mode", "forced_open", "--reason", "maintenance", says: [circuit, "forced_open"])
    _ = try run("tasks", "submit", "journey_guide", "explain_limits", "--market", "AT-VIE", code: 69, says: ["CIRCUIT_OPEN"])
    _ = try run(
      "breakers", "set", circuit, "--fallback", "built_in", "--slow-rate", "0.5", "--reason", "serve", says: ["built_in", "50 %"])
    let answered = try run("tasks", "run", "journey_guide", "explain_limits", "--market", "AT-VIE", says: ["completed"])
    let done = String(answered.prefix { $0 != " " })
    let turns = try run("turns", "--task", done, "--outcome", "commit", says: ["closed", "built_in", done])
    let turn = try #require(turns.split(separator: "\n").last?.split(separator: " ").first.map(String.init))
    _ = try run("tasks", "show", done, says: [turn])
    _ = try run("turns", "show", turn, says: ["closed  commit", "epoch 1, by built_in", "evidence "])
    _ = try run("turns", "evidence", turn, says: ["instead of \(circuit)", "read ", "task", "admission", "output "])
    _ = try run("turns", "evidence", turn, "--json", says: ["\"planHash\"", "\"providerAttempts\""])
    _ = try run("turns", "replay", turn, says: ["plan", "seed", "evidence", "output", "same"])
    _ = try run("turns", "cancel", turn, code: 76, says: ["TURN_ENDED"])
    _ = try run("turns", "show", "TURN-NONE", code: 66, says: ["TURN_NOT_FOUND"])
    _ = try run("turns", "watch", "--until-end", says: ["turn_open", "turn_commit"])
    _ = try run("breakers", "--json", says: ["\"fallback\":\"built_in\""])
    _ = try run(
      "breakers", "set", "lem", "--mode", "disabled", "--reason", "x", code: 65, says: ["agent:<slug>, tool:<name> or provider:<name>"])
    _ = try run("verify", says: ["ao.tasks"])
    #expect(server.terminate() == 0)
  }
}
