import ArgumentParser
import SpanwireWellKnown

/// A span of time as a command line names it: `90s`, `10m`, `2h`, `1d`.
struct TimeSpan: ExpressibleByArgument {
  let duration: Google_Protobuf_Duration

  init?(argument: String) {
    let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]
    guard let last = argument.last, let unit = units[last], let count = Int64(argument.dropLast()), count > 0, count < 1_000_000_000 else {
      return nil
    }
    duration = Google_Protobuf_Duration(seconds: count * unit)
  }

  /// The same spelling, in the largest unit that is whole.
  static func text(_ duration: Google_Protobuf_Duration) -> String {
    let seconds = duration.seconds
    for (unit, letter) in [(Int64(86_400), "d"), (3_600, "h"), (60, "m")] where seconds % unit == 0 && seconds > 0 {
      return "\(seconds / unit)\(letter)"
    }
    return "\(seconds)s"
  }
}
