import Foundation
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireTurnKernel

/// A kernel on a temporary database.
final class KernelHarness: Sendable {
  let folder: URL
  let database: SQLiteDatabase
  let loops: EventLoopGroup
  let clock = ManualClock(1_777_896_000_000_000_000)
  let environment: ServiceEnvironment
  let kernel: TurnKernel

  init() async throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "spanwire-turns-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    database = try await SQLiteDatabase.open(
      path: folder.appending(path: "test.db").path, durability: .off, migrations: ServiceEnvironment.migrations + [TurnStore.migrations])
    loops = EventLoopGroup(loops: 1)
    let log = EventLog(database: database, loops: loops)
    environment = ServiceEnvironment(
      database: database, log: log, effects: EffectDispatcher(database: database, clock: clock), clock: clock,
      ids: IDGenerator(clock: clock))
    kernel = TurnKernel(environment: environment)
    try await log.start()
  }

  func end() async {
    await environment.log.stop()
    await database.close()
    loops.stop()
    try? FileManager.default.removeItem(at: folder)
  }

  var about: EventDraft {
    EventDraft(TurnClose(), producer: "ao", tenant: "vienna", session: "PRS-1", agentTask: "ATASK-1", occurredAt: clock.now)
  }

  /// Opens a turn of a task's attempt.
  func open(_ turn: String, epoch: UInt64 = 1, isRecorded: Bool = true) async throws -> TurnRecorder {
    let plan = FrozenPlan(FrozenPlanTests.plan)
    let key = TurnKey(tenant: "vienna", task: "ATASK-1", epoch: epoch)
    let evidence = TurnEvidence(
      turnID: turn, tenantID: "vienna", productRuntimeSessionID: "PRS-1", agentTaskID: "ATASK-1", leaseEpoch: epoch,
      performer: "built_in", planHash: plan.hash, seed: plan.seed(of: key), openedAt: .init(nanosecondsSinceEpoch: clock.now))
    let recorder = TurnRecorder(key, evidence)
    if isRecorded { kernel.record(recorder) }
    let (kernel, about) = (kernel, about)
    _ = try await database.transaction("open") { try kernel.open(evidence, under: plan, about: about, $0) }
    return recorder
  }

  func end(_ turn: String, _ ending: TurnKernel.Ending) async throws -> Bool {
    let (kernel, about) = (kernel, about)
    return try await database.transaction("end") { try kernel.end(turn, ending, about: about, $0) }.value
  }

  func row(_ turn: String) async throws -> TurnStore.Row? {
    try await database.read { try TurnStore.turn($0, tenant: "vienna", id: turn) }
  }

  func types() async throws -> [String] {
    try await environment.log.list(ListEventsRequest(pageSize: 1_000), tenant: "vienna").events.map(\.type)
  }
}

@Suite("The kernel's rows and events")
struct TurnKernelTests {
  private let output = TurnOutput("answer", Array("Go on.".utf8), at: 1)

  @Test("a committed turn has its outputs and its evidence, under the hashes that its events tell; it ends once")
  func commit() async throws {
    let test = try await KernelHarness()
    let recorder = try await test.open("TURN-1")
    recorder.input("Lem.GetServicePoint", [1, 2, 3], at: 5)
    #expect(try await test.end("TURN-1", .commit([output])))
    #expect(try await test.end("TURN-1", .abort(reason: "again")) == false)
    #expect(try await test.end("TURN-2", .abort(reason: "there is none")) == false)
    #expect(try await test.types() == ["turn_open", "turn_active", "output_accepted", "turn_commit", "turn_close"])
    let row = try #require(try await test.row("TURN-1"))
    #expect(row.state == .closed && row.outcome == .commit && SHA256.hash(row.evidenceBytes) == row.evidenceHash)
    #expect(row.evidence.inputs.map(\.content) == [[1, 2, 3]] && row.evidence.outputs.map(\.outputID) == ["answer"])
    #expect(!row.evidence.isPartial)
    #expect(try await TurnCheck.verify(test.environment).allSatisfy(\.isSound))
    await test.end()
  }

  @Test("a cancel is told, aborts, and stands in the evidence; the fence refuses before it is written, and can be lifted")
  func cancel() async throws {
    let test = try await KernelHarness()
    let recorder = try await test.open("TURN-1")
    #expect(test.kernel.fence(tenant: "vienna", task: "ATASK-2") == nil && !test.kernel.isFenced(recorder.key))
    #expect(test.kernel.fence(tenant: "vienna", task: "ATASK-1") == recorder.key && test.kernel.isFenced(recorder.key))
    test.kernel.lift(recorder.key)
    #expect(!test.kernel.isFenced(recorder.key))
    #expect(try await test.end("TURN-1", .cancel(reason: "enough")))
    #expect(try await test.types() == ["turn_open", "turn_active", "cancel_accepted", "turn_abort", "turn_close"])
    let row = try #require(try await test.row("TURN-1"))
    #expect(row.outcome == .abort && row.evidence.reason == "cancelled: enough" && row.evidence.decisions.map(\.kind) == ["cancel"])
    #expect(try await TurnCheck.verify(test.environment).allSatisfy(\.isSound))
    await test.end()
  }

  @Test("what a process that ended did not write is said to be missing")
  func partial() async throws {
    let test = try await KernelHarness()
    _ = try await test.open("TURN-1", isRecorded: false)
    #expect(try await test.end("TURN-1", .abort(reason: "its process ended")))
    let row = try #require(try await test.row("TURN-1"))
    #expect(row.evidence.isPartial && row.evidence.reason == "its process ended")
    #expect(try await TurnCheck.verify(test.environment).allSatisfy(\.isSound))
    await test.end()
  }

  @Test("a turn that was refused is told by one event and leaves no row")
  func refused() async throws {
    let test = try await KernelHarness()
    let (kernel, about) = (test.kernel, test.about)
    let refusals: [TurnKernel.Refusal] = [
      .rejected(quota: "session:vienna:PRS-1", reason: "full"), .deferred(quota: "session:vienna:PRS-1", reason: "full"),
      .stale(epoch: 1, current: 2),
    ]
    _ = try await test.database.transaction("refuse") { for refusal in refusals { try kernel.tell(refusal, about: about, $0) } }
    #expect(try await test.types() == ["turn_reject", "turn_defer", "turn_stale_epoch_reject"])
    let filter = TurnStore.Filter(tenant: "vienna", session: "", task: "", state: .unspecified, outcome: .unspecified)
    #expect(try await test.database.read { try TurnStore.turns($0, filter, after: "", limit: 10).isEmpty })
    #expect(try await TurnCheck.verify(test.environment).allSatisfy(\.isSound))
    await test.end()
  }

  @Test("evidence is bounded: large contents are named by their hash, what is past the bounds is counted")
  func bounded() async throws {
    let recorder = TurnRecorder(TurnKey(tenant: "t", task: "a", epoch: 1), TurnEvidence())
    recorder.input("large", [UInt8](repeating: 1, count: TurnLimits.contentBytes + 1), at: 1)
    for index in 0..<TurnLimits.notes { recorder.input("\(index)", [UInt8](repeating: 2, count: TurnLimits.contentBytes), at: 1) }
    let evidence = recorder.evidence
    #expect(evidence.inputs.count == TurnLimits.notes && evidence.omitted == 1)
    #expect(evidence.inputs[0].content.isEmpty && evidence.inputs[0].size == UInt64(TurnLimits.contentBytes + 1))
    #expect(evidence.inputs.reduce(0) { $0 + $1.content.count } == TurnLimits.contentsBytes)
    #expect(evidence.inputs.allSatisfy { $0.contentHash.count == 32 })
    #expect(evidence.encoded().count < 2 * TurnLimits.contentsBytes)
  }

  static let refusedWrites: [(String, StaticString)] = [
    (
      "no such plan",
      """
      INSERT INTO turn (tenant_id, turn_id, product_runtime_session_id, agent_task_id, state, outcome, plan_hash, evidence)
      VALUES ('vienna', 'TURN-9', '', 'A', 2, 0, zeroblob(32), x'01')
      """
    ),
    (
      "no plan at all",
      """
      INSERT INTO turn (tenant_id, turn_id, product_runtime_session_id, agent_task_id, state, outcome, plan_hash, evidence)
      SELECT tenant_id, 'TURN-9', '', 'A', 2, 0, NULL, x'01' FROM turn_plan
      """
    ),
    (
      "no evidence",
      """
      INSERT INTO turn (tenant_id, turn_id, product_runtime_session_id, agent_task_id, state, outcome, plan_hash, evidence)
      SELECT tenant_id, 'TURN-9', '', 'A', 2, 0, plan_hash, NULL FROM turn_plan
      """
    ),
    (
      "empty evidence",
      """
      INSERT INTO turn (tenant_id, turn_id, product_runtime_session_id, agent_task_id, state, outcome, plan_hash, evidence)
      SELECT tenant_id, 'TURN-9', '', 'A', 2, 0, plan_hash, x'' FROM turn_plan
      """
    ),
    ("closed without the evidence's hash", "UPDATE turn SET state = 6, outcome = 1"),
    ("closed without an outcome", "UPDATE turn SET state = 6, evidence_hash = zeroblob(32)"),
    ("an outcome while it is active", "UPDATE turn SET outcome = 1"),
    ("a state that only a refused turn has", "UPDATE turn SET state = 7"),
    ("a plan that turns go by is taken away", "DELETE FROM turn_plan"),
  ]

  @Test("the schema itself refuses a turn without plan or evidence", arguments: refusedWrites.map(\.0))
  func schema(what: String) async throws {
    let test = try await KernelHarness()
    _ = try await test.open("TURN-1")
    let sql = try #require(Self.refusedWrites.first { $0.0 == what }?.1)
    await #expect(throws: DatabaseError.self) { _ = try await test.database.transaction("break") { try $0.execute(sql) } }
    await test.end()
  }

  static let breaks: [(String, StaticString)] = [
    ("evidence of other bytes", "UPDATE turn SET evidence_hash = zeroblob(32) WHERE state = 6"),
    ("a turn that is missing", "DELETE FROM turn"),
    ("an end that the log does not tell of", "UPDATE turn SET outcome = 2 WHERE state = 6"),
    ("a plan of other bytes", "UPDATE turn_plan SET plan = x'0801'"),
  ]

  @Test("the check finds what was tampered with", arguments: breaks.map(\.0))
  func tampering(what: String) async throws {
    let test = try await KernelHarness()
    _ = try await test.open("TURN-1")
    #expect(try await test.end("TURN-1", .commit([output])))
    let sql = try #require(Self.breaks.first { $0.0 == what }?.1)
    _ = try await test.database.transaction("break") { try $0.execute(sql) }
    test.clock.advance(by: .seconds(1))
    #expect(try await TurnCheck.verify(test.environment).contains { !$0.isSound })
    await test.end()
  }
}
