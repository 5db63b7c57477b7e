import CLinux
import Glibc

/// Waits until the process is asked to end: by SIGTERM, as service managers do, or by SIGINT, as people at a terminal do.
///
/// Until the first call both signals end the process as usual. One call at a time; each returns at the first signal after it. A second
/// SIGINT, while the process winds up, ends it as usual. No thread waits meanwhile, and no signal need be blocked beforehand.
public func terminationRequest() async {
  let loop = EventLoopGroup.shared.next()
  await withCheckedContinuation { continuation in
    loop.execute {
      let wait = TerminationWait(continuation)
      do {
        wait.registration = try loop.register(terminationEvent, .readable, wait)
      } catch {
        preconditionFailure("one wait for the end of the process at a time: \(error)")
      }
      catchTermination()
    }
  }
}

/// From now on SIGTERM and SIGINT do not end the process: they are kept for `terminationRequest`. For programs that tell somebody that they
/// are ready before they wait.
public func catchTermination() {
  _ = terminationEvent  // before the handler that needs it
  for number in [SIGTERM, SIGINT] {
    signal(number) { _ in
      let interrupted = errno
      var one: UInt64 = 1
      _ = write(terminationEvent, &one, 8)
      errno = interrupted
    }
  }
}

/// What the signal handler may touch: a descriptor that wakes the loop.
private let terminationEvent = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))

private final class TerminationWait: ReadinessHandler {
  private let continuation: CheckedContinuation<Void, Never>
  var registration: Registration?

  init(_ continuation: CheckedContinuation<Void, Never>) { self.continuation = continuation }

  func ready(_ readiness: Readiness) {
    var count: UInt64 = 0
    _ = read(terminationEvent, &count, 8)
    signal(SIGINT, SIG_DFL)
    registration?.close()
    continuation.resume()
  }
}
