import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

extension JourneyRefusal {
  /// The refusal as the caller sees it: what stands, and what would be allowed.
  var rpcError: RPCError {
    switch self {
    case .notInStatus(let status, let allowed):
      .precondition(
        .journeyTransitionInvalid,
        "the journey is \(status.rawValue); this needs it \(allowed.map(\.rawValue).joined(separator: " or "))")
    case .unknownEntryPoint(let name, let known):
      .precondition(.nodeNotFound, "no entry point '\(name)'; there are \(known.joined(separator: ", "))")
    case .unknownNode(let id): .missing(.nodeNotFound, "no node '\(id)' in the journey's document")
    case .nodeNotCurrent(let id, let current):
      .precondition(.nodeTransitionInvalid, "the traveller stands at \(current.map { "'\($0)'" }.joined(separator: ", ")), not at '\(id)'")
    case .stepNotAllowed(let id, let kind, let status):
      .precondition(.nodeTransitionInvalid, "'\(id)' is a \(kind) node and \(status.rawValue): it does not take this step")
    case .unknownOption(let option, let options):
      .precondition(.nodeTransitionInvalid, "'\(option)' is no option; there are \(options.joined(separator: ", "))")
    case .wrongServicePoint(let place, let expected):
      .precondition(.nodeTransitionInvalid, "the visit is to '\(expected ?? "no place yet")', not to '\(place)'")
    case .servicePointBlocked(let place, _): .precondition(.servicePointBlocked, "\(place) is blocked")
    case .workUnderWay(let id): .precondition(.nodeTransitionInvalid, "'\(id)' waits for the outcome of what it asked for")
    case .noRecommendationAwaited: .precondition(.nodeTransitionInvalid, "the journey waits for no recommendation")
    case .noWayOn(let id, let outcome): .precondition(.nodeTransitionInvalid, "no edge leaves '\(id)' on '\(outcome)'")
    case .joinWaits(let id):
      .precondition(
        .nodeTransitionInvalid, "'\(id)' waits for its branches: skip what they stand at, or complete it without them")
    case .routeEmpty: .precondition(.nodeTransitionInvalid, "a route needs a stop")
    case .limitExceeded(let what, let limit): .precondition(.journeyTransitionInvalid, "\(what): at most \(limit)")
    }
  }
}
