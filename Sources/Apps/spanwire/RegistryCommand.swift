import ArgumentParser
import Foundation
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

struct RegistryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "registry", abstract: "Change, compare and read definitions: products, profiles, journeys, places, policies…",
    discussion: """
      The registry holds what products are made of. A bundle, a YAML file, brings definitions; apply takes it whole or not at all, \
      as a new revision. Sessions that run keep the configuration they began with. Every revision stays: history lists them, show \
      prints a definition as it was, rollback makes an earlier content that of a new revision.

      What a tenant does not define itself it takes from tenant platform, places excepted.
      """,
    subcommands: [
      RegistryApply.self, RegistryCheck.self, RegistryRemove.self, RegistryRollback.self, RegistryGet.self, RegistryList.self,
      RegistryHistory.self, RegistryWatch.self, RegistryResolve.self, RegistrySnapshot.self,
    ])
}

/// Options that every command which changes the registry has.
struct RegistryChangeOptions: ParsableArguments {
  @Option(help: "Why; it stands in the registry's history.") var reason: String = ""
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  var key: String { idempotencyKey ?? newIdempotencyKey() }

  func report(_ response: ApplyResponse, isDryRun: Bool = false) throws {
    if json { return try printJSON(response) }
    for warning in response.warnings { print("warning: \(printable(warning))") }
    printChanges(response.changes)
    print(isDryRun ? "not applied (dry run)" : "revision \(response.revision)")
  }
}

struct RegistryApply: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apply", abstract: "Apply a bundle, whole or not at all. Every mistake in it is told at once.",
    discussion: """
      A bundle is a mapping of lists: markets, products, product_versions, profiles, journey_documents, service_points, tokens, \
      vendors, experiments, agents, model_routes, flags, policies, roles, approval_matrix; removals takes definitions out, by \
      {kind, id}. Definitions that it does not name stay as they are. See Samples/ for two bundles.
      """)

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: RegistryChangeOptions
  @Argument(help: "The bundle, a YAML file; - reads standard input.") var file: String
  @Flag(help: "Validate and compare only.") var dryRun = false

  func run() async throws {
    try await reportingFailures {
      let registry = RegistryClient(try await connection.channel())
      let text = try readText(file)
      do {
        let response = try await registry.apply(
          ApplyRequest(
            idempotencyKey: options.key, source: .bundleYaml(text), reason: options.reason, dryRun: dryRun))
        try options.report(response, isDryRun: dryRun)
      } catch let error as RPCError where error.reason == .bundleInvalid {
        // The refusal has room for some mistakes; Diff for all.
        let problems = try await registry.diff(DiffRequest(source: .bundleYaml(text))).problems
        guard !problems.isEmpty else { throw error }
        try reportProblems(problems, of: file, json: options.json)
      }
    }
  }
}

struct RegistryCheck: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "What applying a bundle would change, or every mistake in it. Changes nothing.",
    discussion: "With --revision instead of a file: what rolling back to that revision would change. Exits with 65 on mistakes.",
    aliases: ["diff"])

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The bundle, a YAML file; - reads standard input.") var file: String?
  @Option(help: "Compare with the registry as it was at this revision.") var revision: UInt64?
  @Flag(help: "Print JSON.") var json = false

  mutating func validate() throws {
    if (file == nil) == (revision == nil) { throw ValidationError("name a bundle or a --revision, one of them") }
  }

  func run() async throws {
    try await reportingFailures {
      let registry = RegistryClient(try await connection.channel())
      let source: DiffRequest.Source = try revision.map { .revision($0) } ?? .bundleYaml(try readText(file ?? "-"))
      let response = try await registry.diff(DiffRequest(source: source))
      if !response.problems.isEmpty { try reportProblems(response.problems, of: file ?? "", json: json) }
      if json { return try printJSON(response) }
      for warning in response.warnings { print("warning: \(describe(warning, in: file ?? ""))") }
      printChanges(response.changes)
      print("against revision \(response.baseRevision)")
    }
  }
}

struct RegistryRemove: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove", abstract: "Take one definition out. Refused while another names it.",
    discussion: "To take out several that name each other, list them under removals in a bundle and apply it.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: RegistryChangeOptions
  @Argument(help: "The kind of definition.") var kind: DefinitionKind
  @Argument(help: "The definition's id.") var id: String

  func run() async throws {
    try await reportingFailures {
      let registry = RegistryClient(try await connection.channel())
      let bundle = Bundle(removals: [DefinitionName(kind: kind, id: id)])
      try options.report(
        try await registry.apply(ApplyRequest(idempotencyKey: options.key, source: .bundle(bundle), reason: options.reason)))
    }
  }
}

struct RegistryRollback: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rollback", abstract: "Make the content of an earlier revision that of a new one.",
    discussion: "Nothing is lost: the revisions between stay in the history, and can be rolled back to in their turn.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: RegistryChangeOptions
  @Argument(help: "The revision whose content is wanted; 0 is the empty registry.") var revision: UInt64

  mutating func validate() throws {
    if options.reason.isEmpty { throw ValidationError("a rollback needs a --reason") }
  }

  func run() async throws {
    try await reportingFailures {
      let registry = RegistryClient(try await connection.channel())
      try options.report(
        try await registry.rollback(RollbackRequest(idempotencyKey: options.key, revision: revision, reason: options.reason)))
    }
  }
}

// MARK: Printing

/// Tells every mistake and ends the command as a refusal does.
private func reportProblems(_ problems: [Problem], of file: String, json: Bool) throws {
  if json {
    for problem in problems { try printJSON(problem) }
  } else {
    for problem in problems { printError(describe(problem, in: file)) }
    printError("spanwire: \(problems.count) \(problems.count == 1 ? "mistake" : "mistakes"), nothing is applied")
  }
  throw ExitCode(exitCode(of: .invalidArgument))
}

/// `pass.yaml:12: products[0].current_version_id: there is no …`, as compilers do, so that editors jump there.
private func describe(_ problem: Problem, in file: String) -> String {
  let place = problem.line > 0 ? "\(file.isEmpty || file == "-" ? "line " : file + ":")\(problem.line): " : ""
  return printable("\(place)\(problem.path): \(problem.text)")
}

func printError(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }

func printChanges(_ changes: [Change]) {
  for change in changes where change.action != .unchanged { print(describe(change)) }
  let unchanged = changes.count { $0.action == .unchanged }
  if unchanged > 0 || changes.isEmpty { print("\(unchanged) unchanged") }
}

/// `~ vendor VND-DEMEL (name)`
func describe(_ change: Change) -> String {
  let sign =
    switch change.action {
    case .added: "+"
    case .changed: "~"
    case .removed: "-"
    default: " "
    }
  let fields = change.fields.isEmpty ? "" : " (\(change.fields.joined(separator: ", ")))"
  return printable("\(sign) \(change.kind.word) \(change.id)\(fields)")
}

/// The text of a file, or of standard input for `-`.
func readText(_ file: String) throws -> String {
  let data: Data
  do {
    data = file == "-" ? FileHandle.standardInput.readDataToEndOfFile() : try Data(contentsOf: URL(fileURLWithPath: file))
  } catch {
    throw ValidationError("\(file) cannot be read")
  }
  guard let text = String(data: data, encoding: .utf8) else { throw ValidationError("\(file) is not UTF-8") }
  return text
}

/// A key nobody used before: the command is meant once, now.
func newIdempotencyKey() -> String {
  "cli-" + (0..<2).map { _ in String(UInt64.random(in: .min ... .max), radix: 36) }.joined()
}
