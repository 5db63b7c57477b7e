import Foundation
import SpanwireDatabase
import SpanwireSchema
import SpanwireTestChance

/// A life of the platform, made of a seed: wishes, failures, crashes and time, and after every step what must hold.
final class Run {
  struct Failure: Error, CustomStringConvertible {
    let seed: UInt64
    let step: Int
    let reason: any Error

    var description: String { "seed \(seed), step \(step): \(reason)" }
  }

  /// After trouble, what was put off may take this long.
  private static let grace = Duration.seconds(120)
  private static let bursts = 4

  private let seed: UInt64
  private let simulator: Simulator
  private let world: World
  private let workloads: [Workload]
  private var witness = Witness()
  private let followers = World.tenants.map(Follower.init)
  private var deeds: [Deed] = []
  private var troubleEnded = VirtualTime.beginning
  private(set) var step = 0
  private let tells: Bool

  init(seed: UInt64, template: Template, folder: String, plant: Plant? = nil, tells: Bool = false) throws {
    self.seed = seed
    self.tells = tells
    VirtualTime.now = VirtualTime.beginning
    let path = try template.copy(to: folder)
    simulator = Simulator(seed: seed)
    world = try World(simulator, path: path, seed: seed) { plant?.prepare($0) }
    workloads = World.tenants.map { [world] in Workload(world, tenant: $0) }
    for (one, other) in zip(workloads, workloads.reversed()) { one.neighbour = other }
    for follower in followers { follower.follow(world) }
    do { try witness.read(world.store) } catch { throw Failure(seed: seed, step: 0, reason: error) }
  }

  /// Transactions, events and crashes there were.
  var summary: (turns: Int, events: Int64, crashes: Int) { (simulator.turns, witness.position, world.crashes) }

  /// How often each thing happened.
  func tally() throws -> String {
    try world.store.look { reader in
      try reader.query("SELECT type, count(*) FROM event_log GROUP BY type ORDER BY type") {
        "\($0.get(0, as: String.self)) \($0.get(1, as: Int64.self))"
      }
    }.joined(separator: ", ")
  }

  /// A number that is the same for the same seed, for ever: what happened, in which order.
  func digest() throws -> UInt64 {
    let told = try world.store.look { reader in
      try reader.query("SELECT type, session_id, journey_instance_id, stream_sequence FROM event_log ORDER BY position") {
        "\($0.get(0, as: String.self)) \($0.get(1, as: String.self)) \($0.get(2, as: String.self)) \($0.get(3, as: Int64.self))"
      }
    }
    return told.joined(separator: "\n").utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }

  /// Lives through so many steps, then comes to rest; throws `Failure` at the first thing that must not be.
  func live(steps: Int) throws {
    do {
      while step < steps {
        step += 1
        try takeStep()
        try check()
        if step % 16 == 0 { try verify() }
      }
      step += 1
      try rest()
    } catch {
      throw Failure(seed: seed, step: step, reason: error)
    }
  }

  func end() throws { try world.end() }

  // MARK: Steps

  private func takeStep() throws {
    switch simulator.chance.below(20) {
    case 0..<14: try burst()
    case 14..<18:
      let span = Duration.seconds(simulator.chance.once(in: 10) ? 30_000 : simulator.chance.pick([1, 20, 200, 700, 4_000])!)
      say("\(span) pass")
      try advance(by: span)
    case 18:
      say("crash")
      try restart()
    default:
      let span = Duration.seconds(simulator.chance.within(1...600))
      world.store.faultRate = simulator.chance.within(2...6)
      say("\(span) pass, one transaction in \(world.store.faultRate) fails")
      simulator.advance(by: span)
      calm()
    }
  }

  /// Some wishes at once, old and new, perhaps while the store fails, perhaps until the process dies.
  private func burst() throws {
    var under: [(deed: Deed, answer: Pending<String>)] = []
    if simulator.chance.once(in: 4) { world.store.faultRate = simulator.chance.within(3...12) }
    if simulator.chance.once(in: 8) { world.store.crashIn = simulator.chance.below(12) }
    for _ in 0..<simulator.chance.within(1...Self.bursts) {
      let deed: Deed
      if let old = simulator.chance.pick(deeds), simulator.chance.once(in: 4), isFresh(old) {
        deed = old
      } else {
        deed = simulator.chance.pick(workloads)!.next(&simulator.chance, witness)
        if !deeds.contains(where: { $0 === deed }) { deeds.append(deed) }
      }
      // Now and then a client is impatient, or sends everything twice.
      for _ in 0..<(simulator.chance.once(in: 8) ? 2 : 1) {
        let limit: Duration? = simulator.chance.once(in: 10) ? .milliseconds(simulator.chance.within(1...400)) : nil
        deed.began()
        under.append((deed, world.begin(as: deed.principal, within: limit, deed.send)))
      }
    }
    let store = world.store!
    let trouble = (store.faultRate > 0 ? ", failures" : "") + (store.crashIn != nil ? ", a crash" : "")
    say(under.map(\.deed.name).joined(separator: ", ") + trouble)
    let ended = simulator.run(patience: .seconds(3_600)) { store.isDead || under.allSatisfy { $0.answer.result != nil } }
    guard ended else {
      throw Violation("hang", under.filter { $0.answer.result == nil }.map(\.deed.name).joined(separator: ", ") + " never ends")
    }
    if store.isDead { try restart() }
    for (deed, answer) in under {
      if case .failure(let error)? = answer.result, let violation = error as? Violation { throw violation }
      if let result = answer.result { try deed.ended(result) }
      say("  \(deed.name): \(answer.result.map { "\($0)" } ?? "never answered")")
    }
    if world.store.faultRate > 0 || world.store.crashIn != nil { calm() }
  }

  /// An old wish may be sent again as long as its answer is kept.
  private func isFresh(_ deed: Deed) -> Bool {
    deed.answer.map { VirtualTime.now - $0.at < deed.memory.wholeNanoseconds } ?? true
  }

  /// Time passes and everything comes to rest that can: the follower too.
  private func advance(by span: Duration) throws {
    simulator.advance(by: span)
    try witness.read(world.store)
    for (tenant, follower) in zip(World.tenants, followers) { try follower.check(against: witness.positions[tenant] ?? []) }
  }

  private func restart() throws {
    try world.restart()
    for follower in followers { follower.follow(world) }
    calm()
  }

  private func calm() {
    world.store.faultRate = 0
    world.store.crashIn = nil
    troubleEnded = VirtualTime.now
  }

  /// Nothing fails any more: all that is under way ends.
  private func rest() throws {
    calm()
    try advance(by: Self.grace + .seconds(600))
    try check()
    try verify()
    let now = VirtualTime.now - Self.grace.wholeNanoseconds
    try Audit.checkRest(world.store, at: now)
    if let asking = witness.asking.first { throw Violation("agent", "\(asking) never has its answer") }
    let left = try world.store.look { reader in
      try reader.query("SELECT id, method FROM effect WHERE state = 0 AND due_at <= ?1", now) {
        "\($0.get(0, as: String.self)) \($0.get(1, as: String.self))"
      }
    }
    if let first = left.first { throw Violation("effect", "\(left.count) are never performed, the first \(first)") }
  }

  // MARK: What must hold

  private func check() throws {
    try witness.read(world.store)
    try Audit.check(witness, world.store)
    for workload in workloads {
      for session in workload.sessions where witness.sessions[session.id] == nil {
        throw Violation("loss", "\(session.id) was acknowledged and is gone")
      }
      for held in workload.entitlements where witness.purses[held.id] == nil {
        throw Violation("loss", "\(held.id) was acknowledged and is gone")
      }
      for id in workload.redemptions where !witness.redemptions.contains(id) {
        throw Violation("loss", "\(id) was acknowledged and is gone")
      }
    }
    let grace = Self.grace.wholeNanoseconds
    guard VirtualTime.now - troubleEnded > grace else { return }
    if let late = witness.overdue(at: VirtualTime.now - grace).first { throw Violation("timer", "that of \(late) never fires") }
  }

  private func verify() throws {
    let findings = try world.call(as: World.operatorOlga(of: World.tenants[0])) { channel in
      var findings: [String] = []
      for try await found in try await EventsClient(channel).verify(VerifyRequest()) where !found.ok {
        findings.append("\(found.check): \(found.findings.first ?? "")")
      }
      return findings
    }
    if let first = findings.first { throw Violation("verify", first) }
  }

  private func say(_ text: @autoclosure () -> String) {
    if tells { tell("\(step) at +\((VirtualTime.now - VirtualTime.beginning) / 1_000_000) ms: \(text())") }
  }
}

/// A database on which the product is sold already: what every run begins with.
struct Template {
  private let path: String

  /// - Parameter change: what a planted bug makes of the product.
  init(folder: String, _ change: (String) -> String = { $0 }) throws {
    path = folder + "/template.db"
    Self.remove(path)
    VirtualTime.now = VirtualTime.beginning
    let simulator = Simulator(seed: 0)
    let world = try World(simulator, path: path, seed: 0)
    let bundle = change(Product.bundle(version: 1))
    for tenant in World.tenants {
      _ = try world.call(as: World.operatorOlga(of: tenant)) { channel in
        try await RegistryClient(channel).apply(
          ApplyRequest(idempotencyKey: "template", source: .bundleYaml(bundle), reason: "the beginning"))
      }
    }
    simulator.settle()
    try world.end()
  }

  /// A copy of its own for a run.
  func copy(to folder: String) throws -> String {
    let copy = folder + "/run.db"
    Self.remove(copy)
    try FileManager.default.copyItem(atPath: path, toPath: copy)
    return copy
  }

  private static func remove(_ path: String) {
    for suffix in ["", "-wal", "-shm", ".lock"] { try? FileManager.default.removeItem(atPath: path + suffix) }
  }
}

/// A line to whoever watches, at once: the next thing may end the process.
func tell(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
