import Testing

/// The gRPC wire, point by point.
@Suite(.timeLimit(.minutes(15))) struct ConformanceTests {
  @Test("the wire keeps the checklist", arguments: Checklist.chosen)
  func holds(row: Case) async throws {
    let deviation = Checklist.deviations.first { $0.row == row.row && $0.side == row.side && $0.name == row.name }
    guard let deviation else { return try await row.run() }
    await withKnownIssue(Comment(rawValue: deviation.reason)) { try await row.run() }
  }

  @Test("every row has its cases, at each end that it is about")
  func isComplete() {
    for row in Checklist.rows {
      let sides = Set(Checklist.cases.filter { $0.row == row.number }.map(\.side))
      #expect(sides == row.sides, "row \(row.number), \(row.text)")
    }
    #expect(Checklist.rows.map(\.number) == Array(1...38) + [40])
  }

  @Test("cases are told apart by their names, and deviations are of cases that exist")
  func names() {
    let names = Checklist.cases.map(\.testDescription)
    for (name, same) in Dictionary(grouping: names, by: { $0 }) where same.count > 1 { Issue.record("\(same.count) times \(name)") }
    for deviation in Checklist.deviations { #expect(names.contains("\(deviation.row) \(deviation.side.rawValue): \(deviation.name)")) }
  }
}
