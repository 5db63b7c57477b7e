import Glibc
import SpanwireRawWire

// What an attack costs those who are served meanwhile: latency in the calm and under each attack, and the server's memory before, at its
// highest, and after.
//
//   spanwire-abuse SECONDS PORT PID [ATTACK]
//
// A server of echo.proto listens on the port as that process. Attackers and the bystander would have machines of their own: so attackers have
// the time that nobody else wants, and the bystander, who needs very little, has his at once if the system allows it.

let arguments = CommandLine.arguments
guard (4...5).contains(arguments.count), let seconds = Double(arguments[1]), let port = UInt16(arguments[2]),
  let server = Int32(arguments[3])
else {
  print("usage: spanwire-abuse SECONDS PORT PID [ATTACK]")
  exit(2)
}

/// Beyond this many times the calm p99 an attack has succeeded, unless the figure is below the floor: what a machine does by itself.
let allowedRatio = 3.0
let floorMilliseconds = 1.0
/// Memory that may remain: the allocator's, not the attack's.
let allowedGrowthKiB = 16 * 1024
/// Connections that wait at a time, for attacks that work by waiting.
let held = 300
let attackers = 2

/// The best of so many counts: what a busy machine does to one of them is not the attack's doing.
let attempts = 3

/// What others notice of an attack, and what it leaves.
struct Effect {
  let calm: (p50: Double, p99: Double)
  let hot: (p50: Double, p99: Double)
  let before: Int
  let highest: Int
  let after: Int

  var ratio: Double { hot.p99 / calm.p99 }
  var isSlow: Bool { ratio > allowedRatio && hot.p99 > floorMilliseconds }
}

func effect(of attack: Attack) throws -> Effect {
  let before = residentKiB(server)
  let calm = try Victim(port: port, path: path).latencies(for: seconds)
  let stop = Flag()
  let threads = (0..<attackers).map { _ in
    Thread {
      if attack.holds {
        var connections: [RawConnection] = []
        while !stop.isSet {
          if connections.count < held / attackers, let connection = try? attack.open(port: port) { connections.append(connection) }
          if connections.count == held / attackers { stop.wait() }
        }
      } else {
        while !stop.isSet { _ = try? attack.run(port: port, until: { stop.isSet }) }
      }
    }
  }
  let highest = Peak(server)
  let hot = try Victim(port: port, path: path).latencies(for: seconds) { highest.look() }
  stop.set()
  for thread in threads { thread.join() }
  // What was lingering goes within a second or two.
  var after = residentKiB(server)
  for _ in 0..<50 where after > before + allowedGrowthKiB {
    usleep(100_000)
    after = residentKiB(server)
  }
  return Effect(calm: calm, hot: hot, before: before, highest: highest.kiB, after: after)
}

let isPunctual = runAs(SCHED_RR, priority: 1)
var failures = 0
print("attack                  calm p50   calm p99        p50        p99   ratio   RSS before    highest      after")
let path = "/echo.Echo/Get"
_ = try Victim(port: port, path: path).latencies(for: 0.2)
let attacks = Attack.all(path: path).filter { arguments.count < 5 || $0.name == arguments[4] }
for attack in attacks {
  let first = try effect(of: attack)
  var best = first
  for _ in 1..<attempts where best.isSlow {
    let again = try effect(of: attack)
    if again.ratio < best.ratio { best = again }
  }
  let isLarge = residentKiB(server) > first.before + allowedGrowthKiB
  if best.isSlow || isLarge { failures += 1 }
  print(
    pad(attack.name, 22), number(best.calm.p50), number(best.calm.p99), number(best.hot.p50), number(best.hot.p99),
    number(best.ratio, 2, 7), mebibytes(best.before), mebibytes(best.highest), mebibytes(best.after), best.isSlow ? " too slow" : "",
    isLarge ? " memory stays" : "")
}
print(
  "times in milliseconds of \(Victim.perSecond) calls a second; a ratio up to \(allowedRatio), or a p99 up to \(floorMilliseconds) ms, is well"
)
if !isPunctual { print("the bystander had to wait for a processor as the server does: he may not run at once here") }
print("abuse: \(attacks.count - failures) passed, \(failures) failed")
exit(failures == 0 ? 0 : 1)
