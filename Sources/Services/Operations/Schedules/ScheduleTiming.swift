import Foundation
import SpanwireSchema
import SpanwireServiceKit

/// When a schedule is due. Moments are nanoseconds since 1970.
enum ScheduleTiming: Sendable {
  case cron(CronExpression, TimeZone)
  /// Every so many nanoseconds, counted from a moment.
  case every(Int64, from: Int64)

  /// Of a contract; what is wrong with it goes into `fields`.
  init?(_ timing: Schedule.Timing?, from created: Int64, _ fields: inout Validation) {
    switch timing {
    case .cron(let cron):
      fields.optionalText(cron.expression, "schedule.cron.expression", max: ScheduleLimits.expressionLetters)
      guard let zone = TimeZone(identifier: cron.timeZone.isEmpty ? "UTC" : cron.timeZone) else {
        fields.add("schedule.cron.time_zone", "is no time zone of the IANA database")
        return nil
      }
      do throws(CronExpression.Fault) {
        self = .cron(try CronExpression(cron.expression), zone)
      } catch {
        fields.add("schedule.cron.expression", error.description)
        return nil
      }
      if next(after: created) == nil {
        fields.add("schedule.cron.expression", "is never due")
        return nil
      }
    case .every(let every):
      let span = every.duration
      guard span >= ScheduleLimits.shortest, span <= ScheduleLimits.longest else {
        fields.add("schedule.every", "must be a second to 366 days")
        return nil
      }
      self = .every(span.nanoseconds, from: created)
    case nil:
      fields.add("schedule.timing", "cron or every must be given")
      return nil
    }
  }

  /// The first time after a moment; nil when there is none any more.
  func next(after moment: Int64) -> Int64? {
    switch self {
    case .cron(let expression, let zone):
      // Times are whole seconds: the second that a moment lies in has begun.
      return expression.next(after: moment / 1_000_000_000, in: zone).map { $0 * 1_000_000_000 }
    case .every(let span, let from):
      if moment < from { return from + span }
      return from + ((moment - from) / span + 1) * span
    }
  }

  /// How many times there are after a moment up to another, at most so many, and the last of them.
  func times(after first: Int64, through last: Int64) -> (count: Int, last: Int64?) {
    if case .every(let span, let from) = self {
      guard let begin = next(after: first), begin <= last else { return (0, nil) }
      let count = (last - begin) / span + 1
      return (Int(min(count, Int64(ScheduleLimits.counted))), from + (last - from) / span * span)
    }
    var (count, place): (Int, Int64?) = (0, nil)
    while count < ScheduleLimits.counted, let next = next(after: place ?? first), next <= last {
      count += 1
      place = next
    }
    return (count, place)
  }
}
