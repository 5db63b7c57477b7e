import SpanwireServiceKit
import Testing

@testable import SpanwireOrchestrator

@Suite("A circuit breaker")
struct CircuitBreakerTests {
  /// What happens, at a second of a simulated clock.
  enum Step: Sendable {
    case call(CircuitBreaker.Outcome, milliseconds: Int64 = 1)
    case refused
    /// A call that is admitted, as the probe or not, and not reported yet.
    case begins(isProbe: Bool)
    case ends(CircuitBreaker.Outcome, isProbe: Bool)
    case mode(CircuitBreaker.Mode)
  }

  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var config = CircuitBreaker.Config()
    var steps: [(second: Int64, Step)]
    var transitions: [String]
    var testDescription: String { name }
  }

  static func fails(_ seconds: [Int64]) -> [(second: Int64, Step)] { seconds.map { ($0, .call(.failure)) } }

  static let rates = CircuitBreaker.Config(failureThreshold: 1_000, failureRate: 0.5, minimumCalls: 4)
  static let slow = CircuitBreaker.Config(failureThreshold: 1_000, slowCallRate: 0.5, slowCall: .milliseconds(100), minimumCalls: 4)

  static let cases = [
    Case(name: "four failures are too few", steps: fails([0, 1, 2, 3]) + [(4, .call(.success))], transitions: []),
    Case(name: "five failures in the window open it", steps: fails([0, 1, 2, 3, 4]) + [(5, .refused)], transitions: ["4 open"]),
    Case(name: "five failures over more than the window do not", steps: fails([0, 20, 40, 59, 60]), transitions: []),
    Case(
      name: "successes between them do not help", steps: fails([0, 1, 2, 3]) + [(3, .call(.success)), (4, .call(.failure))],
      transitions: ["4 open"]),
    Case(name: "what was cancelled does not count", steps: (0..<9).map { ($0, .call(.neutral)) }, transitions: []),
    Case(
      name: "it is refused until the probe's time, then one call tries and closes it",
      steps: fails([0, 0, 0, 0, 0]) + [
        (29, .refused), (30, .begins(isProbe: true)), (30, .refused), (31, .ends(.success, isProbe: true)), (31, .call(.failure)),
      ],
      transitions: ["0 open", "30 half-open", "31 closed"]),
    Case(
      name: "a probe that fails opens it for as long again",
      steps: fails([0, 0, 0, 0, 0]) + [(30, .call(.failure)), (59, .refused), (60, .call(.success))],
      transitions: ["0 open", "30 half-open", "30 open", "60 half-open", "60 closed"]),
    Case(
      name: "a probe that is cancelled lets the next call try",
      steps: fails([0, 0, 0, 0, 0]) + [(30, .begins(isProbe: true)), (31, .ends(.neutral, isProbe: true)), (32, .call(.success))],
      transitions: ["0 open", "30 half-open", "32 closed"]),
    Case(
      name: "a call that began before it opened decides nothing",
      steps: [(0, .begins(isProbe: false))] + fails([0, 0, 0, 0, 0])
        + [(30, .begins(isProbe: true)), (31, .ends(.failure, isProbe: false)), (32, .ends(.success, isProbe: true))],
      transitions: ["0 open", "30 half-open", "32 closed"]),
    Case(
      name: "half of the calls failing opens it by the rate", config: rates,
      steps: [(0, .call(.success)), (1, .call(.success)), (2, .call(.failure)), (3, .call(.failure))], transitions: ["3 open"]),
    Case(
      name: "the rate says nothing of too few calls", config: rates,
      steps: [(0, .call(.failure)), (1, .call(.failure)), (2, .call(.failure))],
      transitions: []),
    Case(
      name: "half of the calls being slow opens it", config: slow,
      steps: [
        (0, .call(.success)), (1, .call(.success, milliseconds: 100)), (2, .call(.success)), (3, .call(.success, milliseconds: 900)),
      ], transitions: ["3 open"]),
    Case(
      name: "a slow probe opens it again where slowness counts", config: slow,
      steps: (0..<4).map { ($0, .call(.success, milliseconds: 200)) } + [(33, .call(.success, milliseconds: 200)), (63, .call(.success))],
      transitions: ["3 open", "33 half-open", "33 open", "63 half-open", "63 closed"]),
    Case(
      name: "forced open it refuses for as long as it is forced, then a call tries",
      steps: [(0, .mode(.forcedOpen)), (100, .refused), (101, .mode(.automatic)), (102, .call(.success))],
      transitions: ["0 open", "102 half-open", "102 closed"]),
    Case(
      name: "disabled it never opens", steps: [(0, .mode(.disabled))] + fails(Array(1...20)), transitions: []),
    Case(
      name: "disabling closes what is open", steps: fails([0, 0, 0, 0, 0]) + [(1, .mode(.disabled)), (2, .call(.failure))],
      transitions: ["0 open", "1 closed"]),
  ]

  @Test("goes from state to state as the table says, by a simulated clock", arguments: cases)
  func transitions(_ test: Case) {
    var breaker = CircuitBreaker(test.config)
    var seen: [String] = []
    func note(_ transition: CircuitBreaker.Transition?, _ second: Int64) {
      switch transition {
      case .opened: seen.append("\(second) open")
      case .halfOpened: seen.append("\(second) half-open")
      case .closed: seen.append("\(second) closed")
      case nil: break
      }
    }
    func admit(_ second: Int64, _ now: Int64) -> CircuitBreaker.Admission {
      let (admission, transition) = breaker.admit(at: now)
      note(transition, second)
      return admission
    }
    for (second, step) in test.steps {
      let now = second * 1_000_000_000
      switch step {
      case .call(let outcome, let milliseconds):
        guard case .go(let isProbe) = admit(second, now) else {
          Issue.record("the call at \(second) was refused")
          continue
        }
        note(breaker.record(outcome, took: .milliseconds(milliseconds), isProbe: isProbe, at: now), second)
      case .refused:
        guard case .refused(let after) = admit(second, now) else {
          Issue.record("the call at \(second) was not refused")
          continue
        }
        #expect(after > .zero)
      case .begins(let isProbe): #expect(admit(second, now) == .go(isProbe: isProbe))
      case .ends(let outcome, let isProbe): note(breaker.record(outcome, took: .zero, isProbe: isProbe, at: now), second)
      case .mode(let mode): note(breaker.set(mode, at: now), second)
      }
    }
    #expect(seen == test.transitions)
  }

  @Test("pauses double up to the longest, cut by up to a half, and end with the retries")
  func retries() {
    let policy = RetryPolicy(maxRetries: 4, firstPause: .milliseconds(100), longestPause: .milliseconds(300))
    #expect((1...5).map { policy.pause(after: $0, chance: 0) } == [100, 200, 300, 300, nil].map { $0.map(Duration.milliseconds) })
    #expect(policy.pause(after: 1, chance: 0.5) == .milliseconds(75))
  }
}
