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
/// Many commits within a second make one head. A crash loses nothing but the newest head, which the next start writes.
final class AuditHeadExporter: Sendable {
  private let database: any Database
  private let clock: any WallClock
  private let key: SigningKey
  private let files: AuditHeadFiles
  private let wakes: AsyncStream<Void>
  private let wake: AsyncStream<Void>.Continuation
  private let running = Mutex<[Task<Void, Never>]>([])
  /// Whether the last attempt failed: what fails for hours is told once.
  private let isFailing = Mutex(false)

  /// Throws `PlatformError` for a key that cannot be read, and for a folder within the data folder.
  init(_ options: AuditHeadOptions, dataFolder: String, database: any Database, clock: any WallClock) throws {
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
    self.database = database
    self.clock = clock
    (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  /// Writes the present head, and goes on with those to come; throws when it cannot be written.
  func start() async throws {
    try await export()
    database.observe(self)
    running.withLock { running in
      running.append(
        Task { [self] in
          for await _ in wakes {
            await attempt()
            try? await Task.sleep(for: AuditHeadLimits.pause)
          }
        })
      running.append(
        Task { [wake] in
          while !Task.isCancelled {
            try? await Task.sleep(for: AuditHeadLimits.schedule)
            wake.yield()
          }
        })
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
    var head = try await database.scan { try AuditChain.head($0) }
    head.exportedAt = .init(nanosecondsSinceEpoch: clock.now)
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

  public init(folder: String, keyFile: String) {
    self.folder = folder
    self.keyFile = keyFile
  }
}

/// The bounds of the export, each with its reason.
enum AuditHeadLimits {
  /// Between two heads: a busy day's file stays below 30 MB, and a second is all that a thief of the machine could hide.
  static let pause = Duration.seconds(1)
  /// So that silence is told from death.
  static let schedule = Duration.seconds(3_600)
}
