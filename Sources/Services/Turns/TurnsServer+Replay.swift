import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurnKernel

/// Makes again what a turn went by and, where that is possible, what it gave, and says whether it is the same, byte by byte.
extension TurnsServer {
  public func replayTurn(_ request: ReplayTurnRequest, context: ServerContext) async throws -> ReplayTurnResponse {
    let (row, plan) = try await record(request.turnID, context)
    let again = try await host.rerunTurn(RerunTurnRequest(turnID: request.turnID))
    let checks = [planCheck(row, plan, again), seedCheck(row), evidenceCheck(row), outputCheck(row, again)]
    return ReplayTurnResponse(turn: row.turn, checks: checks, isSame: !checks.contains { $0.verdict == .different })
  }

  public func verify() async throws -> [Verification] { try await TurnCheck.verify(environment) }

  private typealias Check = ReplayTurnResponse.Check

  private func planCheck(_ row: TurnStore.Row, _ plan: [UInt8], _ again: RerunTurnResponse) -> Check {
    guard let decoded = try? TurnPlan(decoding: plan) else { return Check(name: "plan", verdict: .different, detail: "it does not decode") }
    if decoded.rules != FrozenPlan.rules {
      return Check(name: "plan", verdict: .notReplayable, detail: "it was made by rules \(decoded.rules), not \(FrozenPlan.rules)")
    }
    let frozen = FrozenPlan(decoded)
    if frozen.bytes != plan || frozen.hash != row.evidence.planHash {
      return Check(name: "plan", verdict: .different, detail: "its bytes are not canonical, or not those of its hash")
    }
    if again.planHash != row.evidence.planHash {
      return Check(name: "plan", verdict: .different, detail: "made again from the task it is \(SHA256.hex(again.planHash))")
    }
    return Check(name: "plan", verdict: .same, detail: SHA256.hex(frozen.hash))
  }

  private func seedCheck(_ row: TurnStore.Row) -> Check {
    let seed = FrozenPlan.seed(of: row.key, under: row.evidence.planHash)
    return Check(name: "seed", verdict: seed == row.evidence.seed ? .same : .different, detail: "\(seed)")
  }

  private func evidenceCheck(_ row: TurnStore.Row) -> Check {
    guard row.state == .closed else { return Check(name: "evidence", verdict: .notReplayable, detail: "the turn is open") }
    let hash = SHA256.hash(row.evidenceBytes)
    return Check(name: "evidence", verdict: hash == row.evidenceHash ? .same : .different, detail: SHA256.hex(hash))
  }

  private func outputCheck(_ row: TurnStore.Row, _ again: RerunTurnResponse) -> Check {
    guard let output = row.evidence.outputs.first else {
      return Check(name: "output", verdict: .notReplayable, detail: "it gave no output")
    }
    if !again.contentHash.isEmpty, again.contentHash == output.contentHash {
      return Check(name: "output", verdict: .same, detail: SHA256.hex(output.contentHash))
    }
    if !again.changedInputs.isEmpty {
      let names = again.changedInputs.joined(separator: ", ")
      return Check(name: "output", verdict: .notReplayable, detail: "read otherwise today: \(names)")
    }
    if !again.failure.isEmpty { return Check(name: "output", verdict: .notReplayable, detail: again.failure) }
    return Check(name: "output", verdict: .different, detail: "it is \(SHA256.hex(again.contentHash)) today")
  }
}
