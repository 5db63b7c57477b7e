import ArgumentParser
import SpanwireSchema
import SpanwireWellKnown

struct FlagsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flags", abstract: "Show feature flags, try what they say to whom, and move them from stage to stage.",
    discussion: """
      Flags are definitions of the registry: a bundle brings them, its history tells of them, a rollback undoes them. How far each is \
      rolled out is moved here: draft, internal, pilot, full, and paused or rolled back from there. Clients of \
      OpenFeature read them by flagd's own services on the same port: any flagd provider in rpc or in-process mode, with the user as \
      targetingKey and the attribute tier. Without a credential a client sees the flags of the tenant that the server names by \
      --flags-tenant. Examples:
        spanwire registry apply Samples/flags.yaml --reason "winter menu"
        spanwire registry history flag menu-season
        spanwire flags eval menu-season --context '{"targetingKey": "anna", "tier": "gold"}'
        spanwire flags promote menu-season --reason "first snow" --approval APR-01H…
      """,
    subcommands: [
      FlagsShow.self, FlagsEval.self, FlagsExplain.self, FlagsIsEnabled.self, FlagsStatus.self, FlagsPromote.self, FlagsPause.self,
      FlagsResume.self, FlagsRollback.self, FlagsHistory.self, FlagsConvert.self,
    ], defaultSubcommand: FlagsShow.self)
}

struct FlagsShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Print all flags in flagd's JSON, as clients evaluate them.")

  @OptionGroup var connection: ConnectionOptions
  @Flag(help: "Print JSON: the flags with the revisions of the registry they come from.") var json = false

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
