import ArgumentParser
import SpanwireSchema

struct PlacesReservations: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reservations", abstract: "List the room that is kept at places and not over yet.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only at this place.") var place: String = ""
  @Option(help: "How many at most.") var limit: Int = 100
  @Flag(help: "Print JSON, one reservation a line.") var json = false

  mutating func validate() throws {
    if limit < 1 { throw ValidationError("--limit must be at least 1") }
  }

  func run() async throws {
    try await reportingFailures {
      let lem = LemClient(try await connection.channel())
      var request = ListReservationsRequest(servicePointID: place)
      let (found, _) = try await gather(upTo: limit) { size, token in
        (request.pageSize, request.pageToken) = (size, token)
        let page = try await lem.listReservations(request)
        return (page.reservations, page.nextPageToken)
      }
      if json { return try found.forEach { try printJSON($0) } }
      printTable(
        ["RESERVATION", "PLACE", "VISITORS", "FROM", "UNTIL", "HOLDER"],
        found.map {
          [
            $0.reservationID, $0.servicePointID, "\($0.visitors)", moment($0.startsAt), moment($0.expiresAt), $0.holder,
          ]
        })
    }
  }
}

struct PlacesReserve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reserve", abstract: "Keep room for visitors at a place, for a time.",
    discussion: "A place whose capacity is limited refuses (exit code 76) when there is not room for all at any moment of the time.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The place's id, SP-….") var place: String
  @Option(help: "How many come.") var visitors: UInt32 = 1
  @Option(help: "Who comes: a session's id, a party's name.") var holder: String
  @Option(help: "From when on, as 2026-11-21T15:00:00Z; now when it is left out.") var from: Moment?
  @Option(help: "Until when, at most a day later; then it ends by itself.") var until: Moment
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  mutating func validate() throws {
    if visitors < 1 { throw ValidationError("--visitors must be at least 1") }
  }

  func run() async throws {
    try await reportingFailures {
      let answer = try await LemClient(try await connection.channel()).reserveCapacity(
        ReserveCapacityRequest(
          idempotencyKey: idempotencyKey ?? newIdempotencyKey(), servicePointID: place, visitors: visitors, holder: holder,
          startsAt: from?.timestamp, expiresAt: until.timestamp))
      if json { return try printJSON(answer) }
      print("reserved: \(answer.reservation?.reservationID ?? "") for \(visitors) at \(place)")
    }
  }
}

struct PlacesRelease: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "release", abstract: "Give kept room back before its time.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The reservation's id, RSV-….") var id: String
  @Option(help: "Makes a repeated command safe; by default a new one each time.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    try await reportingFailures {
      let released = try await LemClient(try await connection.channel()).releaseCapacity(
        ReleaseCapacityRequest(idempotencyKey: idempotencyKey ?? newIdempotencyKey(), reservationID: id))
      if json { return try printJSON(released) }
      print("released: \(released.reservationID), \(released.visitors) at \(released.servicePointID)")
    }
  }
}
