import Foundation
import SpanwireFlags
import SpanwirePolicy
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTestChance
import SpanwireWellKnown

// Evaluates seeded random contexts, each as an access question and as a flag's, and prints the digest of all answers' bytes. Every process
// hashes with a seed of its own, so what depends on the order of a set or a dictionary differs from run to run.

let hour: Int64 = 3_600_000_000_000
let tenants = ["vienna", "rome", ""]
let users = ["anna", "bert", "carl", "dora", ""]
let roles = [
  "platform_admin", "platform_sre", "security_auditor", "ops_lead", "ops_operator", "support_agent", "product_owner", "market_manager",
  "finance_settlement", "traveller", "vendor", "external_agent", "king",
]
let categories = [
  "session_data", "session_control", "settlement_data", "audit_log", "personal_data", "payment_reference", "admin_flag_access",
  "registry_definitions", "network_write", "money", "weather",
]

func accessRequest(_ chance: inout Chance, now: Int64) -> AccessEvaluator.Request {
  let (target, user, category) = (chance.choose(tenants), chance.choose(users), chance.choose(categories))
  var request = AccessEvaluator.Request(
    actorRole: chance.choose(roles), actorUserID: chance.choose(users), actorTenantID: chance.choose(tenants), targetTenantID: target,
    targetUserID: user, category: category, kind: chance.choose([.read, .write, .export]),
    environment: chance.choose([.prod, .staging, .dev]),
    isAnonymous: chance.once(in: 10))
  func grant(_ chance: inout Chance) -> AccessEvaluator.Request.Grant {
    if chance.once(in: 8) { return AccessEvaluator.Request.Grant(id: "GRT-0", fault: "there is no such grant") }
    return AccessEvaluator.Request.Grant(
      id: "GRT-\(chance.below(9))", grantedTo: chance.choose([request.actorUserID, "eve"]), targetUserID: user, targetTenantID: target,
      madeAt: now - Int64(chance.below(8) - 1) * hour / 4, expiresAt: now + Int64(chance.below(20) - 4) * hour / 2)
  }
  if chance.once(in: 4) { request.assist = grant(&chance) }
  if chance.once(in: 4) { request.viewAs = grant(&chance) }
  for role in ["security_auditor", "platform_admin", "ops_lead", "finance_settlement"] where chance.once(in: 2) {
    request.approvals.append(
      AccessEvaluator.Request.Approval(
        reference: "APR-\(role)", approverRole: role, approverUserID: chance.choose(users), requestedBy: request.actorUserID,
        category: category, expiresAt: now + Int64(chance.below(5) - 1) * hour))
  }
  return request
}

func flags(_ chance: inout Chance) -> FlagEvaluator {
  let keys = (0..<16).map { "flag-\($0)" }
  let rule = try? Google_Protobuf_Struct(
    jsonString:
      #"{"if": [{"in": [{"var": "tier"}, ["gold", "admin"]]}, "third", {"fractional": [["on", 20], ["third", 30], ["off", 50]]}]}"#)
  return FlagEvaluator(
    definitions: keys.enumerated().map { index, key in
      var flag = FlagDefinition(
        flagKey: key, enabled: !chance.once(in: 8),
        variants: [
          "on": Google_Protobuf_Value(kind: .boolValue(true)), "off": Google_Protobuf_Value(kind: .boolValue(false)),
          "third": Google_Protobuf_Value(kind: .boolValue(true)),
        ], defaultVariant: "off", rolloutVariant: "on",
        rolloutStage: chance.choose([.draft, .internal, .pilot, .full, .paused, .rolledBack]), rolloutPct: UInt32(chance.below(101)))
      if chance.once(in: 3) { flag.userOverrides = ["anna": "third", "bert": "off", "carl": "on"] }
      if chance.once(in: 3) { flag.tenantOverrides = ["vienna": "third", "rome": "on"] }
      if chance.once(in: 3) { flag.pilotTenants = ["vienna"] }
      if chance.once(in: 2) { flag.targeting = rule }
      flag.requiresApproval = chance.once(in: 6)
      flag.dependsOn = keys[(index + 1)...].filter { _ in chance.once(in: 12) }
      if chance.once(in: 20) { flag.dependsOn.append(keys[index / 2]) }
      return flag
    })
}

func number(_ name: String, _ standard: Int) -> Int {
  let arguments = CommandLine.arguments
  guard let index = arguments.firstIndex(of: name), index + 1 < arguments.count, let value = Int(arguments[index + 1]) else {
    return standard
  }
  return value
}

var chance = Chance(seed: UInt64(number("--seed", 1)))
let access = AccessEvaluator()
var evaluator = flags(&chance)
var digest = SHA256()
let contexts = number("--contexts", 100_000)
for index in 0..<contexts {
  if index.isMultiple(of: 1_000) { evaluator = flags(&chance) }
  let now = Int64(1_777_896_000) * 1_000_000_000 + Int64(index) * 1_000_000
  let decision = access.evaluate(accessRequest(&chance, now: now), asSensitive: chance.once(in: 4), now: now)
  digest.update(decision.contract.encoded())
  let asker = FlagAsker(
    userID: chance.choose(users), tenantID: chance.choose(tenants), tier: chance.choose(["staff", "admin", "gold", "member", "anonymous"]),
    now: now)
  digest.update(evaluator.evaluate("flag-\(chance.below(17))", for: asker).encoded())
}
print("\(contexts) contexts \(SHA256.hex(digest.finish()))")
