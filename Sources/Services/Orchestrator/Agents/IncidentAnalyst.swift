import SpanwireSchema
import SpanwireServiceKit

/// Explains to operators what happened, from the log alone, and suggests what they could do. It never does it.
enum IncidentAnalyst {
  static func explain(_ run: AgentRun) async throws -> AgentAnswer {
    let findings = try await gather(run)
    guard !findings.events.isEmpty else { return AgentAnswer(text: "The log holds nothing about \(findings.subject).") }
    let text = story(findings)
    try await run.partial(text)
    return AgentAnswer(
      text: text,
      drafts: [
        AgentAnswer.Draft(
          summary: "What happened: \(findings.subject)", rationale: "From \(findings.events.count) events of the log.", confidence: 0.8,
          kind: .explanation(Explanation(text: text)))
      ])
  }

  static func suggestMitigation(_ run: AgentRun) async throws -> AgentAnswer {
    let findings = try await gather(run)
    guard !findings.events.isEmpty else { return AgentAnswer(text: "The log holds nothing about \(findings.subject).") }
    let advice = Mitigation.advice(for: Set(findings.events.map(\.type))).prefix(run.maxSuggestions)
    let text = advice.isEmpty ? "I see nothing in it that calls for action." : advice.map(\.text).joined(separator: " ")
    try await run.partial(text)
    return AgentAnswer(
      text: text,
      drafts: advice.map {
        AgentAnswer.Draft(
          summary: $0.text, rationale: "Because of \($0.because).", confidence: 0.6, kind: .explanation(Explanation(text: $0.text)))
      })
  }

  private struct Findings {
    var subject: String
    var events: [EventEnvelope]
  }

  /// Reads the events that the subject names: an incident, an event and its trace, a trace, or a session.
  private static func gather(_ run: AgentRun) async throws -> Findings {
    try await run.progress("log", 30, "Reads the log")
    let subject = subject(of: run)
    guard let filter = filter(of: subject) else { return Findings(subject: subject, events: []) }
    var events = try await read(run, filter)
    if subject.hasPrefix("EVT-") {
      guard let event = events.first(where: { $0.eventID == subject }) else { return Findings(subject: subject, events: []) }
      events = event.traceID.isEmpty ? [event] : try await read(run, EventFilter(traceID: event.traceID))
    } else if subject.hasPrefix("INC-") {
      let records = events.filter { incidentID($0) == subject }
      events = records
      if let trace = records.first(where: { !$0.traceID.isEmpty })?.traceID {
        let known = Set(records.map(\.eventID))
        events += try await read(run, EventFilter(traceID: trace)).filter { !known.contains($0.eventID) }
      }
    }
    try await run.progress("causes", 70, "Orders \(events.count) events")
    return Findings(subject: subject, events: events)
  }

  /// What the task is about: what it names, else its session.
  static func subject(of run: AgentRun) -> String {
    run.task.subjectID.isEmpty ? run.context.productRuntimeSessionID : run.task.subjectID
  }

  /// Which events to look among for a subject; nil when it names nothing that events are about.
  static func filter(of subject: String) -> EventFilter? {
    if let trace = traceID(subject) { return EventFilter(traceID: trace) }
    switch subject.prefix(4) {
    case "PRS-": return EventFilter(productRuntimeSessionID: subject)
    case "JRN-": return EventFilter(journeyInstanceID: subject)
    case "INC-": return EventFilter(types: ["ops.incident.*"])
    case "EVT-": return EventFilter()
    default: return nil
    }
  }

  private static func read(_ run: AgentRun, _ filter: EventFilter) async throws -> [EventEnvelope] {
    var events: [EventEnvelope] = []
    var request = ListEventsRequest(filter: filter, pageSize: 200)
    while true {
      let asked = request
      let page = try await run.reads.read("Events.ListEvents") { try await run.sources.log.list(asked, tenant: run.tenant) }
      events += page.events
      if page.atEnd || page.nextCursor.isEmpty { break }
      request.cursor = page.nextCursor
      // The last events tell the end of the story: of a long one the beginning is let go.
      if events.count > OrchestratorLimits.eventsRead { events.removeFirst(events.count - OrchestratorLimits.eventsRead) }
    }
    return events.suffix(OrchestratorLimits.eventsRead)
  }

  private static func incidentID(_ event: EventEnvelope) -> String? {
    guard let payload = event.payload else { return nil }
    if let created = try? payload.unpack(as: OpsIncidentCreated.self) { return created.incidentID }
    if let updated = try? payload.unpack(as: OpsIncidentUpdated.self) { return updated.incidentID }
    if let resolved = try? payload.unpack(as: OpsIncidentResolved.self) { return resolved.incidentID }
    return nil
  }

  private static func traceID(_ text: String) -> [UInt8]? {
    guard text.utf8.count == 32 else { return nil }
    var bytes: [UInt8] = []
    var rest = text[...]
    while !rest.isEmpty {
      guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
      bytes.append(byte)
      rest = rest.dropFirst(2)
    }
    return bytes
  }

  /// The events in words: how much, over how long, and what stands out.
  private static func story(_ findings: Findings) -> String {
    let events = findings.events
    let first = events.compactMap { $0.occurredAt?.nanosecondsSinceEpoch }.min() ?? 0
    let last = events.compactMap { $0.occurredAt?.nanosecondsSinceEpoch }.max() ?? 0
    let seconds = Double(last - first) / 1e9
    let services = Set(events.map(\.producer)).sorted().joined(separator: ", ")
    var text = "\(events.count) events over \((seconds * 10).rounded() / 10) s, from \(services). "
    let striking = events.filter { Mitigation.isStriking($0.type) }
    if striking.isEmpty { return text + "None of them is a failure, a refusal or an operator's act." }
    text += "What stands out: "
    text += striking.prefix(10).map { event in
      let time = event.occurredAt.map { RFC3339.format($0.nanosecondsSinceEpoch).dropFirst(11).prefix(8) } ?? "?"
      return "\(time) \(event.type) (\(event.producer))"
    }.joined(separator: "; ")
    return text + "."
  }
}

/// What operators usually do about what the log shows.
enum Mitigation {
  struct Advice: Hashable, Sendable {
    var because: String
    var text: String
  }

  /// Whether a type of event is worth a word: failures, refusals, blocks, operators' acts.
  static func isStriking(_ type: String) -> Bool {
    let parts = type.split(separator: ".")
    guard let last = parts.last else { return false }
    let striking: Set<Substring> = [
      "failed", "refused", "blocked", "aborted", "timed_out", "denied", "error", "degraded", "skipped", "applied", "cancelled",
      "redeem_refused", "preflight_failed", "exhausted", "breach",
    ]
    return striking.contains(last) && !type.hasPrefix("agent.recommendation.applied") || type.hasPrefix("ops.incident.")
  }

  /// In the order of urgency; pure.
  static func advice(for types: Set<String>) -> [Advice] {
    let table: [(String, String)] = [
      ("runtime.error", "Look at the error's trace and, if sessions suffer, flag them as at risk."),
      ("runtime.degraded", "Watch the degraded service's latency before more sessions open on it."),
      ("journey.failed", "Compensate what the traveller lost and abort the journey if it cannot go on."),
      ("journey.node.failed", "Force-complete the failed step if the traveller has what it stands for, else skip it."),
      ("journey.node.blocked", "Force-skip the blocked step, or unblock the place when it is open again."),
      ("lem.service_point.blocked", "Tell the places near by to expect more guests, and give the block an end."),
      ("entitlement.redeem_refused", "Check the entitlement's balance and expiry; compensate if the refusal was ours."),
      ("product.runtime.session.preflight_failed", "Check the market's coverage and the product's segments."),
      ("agent.task.timed_out", "Look at what the agent waited for in its trace."),
      ("agent.recommendation.refused", "Nothing was done; look only if the same asks keep coming."),
      ("policy.access.denied", "Check whether the operator has the role the rule asks for."),
    ]
    return table.compactMap { types.contains($0.0) ? Advice(because: $0.0, text: $0.1) : nil }
  }
}
