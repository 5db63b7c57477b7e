import SpanwireRPC
import SpanwireSchema
import SpanwireWellKnown

/// Puts the mistakes of a bundle into the answer that refuses it.
enum BundleRefusal {
  /// INVALID_ARGUMENT with every mistake as a field violation, as many as fit into the trailers of a call.
  static func error(_ problems: [BundleProblem]) -> RPCError {
    var violations: [Google_Rpc_BadRequest.FieldViolation] = []
    var bytes = 0
    for problem in problems.prefix(RegistryLimits.problemsTold) {
      let text = String(problem.description.prefix(RegistryLimits.problemText))
      bytes += problem.path.utf8.count + text.utf8.count + 8
      if bytes > RegistryLimits.problemBytes { break }
      violations.append(.init(field: problem.path, description: text))
    }
    let untold = problems.count - violations.count
    if untold > 0 { violations.append(.init(field: "", description: "and \(untold) more, which Diff lists")) }
    let info = Google_Rpc_ErrorInfo(
      reason: "BUNDLE_INVALID", domain: "spanwire", metadata: ["problems": "\(problems.count)"])
    let first = problems.first.map { ": \($0.path): \($0.description)" } ?? ""
    return RPCError(
      .invalidArgument, "the bundle has \(problems.count) \(problems.count == 1 ? "mistake" : "mistakes")\(first)",
      details: [
        Google_Protobuf_Any(packing: Google_Rpc_BadRequest(fieldViolations: violations)), Google_Protobuf_Any(packing: info),
      ])
  }
}
