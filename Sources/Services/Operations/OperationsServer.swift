import Foundation
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Synchronization

/// What keeps a platform going: backups and the audit, incident mode, service levels, schedules.
public final class OperationsServer: OperationsService {
  let environment: ServiceEnvironment
  let policy: PolicyClient
  private let databases: [(name: String, database: any FileDatabase)]
  /// Where copies stand until they have been sent.
  private let folder: String
  private let isCopying = Atomic<Bool>(false)
  let agents: AgentOrchestratorClient
  let executions: ExecutionsClient
  let watch: OperationsWatch
  let alert: IncidentAlertSender?

  /// The service's name in events, and under which its timers come back to it.
  public static let producer = "operations"

  /// - Parameters:
  ///   - databases: by the names of their files; copies are made in `folder`, on the same disk.
  ///   - channel: bound to this service's own identity; it begins what is scheduled in the name of whoever scheduled it.
  ///   - alert: tells somebody outside when the incident mode changes; nil: nobody is told.
  public init(
    environment: ServiceEnvironment, databases: [(name: String, database: any FileDatabase)], folder: String, over channel: any Channel,
    alert: IncidentAlertSender? = nil
  ) {
    self.environment = environment
    policy = PolicyClient(channel)
    self.databases = databases
    self.folder = folder
    self.alert = alert
    agents = AgentOrchestratorClient(channel)
    executions = ExecutionsClient(channel)
    watch = OperationsWatch(environment, RegistryClient(channel), alerts: alert != nil)
    environment.effects.route(
      Self.producer, AgentOrchestrator.Methods.submitTask, RunTaskRequest.self, AgentTask.self, over: channel)
    environment.effects.route(
      Self.producer, Executions.Methods.submitExecution, SubmitExecutionRequest.self, Execution.self, over: channel)
    environment.effects.onOutcome(of: Self.producer) { [weak self] in try await self?.effectOutcome($0, $1) }
    // What a copy left behind when the power went.
    if !databases.isEmpty { try? FileManager.default.removeItem(atPath: copies) }
  }

  private var copies: String { folder + "/copies" }

  /// Looks at the log from time to time, for incident mode and service levels, until it is cancelled.
  public func run() async { await watch.run() }

  /// Reads what has happened since the last look, judges it by the clock, and writes down what follows: what `run` does every second.
  public func look() async throws { try await watch.look() }

  /// Forgets measurements that are kept no longer.
  public func purge() async throws {
    let before = environment.clock.now - SLALimits.retention
    while try await environment.database.transaction("operations.purge", { try SLAStore.purge($0, before: before) }).value
      == SLALimits.purgeBatch
    {}
  }

  /// Whether every page of every database is sound, the audit's chain whole, and every schedule timed: checks of `spanwire verify`.
  public func verify() async throws -> [Verification] {
    var checks: [Verification] = []
    for (name, database) in databases {
      var check = Verification("store: every page of \(name) is sound", examined: 1)
      for problem in try await database.examine() { check.found(problem, of: .everyone) }
      checks.append(check)
    }
    return checks + [try await environment.log.verifyAudit().verification, try await verifySchedules()]
  }

  public func backup(_ request: BackupRequest, responses: ResponseWriter<BackupResponse>, context: ServerContext) async throws {
    let caller = try Caller(context)
    guard caller.tenant == Caller.platformTenant, !OperationsLimits.backupRoles.isDisjoint(with: caller.roles) else {
      throw RPCError.denied(
        .policyDenied, rule: "R7-grant",
        "a backup holds every tenant's data: it takes platform_admin or platform_sre of the tenant \(Caller.platformTenant)")
    }
    guard !isCopying.exchange(true, ordering: .acquiring) else { throw RPCError.resourceExhausted("a backup is being made already") }
    defer { isCopying.store(false, ordering: .releasing) }
    try await audit("backup", databases.map(\.name).joined(separator: " "), by: "R7-grant", caller, context)
    try FileManager.default.createDirectory(atPath: copies, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(atPath: copies) }
    for (name, database) in databases {
      let path = copies + "/" + name
      try await database.backup(to: path)
      try await send(path, as: name, to: responses)
      try FileManager.default.removeItem(atPath: path)
    }
  }

  private func send(_ path: String, as name: String, to responses: ResponseWriter<BackupResponse>) async throws {
    let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    defer { try? file.close() }
    let size = try file.seekToEnd()
    try file.seek(toOffset: 0)
    try await responses.write(BackupResponse(item: .file(BackupFile(name: name, size: size))))
    var hash = SHA256()
    while true {
      // Disks and hashes take their time: off the loop.
      let before = hash
      let (bytes, after) = try await BlockingPool.shared.run { () -> ([UInt8], SHA256) in
        let bytes = try file.read(upToCount: OperationsLimits.chunk).map { [UInt8]($0) } ?? []
        var hash = before
        hash.update(bytes)
        return (bytes, hash)
      }
      hash = after
      if bytes.isEmpty { break }
      try await responses.write(BackupResponse(item: .bytes(bytes)))
    }
    try await responses.write(BackupResponse(item: .end(BackupFileEnd(sha256: hash.finish()))))
  }

  /// Who took what with him is written down before he gets it.
  func audit(_ action: String, _ target: String, by rule: String, _ caller: Caller, _ context: ServerContext) async throws {
    let payload = AuditRecorded(
      action: action, target: target, actor: caller.name, actorKind: "\(caller.kind)", decision: "allow", rule: rule,
      method: context.method.path)
    let (now, trace) = (environment.clock.now, context.trace)
    _ = try await environment.database.transaction("operations.audit") { [environment] transaction in
      try transaction.append(
        EventDraft(payload, producer: Self.producer, tenant: caller.tenant, org: caller.organization, occurredAt: now, trace: trace),
        environment)
    }
  }
}

/// The bounds of operations, each with its reason.
enum OperationsLimits {
  /// Bytes of a file in one message: few messages, and little held for a slow reader.
  static let chunk = 256 << 10
  /// Who may have a copy of everything.
  static let backupRoles: Set<String> = ["platform_admin", "platform_sre"]
  /// The field category by which the access policy says who may read and export the audit.
  static let auditCategory = "audit_log"
  /// What policy takes in one question.
  static let approvals = 32
  /// Records in a page when the caller does not say, and at most.
  static let defaultAuditPage = 100
  static let auditPage = 500
  /// Stretches of the log that one page of the audit is looked for in: what was found by then is the answer, and where to go on.
  static let auditStretches = 16
  /// Letters of a name to look for.
  static let nameLetters = 256
}
