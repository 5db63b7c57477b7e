import ArgumentParser
import SpanwireRPC
import SpanwireSchema

struct KeysCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keys", abstract: "Keys that the platform gives out: credentials for programs.",
    discussion: """
      A key stands for one principal with just the roles it is given. Its secret is shown once, when it is made: it goes into \
      $SPANWIRE_TOKEN, or behind 'Bearer'. The platform keeps only its hash.
      """,
    subcommands: [KeysList.self, KeysCreate.self, KeysRevoke.self], defaultSubcommand: KeysList.self)
}

struct KeysList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List keys, oldest first.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var tenant: TenantOption
  @Option(help: "Only those of the principals with this id.") var principal: String = ""
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let identity = IdentityClient(try await connection.channel())
      var request = ListApiKeysRequest(tenantID: tenant.tenant, principalID: principal)
      let (found, next) = try await page.collect { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let answer = try await identity.listApiKeys(request)
        return (answer.keys, answer.nextPageToken)
      }
      try page.show(found, next: next, ["KEY", "PRINCIPAL", "ROLES", "EXPIRES", "LAST USED", "LABEL"]) { key in
        [
          key.keyID, principalName(key.kind, key.principalID), key.roles.joined(separator: ", "),
          key.revokedAt != nil ? "revoked" : key.expiresAt.map(timeText) ?? "", key.lastUsedAt.map(timeText) ?? "never", key.label,
        ]
      }
    }
  }
}

struct KeysCreate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "create", abstract: "Make a key. Its secret is printed now and never again.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var tenant: TenantOption
  @OptionGroup var principal: PrincipalOptions
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
          ttl: .init(seconds: Int64(days) * 86_400)))
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
