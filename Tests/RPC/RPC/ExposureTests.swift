import SpanwireRPC
import SpanwireRPCTestSupport
import Testing

@Suite struct ExposureTests {
  static func method(_ exposure: MethodExposure?) -> MethodDescriptor {
    MethodDescriptor(service: "spanwire.test.Vault", name: "Open", kind: .unary, inputType: "", outputType: "", exposure: exposure)
  }

  static let users = MethodExposure(surfaces: .edge, principals: .user)
  static let services = MethodExposure(
    surfaces: [.internal, .ops], principals: [.service, .ops], services: ["prg"], agentRule: "vault.no_agents")

  static let user = Principal(kind: .user, id: "u1", surface: .edge)
  static let agent = Principal(kind: .agent, id: "a1", surface: .worker)

  @Test(
    "a caller passes only by a surface and a kind that the contract names",
    arguments: [
      (users, user, nil),
      (users, Principal.anonymous, .unauthenticated),
      (users, Principal(kind: .user, id: "u1", surface: .ops), .permissionDenied),
      (users, agent, .permissionDenied),
      (services, Principal.service("prg"), nil),
      (services, Principal.service("prg", onBehalfOf: agent), nil),
      (services, Principal.service("ao"), .permissionDenied),
      (services, Principal(kind: .ops, id: "o", surface: .ops), nil),
      (nil, user, .permissionDenied),
    ] as [(MethodExposure?, Principal, RPCError.Code?)])
  func admission(exposure: MethodExposure?, caller: Principal, code: RPCError.Code?) {
    let refusal = ExposureInterceptor().refusal(of: caller, by: Self.method(exposure))
    #expect(refusal?.code == code)
  }

  @Test("the refusal of an agent or a service names the rule")
  func rule() {
    for caller in [Self.agent, Principal.service("ao")] {
      #expect(ExposureInterceptor().refusal(of: caller, by: Self.method(Self.services))?.message.contains("vault.no_agents") == true)
    }
  }

  @Test("services named open are open although their contracts say nothing")
  func openServices() {
    #expect(ExposureInterceptor(openServices: ["spanwire.test.Vault"]).refusal(of: .anonymous, by: Self.method(nil)) == nil)
  }

  @Test("the subject behind any number of services is who came from outside")
  func subject() {
    #expect(Principal.service("b", onBehalfOf: .service("a", onBehalfOf: Self.user)).subject == Self.user)
    #expect(Self.user.subject == Self.user)
  }
}

@Suite struct CallContextTests {
  @Test("cancellation runs every action once, the late one at once, the forgotten one never")
  func cancellation() {
    let context = CallContext()
    let log = Log()
    context.onCancel { log.add("first") }
    let token = context.onCancel { log.add("forgotten") }
    context.forget(token)
    #expect(!context.isCancelled && context.cancellationCode == nil)
    context.cancel(.deadlineExceeded)
    context.cancel(.cancelled)
    context.onCancel { log.add("late") }
    #expect(log.lines == ["first", "late"])
    #expect(context.cancellationCode == .deadlineExceeded)
    #expect(throws: RPCError.self) { try context.checkCancellation() }
  }

  @Test("an outgoing call takes the earlier deadline, a child span and the principal of its context")
  func inheritance() async {
    let user = ExposureTests.user
    let trace = TraceContext.root()
    let method = ExposureTests.method(nil)
    let deadline = Deadline.after(.seconds(60))
    await CallContext.with(deadline: deadline, principal: user, trace: trace) {
      let plain = OutgoingCall(method, CallOptions(), startsTrace: false)
      #expect(plain.deadline == deadline && plain.principal == user)
      #expect(plain.trace?.parentSpanID == trace.spanID && plain.trace?.traceID == trace.traceID)
      #expect(OutgoingCall(method, .timeout(.seconds(1)), startsTrace: false).deadline < deadline)
      #expect(OutgoingCall(method, .timeout(.seconds(600)), startsTrace: false).deadline == deadline)
    }
    let alone = OutgoingCall(method, CallOptions(), startsTrace: false)
    #expect(alone.deadline == .never && alone.principal == .anonymous && alone.trace == nil)
    #expect(OutgoingCall(method, CallOptions(), startsTrace: true).trace?.parentSpanID == 0)
  }
}
