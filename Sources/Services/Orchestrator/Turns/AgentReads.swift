import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTurnKernel
import Synchronization

/// Where what an agent reads comes from: the services, and then it goes into the turn's evidence, or that evidence.
enum AgentReads: Sendable {
  case recorded(TurnRecorder, any WallClock)
  case replayed(ReplayedReads)

  func read<Response: Message>(_ name: String, _ call: () async throws -> Response) async throws -> Response {
    switch self {
    case .recorded(let recorder, let clock):
      let response = try await call()
      recorder.input(name, response.encoded(), at: clock.now)
      return response
    case .replayed(let reads): return try await reads.read(name, call)
    }
  }
}

/// What a turn's evidence says that its agent read, given again in that order. What was too large to be kept is read anew, and noted if it is
/// no longer what it was.
final class ReplayedReads: Sendable {
  private struct State {
    var inputs: [TurnInput]
    var changed: [String] = []
  }

  private let state: Mutex<State>

  init(_ evidence: TurnEvidence) {
    state = Mutex(State(inputs: evidence.inputs.filter { $0.name != TaskTurns.taskInput }.reversed()))
  }

  /// What was read differently.
  var changed: [String] { state.withLock { $0.changed } }

  func read<Response: Message>(_ name: String, _ call: () async throws -> Response) async throws -> Response {
    let input = state.withLock { state -> TurnInput? in
      guard let index = state.inputs.lastIndex(where: { $0.name == name }) else { return nil }
      return state.inputs.remove(at: index)
    }
    if let input, UInt64(input.content.count) == input.size { return try Response(decoding: input.content) }
    let response = try await call()
    if SHA256.hash(response.encoded()) != input?.contentHash { state.withLock { $0.changed.append(name) } }
    return response
  }
}
