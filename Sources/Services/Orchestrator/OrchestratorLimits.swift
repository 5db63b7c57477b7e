/// Every bound of the orchestrator, with its reason.
enum OrchestratorLimits {
  /// The seeds' own defaults for a task's constraints.
  static let defaultMaxTokens: UInt32 = 4_000
  static let defaultTimeoutMilliseconds: UInt32 = 5_000
  static let defaultMaxSuggestions: UInt32 = 3
  static let maxTokens: UInt32 = 100_000
  /// A caller waits for an answer; what takes longer than a minute is not an agent task but an execution.
  static let timeoutMilliseconds: UInt32 = 60_000
  /// The contract's own bound.
  static let maxSuggestions: UInt32 = 10
  static let messageLetters = 2_000
  static let reasonLetters = 500
  /// Tasks in the work at a time. A built-in agent awaits other services more than it computes, so many fit on two cores.
  static let runningTasks = 256
  /// Of one tenant: a quarter, so that no tenant can keep the others waiting.
  static let runningTasksPerTenant = 64
  /// How long a caller is told to wait when there is no room: about as long as a task takes.
  static let retryAfterMilliseconds: Int64 = 500
  /// Runs of a task whose process died under it, before it is given up.
  static let attempts: UInt32 = 3
  /// A plan computed from opening hours is stale after half an hour.
  static let proposalLifetimeNanoseconds: Int64 = 30 * 60 * 1_000_000_000
  /// Updates read at a time: a whole task has a receipt, a handful of stages, at most eleven proposals and a result.
  static let updatesPerRead = 64
  static let maxPageSize = 500
  static let defaultPageSize = 50
  /// Places an agent weighs: a whole market of the size of Vienna's cafés.
  static let places = 2_000
  /// Events an analyst reads of one trace, session or incident.
  static let eventsRead = 500
  /// One token is about four letters of English.
  static let lettersPerToken = 4
}
