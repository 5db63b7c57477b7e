import SpanwireServiceKit

/// Stops calls to what fails, and tries by one call whether it has recovered. Pure: the time comes in as a value.
///
/// closed → open (too many failures, or too large a part of the calls failed or was slow) → half-open (the probe's time has come: one
/// call goes through) → closed (it succeeded) | open (it failed). An operator may force it open or disable it; a disabled one stays closed.
struct CircuitBreaker: Sendable {
  struct Config: Sendable, Hashable {
    var failureThreshold: UInt32 = 5
    var window = Duration.seconds(60)
    var recoveryProbe = Duration.seconds(30)
    /// 0 to 1; nil: not judged by it.
    var failureRate: Double?
    var slowCallRate: Double?
    var slowCall = Duration.seconds(5)
    /// The rates are judged from so many calls on.
    var minimumCalls: UInt32 = 10
  }

  enum Mode: Sendable, Hashable {
    case automatic, forcedOpen, disabled
  }

  enum State: Sendable, Hashable {
    case closed
    /// Calls are refused; from that moment on one may try.
    case open(probeAt: Int64)
    /// One call tries, or nobody does at the moment.
    case halfOpen(isProbing: Bool)
  }

  /// What a call came to.
  enum Outcome: Sendable, Hashable {
    case success, failure
    /// It says nothing of what was called: it was taken back.
    case neutral
  }

  /// A change that others should hear of.
  enum Transition: Sendable, Hashable {
    case opened(reason: String)
    case halfOpened
    case closed
  }

  /// Whether a call may go.
  enum Admission: Sendable, Hashable {
    case go(isProbe: Bool)
    /// With how long until it may be tried.
    case refused(retryAfter: Duration)
  }

  /// Calls of one second.
  private struct Second: Sendable {
    var second: Int64
    var calls: UInt32 = 0
    var failures: UInt32 = 0
    var slow: UInt32 = 0
  }

  private(set) var config: Config
  private(set) var mode = Mode.automatic
  private(set) var state = State.closed
  /// Why it is open; empty when it is not.
  private(set) var reason = ""
  /// By second, the oldest first: at most as many as the window has.
  private var seconds: [Second] = []

  init(_ config: Config = Config()) { self.config = config }

  /// What the window holds.
  mutating func counts(at now: Int64) -> (calls: UInt32, failures: UInt32, slow: UInt32) {
    forget(before: now)
    return seconds.reduce((0, 0, 0)) { ($0.0 + $1.calls, $0.1 + $1.failures, $0.2 + $1.slow) }
  }

  /// Asks whether a call may go. Every call that may is reported by `record`.
  mutating func admit(at now: Int64) -> (Admission, Transition?) {
    switch (mode, state) {
    case (.disabled, _), (.automatic, .closed): return (.go(isProbe: false), nil)
    case (.forcedOpen, _): return (.refused(retryAfter: config.recoveryProbe), nil)
    case (.automatic, .open(let probeAt)):
      guard now >= probeAt else { return (.refused(retryAfter: .nanoseconds(probeAt - now)), nil) }
      state = .halfOpen(isProbing: true)
      return (.go(isProbe: true), .halfOpened)
    case (.automatic, .halfOpen(let isProbing)):
      guard !isProbing else { return (.refused(retryAfter: .seconds(1)), nil) }
      state = .halfOpen(isProbing: true)
      return (.go(isProbe: true), nil)
    }
  }

  /// Reports what a call came to.
  mutating func record(_ outcome: Outcome, took duration: Duration, isProbe: Bool, at now: Int64) -> Transition? {
    if outcome != .neutral { count(outcome, duration, now) }
    switch (mode, state) {
    case (.automatic, .halfOpen(isProbing: true)) where isProbe:
      switch outcome {
      case .neutral:
        state = .halfOpen(isProbing: false)
        return nil
      case .failure: return open("the probe failed", now)
      case .success:
        if isSlow(duration), config.slowCallRate != nil { return open("the probe was slow", now) }
        return close()
      }
    case (.automatic, .closed): return overrun(now).flatMap { open($0, now) }
    default: return nil
    }
  }

  /// An operator's wish. Returning to automatic, one that was forced open tries a call before it closes.
  mutating func set(_ mode: Mode, at now: Int64) -> Transition? {
    guard mode != self.mode else { return nil }
    let wasForced = self.mode == .forcedOpen
    self.mode = mode
    switch mode {
    case .forcedOpen:
      let wasClosed = state == .closed
      (state, reason) = (.open(probeAt: now), "forced open")
      return wasClosed ? .opened(reason: reason) : nil
    case .disabled: return state == .closed ? nil : close()
    case .automatic:
      if wasForced { (state, reason) = (.open(probeAt: now), "was forced open; the next call tries") }
      return nil
    }
  }

  mutating func set(_ config: Config) { self.config = config }

  /// As it was before a restart.
  mutating func restore(_ state: State, reason: String) { (self.state, self.reason) = (state, reason) }

  /// Why the window's calls are reason to open; nil when they are none.
  private mutating func overrun(_ now: Int64) -> String? {
    let (calls, failures, slow) = counts(at: now)
    if failures >= config.failureThreshold { return "\(failures) failures in \(config.window.components.seconds) s" }
    guard calls >= config.minimumCalls, calls > 0 else { return nil }
    if let rate = config.failureRate, Double(failures) >= rate * Double(calls) { return "\(failures) of \(calls) calls failed" }
    if let rate = config.slowCallRate, Double(slow) >= rate * Double(calls) { return "\(slow) of \(calls) calls were slow" }
    return nil
  }

  private mutating func open(_ why: String, _ now: Int64) -> Transition {
    (state, reason) = (.open(probeAt: now + config.recoveryProbe.nanoseconds), why)
    return .opened(reason: why)
  }

  private mutating func close() -> Transition {
    (state, reason, seconds) = (.closed, "", [])
    return .closed
  }

  private func isSlow(_ duration: Duration) -> Bool { duration >= config.slowCall }

  private mutating func count(_ outcome: Outcome, _ duration: Duration, _ now: Int64) {
    forget(before: now)
    let second = now / 1_000_000_000
    if seconds.last?.second != second { seconds.append(Second(second: second)) }
    seconds[seconds.count - 1].calls += 1
    if outcome == .failure { seconds[seconds.count - 1].failures += 1 }
    if isSlow(duration) { seconds[seconds.count - 1].slow += 1 }
  }

  private mutating func forget(before now: Int64) {
    let first = (now - config.window.nanoseconds) / 1_000_000_000
    seconds.removeAll { $0.second <= first }
  }
}
