import SpanwireProtobuf
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization

/// What goes into a turn's evidence while it runs, from whichever task tells of it. It reaches the store with the turn's end.
///
/// What exceeds the bounds is counted and not kept; what the turn was admitted, bound and cancelled by always is, having places of its own.
public final class TurnRecorder: Sendable {
  /// The recorder of the turn that this task works in, for those who do not know of turns: policy's guard, a model's provider.
  @TaskLocal public static var current: TurnRecorder?

  public let key: TurnKey
  private let state: Mutex<State>

  private struct State {
    var evidence: TurnEvidence
    var notes = 0
    var contents = 0

    /// Whether there is room for a content; if so, it is taken up.
    mutating func takes(_ content: [UInt8]) -> Bool {
      guard content.count <= TurnLimits.contentBytes, contents + content.count <= TurnLimits.contentsBytes else { return false }
      contents += content.count
      return true
    }
  }

  /// - Parameter evidence: what was known when the turn opened.
  public init(_ key: TurnKey, _ evidence: TurnEvidence) {
    self.key = key
    state = Mutex(State(evidence: evidence))
  }

  /// The evidence so far.
  public var evidence: TurnEvidence { state.withLock { $0.evidence } }

  /// Something that was read: its content if it is small, else what names it.
  public func input(_ name: String, _ content: [UInt8], at now: Int64) {
    let hash = SHA256.hash(content)
    note { state in
      var input = TurnInput(name: name, at: .init(nanosecondsSinceEpoch: now), contentHash: hash, size: UInt64(content.count))
      if state.takes(content) { input.content = content }
      state.evidence.inputs.append(input)
    }
  }

  /// What policy, or a circuit, said of something that the turn wanted.
  public func decision(_ decision: TurnDecision) {
    var decision = decision
    decision.reason = String(decision.reason.prefix(TurnLimits.reasonLetters))
    note { [decision] state in state.evidence.decisions.append(decision) }
  }

  /// A provider that was asked, and how that went.
  public func attempt(_ attempt: TurnProviderAttempt) {
    var attempt = attempt
    attempt.error = String(attempt.error.prefix(TurnLimits.reasonLetters))
    note { [attempt] state in state.evidence.providerAttempts.append(attempt) }
  }

  private func note(_ add: (inout sending State) -> Void) {
    state.withLock { state in
      guard state.notes < TurnLimits.notes else {
        state.evidence.omitted += 1
        return
      }
      state.notes += 1
      add(&state)
    }
  }
}

extension TurnOutput {
  /// An output with its content if that is small.
  public init(_ id: String, _ content: [UInt8], at now: Int64) {
    self.init(
      outputID: id, contentHash: SHA256.hash(content), size: UInt64(content.count),
      content: content.count <= TurnLimits.contentBytes ? content : [], at: .init(nanosecondsSinceEpoch: now))
  }
}
