import ArgumentParser
import SpanwireSchema
import SpanwireWellKnown

struct ApprovalsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "approvals", abstract: "The queue of approvals: ask, approve, reject.",
    discussion: """
      What is sensitive needs the word of others: who, says the approval matrix. Nobody approves their own request. The id of an \
      approved request is then named where the approval is needed.
      """,
    subcommands: [ApprovalsList.self, ApprovalsShow.self, ApprovalsRequest.self, ApprovalsApprove.self, ApprovalsReject.self],
    defaultSubcommand: ApprovalsList.self)
}

struct ApprovalsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List requests, oldest first.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only those in this state.") var state: ApprovalState?
  @Option(help: "Only those that this user asked for.") var requestedBy: String = ""
  @OptionGroup var page: PageOptions

  func run() async throws {
    try await reportingFailures {
      let policy = PolicyClient(try await connection.channel())
      let (found, next) = try await page.collect { size, token in
        let answer = try await policy.listApprovals(
          ListApprovalsRequest(state: state ?? .unspecified, requestedBy: requestedBy, pageSize: size, pageToken: token))
        return (answer.approvals, answer.nextPageToken)
      }
      try page.show(found, next: next, ["APPROVAL", "STATE", "FOR", "ASKED BY", "STILL TO APPROVE"]) {
        [$0.approvalID, "\($0.state)", $0.subject, $0.requestedBy, $0.missing.joined(separator: ", ")]
      }
    }
  }
}

struct ApprovalsShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one request and what was said to it.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The approval's id, APR-….") var id: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      try show(try await PolicyClient(try await connection.channel()).getApproval(GetApprovalRequest(approvalID: id)), json: json)
    }
  }
}

struct ApprovalsRequest: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "request", abstract: "Ask for an approval.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "What it is for: a field category such as admin_flag_access, or a tool tier such as network_write.") var category: String
  @Option(help: "The one flag, tool or user it is for; by default any of the category.") var target: String = ""
  @Option(help: "Why.") var reason: String
  @Option(help: "For how many hours it is asked, and then holds.") var hours: Int = 24
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  mutating func validate() throws { if !(1...720).contains(hours) { throw ValidationError("--hours is 1 to 720") } }

  func run() async throws {
    try await reportingFailures {
      let policy = PolicyClient(try await connection.channel())
      try show(
        try await policy.requestApproval(
          RequestApprovalRequest(
            idempotencyKey: idempotencyKey ?? newIdempotencyKey(), category: category, target: target, reason: reason,
            ttl: Google_Protobuf_Duration(seconds: Int64(hours) * 3_600))), json: json)
    }
  }
}

struct ApprovalsApprove: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "approve", abstract: "Approve a request, for one of your roles.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The approval's id, APR-….") var id: String
  @Option(help: "A note for those who read it later.") var note: String = ""
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let policy = PolicyClient(try await connection.channel())
      try show(
        try await policy.decideApproval(
          DecideApprovalRequest(idempotencyKey: newIdempotencyKey(), approvalID: id, approved: true, note: note)), json: json)
    }
  }
}

struct ApprovalsReject: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "reject", abstract: "Reject a request, which ends it.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The approval's id, APR-….") var id: String
  @Option(help: "Why.") var note: String
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let policy = PolicyClient(try await connection.channel())
      try show(
        try await policy.decideApproval(
          DecideApprovalRequest(idempotencyKey: newIdempotencyKey(), approvalID: id, approved: false, note: note)), json: json)
    }
  }
}

private func show(_ approval: Approval, json: Bool) throws {
  if json { return try printJSON(approval) }
  print("\(approval.approvalID)  \(approval.state)  for \(printable(approval.subject))")
  print("  asked by  \(printable(approval.requestedBy)): \(printable(approval.reason))")
  if !approval.missing.isEmpty { print("  waits for \(approval.missing.joined(separator: ", "))") }
  for decision in approval.decisions {
    print(
      "  \(decision.approved ? "approved" : "rejected") by \(printable(decision.approver)) as \(decision.role)  \(printable(decision.note))"
    )
  }
}

extension Approval {
  fileprivate var subject: String { target.isEmpty ? category : "\(category)/\(target)" }
  fileprivate var missing: [String] {
    state == .pending ? requiredApprovers.filter { role in !decisions.contains { $0.role == role } } : []
  }
}
