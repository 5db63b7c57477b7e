import SpanwireEventLog
import SpanwirePolicy
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireRegistry
import SpanwireSchema
import SpanwireServiceKit
import Synchronization
import Testing

@testable import SpanwireGateway

@Suite("The registry's answers, kept", .timeLimit(.minutes(15)))
struct ConfigCacheTests {
  private let question = ResolveRuntimeConfigRequest(productID: "PRD-PASS", marketCode: "AT-VIE", userID: "USR-1", segments: ["tourist"])

  /// A cache that follows a registry, until the body ends.
  private func following(
    _ registry: RegistryClient, clock: any WallClock, _ body: (ConfigCache) async throws -> Void
  ) async throws {
    let cache = ConfigCache(registry, clock: clock)
    let follower = Task { await CallContext.with(principal: .service("prg")) { await cache.follow() } }
    defer { follower.cancel() }
    try await body(cache)
  }

  /// Asks until the answer comes of the cache: then it is filled, and changes are pushed.
  private func fill(_ cache: ConfigCache, _ registry: StubRegistry, tenant: String = "vienna") async throws {
    while true {
      let asked = registry.asked
      _ = try await cache.config(question, tenant: tenant)
      if registry.asked == asked { return }
      await Task.yield()
    }
  }

  @Test("an answer is kept, for every user alike, until its tenant's registry or the platform's changes")
  func pushes() async throws {
    let registry = StubRegistry()
    try await following(registry.client, clock: ManualClock()) { cache in
      for (tenant, drops) in [("vienna", true), ("graz", false), ("platform", true)] {
        try await fill(cache, registry)
        var other = question
        (other.userID, other.segments) = ("USR-2", [])
        let asked = registry.asked
        _ = try await cache.config(other, tenant: "vienna")
        #expect(registry.asked == asked, "who asks makes no difference without an experiment")
        try await fill(cache, registry, tenant: "graz")
        registry.push(tenant)
        // The witness's answer is dropped by every push to its own tenant.
        if drops {
          while try await cache.config(question, tenant: "vienna").config.registryRevision < registry.revision { await Task.yield() }
        } else {
          while try await cache.config(question, tenant: "graz").config.registryRevision < registry.revision { await Task.yield() }
          #expect(try await cache.config(question, tenant: "vienna").config.registryRevision < registry.revision)
        }
      }
    }
  }

  @Test("an experiment's answers are kept by user")
  func experiments() async throws {
    let registry = StubRegistry()
    try await following(registry.client, clock: ManualClock()) { cache in
      try await fill(cache, registry)
      var first = question
      first.experimentKeys = ["EXP-1"]
      var second = first
      second.userID = "USR-2"
      let asked = registry.asked
      for request in [first, second, first, second] { _ = try await cache.config(request, tenant: "vienna") }
      #expect(registry.asked == asked + 2)
    }
  }

  @Test("an answer that was asked for before a change is not kept after it")
  func lateAnswer() async throws {
    let registry = StubRegistry()
    try await following(registry.client, clock: ManualClock()) { cache in
      try await fill(cache, registry)
      let gate = registry.holdNext()
      var other = question
      other.marketCode = "AT-GRZ"
      let request = other
      async let late = cache.config(request, tenant: "vienna")
      await gate.reached()
      let old = registry.revision
      registry.push("vienna")
      while try await cache.config(question, tenant: "vienna").config.registryRevision < registry.revision { await Task.yield() }
      gate.open()
      #expect(try await late.config.registryRevision == old)
      #expect(try await cache.config(request, tenant: "vienna").config.registryRevision == registry.revision)
    }
  }

  @Test("while nobody pushes nothing is kept, and what a silent stream kept grows no older than its lifetime")
  func bounds() async throws {
    let deaf = StubRegistry(isFollowed: false)
    try await following(deaf.client, clock: ManualClock()) { cache in
      for _ in 0..<5 { _ = try await cache.config(question, tenant: "vienna") }
      #expect(deaf.asked == 5)
    }
    let silent = StubRegistry()
    let clock = ManualClock()
    try await following(silent.client, clock: clock) { cache in
      try await fill(cache, silent)
      silent.changeSilently()
      clock.advance(by: GatewayLimits.configLifetime - .nanoseconds(1))
      #expect(try await cache.config(question, tenant: "vienna").config.registryRevision < silent.revision)
      clock.advance(by: .nanoseconds(1))
      #expect(try await cache.config(question, tenant: "vienna").config.registryRevision == silent.revision)
    }
  }

  /// The newest revision that was acknowledged, and whether the readers may go.
  private final class Progress: Sendable {
    let acknowledged = Atomic<UInt64>(1)
    let isOver = Atomic(false)
  }

  @Test("under load, nobody who asks after a change was acknowledged is answered what was before it")
  func changesUnderLoad() async throws {
    let world = try await RegistryWorld()
    _ = try await world.apply(price: 1)
    try await following(world.client, clock: world.clock) { cache in
      world.observe(cache)
      let request = ResolveRuntimeConfigRequest(productID: "PRD-1", marketCode: "AT-VIE")
      let progress = Progress()
      try await withThrowingTaskGroup(of: Int.self) { readers in
        for _ in 0..<8 {
          readers.addTask {
            var answers = 0
            while !progress.isOver.load(ordering: .acquiring) {
              let floor = progress.acknowledged.load(ordering: .acquiring)
              let config = try await world.asked { try await cache.config(request, tenant: "vienna").config }
              #expect(config.registryRevision >= floor)
              #expect(config.productVersion?.variants.first?.price?.micros == Int64(config.registryRevision), "of one revision, whole")
              answers += 1
              await Task.yield()
            }
            return answers
          }
        }
        for price in 2...20 {
          progress.acknowledged.store(try await world.apply(price: Int64(price)), ordering: .releasing)
          let now = try await world.asked { try await cache.config(request, tenant: "vienna").config }
          #expect(now.registryRevision == UInt64(price))
        }
        progress.isOver.store(true, ordering: .releasing)
        for try await answers in readers { #expect(answers > 0) }
      }
    }
    await world.end()
  }

  @Test("on another node the push alone brings the change, and once it is seen nobody who asks later is answered what was before")
  func changesFromAfar() async throws {
    let world = try await RegistryWorld()
    _ = try await world.apply(price: 1)
    try await following(world.client, clock: world.clock) { cache in
      let request = ResolveRuntimeConfigRequest(productID: "PRD-1", marketCode: "AT-VIE")
      let progress = Progress()
      try await withThrowingTaskGroup(of: Void.self) { readers in
        for _ in 0..<8 {
          readers.addTask {
            while !progress.isOver.load(ordering: .acquiring) {
              let floor = progress.acknowledged.load(ordering: .acquiring)
              let config = try await world.asked { try await cache.config(request, tenant: "vienna").config }
              #expect(config.registryRevision >= floor)
              await Task.yield()
            }
          }
        }
        for price in 2...10 {
          let acknowledged = try await world.apply(price: Int64(price))
          // No clock moves: what makes the change seen is the push alone.
          while try await world.asked({ try await cache.config(request, tenant: "vienna") }).config.registryRevision < acknowledged {
            await Task.yield()
          }
          progress.acknowledged.store(acknowledged, ordering: .releasing)
        }
        progress.isOver.store(true, ordering: .releasing)
        try await readers.waitForAll()
      }
    }
    await world.end()
  }
}
