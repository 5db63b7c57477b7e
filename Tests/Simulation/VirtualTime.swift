import Glibc
import Synchronization

/// The time in a simulated process: it stands still until the simulation sets it.
enum VirtualTime {
  /// 2026-05-04T09:00:00Z, a Monday.
  static let beginning: Int64 = 1_777_885_200_000_000_000

  private static let moment = Atomic<Int64>(beginning)

  /// Nanoseconds since 1970, and of the monotonic clock as well.
  static var now: Int64 {
    get { moment.load(ordering: .acquiring) }
    set { moment.store(newValue, ordering: .releasing) }
  }
}

/// Takes the place of the C library's function in the whole process, so that every clock of every library shows the virtual time. The
/// linker exports it (`Package.swift`).
@_cdecl("clock_gettime")
public func virtualClock(_ clock: Int32, _ time: UnsafeMutablePointer<timespec>) -> Int32 {
  let now = VirtualTime.now
  time.pointee = timespec(tv_sec: Int(now / 1_000_000_000), tv_nsec: Int(now % 1_000_000_000))
  return 0
}
