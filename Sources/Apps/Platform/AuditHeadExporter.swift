import Foundation
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTLS
import SpanwireWellKnown
import Synchronization

/// Signs how far the audit has come, and keeps it outside of the data folder: after commits that audit something, every hour besides, at
/// the start and at the end.
///
/// Many commits within a second make one head. A crash loses nothing but the newest head, which the next start writes. A log that does not
/// come as far as the newest head, or not to the same record, is not the one that was left: with it nothing starts, unless an operator says
/// why that is so, which is then audited itself. A backup that was restored is such a log.
final class AuditHeadExporter: Sendable {
  private let environment: ServiceEnvironment
  private let acceptedGap: String?
  private let key: SigningKey
  private let files: AuditHeadFiles
  private let wakes: AsyncStream<Void>
  private let wake: AsyncStream<Void>.Continuation
  private let running = Mutex<[Task<Void, Never>]>([])
  /// Whether the last attempt failed: what fails for hours is told once.
  private let isFailing = Mutex(false)

  /// Throws `PlatformError` for a key that cannot be read, and for a folder within the data folder.
  init(_ options: AuditHeadOptions, dataFolder: String, environment: ServiceEnvironment) throws {
    func path(_ text: String) -> String { URL(fileURLWithPath: text).standardizedFileURL.resolvingSymlinksInPath().path + "/" }
    do {
      try FileManager.default.createDirectory(atPath: options.folder, withIntermediateDirectories: true)
      key = try SigningKey(.file(path: options.keyFile))
    } catch {
      throw PlatformError("audit heads: \(error)")
    }
    guard !path(options.folder).hasPrefix(path(dataFolder)) else {
      throw PlatformError("audit heads must not lie in the data folder: whoever can change one could change both")
    }
    files = AuditHeadFiles(folder: options.folder)
    self.environment = environment
    acceptedGap = options.acceptedGap
    (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  /// Compares the log with the newest head, writes the present one, and goes on with those to come. Throws when the log is not the one that
  /// was left, and when the head cannot be written.
  func start() async throws {
    if let gap = try await gap() {
      guard let acceptedGap else {
        throw PlatformError(
          "\(gap). If that is as it should be, as after a backup was restored, say why: --accept-audit-gap REASON; else look into it with "
            + "'spanwire audit verify'")
      }
      try await tell(gap, accepted: acceptedGap)
    }
    try await export()
    environment.database.observe(self)
    let clock = environment.clock
    running.withLock { running in
      running.append(
        Task { [self] in
          for await _ in wakes {
            await attempt()
            try? await clock.sleep(for: AuditHeadLimits.pause)
          }
        })
      running.append(Task { [wake, clock] in await clock.every(AuditHeadLimits.schedule) { wake.yield() } })
    }
  }

  /// Writes the last head. Before the database closes.
  func stop() async {
    wake.finish()
    let tasks = running.withLock { $0 }
    for task in tasks { task.cancel() }
    for task in tasks { await task.value }
    await attempt()
  }

  // MARK: At the start

  /// How the log differs from what the newest head of this key tells of it; nil when it has come that far.
  private func gap() async throws -> String? {
    let newest = try await BlockingPool.shared.run { [files, key] in try files.newest(trusting: [key.verifyingKey]) }
    guard let newest, newest.sequence > 0, case .after(let position)? = try? LogCursor(text: newest.logPosition) else { return nil }
    let head = try await environment.database.scan { try AuditChain.head($0) }
    let told = "the audit's head of \(RFC3339.format(newest.exportedAt?.nanosecondsSinceEpoch ?? 0)) tells of \(newest.sequence) records"
    if head.sequence < newest.sequence { return "\(told), and the log ends with number \(head.sequence): its tail is missing" }
    let event = try await environment.log.list(AuditChain.filter, after: .after(position - 1), limit: 1).events.first
    let record = try event.flatMap { $0.position == position ? try $0.payload(AuditRecorded.self) : nil }
    return record?.hash == newest.hash ? nil : "\(told), and record \(newest.sequence) of the log is another: the chain was made anew"
  }

  /// Goes on with such a log: for whoever looks later.
  private func tell(_ gap: String, accepted reason: String) async throws {
    let (environment, now) = (environment, environment.clock.now)
    func draft(_ payload: some EventPayload) -> EventDraft {
      EventDraft(payload, producer: ServiceNames.operations, tenant: Caller.platformTenant, occurredAt: now)
    }
    let drafts = [
      draft(RuntimeDegraded(component: "audit", reason: gap, indicator: "audit_head")),
      draft(
        AuditRecorded(
          action: "audit.accept_gap", target: "audit", actor: "ops:server", actorKind: "ops", decision: "allow",
          reason: "\(reason): \(gap)")),
    ]
    _ = try await environment.database.transaction("audit.accept_gap") { tx in
      for draft in drafts { try tx.append(draft, environment) }
    }
  }

  private func attempt() async {
    do {
      try await export()
      isFailing.withLock { $0 = false }
    } catch {
      let isNew = isFailing.withLock { isFailing in
        defer { isFailing = true }
        return !isFailing
      }
      if isNew { FileHandle.standardError.write(Data("audit heads cannot be written, and will be tried again: \(error)\n".utf8)) }
      wake.yield()
    }
  }

  private func export() async throws {
    var head = try await environment.database.scan { try AuditChain.head($0) }
    head.exportedAt = .init(nanosecondsSinceEpoch: environment.clock.now)
    head.keyID = key.verifyingKey.auditID
    head.signature = try key.signature(of: head.signedBytes)
    let signed = head
    // A disk takes its time, and a network's disk more of it.
    try await BlockingPool.shared.run { [files] in try files.append(signed) }
  }
}

extension AuditHeadExporter: CommitObserver {
  func committed(_ items: [any CommitItem]) {
    let isAudited = items.contains { ($0 as? LogEvent)?.header.type == AuditRecorded.eventType.rawValue }
    if isAudited { wake.yield() }
  }

  func recovered(_ snapshot: borrowing Snapshot) { wake.yield() }
}

/// Where heads are kept, and what signs them.
public struct AuditHeadOptions: Sendable {
  /// The folder; made if it isn't there.
  public var folder: String
  /// PEM file of an Ed25519 key.
  public var keyFile: String
  /// Why the log may be behind its newest head this time; nil: it may not.
  public var acceptedGap: String?

  public init(folder: String, keyFile: String, acceptedGap: String? = nil) {
    self.folder = folder
    self.keyFile = keyFile
    self.acceptedGap = acceptedGap
  }
}

/// The bounds of the export, each with its reason.
enum AuditHeadLimits {
  /// Between two heads: a busy day's file stays below 30 MB, and a second is all that a thief of the machine could hide.
  static let pause = Duration.seconds(1)
  /// So that silence is told from death.
  static let schedule = Duration.seconds(3_600)
}
