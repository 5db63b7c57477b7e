import SpanwireRPC

/// When a failed call is made again (gRFC A6).
public struct RetryPolicy: Sendable, Hashable {
  /// The first included; `ClientLimits.attempts` at most.
  public var maxAttempts: Int
  /// The pause before the second attempt, give or take a fifth.
  public var initialBackoff: Duration
  /// The longest pause.
  public var maxBackoff: Duration
  /// By how much each pause is longer than the last.
  public var backoffMultiplier: Double
  /// The outcomes after which another attempt is made.
  public var retryableCodes: Set<RPCError.Code>

  /// A policy; one read from JSON is checked, this one is taken as it is.
  public init(
    maxAttempts: Int, initialBackoff: Duration, maxBackoff: Duration, backoffMultiplier: Double, retryableCodes: Set<RPCError.Code>
  ) {
    self.maxAttempts = maxAttempts
    self.initialBackoff = initialBackoff
    self.maxBackoff = maxBackoff
    self.backoffMultiplier = backoffMultiplier
    self.retryableCodes = retryableCodes
  }

  /// The pause before the nth retry, from 1: a fifth more or less than the backoff, by a random number in 0..<1.
  func backoff(beforeRetry number: Int, random: Double) -> Duration {
    let ceiling = maxBackoff / .seconds(1)
    var seconds = min(initialBackoff / .seconds(1), ceiling)
    for _ in 1..<max(1, number) where seconds < ceiling { seconds = min(seconds * backoffMultiplier, ceiling) }
    return .seconds(seconds * (0.8 + 0.4 * random))
  }
}

/// When a call is made several times at once, in the hope that one of them is quick (gRFC A6). For methods that do no harm when repeated.
public struct HedgingPolicy: Sendable, Hashable {
  /// The first included; `ClientLimits.attempts` at most.
  public var maxAttempts: Int
  /// From one attempt to the next; zero makes all at once.
  public var hedgingDelay: Duration
  /// Failures that do not end the call while another attempt may succeed.
  public var nonFatalCodes: Set<RPCError.Code>

  /// A policy; without a delay all attempts leave at once.
  public init(maxAttempts: Int, hedgingDelay: Duration = .zero, nonFatalCodes: Set<RPCError.Code> = []) {
    self.maxAttempts = maxAttempts
    self.hedgingDelay = hedgingDelay
    self.nonFatalCodes = nonFatalCodes
  }
}

/// What a server said about trying again (`grpc-retry-pushback-ms`).
enum RetryPushback: Sendable, Hashable {
  case after(Duration)
  case never

  /// Anything but a whole number of milliseconds in 32 bits is a wish not to be asked again.
  init(_ text: UnsafeRawBufferPointer) {
    if let milliseconds = Int32(String(decoding: text, as: UTF8.self)), milliseconds >= 0 {
      self = .after(.milliseconds(Int64(milliseconds)))
    } else {
      self = .never
    }
  }
}

/// Which attempts a call makes. Pure: no clock, no random numbers of its own, no I/O.
struct AttemptPlan {
  enum Policy: Sendable, Hashable {
    /// Only what no server has seen is made again.
    case once
    case retry(RetryPolicy)
    case hedge(HedgingPolicy)
  }

  /// What follows from the end of an attempt that had not been answered.
  enum Step: Hashable {
    /// This outcome is the call's.
    case commit
    /// Another attempt, now or after a pause.
    case launch(after: Duration)
    /// Others are under way, or will be.
    case wait
  }

  let policy: Policy
  /// Attempts made so far that count.
  private(set) var attempts = 0
  /// The server wants no more of them.
  private var isStopped = false
  private var hasBeenUnseen = false
  /// Retries since the start or since a server named the pause itself.
  private var backoffStep = 0

  init(_ policy: Policy) { self.policy = policy }

  /// How many attempts the policy allows.
  var limit: Int {
    switch policy {
    case .once: 1
    case .retry(let policy): min(policy.maxAttempts, ClientLimits.attempts)
    case .hedge(let policy): min(policy.maxAttempts, ClientLimits.attempts)
    }
  }

  /// When to make the next attempt though none has failed.
  var hedgingDelay: Duration? {
    if case .hedge(let policy) = policy, attempts < limit, !isStopped { policy.hedgingDelay } else { nil }
  }

  /// Whether that moment's attempt is still wanted when it comes.
  func mayHedge(_ throttle: RetryThrottle?) -> Bool { hedgingDelay != nil && throttle?.allows ?? true }

  mutating func launched() { attempts += 1 }

  /// Judges the end of an attempt that had not been answered; so many others are still under way.
  mutating func ended(
    _ error: RPCError?, _ exposure: CallExposure, _ pushback: RetryPushback?, others: Int, throttle: RetryThrottle?, random: Double
  ) -> Step {
    guard let error else { return .commit }
    switch exposure {
    case .unsent: return again()
    case .unseen where !hasBeenUnseen:
      hasBeenUnseen = true
      return again()
    case .unseen, .seen: break
    }
    let isCovered = isCovered(error.code)
    if isCovered || pushback == .never { throttle?.failed() }
    if pushback == .never { isStopped = true }
    let mayGoOn = isCovered && !isStopped && attempts < limit && throttle?.allows ?? true
    switch policy {
    case .once: return .commit
    case .retry(let policy):
      guard mayGoOn else { return .commit }
      if case .after(let pause) = pushback {
        backoffStep = 0
        return .launch(after: pause)
      }
      backoffStep += 1
      return .launch(after: policy.backoff(beforeRetry: backoffStep, random: random))
    case .hedge:
      if !isCovered { return .commit }
      guard mayGoOn else { return others > 0 ? .wait : .commit }
      if case .after(let pause) = pushback { return .launch(after: pause) }
      return .launch(after: .zero)
    }
  }

  /// Whether the policy has something to say about a status.
  func isCovered(_ code: RPCError.Code) -> Bool {
    switch policy {
    case .once: false
    case .retry(let policy): policy.retryableCodes.contains(code)
    case .hedge(let policy): policy.nonFatalCodes.contains(code)
    }
  }

  private mutating func again() -> Step {
    attempts -= 1
    return .launch(after: .zero)
  }
}
