import Foundation
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireRegistry

@Suite("The registry service")
struct RegistryServiceTests {
  func apply(_ yaml: String, key: String = "K-1", dryRun: Bool = false) -> ApplyRequest {
    ApplyRequest(idempotencyKey: dryRun ? "" : key, source: .bundleYaml(yaml), reason: "test", dryRun: dryRun)
  }

  @Test("a bundle becomes a revision, its event, and the city's places; the same key does it once")
  func applies() async throws {
    let test = try await RegistryHarness()
    let request = apply(try Fixture.sample)
    let response = try await test.asOperator { try await $0.apply(request) }
    #expect(response.revision == 1)
    #expect(response.changes.allSatisfy { $0.action == .added } && response.changes.count == 78)
    #expect(response.warnings.count == 11)
    #expect(test.city.synced.withLock { $0.map(\.servicePoints.count) } == [33])
    #expect(test.city.synced.withLock { $0.first?.marketTimeZones["AT-VIE"] } == "Europe/Vienna")
    let again = try await test.asOperator { try await $0.apply(request) }
    #expect(again == response)
    let events = try await test.events()
    #expect(events.map(\.type) == ["registry.applied", "audit.recorded"])
    #expect(events.first?.producer == "registry" && events.first?.traceID.count == 16)
    #expect(try await test.server.verify().allSatisfy { $0.isSound && $0.examined > 0 })
    await test.end()
  }

  @Test("applying again changes nothing; a change is told by its fields and goes to the city alone")
  func changes() async throws {
    let test = try await RegistryHarness()
    let sample = try Fixture.sample
    _ = try await test.asOperator { try await $0.apply(apply(sample)) }
    let same = try await test.asOperator { try await $0.apply(apply(sample, key: "K-2")) }
    #expect(same.revision == 1 && same.changes.allSatisfy { $0.action == .unchanged })
    let changed = sample.replacingOccurrences(of: "name: \"Demel\"", with: "name: \"Demel am Kohlmarkt\"")
    let diff = try await test.asOperator { try await $0.diff(DiffRequest(source: .bundleYaml(changed))) }
    #expect(diff.baseRevision == 1)
    let dry = try await test.asOperator { try await $0.apply(apply(changed, dryRun: true)) }
    #expect(dry.revision == 1 && dry.changes == diff.changes)
    let response = try await test.asOperator { try await $0.apply(apply(changed, key: "K-3")) }
    let touched = response.changes.filter { $0.action == .changed }
    #expect(response.revision == 2)
    #expect(touched.map(\.fields).sorted { $0[0] < $1[0] } == [["name"], ["name"]])
    #expect(test.city.synced.withLock { $0.count } == 2)
    let definition = try await test.asOperator {
      try await $0.getDefinition(GetDefinitionRequest(kind: .vendor, id: "VND-DEMEL"))
    }
    #expect(definition.revision == 2)
    #expect(try await test.server.verify().allSatisfy(\.isSound))
    await test.end()
  }

  @Test("a bundle with mistakes changes nothing, and all of them are told")
  func refuses() async throws {
    let test = try await RegistryHarness()
    let broken = try Fixture.sample.replacingOccurrences(of: "Europe/Vienna", with: "Europe/Wien")
      .replacingOccurrences(of: "currency: EUR, country: AT", with: "currency: euro, country: AT")
      .replacingOccurrences(of: "theme: melange", with: "them: melange")
    let error = await #expect(throws: RPCError.self) { try await test.asOperator { try await $0.apply(apply(broken)) } }
    #expect(error?.code == .invalidArgument && error?.reason == .bundleInvalid)
    let violations = try #require(error?.details.first).unpack(as: Google_Rpc_BadRequest.self).fieldViolations
    #expect(Set(violations.map(\.field)) == ["markets[0].time_zone", "markets[0].currency", "profiles[4].ui.them"])
    #expect(try await test.events().isEmpty)
    let listed = try await test.asOperator { try await $0.listDefinitions(ListDefinitionsRequest()) }
    #expect(listed.definitions.isEmpty && listed.revision == 0)
    // The key is free for the bundle once it is mended.
    #expect(try await test.asOperator { try await $0.apply(apply(try Fixture.sample)) }.revision == 1)
    await test.end()
  }

  @Test(
    "requests that cannot be taken are refused before anything is read",
    arguments: [
      (ApplyRequest(source: .bundleYaml("a: 1")), RPCError.Code.invalidArgument),
      (ApplyRequest(idempotencyKey: "K-1"), .invalidArgument),
      (ApplyRequest(idempotencyKey: "K 1", source: .bundleYaml("a: 1")), .invalidArgument),
      (ApplyRequest(idempotencyKey: "K-1", source: .bundleYaml("a: 1"), reason: String(repeating: "x", count: 501)), .invalidArgument),
    ])
  func invalid(request: ApplyRequest, code: RPCError.Code) async throws {
    let test = try await RegistryHarness()
    let error = await #expect(throws: RPCError.self) { try await test.asOperator { try await $0.apply(request) } }
    #expect(error?.code == code)
    await test.end()
  }

  @Test("policy decides who may apply, and agents may not even ask")
  func forbidden() async throws {
    let test = try await RegistryHarness()
    let request = apply(try Fixture.sample)
    let error = await #expect(throws: RPCError.self) { try await test.asOperator("support_agent") { try await $0.apply(request) } }
    #expect(error?.code == .permissionDenied && error?.reason == .policyDenied)
    #expect(error?.reasonMetadata("rule") == "R8-masked-by-default")
    let agent = Principal(kind: .agent, id: "vienna-trip-planner", tenant: "vienna", roles: ["external_agent"], surface: .worker)
    let refusal = await #expect(throws: RPCError.self) {
      try await CallContext.with(principal: agent) { try await test.registry.apply(request) }
    }
    #expect(refusal?.code == .permissionDenied)
    #expect(try await test.events().isEmpty)
    await test.end()
  }

  @Test("the configuration is resolved, kept under its content, and another tenant's is not there")
  func resolves() async throws {
    let test = try await RegistryHarness()
    _ = try await test.asOperator { try await $0.apply(apply(try Fixture.sample)) }
    let request = ResolveRuntimeConfigRequest(
      productID: "PRD-VIEN-COFFEE-PASS", marketCode: "AT-VIE", userID: "USR-1", segments: ["tourist"], experimentKeys: ["EXP-PASS-SIZE"])
    let config = try await test.asGateway { try await $0.resolveRuntimeConfig(request) }
    #expect(config.snapshotRef.hasPrefix("SNAP-") && config.snapshotRef.count == 31)
    #expect(config.experimentVariants["EXP-PASS-SIZE"] == "VAR-THREE-COFFEES")
    #expect(try await test.asGateway { try await $0.resolveRuntimeConfig(request) }.encoded() == config.encoded())
    var bare = config
    (bare.contentHash, bare.snapshotRef) = ("", "")
    #expect(config.contentHash == SHA256.name(of: bare.encoded()))
    let snapshot = try await test.asGateway { try await $0.getSnapshot(GetSnapshotRequest(snapshotRef: config.snapshotRef)) }
    #expect(snapshot.encoded() == config.encoded())
    for call in [
      { try await test.asGateway(tenant: "graz") { _ = try await $0.getSnapshot(GetSnapshotRequest(snapshotRef: config.snapshotRef)) } },
      { try await test.asGateway(tenant: "graz") { _ = try await $0.resolveRuntimeConfig(request) } },
      { try await test.asOperator(tenant: "graz") { _ = try await $0.getDefinition(GetDefinitionRequest(kind: .market, id: "AT-VIE")) } },
    ] as [@Sendable () async throws -> Void] {
      let error = await #expect(throws: RPCError.self) { try await call() }
      #expect(error?.code == .notFound)
    }
    await test.end()
  }

  @Test("listing goes on where the page before ended")
  func lists() async throws {
    let test = try await RegistryHarness()
    _ = try await test.asOperator { try await $0.apply(apply(try Fixture.sample)) }
    var ids: [String] = []
    var request = ListDefinitionsRequest(kind: .vendor, pageSize: 10)
    repeat {
      let page = try await test.asOperator { try await $0.listDefinitions(request) }
      #expect(page.definitions.count <= 10)
      ids += page.definitions.map(\.id)
      request.pageToken = page.nextPageToken
    } while !request.pageToken.isEmpty
    #expect(ids.count == 25 && ids == ids.sorted())
    await test.end()
  }

  @Test("a watcher is sent what was and what comes")
  func watches() async throws {
    let test = try await RegistryHarness()
    let sample = try Fixture.sample
    _ = try await test.asOperator { try await $0.apply(apply(sample)) }
    let second = sample.replacingOccurrences(of: "name: \"Korb\"", with: "name: \"Café Korb\"")
    _ = try await test.asOperator { try await $0.apply(apply(second, key: "K-2")) }
    let stream = try await test.asOperator { try await $0.watch(WatchRequest(afterRevision: 1)) }
    #expect(try await stream.next()?.revision == 2)
    let third = second.replacingOccurrences(of: "name: \"aïda\"", with: "name: \"Aïda\"")
    _ = try await test.asOperator { try await $0.apply(apply(third, key: "K-3")) }
    let change = try await stream.next()
    #expect(change?.revision == 3 && change?.changes.count == 2)
    stream.cancel()
    await test.end()
  }
}
