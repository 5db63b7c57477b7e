import Dispatch
import Foundation
import Synchronization

/// Has certificates or keys read again when their files change, or at SIGHUP; says on standard output that it was done, or on standard error
/// why not.
///
/// Certificate and key are replaced one after the other: between the two they may not fit, which changes nothing, and the second change
/// makes it look again.
final class FileWatch: @unchecked Sendable {
  // Sendable: the sources are set by `init` alone, and cancelling them is for any thread; what changes is locked.

  /// How often the files are looked at: renewal comes days before the end.
  private static let interval = DispatchTimeInterval.seconds(5)

  private let name: String
  private let files: [String]
  private let reload: @Sendable () async throws -> Void
  private var sources: [any DispatchSourceProtocol] = []
  private let seen: Mutex<[String]>

  /// Watches until `end`. `name` says what the files are: certificates. Without files it does nothing, and SIGHUP is ignored.
  init(_ name: String, _ files: [String], _ reload: @escaping @Sendable () async throws -> Void) {
    self.name = name
    self.files = files
    self.reload = reload
    seen = Mutex(files.map(Self.mark))
    signal(SIGHUP, SIG_IGN)
    if files.isEmpty { return }
    let queue = DispatchQueue(label: name)
    let hangup = DispatchSource.makeSignalSource(signal: SIGHUP, queue: queue)
    hangup.setEventHandler { [unowned self] in read() }
    let timer = DispatchSource.makeTimerSource(queue: queue)
    timer.schedule(deadline: .now() + Self.interval, repeating: Self.interval)
    timer.setEventHandler { [unowned self] in look() }
    hangup.resume()
    timer.resume()
    sources = [hangup, timer]
  }

  func end() {
    for source in sources { source.cancel() }
  }

  private func look() {
    let marks = files.map(Self.mark)
    let isNew = seen.withLock { seen in
      defer { seen = marks }
      return seen != marks
    }
    if isNew { read() }
  }

  private func read() {
    seen.withLock { $0 = files.map(Self.mark) }
    // The queue is the watch's own thread: it waits, so that one reading follows the other.
    let done = DispatchSemaphore(value: 0)
    Task { [name, reload] in
      defer { done.signal() }
      do {
        try await reload()
        print("\(name) reloaded")
      } catch {
        FileHandle.standardError.write(Data("spanwire: \(name) not reloaded: \(error)\n".utf8))
      }
    }
    done.wait()
  }

  /// What tells a file from what it was: which file it is, its size and when it was written. Links are followed, since secrets are mounted so.
  private static func mark(_ path: String) -> String {
    var status = stat()
    guard stat(path, &status) == 0 else { return "none" }
    return "\(status.st_ino) \(status.st_size) \(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
  }
}
