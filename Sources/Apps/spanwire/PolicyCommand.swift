import ArgumentParser
import Foundation
import SpanwireSchema
import SpanwireServiceKit

struct PolicyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "policy", abstract: "Who may do what, and what a tool call must pass.",
    discussion: """
      Policies are definitions of the registry: `spanwire registry apply` writes them, `spanwire registry list --kind policy` shows \
      them. Each is a rule over the calls of a scope (global, agent:SLUG, tool:NAME, session:ID, user:ID or org:ID): a budget, a rate \
      limit, an allowlist of hosts, or tool tiers that need an approval. All that apply to a call must pass.

      What people may see and do is decided by roles, an access policy and the approval matrix, definitions as well: access asks about \
      one case, test about a table of them.
      """,
    subcommands: [
      PolicyCheck.self, PolicyBudgets.self, PolicyReservations.self, PolicyAccess.self, PolicyTest.self,
    ])
}

struct PolicyCheck: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Ask whether a tool call may be made; with --cost, set that much aside for it.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The tool's name.") var tool: String
  @Argument(help: "Its tier: read, network_read, network_write, money or system_admin.") var tier: String
  @Option(help: "The agent that calls.") var agent: String = ""
  @Option(help: "The run it is part of.") var runID: String = ""
  @Option(help: "The URL it reaches.") var url: String = ""
  @Option(help: "What it may cost, such as 0.25.") var cost: String?
  @Option(help: "The currency of the cost.") var currency: String = "USD"
  @Option(parsing: .upToNextOption, help: "Approvals to count, APR-….") var approvals: [String] = []
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func money() throws -> Money? {
    guard let cost else { return nil }
    guard let micros = Micros.parse(cost) else { throw ValidationError("--cost is an amount such as 0.25, not '\(cost)'") }
    return Money(micros: micros, currency: currency)
  }

  mutating func validate() throws { _ = try money() }

  func run() async throws {
    try await reportingFailures {
      let policy = PolicyClient(try await connection.channel())
      let decision = try await policy.checkTool(
        CheckToolRequest(
          idempotencyKey: idempotencyKey ?? newIdempotencyKey(), agentSlug: agent, toolName: tool, actionType: tier, runID: runID,
          targetURL: url, estimatedCost: try money(), approvalRefs: approvals))
      if json { return try printJSON(decision) }
      if decision.allowed {
        print("allowed\(decision.reservation.map { ", \($0.reserved?.text ?? "") set aside as \($0.reservationID)" } ?? "")")
      } else {
        let wait = decision.retryAfter.map { "; try again in \($0.seconds) s" } ?? ""
        print("refused by \(printable(decision.policyID)) (\(decision.policyType)): \(printable(decision.reason))\(wait)")
      }
      for line in decision.trace { print("  \(printable(line))") }
    }
  }
}

struct PolicyBudgets: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "budgets", abstract: "How far each budget is used, by day and by run.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only this policy's.") var policy: String = ""
  @Flag(help: "Print JSON, one budget's period a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let client = PolicyClient(try await connection.channel())
      var budgets: [BudgetUse] = []
      var request = ListBudgetsRequest(policyID: policy)
      repeat {
        let page = try await client.listBudgets(request)
        budgets += page.budgets
        request.pageToken = page.nextPageToken
      } while !request.pageToken.isEmpty
      if json { return try budgets.forEach { try printJSON($0) } }
      printTable(
        ["POLICY", "PERIOD", "SPENT", "RESERVED", "LIMIT"],
        budgets.map { [$0.policyID, $0.bucket, $0.spent?.text ?? "", $0.reserved?.text ?? "", $0.limit?.text ?? "-"] })
    }
  }
}

struct PolicyReservations: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reservations", abstract: "Money set aside for tool calls, or release what was forgotten.")

  @OptionGroup var connection: ConnectionOptions
  @Option(name: .customLong("run"), help: "Only those of this run.") var runID: String = ""
  @Option(help: "Only those in this state.") var state: BudgetReservationState?
  @Option(help: "Release this reservation instead of listing.") var release: String?
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let policy = PolicyClient(try await connection.channel())
      var (found, next): ([BudgetReservation], String) = ([], "")
      if let release {
        found = [
          try await policy.releaseReservation(ReleaseReservationRequest(idempotencyKey: newIdempotencyKey(), reservationID: release))
        ]
      } else {
        (found, next) = try await page.collect { size, token in
          let answer = try await policy.listBudgetReservations(
            ListBudgetReservationsRequest(state: state ?? .unspecified, runID: runID, pageSize: size, pageToken: token))
          return (answer.reservations, answer.nextPageToken)
        }
      }
      try page.show(found, next: next, ["RESERVATION", "STATE", "RESERVED", "SPENT", "AGENT", "TOOL", "RUN"]) {
        [$0.reservationID, "\($0.state)", $0.reserved?.text ?? "", $0.spent?.text ?? "", $0.agentSlug, $0.toolName, $0.runID]
      }
    }
  }
}

struct PolicyAccess: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "access", abstract: "Ask whether a role may do something, and show what each rule makes of it.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The role that acts, such as ops_lead.") var role: String
  @Argument(help: "read, write or export.") var action: String
  @Argument(help: "The field category, such as session_data.") var category: String
  @Option(help: "Who acts.") var actor: String = "someone"
  @Option(help: "The tenant of who acts.") var tenant: String
  @Option(help: "The tenant that is acted on; by default the actor's.") var targetTenant: String?
  @Option(help: "The user that is acted on.") var targetUser: String = ""
  @Option(help: "The one thing of the category, such as a session: approvals for it count too.") var target: String = ""
  @Option(parsing: .upToNextOption, help: "Approvals to count, APR-….") var approvals: [String] = []
  @OptionGroup var help: HelpOptions
  @Flag(help: "Print JSON.") var json = false

  mutating func validate() throws { _ = try RequestedAccess(word: action) }

  func run() async throws {
    try await reportingFailures {
      let policy = PolicyClient(try await connection.channel())
      let answer = try await policy.explainAccess(
        CheckAccessRequest(
          context: AccessContext(
            actorRole: role, actorUserID: actor, actorTenantID: tenant, targetTenantID: targetTenant ?? tenant, targetUserID: targetUser,
            fieldCategory: category, requestedAction: try RequestedAccess(word: action), approvalRefs: approvals,
            assistCtx: help.assistContext, viewAsCtx: help.viewAsContext, target: target)))
      if json { return try printJSON(answer) }
      let decision = answer.decision ?? AccessDecision()
      print("\(decision.decision): \(printable(decision.reasons.map(\.text).joined(separator: "; ")))")
      if !decision.requiredApprovers.isEmpty {
        print("still to approve: \(decision.requiredApprovers.joined(separator: ", ")) (\(decision.approvalMatrixRow))")
      }
      printTable(["RULE", "OUTCOME", "WHAT IT SAYS"], answer.rules.map { [$0.rule, $0.outcome, $0.text] })
    }
  }
}

extension RequestedAccess {
  /// Of what somebody wrote: read, write or export.
  init(word: String) throws {
    switch word {
    case "read": self = .read
    case "write": self = .write
    case "export": self = .export
    default: throw ValidationError("an action is read, write or export, not '\(word)'")
    }
  }
}

extension Money {
  /// `4.5 EUR`
  var text: String { "\(Micros.format(micros)) \(currency)" }
}
