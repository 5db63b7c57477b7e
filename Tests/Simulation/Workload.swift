import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTestChance
import SpanwireWellKnown

/// What a tenant's travellers, operators and services wish, by chance and by what they know.
final class Workload {
  private let world: World
  private let tenant: String
  /// That of the other tenant, whose ids are nobody's here.
  weak var neighbour: Workload?
  private var travellers = ["anna", "ben"]
  /// Sessions that were acknowledged, with whose they are.
  private(set) var sessions: [(id: String, user: String)] = []
  private(set) var entitlements: [(id: String, user: String)] = []
  private(set) var settlements: [String] = []
  /// Redemptions that were acknowledged.
  private(set) var redemptions: [String] = []
  /// The newest version whose being in force was acknowledged.
  private(set) var pushed = 1
  /// That of the next, until it is acknowledged.
  private var applying: Deed?
  private var keys = 0

  init(_ world: World, tenant: String) {
    self.world = world
    self.tenant = tenant
  }

  private func traveller(_ id: String) -> Principal { World.traveller(id, of: tenant) }
  private var operatorOlga: Principal { World.operatorOlga(of: tenant) }

  private func key(_ name: String) -> String {
    keys += 1
    return "\(name)-\(keys)"
  }

  /// A wish that makes sense, or nearly.
  func next(_ chance: inout Chance, _ witness: Witness) -> Deed {
    if sessions.isEmpty { return open(&chance) }
    if witness.stands(of: tenant).isEmpty, chance.once(in: 2) { return start(&chance, witness) }
    if chance.once(in: 40), let strange = trespass(&chance) { return strange }
    switch chance.below(100) {
    case ..<10: return open(&chance)
    case ..<26: return purchase(&chance, witness)
    case ..<32: return start(&chance, witness)
    case ..<66: return advance(&chance, witness)
    case ..<69: return close(&chance, witness)
    case ..<80: return ledger(&chance)
    case ..<84: return settle(&chance)
    case ..<94: return control(&chance, witness)
    default: return apply(&chance)
    }
  }

  // MARK: Travellers

  private func open(_ chance: inout Chance) -> Deed {
    let user = chance.pick(travellers)!
    let key = key("open")
    let known = pushed
    return Deed(
      key, as: traveller(user),
      send: { channel in
        let session = try await ProductRuntimeGatewayClient(channel).openSession(
          OpenSessionRequest(idempotencyKey: key, productID: Product.id, marketCode: Product.market, segments: ["local"]))
        if let number = Product.number(ofVersion: session.productVersionID), number < known {
          throw Violation("config", "\(key) got version \(number), \(known) was in force when it began")
        }
        return session.productRuntimeSessionID
      }, learned: { [unowned self] in sessions.append(($0, user)) })
  }

  /// A session, mostly one in a state that admits what is wished.
  private func session(_ chance: inout Chance, _ witness: Witness, in states: Set<SessionState>) -> (id: String, user: String) {
    let fit = sessions.filter { witness.sessions[$0.id].map(states.contains) ?? false }
    return chance.once(in: 6) ? chance.pick(sessions)! : chance.pick(fit) ?? chance.pick(sessions)!
  }

  private func purchase(_ chance: inout Chance, _ witness: Witness) -> Deed {
    let (session, user) = session(&chance, witness, in: [.ready, .active, .postJourney])
    let key = key("buy")
    let variant = chance.pick(["VAR-COFFEE", "VAR-COFFEE", "VAR-BOTH"])!
    return Deed(
      key, as: traveller(user),
      send: { channel in
        let bought = try await ProductRuntimeGatewayClient(channel).purchase(
          PurchaseRequest(idempotencyKey: key, productRuntimeSessionID: session, variantID: variant, paymentReference: "PAY-\(key)"))
        return bought.entitlements.map(\.entitlementID).joined(separator: " ")
      },
      learned: { [unowned self] in
        for id in $0.split(separator: " ") { entitlements.append((String(id), user)) }
      })
  }

  private func start(_ chance: inout Chance, _ witness: Witness) -> Deed {
    let (session, user) = session(&chance, witness, in: [.ready, .postJourney])
    let key = key("start")
    return Deed(
      key, as: traveller(user),
      send: { channel in
        try await ProductRuntimeGatewayClient(channel).startJourney(
          StartSessionJourneyRequest(idempotencyKey: key, productRuntimeSessionID: session)
        ).journeyInstanceID
      })
  }

  private func advance(_ chance: inout Chance, _ witness: Witness) -> Deed {
    let key = key("step")
    // Somebody who stands somewhere, if anybody does.
    let at = chance.pick(witness.stands(of: tenant))
    let session = at?.session ?? chance.pick(sessions)!.id
    let user = sessions.first { $0.id == session }?.user ?? "anna"
    let node = chance.once(in: 12) ? "crossing" : at?.node ?? "crossing"
    let step: AdvanceSessionJourneyRequest.Step
    switch chance.once(in: 15) ? "" : at?.stand.kind ?? "" {
    case "choice":
      step = .choose(Choose(option: chance.pick(["left", "left", "right", "right", "again", "both", "both", "ask", "nowhere"])!))
    case "visit": step = .arrived(Arrived(servicePointID: at?.stand.place ?? ""))
    case "redeem": step = .redeem(Redeem())
    case "timer": step = .signal(Signal(name: "hurry"))
    default: step = .acknowledge(Acknowledge())
    }
    return Deed(
      key, as: traveller(user),
      send: { channel in
        try await ProductRuntimeGatewayClient(channel).advanceJourney(
          AdvanceSessionJourneyRequest(idempotencyKey: key, productRuntimeSessionID: session, nodeID: node, step: step)
        ).journeyInstanceID
      })
  }

  private func close(_ chance: inout Chance, _ witness: Witness) -> Deed {
    let (session, user) = session(&chance, witness, in: [.postJourney])
    let key = key("close")
    return Deed(
      key, as: traveller(user),
      send: { channel in
        try await ProductRuntimeGatewayClient(channel).closeSession(
          CloseSessionRequest(idempotencyKey: key, productRuntimeSessionID: session, reason: "home")
        ).productRuntimeSessionID
      })
  }

  // MARK: Services

  /// What PRG and TJM ask of the ledger, asked directly.
  private func ledger(_ chance: inout Chance) -> Deed {
    let long = Duration.seconds(1_000 * 3_600)
    guard let (entitlement, user) = chance.pick(entitlements), !chance.once(in: 5) else {
      let user = chance.pick(travellers)!
      let key = key("issue")
      let session = sessions.first { $0.user == user }?.id ?? sessions[0].id
      let quantity = Int64(chance.within(1...4))
      let expiresAt = chance.once(in: 2) ? nil : VirtualTime.now + Int64(chance.within(60...20_000)) * 1_000_000_000
      let token = chance.pick(Product.tokens)!
      return Deed(
        key, as: traveller(user), memory: long,
        send: { [unowned world, tenant] _ in
          try await TruttaClient(world.channel(of: "prg")).issue(
            IssueRequest(
              idempotencyKey: key, tenantID: tenant, productRuntimeSessionID: session, holder: user, tokenID: token,
              quantity: quantity, expiresAt: expiresAt.map { .init(nanosecondsSinceEpoch: $0) },
              settlementValue: Money(micros: 3_400_000, currency: "EUR"), paymentReference: key)
          ).entitlementID
        }, learned: { [unowned self] in entitlements.append(($0, user)) })
    }
    if chance.once(in: 5) {
      let key = key("compensate")
      return Deed(
        key, as: traveller(user), memory: long,
        send: { [unowned world] _ in
          try await TruttaClient(world.channel(of: "prg")).compensate(
            CompensateRequest(idempotencyKey: key, entitlementID: entitlement, quantity: 1, reason: "cold", actor: "ops:olga")
          ).entitlementID
        }, learned: { [unowned self] in entitlements.append(($0, user)) })
    }
    let key = key("redeem")
    let quantity = Int64(chance.within(1...2))
    let place = chance.below(2)
    return Deed(
      key, as: traveller(user), memory: long,
      send: { [unowned world] _ in
        try await TruttaClient(world.channel(of: "tjm")).redeem(
          RedeemRequest(
            idempotencyKey: key, entitlementID: entitlement, quantity: quantity, servicePointID: Product.places[place],
            vendorID: Product.vendors[place])
        ).redemptionID
      }, learned: { [unowned self] in redemptions.append($0) })
  }

  // MARK: Operators

  private func settle(_ chance: inout Chance) -> Deed {
    let key = key("settle")
    let vendor = chance.pick(Product.vendors + [""])!
    return Deed(
      key, as: operatorOlga,
      send: { channel in
        try await TruttaClient(channel).settle(SettleRequest(idempotencyKey: key, vendorID: vendor)).settlements.map {
          "\($0.settlementID)=\($0.total?.micros ?? 0)"
        }.joined(separator: " ")
      },
      learned: { [unowned self] in
        settlements += $0.split(separator: " ").map { String($0.prefix { $0 != "=" }) }
      })
  }

  private func control(_ chance: inout Chance, _ witness: Witness) -> Deed {
    let key = key("control")
    let at = chance.pick(witness.stands(of: tenant))
    let session = at?.session ?? chance.pick(sessions)!.id
    let node = at?.node ?? "rest"
    let action: ApplyControlRequest.Action
    switch chance.below(11) {
    case 0: action = .cancelSession(CancelSession(productRuntimeSessionID: chance.pick(sessions)!.id))
    case 1: action = .forceCompleteSession(ForceCompleteSession(productRuntimeSessionID: session))
    case 2: action = .flagSessionRisk(FlagSessionRisk(productRuntimeSessionID: session, flagged: chance.once(in: 2)))
    case 3: action = .forceAbortJourney(ForceAbortJourney(productRuntimeSessionID: session))
    case 4: action = .forceSkipNode(ForceSkipNode(productRuntimeSessionID: session, nodeID: node))
    case 5: action = .forceCompleteNode(ForceCompleteNode(productRuntimeSessionID: session, nodeID: node))
    case 6, 7:
      let until = chance.once(in: 4) ? nil : VirtualTime.now + Int64(chance.within(60...7_200)) * 1_000_000_000
      let (place, cluster) = placeOrCluster(&chance)
      action = .blockServicePoint(
        BlockServicePoint(servicePointID: place, until: until.map { .init(nanosecondsSinceEpoch: $0) }, clusterID: cluster))
    case 8:
      let (place, cluster) = placeOrCluster(&chance)
      action = .unblockServicePoint(UnblockServicePoint(servicePointID: place, clusterID: cluster))
    case 9 where !settlements.isEmpty:
      action = .correctSettlement(
        CorrectSettlement(settlementID: chance.pick(settlements)!, amountMicros: chance.once(in: 2) ? 250_000 : -250_000))
    default:
      guard let entitlement = chance.pick(entitlements) else { return open(&chance) }
      action = .compensateEntitlement(CompensateEntitlement(entitlementID: entitlement.id, quantity: 1))
    }
    return Deed(
      key, as: operatorOlga,
      send: { channel in
        try await ProductRuntimeGatewayClient(channel).applyControl(
          ApplyControlRequest(idempotencyKey: key, reason: "simulated", action: action)
        ).incidentID
      })
  }

  private func placeOrCluster(_ chance: inout Chance) -> (place: String, cluster: String) {
    chance.once(in: 3) ? ("", Product.cluster) : (chance.pick(Product.places)!, "")
  }

  /// Something of the other tenant's is asked for, or done to: it is not there.
  private func trespass(_ chance: inout Chance) -> Deed? {
    guard let session = chance.pick(neighbour?.sessions.map(\.id) ?? []) else { return nil }
    let key = key("trespass")
    let reads = chance.once(in: 2)
    return Deed(
      key, as: chance.once(in: 2) ? operatorOlga : traveller(chance.pick(travellers)!),
      send: { channel in
        let gateway = ProductRuntimeGatewayClient(channel)
        do {
          if reads {
            _ = try await gateway.getSession(GetSessionRequest(productRuntimeSessionID: session))
          } else {
            _ = try await gateway.closeSession(
              CloseSessionRequest(idempotencyKey: key, productRuntimeSessionID: session, reason: "not mine"))
          }
        } catch let error as RPCError where error.code == .notFound || error.code == .permissionDenied {
          return "refused"
        }
        throw Violation("tenant", "\(key) reached \(session)")
      })
  }

  /// Puts a new version of the product in force; one after the other, so that a later one is never overtaken by an earlier.
  private func apply(_ chance: inout Chance) -> Deed {
    if let applying { return applying }
    let key = key("apply")
    let number = pushed + 1
    let deed = Deed(
      key, as: operatorOlga,
      send: { channel in
        let applied = try await RegistryClient(channel).apply(
          ApplyRequest(idempotencyKey: key, source: .bundleYaml(Product.bundle(version: number)), reason: "a new version"))
        return "\(applied.revision)"
      },
      learned: { [unowned self] _ in
        pushed = number
        applying = nil
      })
    applying = deed
    return deed
  }
}
