import SpanwireProtobuf
import SpanwireRPC
import SpanwireWellKnown
import Synchronization

/// What the test server reports as its load, because a client asked it to.
final class LoadBoard: Sendable {
  /// The trailer that carries the report of one call.
  static let trailer = "endpoint-load-metrics-bin"

  private let latest = Mutex(Xds_Data_Orca_V3_OrcaLoadReport())

  var report: Xds_Data_Orca_V3_OrcaLoadReport {
    get { latest.withLock { $0 } }
    set { latest.withLock { $0 = newValue } }
  }
}

extension Xds_Data_Orca_V3_OrcaLoadReport {
  /// The report that a test asks for, as servers send it.
  init(_ asked: Grpc_Testing_TestOrcaReport) {
    self.init(
      cpuUtilization: asked.cpuUtilization, memUtilization: asked.memoryUtilization, requestCost: asked.requestCost,
      utilization: asked.utilization)
  }
}

/// Streams the load that the board shows.
struct LoadReports: Xds_Service_Orca_V3_OpenRcaServiceService {
  let board: LoadBoard

  /// Between reports, where a client says nothing.
  private static let defaultInterval = Duration.seconds(1)
  /// Between reports, where a client asks for less: a stream must not keep a processor busy.
  private static let minInterval = Duration.milliseconds(50)

  func streamCoreMetrics(
    _ request: Xds_Service_Orca_V3_OrcaLoadReportRequest, responses: ResponseWriter<Xds_Data_Orca_V3_OrcaLoadReport>,
    context: ServerContext
  ) async throws {
    let asked = request.reportInterval.map { Duration.seconds($0.seconds) + .nanoseconds(Int64($0.nanos)) }
    let interval = max(asked ?? Self.defaultInterval, Self.minInterval)
    while true {
      try await responses.write(board.report)
      try await Task.sleep(for: interval)
    }
  }
}

/// Cases of load reports: in the trailers of a call, and beside all calls.
extension InteropClient {
  private static let first = Grpc_Testing_TestOrcaReport(
    cpuUtilization: 0.8210, memoryUtilization: 0.5847, utilization: ["util": 0.30499])
  private static let second = Grpc_Testing_TestOrcaReport(
    cpuUtilization: 0.29309, memoryUtilization: 0.2, utilization: ["util": 0.2039])

  func orcaPerRPC() async throws {
    var asked = Self.first
    asked.requestCost = ["cost": 3456.32]
    let response: UnaryResponse<Grpc_Testing_SimpleResponse> = try await channel.unary(
      Grpc_Testing_SimpleRequest(orcaPerQueryReport: asked), Methods.unaryCall, CallOptions(), returning: Grpc_Testing_SimpleResponse.self)
    let reports = try response.trailers[bytes: LoadBoard.trailer].map { try Xds_Data_Orca_V3_OrcaLoadReport(decoding: $0) }
    try expect(reports, [Xds_Data_Orca_V3_OrcaLoadReport(asked)], "the report of the call")
  }

  func orcaOutOfBand() async throws {
    let reports = try await Xds_Service_Orca_V3_OpenRcaServiceClient(channel).streamCoreMetrics(
      Xds_Service_Orca_V3_OrcaLoadReportRequest(reportInterval: Google_Protobuf_Duration(nanos: 100_000_000)),
      options: .timeout(.seconds(60)))
    let call = try await service.fullDuplexCall()
    for asked in [Self.first, Self.second] {
      try await call.requests.write(
        OutputRequest(responseParameters: [Grpc_Testing_ResponseParameters(size: 1)], orcaOobReport: asked))
      try expect(try await call.responses.next()?.payload, size: 1)
      let wanted = Xds_Data_Orca_V3_OrcaLoadReport(asked)
      while let report = try await reports.next(), report != wanted {}
    }
    call.requests.finish()
    try expect(try await call.responses.next() == nil, true, "the end after two responses")
    reports.cancel()
  }
}
