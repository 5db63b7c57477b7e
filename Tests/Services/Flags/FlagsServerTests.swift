import Foundation
import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwirePolicy
import SpanwireRPC
import SpanwireRPCInProcess
import SpanwireRegistry
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Testing

@testable import SpanwireFlags

@Suite("Flags, the service")
struct FlagsServerTests {
  /// The service beside the real registry, on a database of their own.
  final class TestFlags: Sendable {
    let server: FlagsServer
    let environment: ServiceEnvironment
    let clock = ManualClock()
    let policy: PolicyServer
    private let registry: RegistryClient
    private let folder: URL
    private let loops = EventLoopGroup(loops: 1)

    init(anonymousTenant: String? = nil) async throws {
      folder = FileManager.default.temporaryDirectory.appending(path: "flags-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      let database = try await SQLiteDatabase.open(
        path: folder.appending(path: "test.db").path, durability: .off,
        migrations: ServiceEnvironment.migrations + [RegistryServer.migrations, PolicyServer.migrations, FlagsServer.migrations])
      let log = EventLog(database: database, loops: loops)
      try await log.start()
      environment = ServiceEnvironment(
        database: database, log: log, effects: EffectDispatcher(database: database, clock: clock), clock: clock,
        ids: IDGenerator(clock: clock))
      let nobody = InProcessChannel(ServerRouter([]), service: "registry")
      let environment = environment
      func definitions(judgedBy policy: PolicyClient) -> ServerRouter {
        ServerRouter([
          Registry.routes(
            RegistryServer(
              environment: environment, lem: LemClient(nobody), policy: policy,
              checks: BundleChecks(
                journeyDocument: { _ in [] }, openingHours: { _ in nil }, timeZone: { _ in true },
                targeting: FlagsServer.problem(inTargeting:))))
        ])
      }
      // Policy reads the roles of this registry; who only reads is not judged.
      let read = InProcessChannel(definitions(judgedBy: PolicyClient(nobody)), service: "policy")
      let policy = PolicyServer(environment: environment, registry: RegistryClient(read))
      let judge = ServerRouter([Policy.routes(policy)])
      let definitions = definitions(judgedBy: PolicyClient(InProcessChannel(judge, service: "registry")))
      self.policy = policy
      registry = RegistryClient(InProcessChannel(definitions))
      server = FlagsServer(
        environment: environment, registry: RegistryClient(InProcessChannel(definitions, service: "flags")),
        policy: PolicyClient(InProcessChannel(judge, service: "flags")),
        anonymousTenant: anonymousTenant)
    }

    deinit {
      loops.stop()
      try? FileManager.default.removeItem(at: folder)
    }

    func context(_ principal: Principal) -> ServerContext {
      ServerContext(method: Flags.Methods.evaluateFlag, peer: .inProcess, principal: principal)
    }

    static func olga(of tenant: String) -> Principal {
      Principal(kind: .ops, id: "olga", tenant: tenant, roles: ["ops_lead"], surface: .ops)
    }

    func apply(_ flags: [FlagDefinition], removing: [String] = [], key: String, tenant: String = "vienna") async throws {
      let bundle = Bundle(
        bundleID: "BND-FLAGS", flags: flags, removals: removing.map { DefinitionName(kind: .flag, id: $0) })
      try await apply(.bundle(bundle), key: key, tenant: tenant)
    }

    func apply(_ source: ApplyRequest.Source, key: String, tenant: String = "vienna") async throws {
      _ = try await CallContext.with(principal: Self.olga(of: tenant)) {
        try await registry.apply(ApplyRequest(idempotencyKey: key, source: source, reason: "for the test"))
      }
    }

    func evaluate(
      _ key: String, user: String = "", tier: String = "", tenant: String = "vienna", at now: Int64? = nil
    ) async throws -> EvaluateFlagResponse {
      let asking = FlagValue.contract(["targetingKey": .string(user), "tier": .string(tier)])
      return try await server.evaluateFlag(
        EvaluateFlagRequest(flagKey: key, context: asking, now: now.map { .init(nanosecondsSinceEpoch: $0) }),
        context: context(Self.olga(of: tenant)))
    }
  }

  /// A flag between "off", its default, and "on".
  static func flag(_ key: String, _ change: (inout FlagDefinition) -> Void = { _ in }) -> FlagDefinition {
    var flag = FlagDefinition(
      flagKey: key, enabled: true,
      variants: ["on": Google_Protobuf_Value(kind: .boolValue(true)), "off": Google_Protobuf_Value(kind: .boolValue(false))],
      defaultVariant: "off", rolloutVariant: "on")
    change(&flag)
    return flag
  }

  @Test("What the registry takes is evaluated at once, and what it takes out is gone; a flag's other changes are told by its revisions")
  func follows() async throws {
    let flags = try await TestFlags()
    let before = try await flags.evaluate("open")
    #expect(before.errorCode == "FLAG_NOT_FOUND" && before.reason == "ERROR")
    try await flags.apply([Self.flag("open") { $0.defaultVariant = "on" }, Self.flag("late")], key: "a")
    let open = try await flags.evaluate("open")
    #expect(open.value == Google_Protobuf_Value(kind: .boolValue(true)) && open.reason == "STATIC" && open.variant == "on")
    try await flags.apply([Self.flag("late") { $0.rolloutStage = .full }], removing: ["open"], key: "b")
    let gone = try await flags.evaluate("open")
    let late = try await flags.evaluate("late")
    #expect(gone.errorCode == "FLAG_NOT_FOUND" && late.variant == "on")
    let all = try await flags.server.getFlags(GetFlagsRequest(), context: flags.context(TestFlags.olga(of: "vienna")))
    #expect(all.registryRevision == 2 && all.platformRevision == 0 && all.json.contains("\"late\""))
  }

  @Test("A tenant sees its own flags, and of the platform's those that it has not defined itself")
  func tenants() async throws {
    let flags = try await TestFlags(anonymousTenant: "vienna")
    try await flags.apply([Self.flag("both"), Self.flag("shared") { $0.rolloutStage = .full }], key: "a", tenant: "platform")
    let shared = try await flags.evaluate("both")
    #expect(shared.variant == "off")
    try await flags.apply([Self.flag("both") { $0.rolloutStage = .full }], key: "b")
    for (tenant, key, variant) in [("vienna", "both", "on"), ("graz", "both", "off"), ("vienna", "shared", "on"), ("graz", "shared", "on")]
    {
      let found = try await flags.evaluate(key, tenant: tenant)
      #expect(found.variant == variant, "\(key) in \(tenant)")
    }
    try await flags.apply([Self.flag("shared")], key: "c", tenant: "platform")
    let changed = try await flags.evaluate("shared")
    #expect(changed.variant == "off")
    let anonymous = flags.context(.anonymous)
    let both = try await FlagdEvaluationV1(flags.server).resolveBoolean(.init(flagKey: "both"), context: anonymous)
    #expect(both.value && both.variant == "on")
    let all = try await FlagdEvaluationV1(flags.server).resolveAll(.init(), context: anonymous)
    #expect(all.flags["both"]?.value == .boolValue(true) && all.flags["shared"]?.value == .boolValue(false))
    let mismatch = await #expect(throws: RPCError.self) {
      _ = try await FlagdEvaluationV2(flags.server).resolveString(.init(flagKey: "both"), context: anonymous)
    }
    #expect(mismatch?.code == .invalidArgument)
    let closed = try await TestFlags()
    let refused = await #expect(throws: RPCError.self) {
      _ = try await FlagdSync(closed.server).fetchAllFlags(.init(), context: closed.context(.anonymous))
    }
    #expect(refused?.code == .failedPrecondition)
  }

  /// A flag on which others depend, who asks for it, and which variant it is.
  struct Ask: Sendable, CustomTestStringConvertible {
    var flag: FlagDefinition
    var user = "anna"
    var tier = "gold"
    var variant: String
    var testDescription: String { "\(flag.flagKey) for \(user), \(tier): \(variant)" }
  }

  @Test(
    "A flag does what its definition says, in its order, and one that depends on it is on for nobody else",
    arguments: [
      Ask(flag: flag("off") { $0.enabled = false }, variant: ""),
      Ask(flag: flag("draft"), variant: "off"),
      Ask(
        flag: flag("paused") {
          $0.rolloutStage = .paused
          $0.userOverrides = ["anna": "on"]
        }, variant: "off"),
      Ask(flag: flag("rolled-back") { $0.rolloutStage = .rolledBack }, variant: "off"),
      Ask(flag: flag("override") { $0.userOverrides = ["anna": "on"] }, variant: "on"),
      Ask(flag: flag("override") { $0.userOverrides = ["anna": "on"] }, user: "bert", variant: "off"),
      Ask(flag: flag("target") { $0.targetIds = ["anna", "carl"] }, variant: "on"),
      Ask(
        flag: flag("user-first") {
          $0.userOverrides = ["anna": "off"]
          $0.tenantOverrides = ["vienna": "on"]
        }, variant: "off"),
      Ask(flag: flag("tenant") { $0.tenantOverrides = ["vienna": "on"] }, variant: "on"),
      Ask(flag: flag("elsewhere") { $0.tenantOverrides = ["graz": "on"] }, variant: "off"),
      Ask(flag: flag("internal") { $0.rolloutStage = .internal }, tier: "staff", variant: "on"),
      Ask(flag: flag("internal") { $0.rolloutStage = .internal }, variant: "off"),
      Ask(
        flag: flag("pilot") {
          $0.rolloutStage = .pilot
          $0.pilotTenants = ["vienna"]
        }, variant: "on"),
      Ask(flag: flag("no-pilot") { $0.rolloutStage = .pilot }, variant: "off"),
      Ask(flag: flag("full") { $0.rolloutStage = .full }, variant: "on"),
      Ask(
        flag: flag("rule") { $0.targeting = rule(#"{"if": [{"==": [{"var": "tier"}, "gold"]}, "on"]}"#) }, variant: "on"),
      Ask(
        flag: flag("rule") { $0.targeting = rule(#"{"if": [{"==": [{"var": "tier"}, "gold"]}, "on"]}"#) }, tier: "member", variant: "off"),
      Ask(
        flag: flag("rule-first") {
          $0.targeting = rule(#"{"if": [{"==": [{"var": "tier"}, "gold"]}, "off"]}"#)
          $0.rolloutPct = 100
        }, variant: "off"),
      Ask(flag: flag("everybody") { $0.rolloutPct = 100 }, variant: "on"),
      Ask(flag: flag("named") { $0.rolloutPct = 100 }, user: "", variant: "off"),
    ])
  func stages(_ ask: Ask) async throws {
    let flags = try await TestFlags()
    let leaning = Self.flag("leaning") {
      $0.rolloutStage = .full
      $0.dependsOn = [ask.flag.flagKey]
    }
    try await flags.apply([ask.flag, leaning], key: "a")
    let found = try await flags.evaluate(ask.flag.flagKey, user: ask.user, tier: ask.tier)
    #expect(found.variant == ask.variant)
    let other = try await flags.evaluate("leaning", user: ask.user, tier: ask.tier)
    #expect(other.variant == (ask.variant == "on" ? "on" : "off"))
  }

  private static func rule(_ json: String) -> Google_Protobuf_Struct {
    (try? Google_Protobuf_Struct(jsonString: json)) ?? Google_Protobuf_Struct()
  }

  @Test("A share is of each flag's own users, also where another flag depends on it, and a flag ends at its moment")
  func shares() async throws {
    let flags = try await TestFlags()
    let own = Self.rule(#"{"fractional": [["on", 30], ["off", 70]]}"#)
    try await flags.apply(
      [
        Self.flag("thirty") { $0.rolloutPct = 30 }, Self.flag("ruled") { $0.targeting = own },
        Self.flag("leaning") {
          $0.rolloutStage = .full
          $0.dependsOn = ["thirty"]
          $0.expiresAt = .init(nanosecondsSinceEpoch: 2_000_000_000_000_000_000)
        },
        Self.flag("ruled-too") {
          $0.rolloutStage = .full
          $0.dependsOn = ["ruled"]
        },
      ], key: "a")
    var on: [String: Int] = [:]
    for number in 0..<400 {
      var variants: [String: String] = [:]
      for key in ["thirty", "leaning", "ruled", "ruled-too"] {
        variants[key] = try await flags.evaluate(key, user: "user-\(number)", at: 1_999_999_999_000_000_000).variant
        if variants[key] == "on" { on[key, default: 0] += 1 }
      }
      #expect(variants["thirty"] == variants["leaning"] && variants["ruled"] == variants["ruled-too"])
      let over = try await flags.evaluate("leaning", user: "user-\(number)", at: 2_000_000_000_000_000_000)
      #expect(over.variant == "off")
    }
    #expect((80...160).contains(on["thirty"] ?? 0) && (80...160).contains(on["ruled"] ?? 0) && on["thirty"] != on["ruled"])
  }

  @Test("A chain of dependencies that the platform made too long leaves its flag at the default")
  func chains() async throws {
    let flags = try await TestFlags()
    func chain(_ prefix: String, _ count: Int, then last: String?) -> [FlagDefinition] {
      (0..<count).map { index in
        Self.flag("\(prefix)\(index)") {
          $0.rolloutStage = .full
          $0.dependsOn = index + 1 < count ? ["\(prefix)\(index + 1)"] : last.map { [$0] } ?? []
        }
      }
    }
    try await flags.apply(chain("p", 1, then: nil), key: "a", tenant: "platform")
    try await flags.apply(chain("v", 16, then: "p0"), key: "b")
    let short = try await flags.evaluate("v0")
    #expect(short.variant == "on")
    try await flags.apply(chain("p", 2, then: nil), key: "c", tenant: "platform")
    let long = try await flags.evaluate("v0")
    let next = try await flags.evaluate("v1")
    #expect(long.variant == "off" && next.variant == "on")
  }

  @Test("A rule with an operation that nobody knows, or that goes too deep, is refused with its place")
  func refuses() async throws {
    let flags = try await TestFlags()
    var deep = FlagValue.bool(true)
    for _ in 0...FlagLimits.ruleDepth { deep = .object(["!": .list([deep])]) }
    guard case .object(let members) = deep else { return }
    for rule in [Self.rule(#"{"if": [true, {"no_such_thing": 1}]}"#), FlagValue.contract(members)] {
      let error = await #expect(throws: RPCError.self) {
        try await flags.apply([Self.flag("wrong") { $0.targeting = rule }], key: "a")
      }
      #expect(error?.code == .invalidArgument && "\(String(describing: error))".contains("flags[0].targeting"))
    }
  }

  @Test("The sample has sixteen flags: seven sensitive, fourteen that need approval, fifteen drafts and one for staff")
  func sample() async throws {
    let flags = try await TestFlags()
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../../../Samples/flags.yaml")
    try await flags.apply(.bundleYaml(try String(contentsOf: file, encoding: .utf8)), key: "a")
    let defined = try await flags.server.flags(of: "vienna").evaluator.rollouts.map(\.definition)
    let (sensitive, approval) = (defined.count { $0.sensitiveFlag }, defined.count { $0.requiresApproval })
    let (drafts, staff) = (defined.count { $0.rolloutStage == .draft }, defined.count { $0.rolloutStage == .internal })
    #expect(defined.count == 16 && sensitive == 7 && approval == 14 && drafts == 15 && staff == 1)
    let forStaff = try await flags.evaluate("ops-trace-view", tier: "staff")
    let forGuests = try await flags.evaluate("ops-trace-view", tier: "gold")
    #expect(forStaff.variant == "on" && forGuests.variant == "off")
  }
}
