import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireRegistry

@Suite("The registry's past, and what tenants share")
struct RegistryHistoryTests {
  private func apply(_ yaml: String, key: String, reason: String = "test") -> ApplyRequest {
    ApplyRequest(idempotencyKey: key, source: .bundleYaml(yaml), reason: reason)
  }

  private static let vendors = "vendors: [{vendor_id: VND-1, name: One}, {vendor_id: VND-2, name: Two}]"

  @Test("a definition that is removed is gone, told as removed, and was there before")
  func removal() async throws {
    let test = try await RegistryHarness()
    _ = try await test.asOperator { try await $0.apply(apply(Self.vendors, key: "K-1")) }
    let remove = apply("removals: [{kind: vendor, id: VND-1}]", key: "K-2", reason: "closed for good")
    let response = try await test.asOperator { try await $0.apply(remove) }
    #expect(response.revision == 2 && response.changes == [Change(action: .removed, kind: .vendor, id: "VND-1")])
    #expect(try await test.asOperator { try await $0.apply(remove) } == response, "a repeated removal is the same removal")
    let name = GetDefinitionRequest(kind: .vendor, id: "VND-1")
    let gone = await #expect(throws: RPCError.self) { try await test.asOperator { try await $0.getDefinition(name) } }
    #expect(gone?.reason == .definitionNotFound)
    let before = try await test.asOperator { try await $0.getDefinition(GetDefinitionRequest(kind: .vendor, id: "VND-1", revision: 1)) }
    #expect(before.value == .vendor(Vendor(vendorID: "VND-1", name: "One")) && before.tenantID == "vienna")
    let event = try #require(try await test.events().suffix(2).first)
    #expect(try event.payload?.unpack(as: RegistryApplied.self).removed == ["vendor/VND-1"])
    #expect(try await test.server.verify().allSatisfy { $0.isSound && $0.examined > 0 })
    await test.end()
  }

  @Test("a row that was changed behind the registry's back is found")
  func planted() async throws {
    let changes: [StaticString] = [
      "DELETE FROM registry_definition WHERE id = 'VND-1'", "UPDATE registry_history SET definition = x'' WHERE id = 'VND-1'",
      "UPDATE registry_definition SET content_hash = 'sha256:0' WHERE id = 'VND-1'",
      "UPDATE registry_revision SET content_hash = 'sha256:0'", "DELETE FROM registry_revision",
      "INSERT INTO registry_definition SELECT tenant_id, kind, 'VND-3', revision, content_hash, definition FROM registry_definition",
    ]
    for change in changes {
      let test = try await RegistryHarness()
      _ = try await test.asOperator { try await $0.apply(apply("vendors: [{vendor_id: VND-1, name: One}]", key: "K-1")) }
      #expect(try await test.server.verify().allSatisfy(\.isSound))
      _ = try await test.database.transaction("test") { try $0.execute(change) }
      let unsound = try await test.server.verify().filter { !$0.isSound }
      #expect(!unsound.isEmpty, "\(change)")
      await test.end()
    }
  }

  @Test("a bundle as large as bundles may be is one revision, told by as many events as it takes")
  func large() async throws {
    let test = try await RegistryHarness()
    let filler = String(repeating: "x", count: 118)
    let names = (0..<RegistryLimits.definitionsPerBundle).map { "VND-\(filler)-\($0 + 10_000)" }
    let bundle = Bundle(vendors: names.map { Vendor(vendorID: $0, name: "One of many") })
    let request = ApplyRequest(idempotencyKey: "K-1", source: .bundle(bundle))
    let response = try await test.asOperator { try await $0.apply(request) }
    #expect(response.revision == 1 && response.changes.count == names.count)
    let events = try await test.events().filter { $0.type == "registry.applied" }
    #expect(events.count == (names.count + RegistryLimits.namesPerEvent - 1) / RegistryLimits.namesPerEvent)
    let told = try events.flatMap { try $0.payload?.unpack(as: RegistryApplied.self).added ?? [] }
    #expect(told == names.map { "vendor/\($0)" })
    #expect(try await test.server.verify().allSatisfy(\.isSound))
    await test.end()
  }

  @Test("a place that is removed leaves the city, whole market by whole market")
  func removedPlace() async throws {
    let test = try await RegistryHarness()
    _ = try await test.asOperator { try await $0.apply(apply(try Fixture.sample, key: "K-1")) }
    _ = try await test.asOperator { try await $0.apply(apply("removals: [{kind: service_point, id: SP-VIE-CAFE-CENTRAL}]", key: "K-2")) }
    #expect(test.city.synced.withLock { $0.map(\.servicePoints.count) } == [33, 32])
    await test.end()
  }

  @Test("rolling back makes an earlier content that of a new revision, and can be rolled back itself")
  func rollback() async throws {
    let test = try await RegistryHarness()
    let sample = try Fixture.sample
    let first = try await test.asOperator { try await $0.apply(apply(sample, key: "K-1")) }
    let second = sample.replacingOccurrences(of: "name: \"Demel\"", with: "name: \"Demel am Kohlmarkt\"")
    _ = try await test.asOperator { try await $0.apply(apply(second, key: "K-2")) }
    _ = try await test.asOperator { try await $0.apply(apply("vendors: [{vendor_id: VND-NEW, name: New}]", key: "K-3")) }
    let third = try await test.asOperator { try await $0.apply(apply("removals: [{kind: agent, id: vienna-growth}]", key: "K-4")) }

    let preview = try await test.asOperator { try await $0.diff(DiffRequest(source: .revision(1))) }
    let back = RollbackRequest(idempotencyKey: "K-5", revision: 1, reason: "the rename was a mistake")
    let response = try await test.asOperator { try await $0.rollback(back) }
    #expect(response.revision == 5 && response.contentHash == first.contentHash && response.changes == preview.changes)
    #expect(Set(response.changes.map(\.action)) == [.added, .changed, .removed])
    #expect(try await test.asOperator { try await $0.rollback(back) } == response)
    let vendor = try await test.asOperator { try await $0.getDefinition(GetDefinitionRequest(kind: .vendor, id: "VND-DEMEL")) }
    #expect(vendor.value == .vendor(Vendor(vendorID: "VND-DEMEL", name: "Demel")) && vendor.revision == 5)
    let event = try #require(try await test.events().suffix(2).first)
    #expect(event.type == "registry.rolled_back")
    #expect(try event.payload?.unpack(as: RegistryRolledBack.self).toRevision == 1)

    let forth = RollbackRequest(idempotencyKey: "K-6", revision: 4, reason: "it was none")
    #expect(try await test.asOperator { try await $0.rollback(forth) }.contentHash == third.contentHash)
    let ahead = await #expect(throws: RPCError.self) {
      try await test.asOperator { try await $0.rollback(RollbackRequest(idempotencyKey: "K-7", revision: 99, reason: "r")) }
    }
    #expect(ahead?.code == .invalidArgument)
    let unsaid = await #expect(throws: RPCError.self) {
      try await test.asOperator { try await $0.rollback(RollbackRequest(idempotencyKey: "K-8", revision: 1)) }
    }
    #expect(unsaid?.code == .invalidArgument)
    #expect(try await test.server.verify().allSatisfy(\.isSound))

    // The whole past, the newest first, in pages; and that of one definition.
    var revisions: [RegistryChange] = []
    var request = ListRevisionsRequest(pageSize: 4)
    repeat {
      let page = try await test.asOperator { try await $0.listRevisions(request) }
      revisions += page.revisions
      request.pageToken = page.nextPageToken
    } while !request.pageToken.isEmpty
    #expect(revisions.map(\.revision) == [6, 5, 4, 3, 2, 1])
    #expect(revisions.map(\.rolledBackTo) == [4, 1, nil, nil, nil, nil])
    #expect(revisions[1].reason == "the rename was a mistake" && revisions[1].actor == "ops:OPS-1")
    let demel = try await test.asOperator { try await $0.listRevisions(ListRevisionsRequest(kind: .vendor, id: "VND-DEMEL")) }
    #expect(demel.revisions.map(\.revision) == [6, 5, 2, 1])
    await test.end()
  }

  @Test("Diff lists every mistake, however many there are, where a refusal has room for some")
  func allMistakes() async throws {
    let test = try await RegistryHarness()
    let bad = (0..<400).map { "  - {vendor_id: VND-\($0)}" }.joined(separator: "\n")
    let yaml = "vendors:\n\(bad)"
    let diff = try await test.asOperator { try await $0.diff(DiffRequest(source: .bundleYaml(yaml))) }
    #expect(diff.problems.count == 400 && diff.changes.isEmpty)
    #expect(diff.problems[399] == Problem(path: "vendors[399].name", line: 401, text: "must not be empty"))
    let error = await #expect(throws: RPCError.self) { try await test.asOperator { try await $0.apply(apply(yaml, key: "K-1")) } }
    #expect(error?.reasonMetadata("problems") == "400")
    let told = try #require(error?.details.first).unpack(as: Google_Rpc_BadRequest.self).fieldViolations
    #expect(told.count > 40 && told.last?.description.hasSuffix("more, which Diff lists") == true)
    await test.end()
  }

  @Test("what tenant platform defines serves every tenant, until it has its own")
  func fallback() async throws {
    let test = try await RegistryHarness()
    let sample = try Fixture.sample
    _ = try await test.asOperator(tenant: "platform") { try await $0.apply(apply(sample, key: "K-1")) }
    let request = ResolveRuntimeConfigRequest(productID: "PRD-VIEN-COFFEE-PASS", marketCode: "AT-VIE")
    let shared = try await test.asGateway { try await $0.resolveRuntimeConfig(request) }
    #expect(shared.productVersion?.title == "Vienna Coffee Pass" && shared.registryRevision == 0 && shared.platformRevision == 1)
    let vendor = try await test.asOperator { try await $0.getDefinition(GetDefinitionRequest(kind: .vendor, id: "VND-DEMEL")) }
    #expect(vendor.tenantID == "platform")
    let place = await #expect(throws: RPCError.self) {
      try await test.asOperator { try await $0.getDefinition(GetDefinitionRequest(kind: .servicePoint, id: "SP-VIE-CAFE-CENTRAL")) }
    }
    #expect(place?.code == .notFound, "places are each tenant's own")

    let market = "markets: [{market_code: AT-VIE, name: Wien, city_code: VIE, time_zone: Europe/Vienna, currency: EUR, country: AT}]"
    _ = try await test.asOperator { try await $0.apply(apply(market, key: "K-2")) }
    let own = try await test.asGateway { try await $0.resolveRuntimeConfig(request) }
    #expect(own.market?.name == "Wien" && own.registryRevision == 1 && own.snapshotRef != shared.snapshotRef)
    #expect(try await test.asGateway(tenant: "graz") { try await $0.resolveRuntimeConfig(request) }.encoded() == shared.encoded())
    // A snapshot is fetched as it was, whatever the registry has become.
    let snapshot = try await test.asGateway { try await $0.getSnapshot(GetSnapshotRequest(snapshotRef: shared.snapshotRef)) }
    #expect(snapshot.encoded() == shared.encoded())

    #expect(try await test.asOperator { try await $0.listDefinitions(ListDefinitionsRequest()) }.definitions.count == 1)
    let all = try await test.asOperator { try await $0.listDefinitions(ListDefinitionsRequest(pageSize: 1_000, shared: true)) }
    #expect(all.definitions.count == 78 && all.revision == 1)
    await test.end()
  }

  @Test("a service follows every tenant from the moment its headers came; nobody else does")
  func everyTenant() async throws {
    let test = try await RegistryHarness()
    _ = try await test.asOperator { try await $0.apply(apply(Self.vendors, key: "K-1")) }
    let stream = try await test.asService { try await $0.watch(WatchRequest(everyTenant: true)) }
    _ = try await stream.metadata
    _ = try await test.asOperator(tenant: "graz") { try await $0.apply(apply(Self.vendors, key: "K-1")) }
    _ = try await test.asOperator { try await $0.apply(apply("removals: [{kind: vendor, id: VND-2}]", key: "K-2")) }
    var seen: [String] = []
    for _ in 0..<2 {
      let change = try #require(try await stream.next())
      seen.append("\(change.tenantID) \(change.revision)")
    }
    #expect(seen.sorted() == ["graz 1", "vienna 2"])
    stream.cancel()
    let calls: [(@Sendable () async throws -> ResponseStream<RegistryChange>, RPCError.Code)] = [
      ({ try await test.asOperator { try await $0.watch(WatchRequest(everyTenant: true)) } }, .permissionDenied),
      ({ try await test.asGateway { try await $0.watch(WatchRequest(everyTenant: true)) } }, .permissionDenied),
      ({ try await test.asService { try await $0.watch(WatchRequest(afterRevision: 1, everyTenant: true)) } }, .invalidArgument),
      ({ try await test.asOperator { try await $0.watch(WatchRequest(afterRevision: 9)) } }, .outOfRange),
    ]
    for (call, code) in calls {
      let error = await #expect(throws: RPCError.self) { _ = try await call().next() }
      #expect(error?.code == code)
    }
    await test.end()
  }
}
