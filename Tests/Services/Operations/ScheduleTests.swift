import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import Testing

@testable import SpanwireOperations

struct ScheduleTests {
  @Test("A schedule begins its work when it is due, in the name of whoever made it, and tells of it")
  func fires() async throws {
    let test = try await TestOperations()
    try await test.schedule("hourly", every: 3_600)
    await test.pass(.seconds(3_599))
    #expect(test.agents.count == 0)
    await test.pass(.seconds(1))
    #expect(test.agents.count == 1)
    #expect(test.agents.callers == ["ops:olga"])
    let task = try #require(test.agents.given.first)
    #expect(task.invoker == "ops_console" && task.task?.intent == "explain_incident")
    test.agents.endAll()
    await test.pass(.seconds(3_600))
    #expect(try await test.runs("hourly") == ["fired 1", "fired 1"])
    let fired = try await test.events("vienna").first { $0.type == "schedule.fired" }
    #expect(try fired?.payload?.unpack(as: ScheduleFired.self).subjectID == task.agentTaskID)
    await test.stop()
  }

  @Test("It is skipped while it is paused, while its last work runs, and in an incident unless it is critical")
  func skipped() async throws {
    let test = try await TestOperations()
    try await test.schedule("plain")
    try await test.schedule("critical") { $0.critical = true }
    try await test.schedule("loose") { $0.overlap = .allow }
    let pause = SetSchedulePausedRequest(idempotencyKey: "P", scheduleID: "loose", paused: true, reason: "too loud")
    #expect(try await test.server.setSchedulePaused(pause, context: test.context()).paused)
    await test.pass(.seconds(60))
    await test.pass(.seconds(60))
    #expect(try await test.runs("loose") == ["skipped 1", "skipped 1"])
    #expect(try await test.runs("plain") == ["fired 1", "skipped 1"], "its work of a minute ago still runs")
    test.agents.endAll()
    let resume = SetSchedulePausedRequest(idempotencyKey: "R", scheduleID: "loose", paused: false, reason: "quiet now")
    _ = try await test.server.setSchedulePaused(resume, context: test.context())
    let force = ForceIncidentModeRequest(idempotencyKey: "F", mode: .incident, reason: "drill")
    _ = try await test.server.forceIncidentMode(force, context: test.context(TestOperations.root))
    await test.pass(.seconds(60))
    #expect(try await test.runs("plain").last == "skipped 1")
    #expect(try await test.runs("loose").last == "skipped 1")
    #expect(try await test.runs("critical").last == "fired 1")
    let skipped = try await test.events("vienna").filter { $0.type == "schedule.skipped" }
    let reasons = try skipped.compactMap { try $0.payload?.unpack(as: ScheduleSkipped.self).reason }
    #expect(Set(reasons).count == 3)
    await test.stop()
  }

  @Test("Times that the platform was down for become one firing, or are gone; each counts once over restarts")
  func down() async throws {
    let test = try await TestOperations()
    try await test.schedule("once")
    try await test.schedule("gone") { $0.missed = .skip }
    await test.pass(.seconds(60))
    test.agents.endAll()
    await test.stop()
    test.clock.advance(by: .seconds(205))
    try await test.start()
    await test.environment.effects.settled()
    test.agents.endAll()
    await test.pass(.seconds(35))
    #expect(try await test.runs("once") == ["fired 1", "coalesced 3", "fired 1"])
    #expect(try await test.runs("gone") == ["fired 1", "missed 2", "fired 1", "fired 1"])
    #expect(try await test.count("schedule.missed") == 1)
    #expect(try await test.count("schedule.coalesced") == 1)
    #expect(try await test.count("schedule.fired") == test.agents.count)
    #expect(try await test.server.verifySchedules().findings.isEmpty)
    await test.stop()
  }

  @Test("What the orchestrator refuses is a run that was refused, and the schedule goes on")
  func refused() async throws {
    let test = try await TestOperations()
    test.agents.state.withLock { $0.refuses = true }
    try await test.schedule("vain")
    await test.pass(.seconds(60))
    await test.environment.effects.settled()
    test.agents.state.withLock { $0.refuses = false }
    await test.pass(.seconds(60))
    #expect(try await test.runs("vain") == ["refused 1", "fired 1"])
    await test.stop()
  }

  @Test("A schedule that is deleted is never due again, and its name is free")
  func deleted() async throws {
    let test = try await TestOperations()
    try await test.schedule("brief")
    let delete = DeleteScheduleRequest(idempotencyKey: "D", scheduleID: "brief", reason: "no need")
    _ = try await test.server.deleteSchedule(delete, context: test.context())
    await test.pass(.seconds(120))
    #expect(test.agents.count == 0)
    do {
      _ = try await test.runs("brief")
      Issue.record("it has runs")
    } catch let error as RPCError {
      #expect(error.code == .notFound)
    }
    try await test.schedule("brief", every: 30) { $0.title = "again" }
    await test.pass(.seconds(30))
    #expect(try await test.runs("brief") == ["fired 1"])
    await test.stop()
  }

  @Test("What is no schedule is refused with its fields, and nothing is stored")
  func invalid() async throws {
    let test = try await TestOperations()
    let cases: [(Schedule, String)] = [
      (Schedule(scheduleID: "a", timing: .cron(CronTiming(expression: "* * *")), work: .task(ScheduledTask())), "schedule.cron.expression"),
      (Schedule(scheduleID: "a", timing: .cron(CronTiming(expression: "0 0 30 2 *"))), "schedule.cron.expression"),
      (Schedule(scheduleID: "a", timing: .cron(CronTiming(expression: "* * * * *", timeZone: "Mars/Base"))), "schedule.cron.time_zone"),
      (Schedule(scheduleID: "a b", timing: .every(.init(seconds: 0))), "schedule.schedule_id"),
      (Schedule(scheduleID: "a", timing: .every(.init(seconds: 0))), "schedule.every"),
      (Schedule(scheduleID: "a", work: .task(ScheduledTask())), "schedule.timing"),
      (Schedule(scheduleID: "a", timing: .every(.init(seconds: 5))), "schedule.work"),
      (Schedule(scheduleID: "a", tenantID: "graz", timing: .every(.init(seconds: 5))), "schedule.tenant_id"),
    ]
    for (schedule, field) in cases {
      do {
        _ = try await test.server.createSchedule(
          CreateScheduleRequest(idempotencyKey: "K", schedule: schedule), context: test.context())
        Issue.record("it was taken: \(field)")
      } catch let error as RPCError {
        #expect(error.code == .invalidArgument)
        #expect(error.fieldViolations.map(\.field).contains(field), "\(field): \(error)")
      }
    }
    #expect(try await test.server.listSchedules(ListSchedulesRequest(), context: test.context()).schedules.isEmpty)
    await test.stop()
  }
}
