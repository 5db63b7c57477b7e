import Dispatch
import Foundation
import Synchronization

/// Has certificates read again when their files change, or at SIGHUP; says on standard output that it was done, or on standard error why not.
///
/// Certificate and key are replaced one after the other: between the two they may not fit, which changes nothing, and the second change
/// makes it look again.
final class CertificateWatch: @unchecked Sendable {
  // Sendable: the sources are set by `init` alone, and cancelling them is for any thread; what changes is locked.

  /// How often the files are looked at: renewal comes days before the end.
  private static let interval = DispatchTimeInterval.seconds(5)

  private let files: [String]
  private let reload: @Sendable () throws -> Void
  private var sources: [any DispatchSourceProtocol] = []
  private let seen: Mutex<[String]>

  /// Watches until `end`. Without files it does nothing, and SIGHUP is ignored.
  init(_ files: [String], _ reload: @escaping @Sendable () throws -> Void) {
    self.files = files
    self.reload = reload
    seen = Mutex(files.map(Self.mark))
    signal(SIGHUP, SIG_IGN)
    if files.isEmpty { return }
    let queue = DispatchQueue(label: "certificates")
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
    do {
      try reload()
      print("certificates reloaded")
    } catch {
      FileHandle.standardError.write(Data("spanwire: certificates not reloaded: \(error)\n".utf8))
    }
  }

  /// What tells a file from what it was: which file it is, its size and when it was written. Links are followed, since secrets are mounted so.
  private static func mark(_ path: String) -> String {
    var status = stat()
    guard stat(path, &status) == 0 else { return "none" }
    return "\(status.st_ino) \(status.st_size) \(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
  }
}
