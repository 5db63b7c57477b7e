import ArgumentParser
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

struct RegistryGet: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "get", abstract: "Print definitions as JSON: one by kind and id, or all of a kind.",
    discussion: "With --revision it prints the definition as it was at that revision.", aliases: ["show"])

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The kind of definition.") var kind: DefinitionKind
  @Argument(help: "The definition's id; all of the kind without one.") var id: String?
  @Option(help: "As it was at this revision.") var revision: UInt64 = 0

  mutating func validate() throws {
    if revision > 0, id == nil { throw ValidationError("--revision needs the id of a definition") }
  }

  func run() async throws {
    try await reportingFailures {
      let registry = RegistryClient(try await connection.channel())
      if let id {
        return try printJSON(try await registry.getDefinition(GetDefinitionRequest(kind: kind, id: id, revision: revision)))
      }
      try await eachDefinition(ListDefinitionsRequest(kind: kind), registry) { try printJSON($0) }
    }
  }
}

struct RegistryList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List definitions: what there is, and since when.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "Only this kind of definition.") var kind: DefinitionKind?
  @Flag(help: "Those that tenant platform shares, instead of the tenant's own.") var shared = false
  @Flag(help: "Print JSON, one definition a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let registry = RegistryClient(try await connection.channel())
      var rows: [[String]] = []
      try await eachDefinition(ListDefinitionsRequest(kind: kind ?? .unspecified, shared: shared), registry) { definition in
        if json { return try printJSON(definition) }
        rows.append([definition.kind.word, definition.id, "\(definition.revision)", String(definition.contentHash.prefix(19))])
      }
      if !json { printTable(["KIND", "ID", "SINCE REVISION", "CONTENT"], rows) }
    }
  }
}

private func eachDefinition(
  _ request: ListDefinitionsRequest, _ registry: RegistryClient, _ body: (Definition) throws -> Void
) async throws {
  var request = request
  request.pageSize = 200
  repeat {
    let page = try await registry.listDefinitions(request)
    for definition in page.definitions { try body(definition) }
    request.pageToken = page.nextPageToken
  } while !request.pageToken.isEmpty
}

struct RegistryHistory: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history", abstract: "List revisions, the newest first: when, who, why, what changed.",
    discussion: "With a kind and an id: only the revisions that touched that definition.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The kind of a definition.") var kind: DefinitionKind?
  @Argument(help: "The definition's id.") var id: String?
  @Option(help: "How many at most.") var limit: Int = 20
  @Flag(help: "Name every definition that changed.") var changes = false
  @Flag(help: "Print JSON, one revision a line.") var json = false

  mutating func validate() throws {
    if limit < 1 { throw ValidationError("--limit must be at least 1") }
    if (kind == nil) != (id == nil) { throw ValidationError("a definition is named by its kind and its id") }
  }

  func run() async throws {
    try await reportingFailures {
      let registry = RegistryClient(try await connection.channel())
      var request = ListRevisionsRequest(kind: kind ?? .unspecified, id: id ?? "")
      var left = limit
      repeat {
        request.pageSize = UInt32(min(100, left))
        let page = try await registry.listRevisions(request)
        for revision in page.revisions { try json ? printJSON(revision) : printRevision(revision, withChanges: changes) }
        left -= page.revisions.count
        request.pageToken = page.nextPageToken
      } while !request.pageToken.isEmpty && left > 0
    }
  }
}

struct RegistryWatch: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch", abstract: "Follow the registry's changes, from a revision or from now on.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Begin after this revision; without it, with the next change.") var after: UInt64 = 0
  @Option(help: "Stop after so many revisions.") var limit: Int?
  @Flag(help: "Print JSON, one revision a line.") var json = false

  func run() async throws {
    lineBuffered()
    try await reportingFailures {
      let registry = RegistryClient(try await connection.channel())
      var seen = 0
      for try await revision in try await registry.watch(WatchRequest(afterRevision: after)) {
        try json ? printJSON(revision) : printRevision(revision, withChanges: true)
        seen += 1
        if seen == limit { return }
      }
    }
  }
}

struct RegistryResolve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resolve", abstract: "Print the configuration a session would run on.",
    discussion: """
      The same request at the same revision gives the same bytes and the same snapshot reference. An experiment assigns a user to \
      one of its variants, always to the same.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "A product, or a version of one (PRDV-…).") var product: String
  @Option(help: "The market, such as AT-VIE.") var market: String
  @Option(help: "The user whom experiments assign.") var user: String = ""
  @Option(name: .customLong("segment"), help: "A segment of the user's; may be given several times.") var segments: [String] = []
  @Option(name: .customLong("experiment"), help: "An experiment to take part in; may be given several times.")
  var experiments: [String] = []
  @Flag(help: "Print JSON: the whole configuration.") var json = false

  func run() async throws {
    try await reportingFailures {
      let registry = RegistryClient(try await connection.channel())
      let isVersion = product.hasPrefix("PRDV-")
      let config = try await registry.resolveRuntimeConfig(
        ResolveRuntimeConfigRequest(
          productID: isVersion ? "" : product, productVersionID: isVersion ? product : "", marketCode: market, userID: user,
          segments: segments, experimentKeys: experiments))
      try json ? printJSON(config) : printConfig(config)
    }
  }
}

struct RegistrySnapshot: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "snapshot", abstract: "Print a configuration that was resolved before, exactly as it was.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The reference, SNAP-…; a session shows its own.") var reference: String
  @Flag(help: "Print JSON: the whole configuration.") var json = false

  func run() async throws {
    try await reportingFailures {
      let config = try await RegistryClient(try await connection.channel()).getSnapshot(GetSnapshotRequest(snapshotRef: reference))
      try json ? printJSON(config) : printConfig(config)
    }
  }
}

private func printRevision(_ revision: RegistryChange, withChanges: Bool) {
  let when = revision.appliedAt.map { RFC3339.format($0.nanosecondsSinceEpoch) } ?? ""
  let back = revision.rolledBackTo.map { "  rolled back to \($0)" } ?? ""
  let reason = revision.reason.isEmpty ? "" : "  \(revision.reason)"
  print(printable("\(revision.revision)  \(when)  \(revision.actor)  \(revision.changes.count) changed\(back)\(reason)"))
  if withChanges { for change in revision.changes { print("    " + describe(change)) } }
}

private func printConfig(_ config: RuntimeConfig) {
  print("\(config.snapshotRef)  \(config.contentHash)")
  print("  product   \(printable(config.productVersion?.productVersionID ?? ""))")
  print("  market    \(printable(config.market?.marketCode ?? ""))  \(printable(config.market?.timeZone ?? ""))")
  print("  journey   \(printable(config.journeyDocument.map { "\($0.journeyDocID) \($0.version)" } ?? "none"))")
  print("  profiles  \(printable(config.profiles.map(\.profileID).joined(separator: " ")))")
  print("  tokens    \(printable(config.tokens.map(\.tokenID).joined(separator: " ")))")
  for (experiment, variant) in config.experimentVariants { print("  \(printable("\(experiment) → \(variant)"))") }
  print("  revision  \(config.registryRevision), of tenant platform \(config.platformRevision)")
}
