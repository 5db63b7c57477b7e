import SpanwireDatabase
import SpanwireEventLog
import SpanwireSchema
import SpanwireServiceKit

/// Proves what the kernel promises: every accepted turn went OPEN, ACTIVE, COMMIT or ABORT, CLOSE, once; has its plan and its evidence,
/// with the bytes that their hashes name; and nothing that was refused was accepted.
public enum TurnCheck {
  private struct Name: Hashable {
    var tenant: String
    var id: String
  }

  /// What the log tells of a turn.
  private struct Story {
    var state = TurnStateMachine.State.wanted
    var planHash: [UInt8] = []
    var seed: UInt64 = 0
    var evidenceHash: [UInt8] = []
    var outcome = TurnOutcome.unspecified
  }

  public static func verify(_ environment: ServiceEnvironment) async throws -> [Verification] {
    var chains = Verification("turns.went through the table's transitions, each once")
    var rows = Verification("turns.have their plans and their evidence, as the log tells of them")
    let begun = environment.clock.now
    var stories: [Name: Story] = [:]
    try await environment.log.replay(LogFilter(types: types, tenant: nil)) { event in
      guard let input = TurnStateMachine.input(of: event.header.type) else { return }
      let envelope = try event.decoded()
      let name = Name(tenant: envelope.tenantID, id: envelope.turnID)
      if TurnStateMachine.transition(.wanted, input) != nil, input != .open {
        chains.examine()
        if !name.id.isEmpty {
          chains.found("\(name.tenant): \(event.header.type) bears the accepted turn \(name.id)", of: .tenant(name.tenant))
        }
        return
      }
      var story = stories[name] ?? Story()
      guard let transition = TurnStateMachine.transition(story.state, input) else {
        return chains.found("\(name.tenant): \(name.id) was \(story.state) when \(event.header.type) was told", of: .tenant(name.tenant))
      }
      story.state = transition.to
      if let open = try event.payload(TurnOpen.self) {
        (story.planHash, story.seed) = (open.planHash, open.seed)
        chains.examine()
      } else if let commit = try event.payload(TurnCommit.self) {
        (story.evidenceHash, story.outcome) = (commit.evidenceHash, .commit)
      } else if let abort = try event.payload(TurnAbort.self) {
        (story.evidenceHash, story.outcome) = (abort.evidenceHash, .abort)
      }
      stories[name] = story
    }
    try await verifyRows(&stories, environment, begun: begun, &rows)
    for name in stories.keys { rows.found("\(name.tenant): \(name.id) is missing", of: .tenant(name.tenant)) }
    return [chains, rows]
  }

  /// The event types that the table's transitions are told by.
  public static let types: [TypeGlob] = ["turn_*", "output_accepted", "playback_started", "cancel_accepted"]

  private static func verifyRows(
    _ stories: inout [Name: Story], _ environment: ServiceEnvironment, begun: Int64, _ verification: inout Verification
  ) async throws {
    var after = Name(tenant: "", id: "")
    while true {
      let from = after
      // Hashing evidence is the reader's work, not the loop's.
      let page = try await environment.database.scan { snapshot in
        try TurnStore.all(snapshot, after: (from.tenant, from.id), limit: TurnLimits.verifyPage).map { row, planHash, plan in
          (row, planHash, Self.problems(row, planHash, plan))
        }
      }
      for (row, planHash, problems) in page {
        verification.examine()
        after = Name(tenant: row.evidence.tenantID, id: row.evidence.turnID)
        for problem in problems {
          verification.found("\(after.tenant): \(after.id) \(problem)", of: .tenant(after.tenant))
        }
        guard let story = stories.removeValue(forKey: after) else {
          // Rows are read after the log: a turn may be newer than what was read of it.
          let opened = row.evidence.openedAt?.nanosecondsSinceEpoch ?? 0
          if opened < begun { verification.found("\(after.tenant): \(after.id) is in no event", of: .tenant(after.tenant)) }
          continue
        }
        if story.planHash != planHash || story.seed != row.evidence.seed {
          verification.found("\(after.tenant): \(after.id) was opened under another plan or seed", of: .tenant(after.tenant))
        }
        // It may have ended since.
        if story.state == .active { continue }
        if story.state != row.state || story.outcome != row.outcome || story.evidenceHash != row.evidenceHash {
          verification.found(
            "\(after.tenant): \(after.id) ended otherwise, or has other evidence, than the log tells", of: .tenant(after.tenant))
        }
      }
      if page.count < TurnLimits.verifyPage { return }
    }
  }

  /// What is wrong with a row by itself.
  private static func problems(_ row: TurnStore.Row, _ planHash: [UInt8], _ plan: [UInt8]?) -> [String] {
    var problems: [String] = []
    let evidence = row.evidence
    if let plan {
      if SHA256.hash(plan) != planHash { problems.append("has a plan whose bytes are not those of its hash") }
    } else {
      problems.append("has no plan")
    }
    if evidence.planHash != planHash { problems.append("has evidence of another plan") }
    if FrozenPlan.seed(of: row.key, under: planHash) != evidence.seed { problems.append("has a seed that is not its own") }
    if row.state == .closed {
      if SHA256.hash(row.evidenceBytes) != row.evidenceHash { problems.append("has evidence whose bytes are not those of its hash") }
      if evidence.outcome != row.outcome || evidence.endedAt == nil { problems.append("has evidence of another end") }
      if row.outcome == .commit, evidence.outputs.isEmpty { problems.append("was committed without an output") }
    }
    return problems
  }
}
