import ArgumentParser
import SpanwireProtobuf
import SpanwireSchema

/// How much of a list is shown, and how.
struct PageOptions: ParsableArguments {
  @Option(help: "How many at most.") var limit: Int = 50
  @Option(help: "Go on where an earlier list ended; it printed the token.") var pageToken: String = ""
  @Flag(help: "Print JSON, one a line.") var json = false

  mutating func validate() throws {
    if limit < 1 { throw ValidationError("--limit must be at least 1") }
  }

  /// Reads pages until there are enough; returns what came and the token of what comes after it, empty at the end.
  func collect<Element>(
    _ read: (_ size: UInt32, _ token: String) async throws -> ([Element], String)
  ) async throws -> ([Element], next: String) {
    try await gather(upTo: limit, after: pageToken, read)
  }

  /// Prints a list as JSON or as a table, and where it goes on.
  func show<Element: Message>(_ elements: [Element], next: String, _ header: [String], row: (Element) -> [String]) throws {
    if json { return try elements.forEach(printJSON) }
    printTable(header, elements.map(row))
    if !next.isEmpty { print("more: --page-token \(next)") }
  }
}

/// What every control action is given.
struct ControlOptions: ParsableArguments {
  @Option(help: "Why; it stands in the audit.") var reason: String
  @Option(help: "The incident this belongs to; one is opened when none is named.") var incident: String = ""
  @Option(parsing: .upToNextOption, help: "Approvals to count, APR-…, where the approval matrix asks for any.") var approvals: [String] = []
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func apply(_ action: ApplyControlRequest.Action, over connection: ConnectionOptions) async throws -> ApplyControlResponse {
    try await ProductRuntimeGatewayClient(try await connection.channel()).applyControl(
      ApplyControlRequest(
        idempotencyKey: idempotencyKey ?? newIdempotencyKey(), reason: reason, incidentID: incident, approvalRefs: approvals,
        action: action))
  }
}
