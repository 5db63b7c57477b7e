import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Service levels: what was measured, and what it comes to.
extension OperationsServer {
  public func listSlaMeasurements(
    _ request: ListSlaMeasurementsRequest, context: ServerContext
  ) async throws -> ListSlaMeasurementsResponse {
    let tenant = try Caller(context).tenant
    var fields = Validation()
    fields.optionalText(request.jobType, "job_type", max: SLALimits.letters)
    let size = fields.pageSize(request.pageSize, default: SLALimits.defaultPageSize, max: SLALimits.maxPageSize)
    try fields.finish()
    let before = try PageToken.decode(request.pageToken)
    let page = try await environment.database.scan {
      try SLAStore.page($0, tenant: tenant, type: request.jobType, breached: request.breached, before: before, limit: size + 1)
    }
    return ListSlaMeasurementsResponse(
      measurements: page.prefix(size).map(\.measurement), nextPageToken: page.count > size ? PageToken.encode(page[size - 1].id) : "")
  }

  public func summarizeSla(_ request: SummarizeSlaRequest, context: ServerContext) async throws -> SummarizeSlaResponse {
    let tenant = try Caller(context).tenant
    let now = environment.clock.now
    let from = request.from?.nanosecondsSinceEpoch ?? now - SLALimits.summary
    let targets = try await watch.targets(of: tenant)
    let measured = try await environment.database.scan { snapshot in
      var measured: [(String, [SlaMeasurement])] = []
      for type in try SLAStore.types(snapshot, tenant: tenant) {
        let latest = try SLAStore.page(snapshot, tenant: tenant, type: type, breached: false, before: "", limit: SLALimits.summarised)
        measured.append((type, latest.map(\.measurement).filter { $0.createdAt?.nanosecondsSinceEpoch ?? 0 >= from }))
      }
      return measured
    }
    var types = measured.filter { !$0.1.isEmpty }.map { type, all in Self.summary(type, all, targets[type]) }
    for (type, target) in targets where !types.contains(where: { $0.jobType == type }) { types.append(Self.summary(type, [], target)) }
    return SummarizeSlaResponse(types: types.sorted { $0.jobType < $1.jobType })
  }

  private static func summary(_ type: String, _ measured: [SlaMeasurement], _ target: SlaTarget?) -> SlaSummary {
    let first = measured.compactMap(\.timeToFirstUpdateMs).sorted()
    let completion = measured.map(\.timeToCompletionMs).sorted()
    return SlaSummary(
      jobType: type, measured: UInt32(measured.count), breached: UInt32(measured.count(where: \.slaBreached)),
      firstUpdateP50Ms: first.percentile(50), firstUpdateP99Ms: first.percentile(99), completionP50Ms: completion.percentile(50),
      completionP99Ms: completion.percentile(99), targetFirstUpdateMs: Int64(target?.timeToFirstUpdateMs ?? 0),
      targetCompletionMs: Int64(target?.timeToCompletionMs ?? 0))
  }
}

extension [Int64] {
  /// Of sorted values, the smallest that so many per cent do not exceed; 0 of none.
  func percentile(_ percent: Int) -> Int64 { isEmpty ? 0 : self[Swift.min(count - 1, Swift.max(0, (count * percent + 99) / 100 - 1))] }
}
