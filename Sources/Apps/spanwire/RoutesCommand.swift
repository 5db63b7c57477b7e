import ArgumentParser
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

struct RoutesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "routes", abstract: "Plan a walk through places while they are open.",
    discussion: """
      The walk visits as much as the time allows, each place while it is open, and says why it leaves out the rest. Examples:
        spanwire routes --market AT-VIE --start 48.2085,16.3731 --tag cafe --stops 3
        spanwire routes --market AT-VIE --start 48.2085,16.3731 --require SP-VIE-CAFE-CENTRAL --finish 2026-11-21T17:00:00Z
      """)

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "The market, such as AT-VIE.") var market: String
  @Option(help: "Where the walk begins: LATITUDE,LONGITUDE. Left out, it begins at its first stop.") var start: Position?
  @Option(help: "When it begins, as 2026-11-21T15:00:00Z; now when it is left out.") var depart: Moment?
  @Option(help: "When the last visit must be over.") var finish: Moment?
  @Option(help: "How many stops at most, 1 to 25.") var stops: UInt32 = 5
  @Option(help: "Only places with this tag; may be given more than once.") var tag: [String] = []
  @Option(help: "Only among these places; may be given more than once.") var place: [String] = []
  @Option(help: "A place that must be visited; may be given more than once.") var require: [String] = []
  @Option(help: "A place not to visit; may be given more than once.") var exclude: [String] = []
  @Option(help: "Walking speed in metres a second.") var speed: Double = 1.25
  @Option(help: "How many walk together; places without room for all are left out.") var visitors: UInt32 = 1
  @Flag(help: "Print also what was left out, and why.") var excluded = false
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let route = try await LemClient(try await connection.channel()).computeRoute(
        ComputeRouteRequest(
          marketCode: market, start: start?.point, departAt: depart?.timestamp, finishBy: finish?.timestamp, servicePointIds: place,
          tags: tag, requiredServicePointIds: require, excludedServicePointIds: exclude, maxStops: stops, walkingMetresPerSecond: speed,
          visitors: visitors))
      if json { return try printJSON(route) }
      printTable(
        ["STOP", "PLACE", "NAME", "WALK", "ARRIVE", "LEAVE", "OPEN UNTIL"],
        route.stops.enumerated().map { number, stop in
          [
            "\(number + 1)", stop.servicePointID, stop.name, "\(Int(stop.walkingMetres.rounded())) m", moment(stop.arriveAt),
            moment(stop.leaveAt), moment(stop.openUntil),
          ]
        })
      print("\(route.stops.count) of \(route.candidates) places, \(Int(route.walkingMetres.rounded())) m on foot")
      guard excluded else { return }
      printTable(["LEFT OUT", "WHY"], route.excluded.map { [$0.servicePointID, "\($0.why)"] })
    }
  }
}

/// A position on the command line.
struct Position: ExpressibleByArgument {
  let point: GeoPoint

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map { Double($0) }
    guard parts.count == 2, let latitude = parts[0], let longitude = parts[1] else { return nil }
    point = GeoPoint(latitude: latitude, longitude: longitude)
  }
}

/// A moment on the command line, in RFC 3339.
struct Moment: ExpressibleByArgument {
  let timestamp: Google_Protobuf_Timestamp

  init?(argument: String) {
    guard let nanoseconds = RFC3339.parse(argument) else { return nil }
    timestamp = Google_Protobuf_Timestamp(nanosecondsSinceEpoch: nanoseconds)
  }
}

/// A moment as people read it: to the second, in UTC.
func moment(_ timestamp: Google_Protobuf_Timestamp?) -> String {
  timestamp.map { RFC3339.format($0.seconds * 1_000_000_000) } ?? ""
}
