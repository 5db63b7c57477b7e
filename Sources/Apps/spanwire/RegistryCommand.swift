import ArgumentParser
import Foundation
import SpanwireSchema

struct RegistryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "registry", abstract: "Apply, compare and read definitions.",
    subcommands: [RegistryApply.self, RegistryDiff.self, RegistryGet.self])
}

struct RegistryApply: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apply", abstract: "Apply a bundle, whole or not at all. Every mistake in it is told at once.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The bundle, a YAML file; - reads standard input.") var file: String
  @Option(help: "Why; it stands in the registry's history.") var reason: String = ""
  @Flag(help: "Validate and compare only.") var dryRun = false
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let registry = RegistryClient(try await connection.channel())
      let response = try await registry.apply(
        ApplyRequest(
          idempotencyKey: idempotencyKey ?? newIdempotencyKey(), source: .bundleYaml(try readText(file)), reason: reason, dryRun: dryRun))
      if json { return try printJSON(response) }
      for warning in response.warnings { print("warning: \(printable(warning))") }
      printChanges(response.changes)
      print(dryRun ? "not applied (dry run)" : "revision \(response.revision)")
    }
  }
}

struct RegistryDiff: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "diff", abstract: "What applying a bundle would change.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The bundle, a YAML file; - reads standard input.") var file: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let registry = RegistryClient(try await connection.channel())
      let response = try await registry.diff(DiffRequest(source: .bundleYaml(try readText(file))))
      if json { return try printJSON(response) }
      printChanges(response.changes)
      print("against revision \(response.baseRevision)")
    }
  }
}

struct RegistryGet: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "get", abstract: "Print definitions as JSON: one by kind and id, or all of a kind.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(
    help: "market, product, product_version, profile, journey_document, service_point, token, vendor, experiment or agent.")
  var kind: String
  @Argument(help: "The definition's id; all of the kind without one.") var id: String?

  func definitionKind() throws -> DefinitionKind {
    switch kind {
    case "market": .market
    case "product": .product
    case "product_version": .productVersion
    case "profile": .profile
    case "journey_document": .journeyDocument
    case "service_point": .servicePoint
    case "token": .token
    case "vendor": .vendor
    case "experiment": .experiment
    case "agent": .agent
    default: throw ValidationError("no such kind of definition: '\(kind)'")
    }
  }

  mutating func validate() throws { _ = try definitionKind() }

  func run() async throws {
    try await reportingFailures {
      let registry = RegistryClient(try await connection.channel())
      if let id {
        return try printJSON(try await registry.getDefinition(GetDefinitionRequest(kind: try definitionKind(), id: id)))
      }
      var request = ListDefinitionsRequest(kind: try definitionKind(), pageSize: 200)
      repeat {
        let page = try await registry.listDefinitions(request)
        for definition in page.definitions { try printJSON(definition) }
        request.pageToken = page.nextPageToken
      } while !request.pageToken.isEmpty
    }
  }
}

private func printChanges(_ changes: [Change]) {
  for change in changes where change.action != .unchanged {
    let sign = change.action == .added ? "+" : "~"
    let fields = change.fields.isEmpty ? "" : " (\(change.fields.joined(separator: ", ")))"
    print("\(sign) \(change.kind) \(printable(change.id + fields))")
  }
  print("\(changes.count { $0.action == .unchanged }) unchanged")
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
