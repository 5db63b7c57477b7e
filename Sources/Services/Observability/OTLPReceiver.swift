import SpanwireRPC
import SpanwireSchema
import SpanwireTelemetry

/// Takes spans by OTLP, so that any stock OpenTelemetry exporter can send to this port.
///
/// Every span that can't be stored is counted in `partial_success` with the reason; the rest of its export is stored.
public struct OTLPTraceReceiver: Opentelemetry_Proto_Collector_Trace_V1_TraceServiceService {
  private let store: SpanStore

  public init(_ collector: CollectorServer) { store = collector.store }

  public func export(
    _ request: Opentelemetry_Proto_Collector_Trace_V1_ExportTraceServiceRequest, context: ServerContext
  ) async throws -> Opentelemetry_Proto_Collector_Trace_V1_ExportTraceServiceResponse {
    // The tenant of spans is that of the credential: without one there is nobody to keep them for.
    guard context.principal.kind != .anonymous else { throw RPCError.unauthenticated("spans are taken from known callers only") }
    let tenant = context.principal.subject.tenant
    var spans: [RecordedSpan] = []
    var refused: [String: Int64] = [:]
    for resource in request.resourceSpans {
      let service =
        resource.resource?.attributes.first { $0.key == "service.name" }.flatMap { attribute -> String? in
          if case .stringValue(let name) = attribute.value?.value { name } else { nil }
        } ?? "unknown_service"
      for span in resource.scopeSpans.flatMap(\.spans) {
        if let complaint = complaint(about: span, alreadyTaken: spans.count) {
          refused[complaint, default: 0] += 1
        } else {
          spans.append(RecordedSpan(tenant: tenant, service: service, span: span))
        }
      }
    }
    try await store.insert(spans)
    var response = Opentelemetry_Proto_Collector_Trace_V1_ExportTraceServiceResponse()
    if !refused.isEmpty {
      response.partialSuccess = Opentelemetry_Proto_Collector_Trace_V1_ExportTracePartialSuccess(
        rejectedSpans: refused.values.reduce(0, +),
        errorMessage: refused.map { "\($0.value) spans: \($0.key)" }.sorted().joined(separator: "; "))
    }
    return response
  }

  private func complaint(about span: Opentelemetry_Proto_Trace_V1_Span, alreadyTaken: Int) -> String? {
    if span.traceID.count != 16 || span.traceID.allSatisfy({ $0 == 0 }) { return "trace_id must be 16 bytes, not all zero" }
    if span.spanID.count != 8 || span.spanID.allSatisfy({ $0 == 0 }) { return "span_id must be 8 bytes, not all zero" }
    if !span.parentSpanID.isEmpty, span.parentSpanID.count != 8 { return "parent_span_id must be 8 bytes or none" }
    if span.name.isEmpty { return "name must not be empty" }
    if span.endTimeUnixNano < span.startTimeUnixNano { return "the span ends before it starts" }
    if alreadyTaken >= ObservabilityLimits.spansInExport { return "an export holds at most \(ObservabilityLimits.spansInExport) spans" }
    if span.encoded().count > ObservabilityLimits.spanBytes { return "a span is at most \(ObservabilityLimits.spanBytes) bytes" }
    return nil
  }
}
