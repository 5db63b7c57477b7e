import ArgumentParser
import SpanwireSchema
import SpanwireWellKnown

/// For whom a flag is asked.
struct FlagSubjectOptions: ParsableArguments {
  @Option(help: "The user.") var user: String = ""
  @Option(help: "The user's tier: anonymous, member, gold, platinum, staff or admin.") var tier: String = "staff"
  @Option(help: "The environment: prod, staging or dev.") var env: String = "prod"
  @Option(parsing: .upToNextOption, help: "Approvals to count, APR-….") var approvals: [String] = []
  @Option(help: "What targeting rules may look at besides, as JSON.") var attributes: String = "{}"
  @Option(name: .customLong("now"), help: "The moment to look at, as 2026-11-21T15:00:00Z; now when it is left out.") var nowISO: String =
    ""

  mutating func validate() throws { _ = try (members(), tierValue(), environment()) }

  func members() throws -> Google_Protobuf_Struct {
    do {
      return try Google_Protobuf_Struct(jsonString: attributes)
    } catch {
      throw ValidationError("--attributes is no JSON object: \(error)")
    }
  }

  func tierValue() throws -> Tier {
    let tiers: [String: Tier] = [
      "anonymous": .anonymous, "member": .member, "gold": .gold, "platinum": .platinum, "staff": .staff, "admin": .admin,
    ]
    guard let found = tiers[tier] else { throw ValidationError("there is no tier '\(tier)'") }
    return found
  }

  func environment() throws -> Environment {
    let environments: [String: Environment] = ["prod": .prod, "staging": .staging, "dev": .dev]
    guard let found = environments[env] else { throw ValidationError("an environment is prod, staging or dev, not '\(env)'") }
    return found
  }

  func subject() throws -> FlagSubject {
    FlagSubject(
      userID: user, env: try environment(), tier: try tierValue(), approvalRefs: approvals, attributes: try members(), nowIso: nowISO)
  }
}

struct FlagsExplain: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain", abstract: "Say what a flag serves to somebody, by which of its sources, and why no other.",
    discussion: """
      The sources in their order: unknown_flag, error, default (not enabled), rolled_back, paused, default (expired), approval_missing, \
      dep_unsatisfied, user_override, tenant_override, stage-internal, stage-pilot, stage-full, targeting, rollout_pct, default.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The flag's key.") var flag: String
  @OptionGroup var subject: FlagSubjectOptions
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let found = try await FlagsClient(try await connection.channel()).explainFlag(
        ExplainFlagRequest(flagKey: flag, subject: try subject.subject()))
      if json { return try printJSON(found) }
      try printEvaluation(found)
    }
  }
}

/// A flag's evaluation as a person reads it.
func printEvaluation(_ found: FlagEvaluation) throws {
  let value = try found.value?.jsonString() ?? "no value"
  let stage = found.stage.isEmpty ? "" : ", stage \(found.stage)"
  print("\(printable(value))  \(found.source)\(stage)\(found.bucket.map { ", bucket \($0)" } ?? "")")
  for line in found.trace { print("  \(printable(line))") }
  printDependencies(found.depsEvaluated, indented: "  ")
}

private func printDependencies(_ dependencies: [FlagDependency], indented: String) {
  for dependency in dependencies {
    let sign = dependency.satisfied ? "+" : "-"
    print(
      "\(indented)\(sign) \(printable(dependency.flagKey))  \(dependency.source)\(dependency.stage.isEmpty ? "" : ", stage \(dependency.stage)")"
    )
    printDependencies(dependency.depsEvaluated, indented: indented + "  ")
  }
}

struct FlagsIsEnabled: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "is-enabled", abstract: "Ask whether a flag is on for somebody; the exit code is 1 when it is not.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The flag's key.") var flag: String
  @OptionGroup var subject: FlagSubjectOptions
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let found = try await FlagsClient(try await connection.channel()).isEnabled(
        IsEnabledRequest(flagKey: flag, subject: try subject.subject()))
      if json { try printJSON(found) } else { print("\(found.enabled ? "enabled" : "not enabled")  \(found.source)") }
      if !found.enabled { throw ExitCode(1) }
    }
  }
}

struct FlagsStatus: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show a flag's definition and how far its rollout has come.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The flag's key.") var flag: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let status = try await FlagsClient(try await connection.channel()).getFlag(GetFlagRequest(flagKey: flag))
      if json { return try printJSON(status) }
      print(status.line)
      if let definition = status.definition { print(printable(try definition.jsonString())) }
    }
  }
}

extension FlagStatus {
  /// `menu-season: pilot, approved by APR-…`
  fileprivate var line: String {
    let resumes = pausedStage.isEmpty ? "" : ", resumes as \(pausedStage)"
    let approval = approvalID.isEmpty ? "" : ", under \(approvalID)"
    return printable("\(definition?.flagKey ?? ""): \(stage)\(resumes)\(approval)")
  }
}

/// What every command that moves a flag takes.
struct FlagMoveOptions: ParsableArguments {
  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The flag's key.") var flag: String
  @Option(help: "Why; it stands in the flag's history and in the audit.") var reason: String
  @Option(help: "The approval it is done under, APR-…: for a flag that is sensitive or requires one.") var approval: String = ""
  @Option(help: "Refuse unless the flag is at this stage.") var from: String = ""
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func run(_ move: FlagMove) async throws {
    try await reportingFailures {
      let status = try await FlagsClient(try await connection.channel()).transitionFlag(
        TransitionFlagRequest(
          idempotencyKey: idempotencyKey ?? newIdempotencyKey(), flagKey: flag, move: move, reason: reason, approvalID: approval,
          expectedStage: from))
      if json { return try printJSON(status) }
      print(status.line)
    }
  }
}

struct FlagsPromote: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "promote", abstract: "Move a flag on: from draft to internal, to pilot, to full.",
    discussion: """
      A flag that is sensitive or requires approval needs one of the queue: ask for it with `spanwire approvals request \
      admin_flag_access --target FLAG`, have it approved, and name it with --approval.
      """)
  @OptionGroup var options: FlagMoveOptions
  func run() async throws { try await options.run(.promote) }
}

struct FlagsPause: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pause", abstract: "Let a flag serve its default, until it resumes where it was.")
  @OptionGroup var options: FlagMoveOptions
  func run() async throws { try await options.run(.pause) }
}

struct FlagsResume: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resume", abstract: "Take a paused flag back to where it was, or one that was rolled back to draft.")
  @OptionGroup var options: FlagMoveOptions
  func run() async throws { try await options.run(.resume) }
}

struct FlagsRollback: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "rollback", abstract: "Take a flag back from everybody.")
  @OptionGroup var options: FlagMoveOptions
  func run() async throws { try await options.run(.rollBack) }
}

struct FlagsHistory: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "history", abstract: "List a flag's transitions, the latest first.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The flag's key.") var flag: String
  @Option(help: "How many at most.") var limit: Int = 50
  @Flag(help: "Print JSON, one transition a line.") var json = false

  mutating func validate() throws {
    if limit < 1 { throw ValidationError("--limit must be at least 1") }
  }

  func run() async throws {
    try await reportingFailures {
      let flags = FlagsClient(try await connection.channel())
      let (found, _) = try await gather(upTo: limit) { size, token in
        let page = try await flags.listFlagTransitions(ListFlagTransitionsRequest(flagKey: flag, pageSize: size, pageToken: token))
        return (page.transitions, page.nextPageToken)
      }
      if json { return try found.forEach { try printJSON($0) } }
      printTable(
        ["NUMBER", "FROM", "TO", "ACTOR", "APPROVAL", "REASON"],
        found.map { ["\($0.number)", $0.fromStage, $0.toStage, $0.actor, $0.approvalID, $0.reason] })
    }
  }
}
