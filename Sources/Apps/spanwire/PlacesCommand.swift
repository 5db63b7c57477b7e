import ArgumentParser
import SpanwireSchema
import SpanwireWellKnown

struct PlacesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "places", abstract: "Look at the city: its places, their hours, clusters, coverage and room.",
    discussion: """
      Examples:
        spanwire places list --market AT-VIE --near 48.2085,16.3731 --within 500 --open
        spanwire places hours SP-VIE-CAFE-CENTRAL
        spanwire places hours --text "Mo-Fr 08:00-18:00; PH off" --market AT-VIE
        spanwire places reserve SP-VIE-CAFE-CENTRAL --visitors 4 --holder "family Huber" --until 2026-11-21T15:00:00Z
      Places come from the registry's bundle (`spanwire registry`); they are blocked by `spanwire sessions control block`.
      """,
    subcommands: [
      PlacesList.self, PlacesShow.self, PlacesHours.self, PlacesClusters.self, PlacesCoverage.self, PlacesReservations.self,
      PlacesReserve.self, PlacesRelease.self,
    ], defaultSubcommand: PlacesList.self)
}

struct PlacesList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List places: nearest first with --near, else by id.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only places of this market, such as AT-VIE.") var market: String = ""
  @Option(help: "Only places with this tag, such as cafe; may be given more than once.") var tag: [String] = []
  @Option(help: "Only places of this cluster.") var cluster: String = ""
  @Option(help: "LATITUDE,LONGITUDE in degrees, such as 48.2085,16.3731.") var near: Position?
  @Option(help: "With --near: how many metres away at most.") var within: Double = 0
  @Option(help: "The moment to look at, as 2026-11-21T15:00:00Z; now when it is left out.") var at: Moment?
  @Flag(help: "Only what is certainly open and not blocked.") var open = false
  @Option(help: "How many at most.") var limit: Int = 50
  @Flag(help: "Print JSON, one place a line.") var json = false

  mutating func validate() throws {
    if limit < 1 { throw ValidationError("--limit must be at least 1") }
  }

  func run() async throws {
    try await reportingFailures {
      let lem = LemClient(try await connection.channel())
      var request = ListServicePointsRequest(
        marketCode: market, tags: tag, near: near?.point, withinMetres: within, at: at?.timestamp, openOnly: open, clusterID: cluster)
      let (places, _) = try await gather(upTo: limit) { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let page = try await lem.listServicePoints(request)
        return (page.servicePoints, page.nextPageToken)
      }
      if json { return try places.forEach { try printJSON($0) } }
      printTable(
        ["PLACE", "NAME", "STATE", "UNTIL", "FREE", "HOURS"],
        places.map { status in
          let place = status.servicePoint ?? ServicePoint()
          let until = status.openState == .open ? status.openUntil : status.opensAt
          return [
            place.servicePointID, place.name, status.blocked ? "blocked" : "\(status.openState)", moment(until),
            place.capacity > 0 ? "\(status.freeCapacity)" : "", status.hoursProblem.isEmpty ? place.openingHours : status.hoursProblem,
          ]
        })
    }
  }
}

struct PlacesShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one place, and whether it is open.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The place's id, SP-….") var id: String
  @Option(help: "The moment to look at, as 2026-11-21T15:00:00Z; now when it is left out.") var at: Moment?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let status = try await LemClient(try await connection.channel()).getServicePoint(
        GetServicePointRequest(servicePointID: id, at: at?.timestamp))
      if json { return try printJSON(status) }
      let place = status.servicePoint ?? ServicePoint()
      print("\(place.servicePointID)  \(printable(place.name)), \(printable(place.street))")
      print("  market   \(place.marketCode)\(place.clusterID.isEmpty ? "" : ", cluster \(place.clusterID)")")
      if let position = place.position { print("  where    \(position.latitude),\(position.longitude)") }
      print("  tags     \(place.tags.joined(separator: " "))")
      print("  hours    \(printable(place.openingHours))")
      if !status.hoursProblem.isEmpty { print("           \(printable(status.hoursProblem))") }
      let then = status.openUntil.map { ", until \(moment($0))" } ?? status.opensAt.map { ", opens \(moment($0))" } ?? ""
      print("  state    \(status.openState)\(then)")
      if place.capacity > 0 { print("  room     for \(status.freeCapacity) of \(place.capacity)") }
      if status.blocked {
        print("  blocked  \(printable(status.blockedReason))\(status.blockedUntil.map { ", until \(moment($0))" } ?? "")")
      }
      if !place.attribution.isEmpty { print("  source   \(printable(place.attribution))") }
    }
  }
}

struct PlacesHours: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hours", abstract: "Lay out opening hours: of a place, or of any text in OpenStreetMap's syntax.",
    discussion: "A text that can't be read is shown with a mark under the place, and the exit code is 65.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The place's id, SP-…; leave it out with --text.") var id: String = ""
  @Option(help: "Opening hours to try, such as \"Mo-Fr 08:00-18:00; PH off\".") var text: String = ""
  @Option(help: "With --text: the market whose clock and holidays hold.") var market: String = ""
  @Option(help: "From when on, as 2026-11-21T15:00:00Z; now when it is left out.") var from: Moment?
  @Option(help: "Until when, at most 31 days later; a week later when it is left out.") var until: Moment?
  @Flag(help: "Print JSON.") var json = false

  mutating func validate() throws {
    if id.isEmpty == text.isEmpty { throw ValidationError("name either a place or a --text") }
    if id.isEmpty, market.isEmpty { throw ValidationError("--text needs --market") }
  }

  func run() async throws {
    try await reportingFailures {
      let answer = try await LemClient(try await connection.channel()).explainHours(
        ExplainHoursRequest(
          servicePointID: id, openingHours: text, marketCode: market, from: from?.timestamp, until: until?.timestamp))
      if json {
        try printJSON(answer)
      } else {
        print(printable(answer.openingHours))
        if !answer.problem.isEmpty {
          let before = String(decoding: answer.openingHours.utf8.prefix(Int(answer.problemOffset)), as: UTF8.self)
          print(String(repeating: " ", count: before.count) + "^ " + printable(answer.problem))
        }
        if !answer.intervals.isEmpty {
          print("\(answer.state) in \(answer.timeZone)\(answer.nextChange.map { ", until \(moment($0))" } ?? ", and stays so")")
          printTable(
            ["FROM", "UNTIL", "STATE", "COMMENT"],
            answer.intervals.map { [moment($0.start), moment($0.end), "\($0.state)", $0.comment] })
        }
      }
      if answer.intervals.isEmpty, !answer.problem.isEmpty { throw ExitCode(65) }
    }
  }
}

struct PlacesClusters: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "clusters", abstract: "List the groups in which a market's places lie.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "The market, such as AT-VIE.") var market: String
  @Option(help: "Only places with this tag count; may be given more than once.") var tag: [String] = []
  @Option(help: "The moment to look at, as 2026-11-21T15:00:00Z; now when it is left out.") var at: Moment?
  @Flag(help: "Print JSON, one cluster a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let answer = try await LemClient(try await connection.channel()).listClusters(
        ListClustersRequest(marketCode: market, tags: tag, at: at?.timestamp))
      if json { return try answer.clusters.forEach { try printJSON($0) } }
      printTable(
        ["CLUSTER", "PLACES", "OPEN", "RADIUS", "CENTRE"],
        answer.clusters.map {
          [
            $0.clusterID, "\($0.servicePoints)", "\($0.openNow)", "\(Int($0.radiusMetres.rounded())) m",
            $0.centre.map { "\($0.latitude),\($0.longitude)" } ?? "",
          ]
        })
    }
  }
}

struct PlacesCoverage: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "coverage", abstract: "Check whether a market is served: exit code 0 if a place is certainly open, 1 if none is.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "The market, such as AT-VIE.") var market: String
  @Option(help: "Only places with this tag count; may be given more than once.") var tag: [String] = []
  @Option(help: "The moment to look at, as 2026-11-21T15:00:00Z; now when it is left out.") var at: Moment?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let answer = try await LemClient(try await connection.channel()).checkCoverage(
        CheckCoverageRequest(marketCode: market, at: at?.timestamp, tags: tag))
      if json {
        try printJSON(answer)
      } else if answer.covered {
        print("covered: \(answer.openNow) of \(answer.servicePoints) places are open")
      }
      if !answer.covered { throw CheckFailed(message: "\(market) is not covered: \(answer.reason)") }
    }
  }
}
