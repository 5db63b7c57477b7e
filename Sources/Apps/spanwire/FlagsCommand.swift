import ArgumentParser
import Foundation
import SpanwireSchema
import SpanwireWellKnown

struct FlagsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flags", abstract: "Set feature flags, show them, and try what they say to whom.",
    discussion: """
      Flags are one JSON file of flagd's kind (https://flagd.dev/schema/v0/flags.json). Clients of OpenFeature read them by flagd's \
      own services on the same port: any flagd provider in rpc or in-process mode. Without a credential a client sees the flags of \
      the tenant that the server names by --flags-tenant. Examples:
        spanwire flags apply Samples/flags.json --reason "winter menu"
        spanwire flags eval winter-menu --context '{"targetingKey": "anna", "tier": "gold"}'
      """,
    subcommands: [FlagsApply.self, FlagsShow.self, FlagsEval.self], defaultSubcommand: FlagsShow.self)
}

struct FlagsApply: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apply", abstract: "Replace all flags by those of a file, at once; a file with a mistake changes nothing.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The file; - reads standard input.") var file: String
  @Option(help: "Why; it stands in the audit.") var reason: String
  @Option(help: "Refuse unless the flags are at this revision.") var revision: UInt64 = 0
  @Flag(help: "Only say what would change, or what is wrong.") var dryRun = false
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let data = file == "-" ? FileHandle.standardInput.readDataToEndOfFile() : try Data(contentsOf: URL(fileURLWithPath: file))
      let answer = try await FlagsClient(try await connection.channel()).applyFlags(
        ApplyFlagsRequest(
          idempotencyKey: dryRun ? "" : idempotencyKey ?? newIdempotencyKey(), json: String(decoding: data, as: UTF8.self), reason: reason,
          expectedRevision: revision, validateOnly: dryRun))
      if json { return try printJSON(answer) }
      let what = answer.changed.isEmpty ? "nothing changed" : answer.changed.joined(separator: " ")
      print("\(dryRun ? "would change" : "revision \(answer.revision)"): \(printable(what))")
    }
  }
}

struct FlagsShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Print all flags, as they were applied.")

  @OptionGroup var connection: ConnectionOptions
  @Flag(help: "Print JSON: the flags with their revision and who applied them.") var json = false

  func run() async throws {
    try await reportingFailures {
      let flags = try await FlagsClient(try await connection.channel()).getFlags(GetFlagsRequest())
      if json { return try printJSON(flags) }
      print(printable(flags.json))
    }
  }
}

struct FlagsEval: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval", abstract: "Say what a flag is for somebody, and why.",
    discussion: "The exit code is 66 when there is no such flag, and 76 when it can't be resolved.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The flag's key.") var flag: String
  @Option(help: "Who asks, as JSON; targetingKey is whom shares are counted by.") var context: String = "{}"
  @Option(help: "The moment to look at, as 2026-11-21T15:00:00Z; now when it is left out.") var at: Moment?
  @Flag(help: "Print JSON.") var json = false

  func asking() throws -> Google_Protobuf_Struct {
    do {
      return try Google_Protobuf_Struct(jsonString: context)
    } catch {
      throw ValidationError("--context is no JSON object: \(error)")
    }
  }

  mutating func validate() throws { _ = try asking() }

  func run() async throws {
    try await reportingFailures {
      let found = try await FlagsClient(try await connection.channel()).evaluateFlag(
        EvaluateFlagRequest(flagKey: flag, context: try asking(), now: at?.timestamp))
      if json {
        try printJSON(found)
      } else if found.errorCode.isEmpty {
        let value = try found.value?.jsonString() ?? "the caller's own default"
        print("\(printable(value))  \(found.reason)\(found.variant.isEmpty ? "" : ", variant \(printable(found.variant))")")
      } else {
        print("\(found.errorCode): \(printable(found.errorMessage))")
      }
      if !found.errorCode.isEmpty { throw ExitCode(found.errorCode == "FLAG_NOT_FOUND" ? 66 : 76) }
    }
  }
}
