import ArgumentParser
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

struct KeysCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keys", abstract: "Keys that the platform gives out: credentials for programs.",
    discussion: """
      A key stands for one principal with just the roles it is given. Its secret is shown once, when it is made: it goes into \
      $SPANWIRE_TOKEN, or behind 'Bearer'. The platform keeps only its hash.

      With --scope it calls nothing but the services and methods named, by their full names, and with --read-only only methods that \
      change nothing. A program that watches events and no more:
        spanwire keys create ops:watcher --role ops_operator --scope spanwire.events.v1.Events --read-only
      """,
    subcommands: [KeysList.self, KeysCreate.self, KeysRevoke.self], defaultSubcommand: KeysList.self)
}

struct KeysList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List keys, oldest first.")

  @OptionGroup var options: PrincipalListOptions

  func run() async throws {
    try await options.show(["KEY", "PRINCIPAL", "ROLES", "SCOPES", "EXPIRES", "LAST USED", "LABEL"], row: \ApiKey.cells) {
      let answer = try await $0.listApiKeys(
        ListApiKeysRequest(tenantID: options.tenant.tenant, principalID: options.principal, pageSize: $1, pageToken: $2))
      return (answer.keys, answer.nextPageToken)
    }
  }
}

struct KeysCreate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "create", abstract: "Make a key. Its secret is printed now and never again.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var tenant: TenantOption
  @OptionGroup var principal: PrincipalOptions
  @Option(
    name: .customLong("scope"),
    help: "A service or method that it may call, such as spanwire.events.v1.Events or spanwire.events.v1.Events.Subscribe; may be repeated."
  )
  var scopes: [String] = []
  @Flag(help: "It calls only methods without side effects.") var readOnly = false
  @Option(help: "What it is for.") var label: String = ""
  @Option(help: "For how many days.") var days: Int = 90
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  mutating func validate() throws { if !(1...366).contains(days) { throw ValidationError("--days is 1 to 366") } }

  func run() async throws {
    try await reportingFailures {
      let identity = IdentityClient(try await connection.channel())
      let (kind, id) = try principal.chosen()
      let made = try await identity.createApiKey(
        CreateApiKeyRequest(
          idempotencyKey: idempotencyKey ?? newIdempotencyKey(), tenantID: tenant.tenant, kind: kind, principalID: id,
          orgID: principal.org, roles: principal.roles, segments: principal.segments, label: label,
          ttl: .init(seconds: Int64(days) * 86_400), scopes: scopes + (readOnly ? [CallScope.readOnly] : [])))
      if json { return try printJSON(made) }
      print("\(printable(made.key?.keyID ?? ""))  \(made.secret.isEmpty ? "(its secret was shown when it was made)" : made.secret)")
    }
  }
}

struct KeysRevoke: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "revoke", abstract: "Take a key back; it is refused at once.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var tenant: TenantOption
  @Argument(help: "The key's id, KEY-…; not its secret.") var id: String
  @OptionGroup var change: ChangeOptions

  func run() async throws {
    try await reportingFailures {
      let identity = IdentityClient(try await connection.channel())
      let key = try await identity.revokeApiKey(
        RevokeApiKeyRequest(idempotencyKey: change.key, tenantID: tenant.tenant, keyID: id, reason: change.reason))
      if change.json { return try printJSON(key) }
      print("revoked \(printable(key.keyID))")
    }
  }
}

extension ApiKey {
  fileprivate var cells: [String] {
    [
      keyID, principalName(kind, principalID), roles.joined(separator: ", "), scopes.joined(separator: ", "),
      revokedAt != nil ? "revoked" : expiresAt.map(timeText) ?? "", lastUsedAt.map(timeText) ?? "never", label,
    ]
  }
}
