import ArgumentParser
import SpanwireSchema

struct ChainCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "chain", abstract: "Ask policy first and flags second: may somebody use a flag, and what does it serve?",
    discussion: """
      A flag that is sensitive or requires approval, and one that nobody knows, is asked of policy before it is evaluated: what policy \
      denies is not evaluated, and of what it masks the value is not shown. If policy can't be reached nothing is evaluated. Example:
        spanwire chain payments-live-capture --role platform_admin --user ada --tenant vienna --approvals APR-01H…

      The exit code is 0 when the flag was evaluated, 1 when policy denied, and 69 when a service could not be reached.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The flag's key.") var flag: String
  @Option(help: "The role that acts, such as ops_lead.") var role: String
  @Option(help: "read, write or export.") var action: String = "read"
  @Option(help: "The tenant of who acts: your own.") var tenant: String
  @Option(help: "The tenant that is acted on; by default the actor's.") var targetTenant: String?
  @Option(help: "The user that is acted on.") var targetUser: String = ""
  @OptionGroup var help: HelpOptions
  @OptionGroup var subject: FlagSubjectOptions
  @Flag(help: "Print JSON.") var json = false

  mutating func validate() throws {
    _ = try RequestedAccess(word: action)
    if subject.user.isEmpty { throw ValidationError("--user says who acts, and is required") }
  }

  func run() async throws {
    try await reportingFailures {
      let answer = try await ChainClient(try await connection.channel()).evaluateChain(
        EvaluateChainRequest(
          actorRole: role, actorUserID: subject.user, actorTenantID: tenant, targetTenantID: targetTenant ?? tenant,
          targetUserID: targetUser, flagKey: flag, requestedAction: try RequestedAccess(word: action), approvalRefs: subject.approvals,
          assistCtx: help.assistContext, viewAsCtx: help.viewAsContext, env: try subject.environment(), tier: try subject.tierValue(),
          nowIso: subject.nowISO, attributes: try subject.members()))
      if json { try printJSON(answer) } else { try tell(answer) }
      if answer.flagEvalStatus != "evaluated" { throw ExitCode(answer.policyGateStatus == "deny" ? 1 : 69) }
    }
  }

  private func tell(_ answer: EvaluateChainResponse) throws {
    print("policy \(answer.policyGateStatus), flag \(answer.flagEvalStatus)")
    if let decision = answer.policyResult {
      let reasons = decision.reasons.map { "\($0.text) (\($0.ruleRef))" }.joined(separator: "; ")
      print("  \(decision.decision): \(printable(reasons))")
      if !decision.requiredApprovers.isEmpty {
        print("  still to approve: \(printable(decision.requiredApprovers.joined(separator: ", "))) (\(decision.approvalMatrixRow))")
      }
    }
    if let found = answer.flagResult {
      let value = try found.value?.jsonString() ?? (answer.policyResult?.decision == .mask ? "masked" : "no value")
      print("  \(printable(value))  \(found.source)\(found.stage.isEmpty ? "" : ", stage \(found.stage)")")
    }
    for error in answer.errors { print("  \(error.mode) in \(error.step): \(error.code): \(printable(error.message))") }
    for line in answer.combinedTrace { print("  | \(printable(line))") }
  }
}
