import Testing

@testable import SpanwireEventLoop

@Suite struct TimerTests {
  @Test("timers go off in order of their moments, never early, disarmed ones never")
  func order() async throws {
    let clock = ManualLoopClock()
    let loop = EventLoop(name: "timers", clock: clock)
    loop.start()
    let fired = Collected()
    let timers = Box<[LoopTimer]>([])
    await Task(executorPreference: loop) {
      // A fixed shuffle: 7 is a generator modulo 101.
      for step in 1..<101 {
        var span = 1
        for _ in 0..<step { span = span * 7 % 101 }
        let number = span
        let timer = LoopTimer(on: loop) { fired.append(number) }
        timer.arm(after: .milliseconds(span))
        timers.value.append(timer)
        if number % 5 == 0 { timer.disarm() }
      }
    }.value
    clock.advance(by: .milliseconds(50), waking: loop)
    await settle(loop)
    #expect(fired.values == (1...50).filter { $0 % 5 != 0 })
    clock.advance(by: .milliseconds(1000), waking: loop)
    await settle(loop)
    #expect(fired.values == (1...100).filter { $0 % 5 != 0 })
    await Task(executorPreference: loop) { timers.value = [] }.value
    try await offload { loop.stop() }
  }

  @Test("arming again moves a timer, and it may be armed from its own action")
  func again() async throws {
    let clock = ManualLoopClock()
    let loop = EventLoop(name: "timers", clock: clock)
    loop.start()
    let fired = Collected()
    let kept = Box<LoopTimer?>(nil)
    await Task(executorPreference: loop) {
      let timer = LoopTimer(on: loop) {
        fired.append(fired.values.count)
        if fired.values.count < 3 { kept.value?.arm(after: .milliseconds(10)) }
      }
      kept.value = timer
      timer.arm(after: .milliseconds(5))
      timer.arm(after: .milliseconds(20))
    }.value
    for (advance, expected) in [(10, 0), (10, 1), (10, 2), (9, 2), (1, 3), (100, 3)] {
      clock.advance(by: .milliseconds(advance), waking: loop)
      await settle(loop)
      #expect(fired.values.count == expected)
    }
    await Task(executorPreference: loop) { kept.value = nil }.value
    try await offload { loop.stop() }
  }

  /// Returns when the loop has seen its clock: the wake-up precedes both tasks.
  private func settle(_ loop: EventLoop) async {
    await Task(executorPreference: loop) {}.value
    await Task(executorPreference: loop) {}.value
  }
}

/// What a test keeps on a loop.
final class Box<Value>: @unchecked Sendable {
  // Sendable: only tasks on the loop touch it.
  var value: Value
  init(_ value: Value) { self.value = value }
}
