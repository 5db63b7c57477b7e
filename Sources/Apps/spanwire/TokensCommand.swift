import ArgumentParser
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

struct TokensCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokens", abstract: "Tokens of the issuer that are taken back before they expire.",
    discussion: "A token is named by its claim jti. One without it can only be waited for.",
    subcommands: [TokensList.self, TokensRevoke.self], defaultSubcommand: TokensList.self)
}

struct TokensList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List revoked tokens that have not expired yet.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var tenant: TenantOption
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let identity = IdentityClient(try await connection.channel())
      var request = ListRevokedTokensRequest(tenantID: tenant.tenant)
      let (found, next) = try await page.collect { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let answer = try await identity.listRevokedTokens(request)
        return (answer.tokens, answer.nextPageToken)
      }
      try page.show(found, next: next, ["TOKEN", "REVOKED", "FORGOTTEN", "BY", "REASON"]) {
        [$0.tokenID, $0.revokedAt.map(timeText) ?? "", $0.expiresAt.map(timeText) ?? "", $0.revokedBy, $0.reason]
      }
    }
  }
}

struct TokensRevoke: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "revoke", abstract: "Refuse a token from now on.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var tenant: TenantOption
  @Argument(help: "The token's claim jti.") var id: String
  @Option(help: "When the token expires, in RFC 3339; by default as late as any token may.") var expires: String?
  @OptionGroup var change: ChangeOptions

  func expiry() throws -> Google_Protobuf_Timestamp? {
    guard let expires else { return nil }
    guard let moment = RFC3339.parse(expires) else { throw ValidationError("--expires takes RFC 3339, such as 2026-05-19T09:00:00Z") }
    return .init(nanosecondsSinceEpoch: moment)
  }

  mutating func validate() throws { _ = try expiry() }

  func run() async throws {
    try await reportingFailures {
      let identity = IdentityClient(try await connection.channel())
      let token = try await identity.revokeToken(
        RevokeTokenRequest(
          idempotencyKey: change.key, tenantID: tenant.tenant, tokenID: id, expiresAt: try expiry(), reason: change.reason))
      if change.json { return try printJSON(token) }
      print("revoked \(printable(token.tokenID))")
    }
  }
}

struct WhoAmICommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "whoami", abstract: "Show who the server takes the credential's bearer for.")

  @OptionGroup var connection: ConnectionOptions
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let caller = try await IdentityClient(try await connection.channel()).whoAmI(WhoAmIRequest())
      if json { return try printJSON(caller) }
      print("\(principalName(caller.kind, printable(caller.principalID))) of tenant \(printable(caller.tenantID))")
      if !caller.orgID.isEmpty { print("  organisation  \(printable(caller.orgID))") }
      if !caller.roles.isEmpty { print("  roles         \(printable(caller.roles.joined(separator: ", ")))") }
      if !caller.segments.isEmpty { print("  segments      \(printable(caller.segments.joined(separator: ", ")))") }
    }
  }
}
