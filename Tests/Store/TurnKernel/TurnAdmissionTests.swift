import SpanwireSchema
import SpanwireTurnKernel
import Testing

@Suite("Admission of turns")
struct TurnAdmissionTests {
  private func want(
    _ session: String = "PRS-1", tenant: String = "vienna", agent: String = "guide", perSession: UInt32 = 0, perTenant: UInt32 = 0,
    waiting: UInt32 = 0
  ) -> TurnAdmission.Want {
    TurnAdmission.Want(
      tenant: tenant, session: session, agentSlug: agent,
      quota: TurnQuota(openPerSession: perSession, openPerTenant: perTenant, deferredPerSession: waiting))
  }

  @Test("one turn a session: the second waits, the third is rejected, and when the first closes the second is admitted")
  func conversation() {
    var admission = TurnAdmission()
    let one = want(perSession: 1, waiting: 1)
    #expect(admission.decide(one, isWaiting: false) == .admit)
    let key = "session:vienna:PRS-1:guide"
    #expect(admission.decide(one, isWaiting: false) == .defer(quota: key, reason: "1 of 1 turns are open"))
    #expect(
      admission.decide(one, isWaiting: false) == .reject(quota: key, reason: "1 of 1 turns are open, and 1 wait, as many as may"))
    // It still waits; it is not counted twice.
    #expect(admission.decide(one, isWaiting: true) == .defer(quota: key, reason: "1 of 1 turns are open"))
    admission.close(one)
    #expect(admission.decide(one, isWaiting: true) == .admit)
    #expect(admission.open(key) == 1 && admission.deferred(key) == 0)
    admission.close(one)
    #expect(admission.open(key) == 0 && admission.open("all") == 0)
  }

  @Test("other sessions, agents and tenants have quotas of their own")
  func keys() {
    var admission = TurnAdmission()
    #expect(admission.decide(want(perSession: 1), isWaiting: false) == .admit)
    for other in [want("PRS-2", perSession: 1), want(agent: "planner", perSession: 1), want(tenant: "graz", perSession: 1)] {
      #expect(admission.decide(other, isWaiting: false) == .admit)
    }
    #expect(admission.open("tenant:vienna") == 3 && admission.open("tenant:graz") == 1 && admission.open("all") == 4)
  }

  @Test("an agent's quota in its tenant holds across sessions, and for work without one")
  func tenantQuota() {
    var admission = TurnAdmission()
    #expect(admission.decide(want("PRS-1", perTenant: 2), isWaiting: false) == .admit)
    #expect(admission.decide(want("", perTenant: 2), isWaiting: false) == .admit)
    #expect(
      admission.decide(want("PRS-2", perTenant: 2), isWaiting: false)
        == .defer(quota: "tenant:vienna:guide", reason: "2 of 2 turns are open"))
  }

  @Test("what is not authored, or authored beyond the kernel's own bounds, is the kernel's")
  func bounds() {
    let open = want().quota
    #expect(open.openPerSession > 0 && open.openPerTenant > 0 && open.deferredPerSession > 0)
    #expect(want(perSession: .max, perTenant: .max, waiting: .max).quota == open)
    var admission = TurnAdmission()
    for _ in 0..<open.openPerSession { #expect(admission.decide(want(), isWaiting: false) == .admit) }
    guard case .defer = admission.decide(want(), isWaiting: false) else { return #expect(Bool(false), "a session has a bound") }
  }

  @Test("the same turns open give the same answer, whatever came in between; who gives up waits no longer")
  func deterministic() {
    var first = TurnAdmission()
    var second = TurnAdmission()
    let one = want(perSession: 1, waiting: 2)
    for index in 0..<8 {
      let other = want("PRS-\(index + 2)", perSession: 1)
      _ = second.decide(other, isWaiting: false)
      second.close(other)
      let answer = first.decide(one, isWaiting: false)
      #expect(second.decide(one, isWaiting: false) == answer)
    }
    first.withdraw(one)
    guard case .defer = first.decide(one, isWaiting: false) else { return #expect(Bool(false), "there is room to wait again") }
  }
}

@Suite("Fences of cancelled turns")
struct CancelFencesTests {
  private func key(_ epoch: UInt64) -> TurnKey { TurnKey(tenant: "vienna", task: "ATASK-1", epoch: epoch) }

  @Test("a fence stands until its time is over, for its turn alone, and is swept")
  func lifetime() {
    var fences = CancelFences(lifetime: 10, bound: 4)
    fences.set(key(1), at: 100)
    #expect(fences.isFenced(key(1), at: 100) && fences.isFenced(key(1), at: 109) && !fences.isFenced(key(1), at: 110))
    #expect(!fences.isFenced(key(2), at: 100))
    fences.sweep(at: 109)
    #expect(fences.count == 1)
    fences.sweep(at: 110)
    #expect(fences.count == 0)
  }

  @Test("one that is set again stands from then; one that is lifted stands no longer")
  func again() {
    var fences = CancelFences(lifetime: 10, bound: 4)
    fences.set(key(1), at: 100)
    fences.set(key(1), at: 105)
    fences.sweep(at: 111)
    #expect(fences.isFenced(key(1), at: 111) && !fences.isFenced(key(1), at: 115))
    fences.lift(key(1))
    #expect(!fences.isFenced(key(1), at: 111))
  }

  @Test("there are never more than may be: the oldest makes room")
  func bound() {
    var fences = CancelFences(lifetime: 1_000, bound: 4)
    for epoch in 1...100 { fences.set(key(UInt64(epoch)), at: Int64(epoch)) }
    #expect(fences.count == 4 && fences.isFenced(key(100), at: 101) && !fences.isFenced(key(96), at: 101))
  }
}
