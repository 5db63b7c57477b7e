import ArgumentParser
import SpanwireSchema
import SpanwireWellKnown

struct GrantsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "grants", abstract: "Who may help whom for a while: act for them, or see what they see.",
    discussion: """
      An assist grant lets somebody act for a person, a view-as grant see as that person and change nothing. A person gives grants over \
      themselves; an ops_lead, or whoever may write assist_grants, over others; nobody to themselves. The helper's role must be one \
      that may assist, such as support_agent. A grant ends by itself, by the access policy's limit at the latest. Example:
        spanwire grants give assist --to sue --target anna --minutes 30 --reason "cannot redeem her coffee"
        spanwire policy access support_agent write journey_control --actor sue --tenant vienna --target-user anna --assist GRT-01H…
      """,
    subcommands: [GrantsList.self, GrantsGive.self, GrantsRevoke.self], defaultSubcommand: GrantsList.self)
}

/// Under which grant somebody acts.
struct HelpOptions: ParsableArguments {
  @Option(help: "The grant under which they act for the target, GRT-….") var assist: String?
  @Option(help: "The grant under which they see as the target, GRT-….") var viewAs: String?

  var assistContext: GrantContext? { assist.map { GrantContext(grantID: $0) } }
  var viewAsContext: GrantContext? { viewAs.map { GrantContext(grantID: $0) } }
}

struct GrantsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List grants, oldest first.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var tenant: TargetTenantOption
  @Option(help: "Only those over this user.") var target: String = ""
  @Option(help: "Only those that this user holds.") var to: String = ""
  @Flag(help: "Only those that stand now.") var standing = false
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let policy = PolicyClient(try await connection.channel())
      let (found, next) = try await page.collect { size, token in
        let answer = try await policy.listHelp(
          ListHelpRequest(
            targetTenantID: tenant.targetTenant, targetUserID: target, grantedTo: to, standing: standing, pageSize: size, pageToken: token))
        return (answer.grants, answer.nextPageToken)
      }
      try page.show(found, next: next, ["GRANT", "KIND", "STATE", "TO", "OVER", "UNTIL", "GIVEN BY", "REASON"], row: \.cells)
    }
  }
}

struct GrantsGive: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "give", abstract: "Let somebody help somebody else for a while.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "assist, to act for them; view_as, to see as they see.") var kind: HelpKind
  @Option(help: "The user who is to help.") var to: String
  @Option(help: "The helper's tenant, if it is another.") var toTenant: String = ""
  @Option(help: "The user who is helped; when you are a traveller, yourself.") var target: String = ""
  @OptionGroup var tenant: TargetTenantOption
  @Option(help: "Why; it stands in the audit.") var reason: String
  @Option(help: "For how many minutes; as long as the access policy allows when none are given.") var minutes: Int?
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let policy = PolicyClient(try await connection.channel())
      try show(
        try await policy.grantHelp(
          GrantHelpRequest(
            idempotencyKey: idempotencyKey ?? newIdempotencyKey(), kind: kind, grantedTo: to, grantedToTenantID: toTenant,
            targetUserID: target, targetTenantID: tenant.targetTenant, reason: reason,
            ttl: minutes.map { Google_Protobuf_Duration(seconds: Int64($0) * 60) })), json: json)
    }
  }
}

struct GrantsRevoke: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "revoke", abstract: "End a grant; it counts no more at once.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The grant's id, GRT-….") var id: String
  @OptionGroup var tenant: TargetTenantOption
  @OptionGroup var change: ChangeOptions

  func run() async throws {
    try await reportingFailures {
      let policy = PolicyClient(try await connection.channel())
      try show(
        try await policy.revokeHelp(
          RevokeHelpRequest(idempotencyKey: change.key, grantID: id, targetTenantID: tenant.targetTenant, reason: change.reason)),
        json: change.json)
    }
  }
}

/// The tenant of who is helped.
struct TargetTenantOption: ParsableArguments {
  @Option(help: "The tenant of who is helped, if it is another than the credential's.") var targetTenant: String = ""
}

private func show(_ grant: HelpGrant, json: Bool) throws {
  if json { return try printJSON(grant) }
  print(grant.cells.map(printable).joined(separator: "  "))
}

extension HelpGrant {
  fileprivate var cells: [String] {
    let helper = grantedToTenantID == targetTenantID ? grantedTo : "\(grantedToTenantID)/\(grantedTo)"
    return [grantID, kind.word, state.word, helper, targetUserID, expiresAt.map(timeText) ?? "", grantedBy, reason]
  }
}

extension HelpKind: NamedByWord {}
extension HelpState: NamedByWord {}
