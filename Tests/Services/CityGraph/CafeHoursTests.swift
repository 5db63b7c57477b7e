import Foundation
import Testing

@testable import SpanwireCityGraph

/// Every distinct opening_hours value of the cafés in Vienna's first district.
/// © OpenStreetMap contributors, ODbL 1.0.
let cafeHours = [
  "08:00-22:00",
  "08:00-24:00",
  "10:00-22:00",
  "17:00-04:00",
  "Apr-Sep",
  "Fr-We,PH 10:00-18:00; Th 08:00-21:00",
  "Mo,Tu 08:30-16:00; We-Fr 08:30-20:00; Sa 08:30-15:00",
  "Mo-Fr 05:00-19:00; PH,Sa,Su 05:00-19:00",
  "Mo-Fr 06:00-17:00",
  "Mo-Fr 06:30-21:00; Sa 08:00-19:00; Su 09:00-19:00",
  "Mo-Fr 07:00-02:00; Sa-Su 06:00-02:00",
  "Mo-Fr 07:00-16:30; Sa 08:00-16:00",
  "Mo-Fr 07:00-17:30; Sa 09:00-18:00",
  "Mo-Fr 07:00-19:00; Sa 09:00-18:30; Su 10:00-18:00",
  "Mo-Fr 07:00-20:00; PH off",
  "Mo-Fr 07:00-21:00; Sa 08:00-21:00; Su,PH 08:00-21:00",
  "Mo-Fr 07:00-24:00; Sa 07:30-24:00; PH,Su 08:00-24:00",
  "Mo-Fr 07:00-24:00; Sa,Su,PH 11:00-24:00",
  "Mo-Fr 07:30-17:30; Sa 09:00-17:00",
  "Mo-Fr 07:30-18:00; Sa,Su 08:00-17:00",
  "Mo-Fr 07:30-18:30; Sa 09:00-18:00; Su 10:00-18:00",
  "Mo-Fr 07:30-20:00; Sa 09:00-20:00; Su,PH 08:00-18:00",
  "Mo-Fr 07:30-24:00, Sa 10:00-24:00, Su 11:00-21:00",
  "Mo-Fr 07:30-24:00; Sa,Su 08:30-24:00",
  "Mo-Fr 07:40-20:00; Sa 07:40-18:00",
  "Mo-Fr 08:00-01:00; Sa, Su 10:00-01:00",
  "Mo-Fr 08:00-17:00; Sa 10:00-17:00",
  "Mo-Fr 08:00-17:00; Sa-Su 09:00-18:00",
  "Mo-Fr 08:00-18:00",
  "Mo-Fr 08:00-18:00; Sa-Su 10:00-18:00",
  "Mo-Fr 08:00-19:00; Sa 08:00-18:00; Su,PH 10:00-18:00",
  "Mo-Fr 08:00-19:00; Sa 09:00-19:00; Su 10:00-18:00",
  "Mo-Fr 08:00-19:00;Sa 08:00-17:30;Su 10:00-17:30",
  "Mo-Fr 08:00-19:30; Sa 09:00-18:00",
  "Mo-Fr 08:00-20:00; Sa 08:00-21:00",
  "Mo-Fr 08:00-20:00; Sa-Su 09:00-20:00",
  "Mo-Fr 08:00-21:00; Su 09:30-20:00",
  "Mo-Fr 08:00-22:30; Sa 09:00-22:30; PH off",
  "Mo-Fr 08:00-23:00; Sa 10:00-23:00; Su,PH 10:00-18:00",
  "Mo-Fr 08:00-24:00; Sa 09:00-24:00; Su,PH 09:00-23:00",
  "Mo-Fr 08:30-16:00",
  "Mo-Fr 09:00-18:00; Sa 10:00-18:00",
  "Mo-Fr 11:00-14:00",
  "Mo-Fr 11:00-22:00; Sa 12:00-22:00; PH off",
  "Mo-Fr 12:00-23:00; Sa 15:00-23:00; Jul-Aug: 10:00-24:00; Su, PH off",
  "Mo-Fr, Su 10:00-18:00",
  "Mo-Sa 07:00-24:00; Su 08:00-24:00; PH 08:00-24:00",
  "Mo-Sa 07:30-23:00; Su 07:30-16:00",
  "Mo-Sa 08:00-01:00; Su,PH 10:00-01:00",
  "Mo-Sa 08:00-15:00; Su 08:00-13:30",
  "Mo-Sa 08:00-18:00",
  "Mo-Sa 08:00-20:00; Su 09:00-18:00, PH 09:00-18:00",
  "Mo-Sa 08:00-21:00; PH,Su 10:00-21:00",
  "Mo-Sa 08:00-22:00; Su,PH 10:00-20:00",
  "Mo-Sa 08:00-24:00, Su 10:00-24:00",
  "Mo-Sa 08:00-24:00, Su,PH 09:00-22:00",
  "Mo-Sa 08:00-24:00; PH 10:00-23:00; Su off",
  "Mo-Sa 09:00-18:30; PH,Su 10:00-18:30",
  "Mo-Sa 10:00-18:00; PH off",
  "Mo-Sa 11:00-23:00; Su 10:00-23:00",
  "Mo-Sa 12:00-22:00",
  "Mo-Sa 12:00-22:00; Su 12:00-18:00",
  "Mo-Sa 16:00-02:00; Su 10:00-24:00",
  "Mo-Sa 18:00-24:00",
  "Mo-Su 07:00-23:00",
  "Mo-Su 07:30-24:00",
  "Mo-Su 08:00-00:00",
  "Mo-Su 08:00-20:00",
  "Mo-Su 08:30-22:00",
  "Mo-Su 09:00-19:00",
  "Mo-Su 09:00-21:00",
  "Mo-Su 09:00-22:00",
  "Mo-Su 09:30-20:00",
  "Mo-Su 10:00-17:00",
  "Mo-Su 10:00-20:00",
  "Mo-Su 10:00-23:00",
  "Mo-Su 11:30-19:00",
  "Mo-Su 12:00-19:00",
  "Mo-Su 12:00-21:00",
  "Mo-Su 17:00-23:00",
  "Mo-Su, PH 09:00-02:00, Dec 24 off",
  "Mo-Su,PH 08:00-22:00",
  "Mo-Su,PH 09:30-20:00",
  "Mo-Th 07:00-22:00; Fr 07:00-23:00; Sa 07:30-23:00; Su 08:00-22:00",
  "Mo-Th 07:30-21:30; Fr 07:30-21:30; Sa 08:00-21:30; Su,PH 09:00-21:00",
  "Mo-Th 08:00-02:00; Fr 08:00-04:00; Sa 18:00-04:00; Su 18:00-02:00",
  "Mo-Th 08:00-20:00; Fr 08:00-21:00; Sa 09:00-21:00; PH,Su 10:00-17:00",
  "Mo-Th 09:00-24:00; Fr,Sa 09:00-01:00; Su 10:00-20:00",
  "Mo-Th 10:00-02:00; Fr-Sa 10:00-04:00; Su,PH 12:00-02:00",
  "Mo-Th 16:00-02:00; Fr, Sa 16:00-04:00; Su 16:00-00:00",
  "Mo-We 11:00-22:00; Th-Sa 11:00-24:00; Su off; PH unknown",
  "Mo-We, Fr 10:00-18:00; Fr 10:00-20:00",
  "Sa,Su 08:00-18:00",
  "Su-Th 08:30-20:00; Fr,Sa 08:30-21:00",
  "Su-We 07:00-21:30; Th 07:00-22:30; Fr 08:30-22:30; Sa 08:30-21:30",
  "Tu,We 14:00-19:00; Th-Sa 14:00-22:00; Su,Mo off",
  "Tu-Sa 09:00-20:00",
]

@Suite("Real cafés")
struct CafeHoursTests {
  @Test("Every value parses, and opens within a week where it gives hours", arguments: cafeHours)
  func parses(_ text: String) throws {
    let hours = try OpeningHours(parsing: text)
    let from = at(2026, 6, 1)
    let windows = hours.openWindows(from: from, to: from + 7 * 86_400, in: .vienna)
    if text == "Apr-Sep" {
      #expect(windows.isEmpty && hours.state(at: from, in: .vienna) == .unknown)
    } else {
      #expect(!windows.isEmpty)
      #expect(hours.nextOpening(from: from, in: .vienna) == windows.first?.start)
    }
  }

  @Test("Every place that the sample ships has hours that can be read, or a reason and its position why not")
  func shipped() throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../../../Samples")
    let bundle = try String(contentsOf: folder.appending(path: "vienna-coffee-pass.yaml"), encoding: .utf8)
    let values = bundle.split(separator: "\n").compactMap { line -> String? in
      let parts = line.split(separator: "opening_hours: \"", maxSplits: 1)
      return parts.count == 2 ? String(parts[1].dropLast()) : nil
    }
    var problems: [String] = []
    for text in values + cafeHours {
      do throws(OpeningHoursError) { _ = try OpeningHours(parsing: text) } catch { problems.append("\(text): \(error)") }
    }
    print("opening hours: \(values.count) of the sample, \(cafeHours.count) of the first district, \(problems.count) not read")
    #expect(values.count > 20)
    #expect(problems.isEmpty, "\(problems)")
  }
}
