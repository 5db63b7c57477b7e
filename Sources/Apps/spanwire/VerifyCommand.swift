import ArgumentParser
import SpanwireSchema

struct VerifyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Prove that the log is whole and that every service's rows agree with it.")

  @OptionGroup var connection: ConnectionOptions
  @Flag(help: "Print JSON, one check a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let events = EventsClient(try await connection.channel())
      var failed: [String] = []
      for try await check in try await events.verify(VerifyRequest()) {
        if json {
          try printJSON(check)
        } else {
          print("\(check.ok ? "ok  " : "FAIL")  \(check.check)  \(check.examined) examined")
          for finding in check.findings { print("        \(printable(finding))") }
        }
        if !check.ok { failed.append(check.check) }
      }
      if !failed.isEmpty { throw CheckFailed(message: "what does not hold: \(failed.joined(separator: ", "))") }
    }
  }
}
