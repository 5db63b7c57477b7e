import Foundation
import SpanwireDatabase
import SpanwireObservability
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireSchema
import SpanwireServiceKit
import Synchronization
import Testing

@testable import SpanwirePlatform

/// The platform with a clock that stands still, a worker whose every task fails, and somebody who is told of incidents.
private final class TroubledPlatform: Sendable {
  let services: PlatformServices
  let clock = ManualClock(RFC3339.parse("2026-05-19T09:00:00+02:00")!)
  private let router: ServerRouter
  private let databases: [SQLiteDatabase]
  private let folder: URL

  static let root = Principal(kind: .ops, id: "root", tenant: Caller.platformTenant, roles: ["platform_admin"], surface: .ops)
  static let otto = Principal(kind: .ops, id: "otto", tenant: "graz", roles: ["ops_lead"], surface: .ops)
  static let guide = "graz-journey-guide"

  init() async throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "incidents-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let database = try await SQLiteDatabase.open(
      path: folder.path + "/spanwire.db", durability: .off, migrations: PlatformServices.migrations)
    let spans = try await SQLiteDatabase.open(
      path: folder.path + "/spans.db", durability: .off, migrations: [CollectorServer.migrations])
    databases = [database, spans]
    let told = Told()
    services = try await PlatformServices(
      database: database, spans: spans, folder: folder.path, clock: clock,
      alert: { body in told.texts.withLock { $0.append(String(decoding: body, as: UTF8.self)) } })
    self.told = told
    router = services.connect()
    try await services.start()
    try await self.as(Self.otto) { channel in
      let bundle = """
        bundle_id: BND-GRAZ
        agents:
          - agent_slug: \(Self.guide)
            agent_type: journey_guide
            title: Guide
            intents: [suggest_next_stop]
            capability_tiers: [read]
            by_workers: true
        policies:
          - {policy_id: POL-DAY, scope: global, budget: {daily: {micros: 1000000, currency: USD}}}
        """
      _ = try await RegistryClient(channel).apply(ApplyRequest(idempotencyKey: "B", source: .bundleYaml(bundle), reason: "test"))
      // The circuit stays out of it: what fails here is to be seen failing.
      _ = try await AgentOrchestratorClient(channel).setBreaker(
        SetBreakerRequest(idempotencyKey: "C", circuit: "agent:\(Self.guide)", mode: .disabled, reason: "test"))
    }
  }

  final class Told: Sendable {
    let texts = Mutex<[String]>([])
    var count: Int { texts.withLock { $0.count } }
  }
  let told: Told

  func stop() async {
    await services.endSubscriptions()
    await services.stop()
    for database in databases { await database.close() }
    try? FileManager.default.removeItem(at: folder)
  }

  func `as`<R: Sendable>(_ principal: Principal, _ body: (InProcessChannel) async throws -> R) async throws -> R {
    try await CallContext.with(principal: principal) { try await body(InProcessChannel(router)) }
  }

  /// Lets time pass, second by second or in one step, with a look at the platform after each.
  func pass(_ seconds: Int64, by step: Int64 = 10) async throws {
    for _ in 0..<(seconds / step) {
      clock.advance(by: .seconds(step))
      services.environment.effects.poll()
      await services.environment.effects.settled()
      try await services.look()
    }
  }

  var mode: IncidentMode {
    get async throws {
      try await self.as(Self.otto) { try await OperationsClient($0).getIncidentMode(GetIncidentModeRequest()).mode }
    }
  }

  /// How a worker ends its tasks.
  enum Ending { case well, failed, failedForGood }

  /// Gives tasks to a worker that comes for them and goes again; returns the attempts of the last.
  func run(_ count: Int, _ ending: Ending, named name: String) async throws -> [TaskAttempt] {
    let (call, working) = try await attach("wendy", ending)
    let attempts = try await self.as(Self.otto) { channel in
      let agents = AgentOrchestratorClient(channel)
      var last = ""
      for number in 0..<count {
        let request = RunTaskRequest(
          idempotencyKey: "\(name)-\(number)", invoker: "ops_console", context: AgentContext(marketCode: "AT-GRZ"),
          task: AgentTaskSpec(agentType: "journey_guide", intent: "suggest_next_stop", constraints: AgentConstraints(timeoutMs: 60_000)))
        for try await update in try await agents.runTask(request) {
          if case .result(let task)? = update.update { last = task.agentTaskID }
        }
      }
      return try await agents.getTask(GetTaskRequest(agentTaskID: last)).attempts
    }
    call.requests.finish()
    await working.value
    return attempts
  }

  func attach(_ name: String, _ ending: Ending) async throws -> (BidirectionalCall<AttachRequest, AttachResponse>, Task<Void, Never>) {
    let principal = Principal(kind: .worker, id: name, tenant: "graz", roles: [Self.guide], surface: .worker)
    let asleep = clock.sleeperCount
    let call = try await self.as(principal) { try await AgentWorkerClient($0).attach() }
    try await call.requests.write(
      AttachRequest(kind: .registration(WorkerRegistration(workerID: name, agentSlugs: [Self.guide], concurrency: 8))))
    // It is looked after by the clock from now on.
    await clock.sleeping(asleep + 1)
    let working = Task {
      while let message = try? await call.responses.next() {
        guard case .work(let work)? = message.kind else { continue }
        let answer: AttachRequest.Kind =
          switch ending {
          case .well: .result(WorkResult(claim: work.claim, text: "done"))
          case .failed: .failure(WorkFailure(claim: work.claim, reason: "BROKEN", message: "not now"))
          case .failedForGood: .failure(WorkFailure(claim: work.claim, reason: "BROKEN", message: "no", isFinal: true))
          }
        try? await call.requests.write(AttachRequest(kind: answer))
      }
    }
    return (call, working)
  }

  func reserve(_ micros: Int64, _ key: String, by principal: Principal = otto) async throws -> ToolDecision {
    try await self.as(principal) {
      try await PolicyClient($0).checkTool(
        CheckToolRequest(
          idempotencyKey: key, agentSlug: "planner", toolName: "search", actionType: "read", runID: key,
          estimatedCost: Money(micros: micros, currency: "USD")))
    }
  }

  /// Spends, where no budget limits it.
  func spend(_ micros: Int64, _ key: String) async throws {
    let linus = Principal(kind: .ops, id: "linus", tenant: "linz", roles: ["ops_lead"], surface: .ops)
    let reservation = try #require(try await reserve(micros, key, by: linus).reservation)
    _ = try await self.as(linus) {
      try await PolicyClient($0).settleReservation(
        SettleReservationRequest(
          idempotencyKey: "\(key)-end", reservationID: reservation.reservationID, spent: Money(micros: micros, currency: "USD")))
    }
  }

  /// What became of a schedule's times, the first one first.
  func runs(_ id: String) async throws -> [ScheduleRun.Outcome] {
    try await self.as(Self.otto) { try await OperationsClient($0).listScheduleRuns(ListScheduleRunsRequest(scheduleID: id)).runs }
      .reversed().map(\.outcome)
  }

  /// What the mode goes by.
  func readings() async throws -> [TriggerReading] {
    try await self.as(Self.root) { try await OperationsClient($0).getIncidentMode(GetIncidentModeRequest()).readings }
  }

  func log() async throws -> [IncidentLogEntry] {
    try await self.as(Self.root) { try await OperationsClient($0).listIncidentLog(ListIncidentLogRequest()).entries }
  }

  /// The changes of mode as events tell of them.
  func changes() async throws -> [String] {
    try await self.as(Self.root) { channel in
      try await EventsClient(channel).listEvents(ListEventsRequest(filter: EventFilter(types: ["incident.*"]), pageSize: 100)).events.map {
        if let declared = try? $0.payload?.unpack(as: IncidentDeclared.self), $0.type == "incident.declared" {
          return "\(declared.fromMode)→\(declared.toMode) \(declared.trigger)"
        }
        let resolved = try $0.payload?.unpack(as: IncidentResolved.self)
        return "\(resolved?.fromMode ?? "")→\(resolved?.toMode ?? "")"
      }
    }
  }

  /// Waits until so many events of a type have happened.
  func wait(for count: Int, _ type: String) async throws {
    try await self.as(Self.otto) { channel in
      var left = count
      let request = SubscribeRequest(filter: EventFilter(types: [type]))
      for try await response in try await EventsClient(channel).subscribe(request) {
        guard case .event? = response.item else { continue }
        left -= 1
        if left == 0 { return }
      }
    }
  }
}

@Suite(.timeLimit(.minutes(3)))
struct IncidentModeTests {
  @Test("Failing work brings the platform into incident mode, which halves budgets, retries once and suspends schedules; it ends by itself")
  func errorRate() async throws {
    let platform = try await TroubledPlatform()
    try await platform.as(TroubledPlatform.otto) { channel in
      for (id, critical) in [("plain", false), ("critical", true)] {
        let schedule = Schedule(
          scheduleID: id, timing: .every(.init(seconds: 60)), critical: critical, overlap: .allow,
          work: .task(ScheduledTask(task: AgentTaskSpec(agentType: "ops_analyst", intent: "explain_incident"))))
        _ = try await OperationsClient(channel).createSchedule(CreateScheduleRequest(idempotencyKey: id, schedule: schedule))
      }
    }
    #expect(try await platform.reserve(600_000, "before").allowed)
    #expect(try await platform.run(60, .failedForGood, named: "bad").count == 1)
    try await platform.pass(10)
    #expect(try await platform.mode == .degraded)
    #expect(try await platform.reserve(100_000, "degraded").allowed)
    try await platform.pass(60)
    #expect(try await platform.mode == .incident)

    // 700,000 of a million are set aside: more than half of it.
    let refused = try await platform.reserve(1, "in-incident")
    #expect(!refused.allowed && refused.policyID == "POL-DAY", "\(refused)")
    #expect(try await platform.run(1, .failed, named: "slow").count == 2, "one retry in an incident")
    let runs = try await platform.runs("plain")
    try await platform.pass(60)
    #expect(try await platform.runs("plain").suffix(1) == [.skipped])
    #expect(try await platform.runs("plain").count == runs.count + 1)
    #expect(try await platform.runs("critical").last == .fired)

    // What fails in five minutes is forgotten in five; then it must be calm for five more.
    _ = try await platform.run(200, .well, named: "good")
    try await platform.pass(270)
    #expect(try await platform.mode == .incident)
    try await platform.pass(240)
    #expect(try await platform.mode == .normal)
    #expect(try await platform.reserve(200_000, "after").allowed)
    #expect(try await platform.run(1, .failed, named: "usual").count == 4, "three retries as ever")
    try await platform.pass(60)
    #expect(try await platform.runs("plain").last == .fired)

    let changes = try await platform.changes()
    #expect(changes == ["normal→degraded error_rate", "degraded→incident error_rate", "incident→normal"], "it never flapped")
    #expect(platform.told.count == 3, "the webhook was called for each")
    let entry = try #require(try await platform.log().first)
    #expect(entry.worst == .incident && entry.resolvedAt != nil && entry.alert == "delivered")
    #expect(entry.triggerReason.contains("60 of 60"))
    await platform.stop()
  }

  @Test("An hour that costs more than twice the usual is a trigger, so are four workers that fall silent; together they are an incident")
  func otherTriggers() async throws {
    let platform = try await TroubledPlatform()
    for hour in 0..<8 {
      try await platform.spend(1_000_000, "usual-\(hour)")
      try await platform.pass(3_600, by: 1_800)
    }
    try await platform.spend(1_900_000, "dear")
    try await platform.pass(10)
    #expect(try await platform.mode == .normal, "less than twice the usual")
    try await platform.spend(600_000, "dearer")
    try await platform.pass(10)
    let dear = try await platform.readings()
    #expect(try await platform.mode == .degraded, "\(dear)")

    let asleep = platform.clock.sleeperCount
    for number in 1...4 { _ = try await platform.attach("wendy-\(number)", .well) }
    // They say nothing more, and their leases run out.
    platform.clock.advance(by: .seconds(5))
    try await platform.wait(for: 4, "heartbeat.stale")
    try await platform.pass(10)
    #expect(try await platform.mode == .incident)
    let held = try await platform.readings().map { $0.value > $0.declaresAbove }
    #expect(held == [false, true, true])
    // After a minute they are taken for dead and shown out.
    await platform.clock.sleeping(asleep + 4)
    platform.clock.advance(by: .seconds(61))
    try await platform.wait(for: 8, "heartbeat.stale")
    try await platform.pass(3_600 + 300, by: 10)
    #expect(try await platform.mode == .normal)
    #expect(try await platform.changes() == ["normal→degraded spend", "degraded→incident spend,heartbeats", "incident→normal"])
    await platform.stop()
  }
}
