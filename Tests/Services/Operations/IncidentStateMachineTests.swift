import Testing

@testable import SpanwireOperations

struct IncidentStateMachineTests {
  /// What the error rate is, in hundredths, at a second; and what the mode is then.
  struct Moment: Sendable {
    var second: Int64
    var percent: Int
    var mode: IncidentStateMachine.Mode
    /// Workers that fell silent.
    var silent = 0
  }

  struct Story: Sendable, CustomTestStringConvertible {
    var name: String
    var moments: [Moment]
    var testDescription: String { name }
  }

  private static func reading(_ percent: Int, _ silent: Int) -> [IncidentReading] {
    [
      IncidentReading(trigger: .errorRate, value: Double(percent) / 100, declaresAbove: 0.2, calmBelow: 0.1, text: "\(percent) %"),
      IncidentReading(trigger: .heartbeats, value: Double(silent), declaresAbove: 3, calmBelow: 2, text: "\(silent) silent"),
    ]
  }

  static let stories = [
    Story(
      name: "all is well",
      moments: [Moment(second: 0, percent: 0, mode: .normal), Moment(second: 600, percent: 20, mode: .normal)]),
    Story(
      name: "a trigger degrades, and after a minute it is an incident",
      moments: [
        Moment(second: 0, percent: 21, mode: .degraded), Moment(second: 59, percent: 21, mode: .degraded),
        Moment(second: 60, percent: 21, mode: .incident),
      ]),
    Story(
      name: "two triggers at once need no confirmation",
      moments: [Moment(second: 0, percent: 30, mode: .degraded, silent: 4), Moment(second: 1, percent: 30, mode: .incident, silent: 4)]),
    Story(
      name: "a trigger that breaks off begins its minute anew",
      moments: [
        Moment(second: 0, percent: 21, mode: .degraded), Moment(second: 50, percent: 15, mode: .degraded),
        Moment(second: 55, percent: 21, mode: .degraded), Moment(second: 110, percent: 21, mode: .degraded),
        Moment(second: 115, percent: 21, mode: .incident),
      ]),
    Story(
      name: "it is normal again when every figure has been low for five minutes",
      moments: [
        Moment(second: 0, percent: 50, mode: .degraded), Moment(second: 60, percent: 50, mode: .incident),
        Moment(second: 100, percent: 9, mode: .incident), Moment(second: 399, percent: 9, mode: .incident),
        Moment(second: 400, percent: 9, mode: .normal),
      ]),
    Story(
      name: "a figure that swings about its marks neither ends it nor declares it anew",
      moments: [
        Moment(second: 0, percent: 50, mode: .degraded), Moment(second: 60, percent: 50, mode: .incident),
        Moment(second: 100, percent: 5, mode: .incident), Moment(second: 300, percent: 12, mode: .incident),
        Moment(second: 350, percent: 5, mode: .incident), Moment(second: 600, percent: 21, mode: .incident),
        Moment(second: 610, percent: 5, mode: .incident), Moment(second: 909, percent: 5, mode: .incident),
        Moment(second: 910, percent: 5, mode: .normal),
      ]),
    Story(
      name: "degraded goes back by itself as well",
      moments: [
        Moment(second: 0, percent: 21, mode: .degraded), Moment(second: 10, percent: 0, mode: .degraded),
        Moment(second: 310, percent: 0, mode: .normal),
      ]),
  ]

  @Test("The mode follows the readings, with a lower mark and a pause on the way back", arguments: stories)
  func follows(_ story: Story) {
    var machine = IncidentStateMachine()
    var mode = machine.mode
    for moment in story.moments {
      let change = machine.step(Self.reading(moment.percent, moment.silent), at: moment.second * 1_000_000_000)
      #expect(machine.mode == moment.mode, "at \(moment.second) s")
      #expect((change != nil) == (mode != machine.mode), "a change is told of once, at \(moment.second) s")
      mode = machine.mode
    }
  }

  @Test("What an operator chose holds against the readings until its time is over or it is released")
  func forced() {
    let (well, ill) = (Self.reading(0, 0), Self.reading(50, 9))
    var machine = IncidentStateMachine()
    let forced = IncidentStateMachine.Forced(by: "ops:root", reason: "drill", until: 1_000)
    #expect(machine.force(.incident, forced, at: 10) == .declared(from: .normal, to: .incident, trigger: "forced", reason: "drill"))
    #expect(machine.step(well, at: 999) == nil)
    #expect(machine.mode == .incident)
    // From the end of its time on the readings count; they have been well since 999.
    #expect(machine.step(well, at: 1_000) == nil)
    #expect(machine.forced == nil)
    #expect(machine.step(well, at: 999 + IncidentLimits.calm) != nil)
    #expect(machine.mode == .normal)

    #expect(machine.force(.normal, forced, at: 1) == nil)
    machine.forced?.until = .max
    for moment in stride(from: Int64(0), to: 3_600_000_000_000, by: 60_000_000_000) { _ = machine.step(ill, at: moment) }
    #expect(machine.mode == .normal)
    machine.release()
    #expect(machine.step(ill, at: 3_600_000_000_000) != nil)
    #expect(machine.mode == .degraded)
  }
}
