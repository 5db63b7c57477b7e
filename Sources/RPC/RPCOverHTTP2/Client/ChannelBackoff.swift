/// How long a channel waits between attempts to connect: exponential with jitter, the numbers of gRPC's connection backoff.
///
/// Pure: it is told the random number.
public struct ChannelBackoff: Sendable, Hashable {
  /// After the first failure.
  public var initial: Duration = .seconds(1)
  /// By how much each pause is longer than the last.
  public var multiplier = 1.6
  /// Each wait is this much shorter or longer, so that many clients do not return all at once.
  public var jitter = 0.2
  /// A server that comes back is found within this time, whatever the number of failures.
  public var maximum: Duration = .seconds(120)

  /// The pauses that gRPC recommends, unless said otherwise.
  public init(initial: Duration = .seconds(1), multiplier: Double = 1.6, jitter: Double = 0.2, maximum: Duration = .seconds(120)) {
    self.initial = initial
    self.multiplier = multiplier
    self.jitter = jitter
    self.maximum = maximum
  }

  /// The wait after this many failures in a row, from 1. `random` is in 0..<1.
  func wait(afterFailures failures: Int, random: Double) -> Duration {
    let ceiling = maximum / .seconds(1)
    var seconds = initial / .seconds(1)
    for _ in 1..<max(1, failures) where seconds < ceiling { seconds *= multiplier }
    return .seconds(min(seconds, ceiling) * (1 + jitter * (2 * random - 1)))
  }
}
