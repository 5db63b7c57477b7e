import ArgumentParser
import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// In which tenant an administrator acts.
struct TenantOption: ParsableArguments {
  @Option(help: "The tenant; the credential's own when none is named.") var tenant: String = ""
}

/// Whose keys or bindings are listed, and how much of the list.
struct PrincipalListOptions: ParsableArguments {
  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var tenant: TenantOption
  @Option(help: "Only those of the principals with this id.") var principal: String = ""
  @OptionGroup var page: PageOptions

  /// Reads and prints the list.
  func show<Element: Message>(
    _ header: [String], row: (Element) -> [String],
    read: (_ identity: IdentityClient, _ size: UInt32, _ token: String) async throws -> ([Element], String)
  ) async throws {
    try await reportingFailures {
      let identity = IdentityClient(try await connection.channel())
      let (found, next) = try await page.collect { size, token in try await read(identity, size, token) }
      try page.show(found, next: next, header, row: row)
    }
  }
}

/// The principal that a key or a binding is for.
struct PrincipalOptions: ParsableArguments {
  @Argument(help: "KIND:ID of the principal; the kind is user, agent, worker or ops.") var principal: String
  @Option(name: .customLong("role"), help: "A role it has; may be given several times.") var roles: [String] = []
  @Option(name: .customLong("segment"), help: "A group of customers it belongs to; may be given several times.") var segments: [String] = []
  @Option(help: "The organisation within the tenant.") var org: String = ""

  mutating func validate() throws { _ = try chosen() }

  func chosen() throws -> (kind: PrincipalKind, id: String) {
    let kinds: [String: PrincipalKind] = ["user": .user, "agent": .agent, "worker": .worker, "ops": .ops]
    let halves = principal.split(separator: ":", maxSplits: 1).map(String.init)
    guard halves.count == 2, let kind = kinds[halves[0]] else {
      throw ValidationError("a principal is user:ID, agent:ID, worker:ID or ops:ID, not '\(principal)'")
    }
    return (kind, halves[1])
  }
}

/// What every change of identity is given.
struct ChangeOptions: ParsableArguments {
  @Option(help: "Why; it stands in the audit.") var reason: String
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  var key: String { idempotencyKey ?? newIdempotencyKey() }
}

/// `ops:otto`, as tables show a principal.
func principalName(_ kind: PrincipalKind, _ id: String) -> String { "\(kind):\(id)" }

/// A moment in RFC 3339.
func timeText(_ moment: Google_Protobuf_Timestamp) -> String { RFC3339.format(moment.nanosecondsSinceEpoch) }
