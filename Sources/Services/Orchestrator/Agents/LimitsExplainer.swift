import SpanwireSchema
import SpanwireServiceKit

/// Says what the pass allows and what is left of it. Support and safety answer by it, and the guide when she asks.
enum LimitsExplainer {
  static func explain(_ run: AgentRun) async throws -> AgentAnswer {
    try await run.progress("limits", 30, "Looks up what the pass allows")
    let config = try await run.config()
    let limits = ProfileLimits(config)
    let journey = try await run.journey()

    try await run.progress("balance", 60, "Looks up what is left")
    let held = run.task.agentType == "safety" ? [] : try await run.entitlements()
    var sentences = balance(held, config, limits)
    sentences += rules(limits, journey)
    if run.task.agentType == "support" || run.task.agentType == "journey_guide", let journey { sentences.append(whereNow(journey)) }
    let text = sentences.isEmpty ? "I know of no limits that apply to you." : sentences.joined(separator: " ")
    try await run.partial(text)
    return AgentAnswer(
      text: text,
      drafts: [
        AgentAnswer.Draft(
          summary: sentences.first ?? text, rationale: "Read from the session's profiles and from the ledger.",
          confidence: config == nil ? 0.5 : 1, kind: .explanation(Explanation(text: text)))
      ])
  }

  static func balance(_ held: [Entitlement], _ config: RuntimeConfig?, _ limits: ProfileLimits) -> [String] {
    held.map { entitlement in
      let title = config?.tokens.first { $0.tokenID == entitlement.tokenID }?.title ?? entitlement.tokenID
      let until = entitlement.expiresAt.map { ", until \(RFC3339.format($0.nanosecondsSinceEpoch).prefix(10))" } ?? ""
      switch entitlement.state {
      case .expired: return "Your \(title) has expired."
      default: return "Of \(entitlement.issued) × \(title) you have \(entitlement.remaining) left\(until)."
      }
    }
  }

  static func rules(_ limits: ProfileLimits, _ journey: JourneyInstance?) -> [String] {
    var sentences: [String] = []
    if limits.maxStops > 0 {
      let visited = journey.map { ", and you have made \($0.visitedServicePointIds.count)" } ?? ""
      sentences.append("A day has at most \(limits.maxStops) stops\(visited).")
    }
    if limits.maxWalkingMetres > 0 { sentences.append("A route is at most \(Int(limits.maxWalkingMetres)) m on foot.") }
    if !limits.latestEndLocal.isEmpty { sentences.append("It ends by \(limits.latestEndLocal).") }
    if !limits.blocked.isEmpty { sentences.append("\(limits.blocked.count) places are not served at present.") }
    if limits.stampsPerReward > 0 { sentences.append("Every \(limits.stampsPerReward) stamps earn a reward.") }
    return sentences
  }

  private static func whereNow(_ journey: JourneyInstance) -> String {
    guard let node = journey.nodes.first(where: { $0.state == .active || $0.state == .blocked }) else {
      return "Your journey stands at no step."
    }
    return "Your journey waits at \"\(node.nodeID)\"."
  }
}
