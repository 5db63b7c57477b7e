import SpanwireRPCOverHTTP2

/// What is asked for.
struct LoadOptions {
  /// What the callers do, all of them.
  enum Work: String {
    case sessions, steps
    /// Each caller opens a session after every fourth step.
    case mixed
    /// What is decided and changes nothing: access, a static flag, a tool call without a cost.
    case decisions, flags, tools
  }

  var target = ChannelTarget.host("127.0.0.1", port: 7300)
  var work = Work.sessions
  var callers = 1
  /// How long; without, as many operations as `count`, or until a line comes in.
  var seconds: Double?
  var count: Int?
  /// Begins every key, so that another run repeats nothing.
  var run = "load"
  /// Seconds for which a call is made again, under the same key, while the server is away.
  var patience = 0.0
  /// Whether every call asks for a trace; otherwise none does, as nearly all of a sampled system's.
  var isTraced = false
  /// Whether the books are compared at the end.
  var checks = false

  static let usage = """
    usage: spanwire-storeload --server HOST:PORT --work sessions|steps|mixed|decisions|flags|tools --callers N [--seconds S | --count N] [--run NAME]
      [--patience S] [--check] [--traced]

    Prints "ready", waits for a line, works for S seconds or N operations or until another line, and prints JSON.

    """

  init?(_ arguments: some Collection<String>) {
    var rest = arguments[...]
    while let name = rest.popFirst() {
      if name == "--check" || name == "--traced" {
        if name == "--check" { checks = true } else { isTraced = true }
        continue
      }
      guard let value = rest.popFirst() else { return nil }
      switch name {
      case "--server":
        guard let target = ChannelTarget(value) else { return nil }
        self.target = target
      case "--work":
        guard let work = Work(rawValue: value) else { return nil }
        self.work = work
      case "--callers": callers = Int(value) ?? 0
      case "--seconds": seconds = Double(value)
      case "--count": count = Int(value)
      case "--run": run = value
      case "--patience": patience = Double(value) ?? 0
      default: return nil
      }
    }
    if callers < 1 { return nil }
  }
}
