import SpanwireSchema

/// Every bound of the turn kernel, with its reason.
public enum TurnLimits {
  /// Turns open at a time in one process: the places of the platform's own agents and those of its workers, as many as tasks may be open.
  static let open = 4_096
  /// Of one tenant: half, so that a greedy one never has them all.
  static let openPerTenant = 2_048
  /// Of one session: a person waits for one answer, perhaps for a few side by side.
  static let openPerSession = 32
  /// Turns that may wait for a quota: of one session more than it may have open never come to their turn within a task's minute.
  static let deferredPerSession = 64
  /// Of one tenant: each holds a waiting task and nothing else.
  static let deferredPerTenant = 2_048
  /// How long one waits before it asks again: a short turn's length.
  public static let deferral = Duration.milliseconds(100)
  /// How long who was rejected should wait: several turns.
  public static let retryAfter = Duration.milliseconds(500)
  /// How long a fence stands in memory: as long as a task may take. After that its row alone says that the turn is over.
  static let fenceNanoseconds: Int64 = 60_000_000_000
  /// Fences at a time: one for each turn that may be open.
  static let fences = 4_096
  /// Inputs, decisions and attempts kept of one turn: a built-in agent reads a dozen times, a model calls a dozen tools.
  static let notes = 64
  /// Bytes of one content kept in the evidence: most answers fit; a market's places are named by their hash.
  static let contentBytes = 8 << 10
  /// Bytes of all contents of one turn: a few pages of the store.
  static let contentsBytes = 32 << 10
  /// Letters of a reason in evidence.
  public static let reasonLetters = 500
  /// Turns a page of the check reads at a time.
  static let verifyPage = 200
  public static let maxPageSize = 500
  public static let defaultPageSize = 50
}
