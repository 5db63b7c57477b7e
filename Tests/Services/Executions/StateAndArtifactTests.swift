import SpanwireDatabase
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import SpanwireWorker
import Testing

@testable import SpanwireExecutions

@Suite(.timeLimit(.minutes(2)))
struct StateAndArtifactTests {
  private static let session = StateKey(scope: .sessionID("PRS-1"))

  @Test("State is written against the revision that was read; another's write in between is ABORTED with the revision that stands")
  func compareAndSet() async throws {
    let test = try await ExecutionsHarness()
    try await test.asOperator { executions in
      let none = try await executions.getState(GetStateRequest(key: Self.session))
      #expect(none.revision == 0 && none.key == "session:vienna:PRS-1")
      let first = try await executions.setState(SetStateRequest(key: Self.session, state: ["stops": 1], expectedRevision: 0))
      #expect(first.revision == 1)
      let error = await #expect(throws: RPCError.self) {
        _ = try await executions.setState(SetStateRequest(key: Self.session, state: ["stops": 9], expectedRevision: 0))
      }
      #expect(error?.code == .aborted && error?.reasonMetadata("revision") == "1")
      let second = try await executions.setState(
        SetStateRequest(key: Self.session, state: ["stops": 2], expectedRevision: 1, ttlMs: 1_000))
      #expect(second.revision == 2)
      test.clock.advance(by: .seconds(1))
      let expired = try await executions.getState(GetStateRequest(key: Self.session))
      #expect(expired.revision == 0 && expired.state == nil)
      // Who read revision 1 long ago does not hit a new revision 1.
      let reborn = try await executions.setState(SetStateRequest(key: Self.session, state: ["stops": 3], expectedRevision: 0))
      #expect(reborn.revision == 3)
      _ = try await executions.deleteState(DeleteStateRequest(key: Self.session, expectedRevision: 3))
      #expect(try await executions.listStates(ListStatesRequest()).states.isEmpty)
    }
    await test.end()
  }

  @Test("A state that is too large, or has too many members, is refused")
  func bounds() async throws {
    let test = try await ExecutionsHarness()
    var many: Google_Protobuf_Struct = [:]
    for index in 0...ExecutionsLimits.stateKeys { many["k\(index)"] = 1 }
    let large: Google_Protobuf_Struct = ["text": Google_Protobuf_Value(String(repeating: "x", count: ExecutionsLimits.objectBytes))]
    for state in [many, large] {
      let error = await #expect(throws: RPCError.self) {
        _ = try await test.asOperator { try await $0.setState(SetStateRequest(key: Self.session, state: state)) }
      }
      #expect(error?.code == .invalidArgument && error?.message.contains("state") == true)
    }
    await test.end()
  }

  @Test("An artifact goes from pending to ready or failed, from ready over archived to deleted, and no other way")
  func lifecycle() {
    let all: [ArtifactState] = [.pending, .ready, .failed, .archived, .deleted]
    let allowed: [ArtifactState: [ArtifactState]] = [.pending: [.ready, .failed], .ready: [.archived], .archived: [.deleted]]
    for from in all {
      for to in all { #expect(ArtifactStateMachine.allows(from, to: to) == (allowed[from] ?? []).contains(to), "\(from) to \(to)") }
    }
  }

  private func store(
    _ id: String, _ content: String, parents: [String] = [], sha256: String = "", _ executions: ExecutionsClient
  ) async throws -> Artifact {
    _ = try await executions.registerArtifact(
      RegisterArtifactRequest(idempotencyKey: id, artifactID: id, artifactType: "note", parentArtifacts: parents))
    return try await executions.uploadArtifact { requests in
      try await requests.write(
        UploadArtifactRequest(part: .header(UploadHeader(artifactID: id, format: "text/plain", sha256: sha256))))
      try await requests.write(UploadArtifactRequest(part: .chunk(Array(content.utf8))))
    }
  }

  @Test("Content is stored once by its hash, checked when it is read, and goes with the last artifact that uses it")
  func content() async throws {
    let test = try await ExecutionsHarness()
    let count = { @Sendable () async throws -> Int64 in
      try await test.database.scan { try $0.first("SELECT COUNT(*) FROM exec_piece", row: { $0[0] }) ?? 0 }
    }
    try await test.asOperator { executions in
      let one = try await store("ART-1", "the same", executions)
      let two = try await store("ART-2", "the same", executions)
      #expect(one.lifecycleState == .ready && one.materializations.first?.sha256 == two.materializations.first?.sha256)
      #expect(try await count() == 1)
      let mismatch = await #expect(throws: RPCError.self) {
        _ = try await store("ART-3", "other", sha256: String(repeating: "0", count: 64), executions)
      }
      #expect(mismatch?.reason == .contentMismatch)
      for (id, left) in [("ART-1", Int64(1)), ("ART-2", 0)] {
        for state in [ArtifactState.archived, .deleted] {
          _ = try await executions.setArtifactState(
            SetArtifactStateRequest(idempotencyKey: "\(id)-\(state)", artifactID: id, state: state, reason: "tidy"))
        }
        #expect(try await count() == left)
      }
      let listed = try await executions.listArtifacts(ListArtifactsRequest())
      #expect(listed.artifacts.map(\.artifactID) == ["ART-3"])
      let wrong = await #expect(throws: RPCError.self) {
        _ = try await executions.setArtifactState(
          SetArtifactStateRequest(idempotencyKey: "x", artifactID: "ART-1", state: .ready))
      }
      #expect(wrong?.reason == .artifactTransitionInvalid)
    }
    await test.end()
  }

  @Test("Content that was changed behind the registry's back is DATA_LOSS, not an answer")
  func damage() async throws {
    let test = try await ExecutionsHarness()
    try await test.asOperator { executions in
      _ = try await store("ART-1", "the truth", executions)
      _ = try await test.database.transaction("damage") { try $0.execute("UPDATE exec_piece SET data = ?1", Array("a lie".utf8)) }
      let error = await #expect(throws: RPCError.self) {
        for try await _ in try await executions.readArtifact(ReadArtifactRequest(artifactID: "ART-1")) {}
      }
      #expect(error?.code == .dataLoss)
    }
    await test.end()
  }

  @Test("Lineage has no cycle and no unknown parent, and is resolved all the way up, each ancestor once")
  func lineage() async throws {
    let test = try await ExecutionsHarness()
    try await test.asOperator { executions in
      _ = try await store("ART-ROOT", "root", executions)
      _ = try await store("ART-LEFT", "left", parents: ["ART-ROOT"], executions)
      _ = try await store("ART-RIGHT", "right", parents: ["ART-ROOT"], executions)
      _ = try await store("ART-LEAF", "leaf", parents: ["ART-LEFT", "ART-RIGHT"], executions)
      let resolved = try await executions.resolveArtifact(ResolveArtifactRequest(artifactID: "ART-LEAF"))
      #expect(resolved.ancestors.map(\.artifactID) == ["ART-LEFT", "ART-RIGHT", "ART-ROOT"])
      let children = try await executions.listArtifacts(ListArtifactsRequest(parentArtifact: "ART-ROOT"))
      #expect(children.artifacts.map(\.artifactID) == ["ART-LEFT", "ART-RIGHT"])
      for (id, parents) in [("ART-SELF", ["ART-SELF"]), ("ART-NEW", ["ART-NOWHERE"])] {
        let error = await #expect(throws: RPCError.self) { _ = try await store(id, "x", parents: parents, executions) }
        #expect(error?.reason == .artifactLineageInvalid, "\(id)")
      }
    }
    await test.end()
  }

  @Test("Records are a chain: the same key is the same record, and whoever changes one is found out")
  func records() async throws {
    let test = try await ExecutionsHarness()
    test.first.server.registry.registerIntent("note", handlerName: "clerk") { run in
      let one = try await run.append("noted", ["n": 1], key: "one")
      let same = try await run.append("noted", ["n": 1], key: "one")
      let two = try await run.append("noted", ["n": 2], key: "two")
      return HandlerResult(
        output: ["same": Google_Protobuf_Value(one == same), "follows": Google_Protobuf_Value(two.prevHash == one.hash)],
        events: [DomainEvent(recordType: "done", payload: ["n": 3])])
    }
    let (execution, _) = try await test.run(ExecutionsHarness.request("K", "note"))
    #expect(execution.output?["same"]?.truth == true && execution.output?["follows"]?.truth == true)
    #expect(execution.records == 3)
    let id = execution.executionID
    let records = try await test.asOperator { try await $0.listRecords(ListRecordsRequest(executionID: id)) }.records
    #expect(records.map(\.recordType) == ["noted", "noted", "done"] && records.last?.hash == execution.recordsHash)
    for verification in try await test.first.server.verify() { #expect(verification.isSound, "\(verification.findings)") }
    // A chain whose end was cut off: the execution knows how long it was.
    _ = try await test.database.transaction("cut") { transaction in
      guard var row = try ExecutionsStore.row(transaction, ExecutionKey(tenant: "vienna", id: id)) else { return }
      row.execution.records = 2
      try ExecutionsStore.update(row.execution, of: row.key, transaction)
    }
    let found = try await test.first.server.verify().flatMap(\.findings)
    #expect(found.contains { $0.contains(id) && $0.contains("2 records") })
    await test.end()
  }
}
