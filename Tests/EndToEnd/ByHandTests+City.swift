import Foundation
import Testing

/// What is done by hand in a city: its places, their room, walks through them, and what their vendors are paid.
extension ByHandTests {
  private static let lead = "dev:ops:OPS-0002:vienna:ops_lead"
  private static let finance = "dev:ops:OPS-0007:vienna:finance_settlement"

  /// A server with the sample, in which two cafés lie together and one of them takes two visitors.
  private func city() throws -> ServerProcess {
    let server = try ServerProcess()
    try server.start()
    let sample = try String(contentsOf: Checkout.home.appending(path: Self.sample), encoding: .utf8)
    let places = [("SP-VIE-CAFE-CENTRAL", "capacity: 2"), ("SP-VIE-CAFE-TIROLERHOF", "capacity: 0")]
    let changed = places.reduce(sample) { text, place in
      let head = "  - service_point_id: \(place.0)\n"
      return text.replacingOccurrences(of: head, with: head + "    cluster_id: CL-HERRENGASSE\n    \(place.1)\n")
    }
    let bundle = server.data.appending(path: "city.yaml")
    try changed.write(to: bundle, atomically: true, encoding: .utf8)
    try run(Step("registry", "apply", bundle.path), server)
    return server
  }

  @Test("Places, their hours, room and clusters are looked at and acted on by hand, and walks are planned")
  func places() throws {
    let server = try city()
    let reserve = ["places", "reserve", "SP-VIE-CAFE-CENTRAL", "--until", "2026-05-19T12:00:00Z"]
    let steps = [
      Step("places", "list", "--near", "48.21,16.37", "--within", "200", says: ["SP-VIE-CAFE-CAFFE-DELIA-S"]),
      Step("places", "list", "--near", "48.21", code: 64),
      Step("places", "show", "SP-VIE-CAFE-CENTRAL", says: ["CL-HERRENGASSE", "for 2 of 2", "open, until"]),
      Step("places", "show", "SP-NONE", code: 66, says: ["SERVICE_POINT_NOT_FOUND"]),
      Step("places", "clusters", "--market", "AT-VIE", says: ["CL-HERRENGASSE  2"]),
      Step("places", "coverage", "--market", "AT-VIE", says: ["covered: 20 of 33"]),
      Step("places", "coverage", "--market", "AT-VIE", "--at", "2026-05-19T01:00:00Z", code: 1, says: ["22 closed, 11 unknown"]),
      Step("places", "hours", "SP-VIE-CAFE-CENTRAL", says: ["open in Europe/Vienna"]),
      Step("places", "hours", "--text", "Mo-Fr 8-20", "--market", "AT-VIE", code: 65, says: ["unexpected '8' at 6"]),
      Step("routes", "--market", "AT-VIE", "--start", "48.2085,16.3731", "--tag", "cafe", "--stops", "3", says: ["3 of 25 places"]),
      Step("routes", "--market", "AT-VIE", "--stops", "99", code: 65, says: ["max_stops"]),
      Step(
        "sessions", "control", "block", "CL-HERRENGASSE", "--cluster", "--reason", "a parade", "--until", "2026-05-19T18:00:00Z",
        says: ["places: SP-VIE-CAFE-CENTRAL SP-VIE-CAFE-TIROLERHOF", "incident INC-"]),
      Step("places", "show", "SP-VIE-CAFE-TIROLERHOF", says: ["a parade"]),
      Step("sessions", "control", "unblock", "CL-HERRENGASSE", "--cluster", "--reason", "over", says: ["places: SP-VIE-CAFE-CENTRAL"]),
      Step("sessions", "control", "unblock", "CL-HERRENGASSE", "--cluster", "--reason", "over", code: 76),
      Step("sessions", "control", "block", "CL-NONE", "--cluster", "--reason", "r", code: 66, says: ["CL-NONE"]),
      Step("sessions", "control", "cancel", "PRS-1", "--cluster", "--reason", "r", code: 64, says: ["cancel takes no --cluster"]),
    ]
    for step in steps { try run(step, server) }
    func keep(_ options: String..., code: Int32 = 0, says: [String]) throws -> String {
      var step = Step(code: code, says: says)
      step.command = reserve + options
      return try run(step, server)
    }
    let kept = try keep("--holder", "The Millers", "--visitors", "2", says: ["for 2 at SP-VIE-CAFE-CENTRAL"])
    let id = try #require(kept.split(whereSeparator: \.isWhitespace).first { $0.hasPrefix("RSV-") }.map(String.init))
    _ = try keep("--holder", "The Smiths", code: 76, says: ["CAPACITY_EXCEEDED"])
    _ = try keep("--holder", "Nobody", "--visitors", "0", code: 64, says: ["at least 1"])
    try run(Step("places", "reservations", says: [id, "The Millers"]), server)
    try run(Step("places", "release", id, says: ["released: \(id)"]), server)
    try run(Step("places", "release", id, code: 66, says: ["RESERVATION_NOT_FOUND"]), server)
    try run(Step("verify"), server)
    #expect(server.terminate() == 0)
  }

  @Test("A coffee is drunk by hand: room is kept on the way, and the vendor is settled, corrected up and down, and paid by a file")
  func settlements() throws {
    let server = try city()
    let opened = try run(
      Step("sessions", "open", "PRD-VIEN-COFFEE-PASS", "--market", "AT-VIE", "--segment", "tourist", by: Self.traveller), server)
    let session = String(opened.prefix { $0 != " " })
    try run(Step("sessions", "buy", session, "--payment", "PAY-1", by: Self.traveller), server)
    try run(Step("journeys", "start", session, by: Self.traveller), server)
    let asked = try run(
      Step(
        "sessions", "ask", session, "trip_planner", "build_initial_route", "--position", "48.2085,16.3721", "--suggestions", "1",
        by: Self.traveller), server)
    let proposal = try #require(asked.split(whereSeparator: \.isWhitespace).first { $0.hasPrefix("PRP-") }.map(String.init))
    try run(Step("sessions", "accept", session, proposal, by: Self.traveller, says: ["SP-VIE-CAFE-CENTRAL"]), server)
    try run(Step("journeys", "arrive", session, by: Self.traveller, says: ["at redeem"]), server)
    try run(Step("journeys", "redeem", session, by: Self.traveller, says: ["2 left"]), server)
    try run(Step("places", "reservations", says: ["SP-VIE-CAFE-CENTRAL  1", session]), server)
    try run(Step("journeys", "abandon", session, "--reason", "rain", by: Self.traveller), server)
    let settled = try run(Step("settlements", "settle", says: ["3.4 EUR"]), server)
    let id = try #require(settled.split(whereSeparator: \.isWhitespace).first { $0.hasPrefix("STL-") }.map(String.init))
    let steps = [
      Step("settlements", "settle", says: ["nothing to settle"]),
      Step("settlements", "correct", id, "--amount", "2.50", "--reason", "r", by: Self.lead, code: 77, says: ["settlement_control"]),
      Step("settlements", "correct", id, "--amount", "2.50", "--reason", "two more", by: Self.finance, says: ["by 2.50", "audit EVT-"]),
      Step("settlements", "correct", id, "--amount", "-0.40", "--reason", "one less", by: Self.finance, says: ["by -0.40"]),
      Step("sessions", "control", "correct", id, "--amount", "-0.10", "--reason", "and a bit", by: Self.finance, says: ["done: correct"]),
      Step("settlements", "correct", id, "--amount", "-99", "--reason", "r", by: Self.finance, code: 76, says: ["can't become negative"]),
      Step("settlements", "correct", id, "--amount", "much", "--reason", "r", by: Self.finance, code: 64, says: ["2.50 or -0.40"]),
      Step("settlements", "correct", "STL-NONE", "--amount", "1", "--reason", "r", by: Self.finance, code: 66),
      Step("settlements", "show", id, says: ["5.4 EUR", "two more", "and a bit"]),
      Step("settlements", "export", id, "--output", "-", says: ["total,\(id)", "5.4,EUR"]),
      Step("places", "reservations", "--json"),
      Step("verify"),
    ]
    for step in steps { try run(step, server) }
    let left = try run(Step("places", "reservations"), server)
    #expect(!left.contains(session), "who has gone home keeps no room")
    #expect(server.terminate() == 0)
  }
}
