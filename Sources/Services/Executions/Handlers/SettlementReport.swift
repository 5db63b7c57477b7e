import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import SpanwireWorker

/// `settlement_report`: gathers the settlements of a tenant, of one vendor or of all, into a table, and keeps it as an artifact.
///
/// Parameters: `vendor_id`, empty for all. Output: `settlements`, `totals` by currency in micro-units, `artifact_id`.
enum SettlementReport {
  /// Settlements of a report: a table that a person reads.
  private static let most = 500

  static let run: IntentHandler = { run in
    let vendor = run.parameters["vendor_id"]?.text ?? ""
    let trutta = TruttaClient(run.channel)
    let gathered = try await run.step("gather", input: ["vendor_id": Google_Protobuf_Value(vendor)]) { _ in
      let page = try await trutta.listSettlements(ListSettlementsRequest(vendorID: vendor, pageSize: UInt32(most)))
      let rows = page.settlements.map { settlement -> Google_Protobuf_Value in
        [
          "settlement_id": Google_Protobuf_Value(settlement.settlementID), "vendor_id": Google_Protobuf_Value(settlement.vendorID),
          // Micro-units may be more than a double counts exactly.
          "micros": Google_Protobuf_Value("\(settlement.total?.micros ?? 0)"),
          "currency": Google_Protobuf_Value(settlement.total?.currency ?? ""),
        ]
      }
      return ["settlements": Google_Protobuf_Value(rows), "has_more": Google_Protobuf_Value(!page.nextPageToken.isEmpty)]
    }
    let rows = (gathered["settlements"]?.list ?? []).compactMap(\.object)
    let summed = try await run.step("sum", input: gathered) { _ in
      var totals: [String: Int64] = [:]
      for row in rows { totals[row["currency"]?.text ?? "", default: 0] += Int64(row["micros"]?.text ?? "") ?? 0 }
      var output: Google_Protobuf_Struct = [:]
      for (currency, total) in totals.sorted(by: { $0.key < $1.key }) { output[currency] = Google_Protobuf_Value("\(total)") }
      return output
    }
    let written = try await run.step("write", input: summed) { _ in
      let lines = rows.map { row in
        ["settlement_id", "vendor_id", "micros", "currency"].map { row[$0]?.text ?? "" }.joined(separator: ",")
      }
      let table = (["settlement_id,vendor_id,micros,currency"] + lines).joined(separator: "\n") + "\n"
      let artifact = try await run.artifacts.store(
        "settlements", type: "settlement_report", format: "text/csv", content: Array(table.utf8),
        describedBy: ["vendor_id": Google_Protobuf_Value(vendor), "rows": Google_Protobuf_Value(Double(rows.count))])
      return ["artifact_id": Google_Protobuf_Value(artifact.artifactID)]
    }
    return HandlerResult(
      output: [
        "settlements": Google_Protobuf_Value(Double(rows.count)), "totals": Google_Protobuf_Value(summed),
        "has_more": gathered["has_more"] ?? false, "artifact_id": written["artifact_id"] ?? "",
      ], artifactIds: [written["artifact_id"]?.text ?? ""])
  }
}
