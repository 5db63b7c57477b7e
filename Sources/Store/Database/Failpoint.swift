import Glibc
import Synchronization

/// Places where a test may kill the process as a power cut would: `SPANWIRE_FAILPOINT=after-commit-before-reply:3` dies by SIGKILL at
/// the third time. Always compiled in; a check of one boolean where nothing is armed.
public enum Failpoint {
  /// The places there are.
  public static let names: [String] = ["before-commit", "after-commit-before-reply", "after-effect-before-ack"]

  private static let isArmed = Atomic<Bool>(false)
  private static let target = Mutex<(name: String, left: Int)?>(nil)
  private static let readEnvironment: Void = {
    if let value = getenv("SPANWIRE_FAILPOINT") { arm(String(cString: value)) }
  }()

  /// Reads the environment; called when a database opens.
  static func prepare() { _ = readEnvironment }

  /// Arms a place by `name` or `name:count`.
  public static func arm(_ specification: String) {
    let parts = specification.split(separator: ":", maxSplits: 1)
    guard let name = parts.first.map(String.init), names.contains(name) else { return }
    target.withLock { $0 = (name, parts.count > 1 ? max(1, Int(parts[1]) ?? 1) : 1) }
    isArmed.store(true, ordering: .releasing)
  }

  /// The process ends here if this place is armed and its time has come.
  @inline(__always)
  public static func hit(_ name: StaticString) {
    if isArmed.load(ordering: .relaxed) { reached(name.description) }
  }

  @inline(never)
  private static func reached(_ name: String) {
    let dies = target.withLock { target -> Bool in
      guard let armed = target, armed.name == name else { return false }
      target = (armed.name, armed.left - 1)
      return armed.left == 1
    }
    if dies { kill(getpid(), SIGKILL) }
  }
}
