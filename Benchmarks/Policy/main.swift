import Foundation
import SpanwireFlags
import SpanwirePolicy

// Decisions in this process, without a call, a store or a clock: what the rules themselves take. Prints nanoseconds of processor time.

/// Runs a closure over and over for about that many seconds of processor time; the nanoseconds of one run, the quickest tenth's.
func measure(seconds: Double, _ body: (Int) throws -> Void) rethrows -> Double {
  func processor() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
  }
  let portion = 2_000
  var portions: [Double] = []
  let begin = processor()
  while processor() - begin < seconds * 1e9 {
    let start = processor()
    for number in 0..<portion { try body(number) }
    portions.append((processor() - start) / Double(portion))
  }
  portions.sort()
  return portions[portions.count / 10]
}

let seconds = CommandLine.arguments.dropFirst().first.flatMap(Double.init) ?? 1
let roles = ["ops_lead", "support_agent", "platform_sre", "traveller", "market_manager", "finance_settlement"]
let categories = ["session_data", "personal_data", "settlement_data", "audit_log", "journey_data", "registry_definitions"]
let questions = (0..<36).map { number in
  AccessEvaluator.Request(
    actorRole: roles[number % 6], actorUserID: "USR-1", actorTenantID: "vienna",
    targetTenantID: number.isMultiple(of: 7) ? "graz" : "vienna", targetUserID: number.isMultiple(of: 5) ? "USR-1" : "USR-2",
    category: categories[number / 6], kind: number.isMultiple(of: 4) ? .write : .read)
}
let evaluator = AccessEvaluator()
var effects: [AccessEvaluator.Effect: Int] = [:]
let access = measure(seconds: seconds) { number in
  effects[evaluator.evaluate(questions[number % questions.count], now: 1_777_885_200_000_000_000).effect, default: 0] += 1
}

let flags = FlagSet(
  (0..<800).map { Flag(key: "flag-\($0)", variants: ["on": .bool(true), "off": .bool(false)], defaultVariant: "on") })
let context = FlagContext([:], targetingKey: "USR-1", now: 1_777_885_200)
let keys = (0..<800).map { "flag-\($0)" }
let flag = try measure(seconds: seconds) { number in
  guard try flags.resolve(keys[number % keys.count], as: .boolean, for: context).value == .bool(true) else {
    preconditionFailure("a static flag serves its default")
  }
}
print(#"{"access_ns": \#(access), "flag_ns": \#(flag), "effects": \#(effects.count)}"#)
