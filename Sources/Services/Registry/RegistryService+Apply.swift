import SpanwireDatabase
import SpanwireEventLog
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// How a change set becomes a revision.
extension RegistryServer {
  /// The service's name in events and effects.
  public static let producer = "registry"

  /// Takes what a source wants as the next revision. Another change may come between the comparison and the transaction; then it is
  /// compared anew.
  func change(to source: BundleSource, _ wish: ChangeWish) async throws -> ApplyResponse {
    // What was done is not judged again: against what it made of the registry it might not hold.
    if let done = try await recall(wish) { return done }
    for _ in 0..<RegistryLimits.applyAttempts {
      let changes = try await changeSet(source, tenant: wish.caller.tenant)
      if let response = try await commit(changes, wish) { return response }
    }
    throw RPCError.aborted("the registry changed while this was judged; try again")
  }

  private func recall(_ wish: ChangeWish) async throws -> ApplyResponse? {
    let (tenant, now) = (wish.caller.tenant, environment.clock.now)
    let outcome = try await environment.database.read { reader -> ApplyOutcome? in
      guard case .done(let bytes) = try reader.recall(wish.key, at: now) else { return nil }
      let response = try ApplyResponse(decoding: bytes)
      return ApplyOutcome(response: response, effect: try RegistryStore.effect(reader, tenant, revision: response.revision))
    }
    guard let outcome else { return nil }
    return try await answer(outcome)
  }

  /// The answer, once LEM knows what it should.
  private func answer(_ outcome: ApplyOutcome) async throws -> ApplyResponse {
    if !outcome.effect.isEmpty { _ = try await environment.effects.response(of: outcome.effect) }
    return outcome.response
  }

  /// Writes a change set as the next revision, with its event and the effect that tells LEM; nil when the registry has moved on.
  private func commit(_ changes: RegistryChangeSet, _ wish: ChangeWish) async throws -> ApplyResponse? {
    let environment = environment
    let (effectID, now) = (environment.ids.next("EFF"), environment.clock.now)
    let tenant = wish.caller.tenant
    let outcome: ApplyOutcome
    do {
      outcome = try await environment.database.transaction("registry.apply") { transaction -> ApplyOutcome in
        let response = try transaction.once(wish.key, at: now) {
          guard try RegistryStore.head(transaction, tenant).revision == changes.base else { throw RegistryMoved() }
          if changes.isEmpty { return changes.response(at: changes.base) }
          let revision = changes.base + 1
          for event in changes.events(revision, wish) + [wish.record(revision)] {
            try transaction.append(
              EventDraft(event, producer: Self.producer, tenant: tenant, occurredAt: now, trace: wish.trace), environment)
          }
          try Self.write(changes, revision: revision, effect: effectID, wish, now: now, transaction)
          if let city = changes.cityUpdate {
            let sync = SyncServicePointsRequest(
              idempotencyKey: effectID, registryRevision: revision, servicePoints: city.servicePoints,
              marketTimeZones: ProtoMap(pairs: city.timeZones.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }))
            try transaction.perform(
              Effect(
                id: effectID, owner: Self.producer, stream: "registry:\(tenant)", method: Lem.Methods.syncServicePoints.path,
                request: sync.encoded(), tenant: tenant, subject: wish.caller.principal, trace: wish.trace))
          }
          return changes.response(at: revision)
        }
        return ApplyOutcome(response: response, effect: try RegistryStore.effect(transaction, tenant, revision: response.revision))
      }.value
    } catch is RegistryMoved {
      return nil
    }
    return try await answer(outcome)
  }

  private static func write(
    _ changes: RegistryChangeSet, revision: UInt64, effect: String, _ wish: ChangeWish, now: Int64, _ transaction: borrowing Transaction
  ) throws {
    let tenant = wish.caller.tenant
    for var definition in changes.writes {
      definition.revision = revision
      try RegistryStore.put(definition, tenant: tenant, transaction)
    }
    for key in changes.removals { try RegistryStore.remove(key, at: revision, tenant: tenant, transaction) }
    let change = RegistryChange(
      revision: revision, changes: changes.changes.filter { $0.action != .unchanged }, appliedAt: .init(nanosecondsSinceEpoch: now),
      tenantID: tenant, contentHash: changes.contentHash, actor: wish.caller.name, reason: wish.reason, rolledBackTo: wish.rollsBackTo)
    try RegistryStore.insert(
      RegistryStore.Revision(
        tenant: tenant, revision: revision, contentHash: changes.contentHash, change: change,
        effect: changes.cityUpdate == nil ? "" : effect),
      transaction)
  }
}

/// Who wants the registry changed, and why.
struct ChangeWish: Sendable {
  var caller: Caller
  var reason: String
  var key: IdempotencyKey
  var trace: TraceContext?
  /// The earlier revision whose content is to be the registry's again.
  var rollsBackTo: UInt64?

  /// What the audit says of it.
  func record(_ revision: UInt64) -> any EventPayload {
    AuditRecorded(
      action: rollsBackTo == nil ? "registry.apply" : "registry.roll_back", target: "revision-\(revision)", actor: caller.name,
      actorKind: "\(caller.kind)", decision: "allow", reason: reason, method: key.method)
  }
}

/// What an Apply came to: its answer, and the effect to wait for; empty when there is none.
private struct ApplyOutcome: Sendable {
  var response: ApplyResponse
  var effect: String
}

/// The registry is at another revision than a change set was made for.
private struct RegistryMoved: Error {}

extension RegistryChangeSet {
  /// The events that tell of the revision: one, or for more names than one holds, several with a part of them each.
  fileprivate func events(_ revision: UInt64, _ wish: ChangeWish) -> [any EventPayload] {
    let told = changes.filter { $0.action != .unchanged }
    return stride(from: 0, to: told.count, by: RegistryLimits.namesPerEvent).map { start in
      let part = told[start..<min(start + RegistryLimits.namesPerEvent, told.count)]
      func names(_ action: Change.Action) -> [String] {
        part.filter { $0.action == action }.map { DefinitionKey($0.kind, $0.id).name }
      }
      guard let target = wish.rollsBackTo else {
        return RegistryApplied(
          revision: revision, contentHash: contentHash, added: names(.added), changed: names(.changed), removed: names(.removed),
          actor: wish.caller.name, reason: wish.reason)
      }
      return RegistryRolledBack(
        revision: revision, toRevision: target, actor: wish.caller.name, reason: wish.reason, contentHash: contentHash,
        added: names(.added), changed: names(.changed), removed: names(.removed))
    }
  }
}

extension RuntimeConfigResolver.Refusal {
  /// The refusal as callers see it.
  var error: RPCError {
    switch self {
    case .unknown(let key):
      RPCError.missing(.definitionNotFound, "there is no \(key.kind.word) \(key.id)")
    case .marketNotAdmitted(let market, let admitted):
      RPCError.precondition(
        .marketNotAdmitted, "the product is not offered in \(market), only in \(admitted.joined(separator: ", "))")
    case .foreignExperiment(let key, let product):
      RPCError.precondition(.definitionNotFound, "experiment \(key) is one of \(product)")
    }
  }
}
