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

  /// Asks policy whether one of the caller's roles may change definitions.
  func authorise(_ caller: Caller) async throws {
    var refusal = DecisionReason(text: "the caller has no role", ruleRef: "R1-unauthenticated")
    for role in caller.roles {
      let decision = try await policy.checkAccess(
        CheckAccessRequest(
          context: AccessContext(
            actorRole: role, actorUserID: caller.id, actorTenantID: caller.tenant, targetTenantID: caller.tenant,
            fieldCategory: "registry_definitions", requestedAction: .write)))
      if decision.decision == .allow { return }
      if let reason = decision.reasons.first { refusal = reason }
    }
    throw RPCError.denied(.policyDenied, rule: refusal.ruleRef, refusal.text)
  }

  /// Writes a change set as the next revision, with its event and the effect that tells LEM; nil when the registry has moved on.
  func commit(_ changes: RegistryChangeSet, _ request: ApplyRequest, _ context: ServerContext) async throws -> ApplyResponse? {
    let environment = environment
    let caller = try Caller(context)
    let (effectID, now) = (environment.ids.next("EFF"), environment.clock.now)
    let key = IdempotencyKey(request.idempotencyKey, request, context)
    let trace = context.trace
    let outcome: ApplyOutcome
    do {
      outcome = try await environment.database.transaction("registry.apply") { transaction -> ApplyOutcome in
        let revision = changes.base + 1
        let response = try transaction.once(key, at: now) {
          guard try RegistryStore.head(transaction, caller.tenant).revision == changes.base else { throw RegistryMoved() }
          if changes.isEmpty {
            return ApplyResponse(
              revision: changes.base, contentHash: changes.baseHash, changes: changes.changes, warnings: changes.warnings)
          }
          let applied = RegistryApplied(
            revision: revision, contentHash: changes.contentHash, added: changes.names(.added), changed: changes.names(.changed),
            actor: caller.name, reason: request.reason)
          try transaction.append(
            EventDraft(applied, producer: Self.producer, tenant: caller.tenant, occurredAt: now, trace: trace), environment)
          try Self.write(changes, revision: revision, effect: effectID, tenant: caller.tenant, now: now, transaction)
          if let city = changes.cityUpdate {
            let sync = SyncServicePointsRequest(
              idempotencyKey: effectID, registryRevision: revision, servicePoints: city.servicePoints,
              marketTimeZones: ProtoMap(pairs: city.timeZones.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }))
            try transaction.perform(
              Effect(
                id: effectID, owner: Self.producer, stream: "registry:\(caller.tenant)", method: Lem.Methods.syncServicePoints.path,
                request: sync.encoded(), tenant: caller.tenant, subject: caller.principal, trace: trace))
          }
          return ApplyResponse(
            revision: revision, contentHash: changes.contentHash, changes: changes.changes, warnings: changes.warnings)
        }
        // A repeated call waits for the effect of the first.
        let effect = try RegistryStore.effect(transaction, caller.tenant, revision: response.revision)
        return ApplyOutcome(response: response, effect: effect)
      }.value
    } catch is RegistryMoved {
      return nil
    }
    if !outcome.effect.isEmpty { _ = try await environment.effects.response(of: outcome.effect) }
    return outcome.response
  }

  private static func write(
    _ changes: RegistryChangeSet, revision: UInt64, effect: String, tenant: String, now: Int64, _ transaction: borrowing Transaction
  ) throws {
    for var definition in changes.writes {
      definition.revision = revision
      try RegistryStore.put(definition, tenant: tenant, transaction)
    }
    let change = RegistryChange(
      revision: revision, changes: changes.changes.filter { $0.action != .unchanged }, appliedAt: .init(nanosecondsSinceEpoch: now))
    try RegistryStore.insert(
      RegistryStore.Revision(
        tenant: tenant, revision: revision, contentHash: changes.contentHash, change: change,
        effect: changes.cityUpdate == nil ? "" : effect),
      transaction)
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
  /// The definitions that a change adds or changes, as events name them.
  func names(_ action: Change.Action) -> [String] {
    changes.filter { $0.action == action }.map { DefinitionKey($0.kind, $0.id).name }
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
