import SpanwireServiceKit

/// Every bound of executions, with its reason.
enum ExecutionsLimits {
  /// Executions that have not ended, of all tenants: each is a task of a few kilobytes that mostly awaits others.
  static let open = 1_024
  /// Of one tenant: half, so that a greedy one never fills it all.
  static let openPerTenant = 512
  /// How long a caller is told to wait when there is no room.
  static let retryAfter = Duration.seconds(1)
  /// Of all attempts together, unless the request says otherwise: a handler of several steps is done long before.
  static let defaultTimeoutMilliseconds: UInt32 = 300_000
  /// A day: what takes longer is several executions.
  static let timeoutMilliseconds: UInt32 = 86_400_000
  static let defaultRetries: UInt32 = 3
  static let retries: UInt32 = 20
  /// Runs of an execution, those included that the process's end cut short: past it the execution itself is the likely cause.
  static let runs: UInt64 = 32
  /// Between two looks whether anybody is there who serves an intent.
  static let handlerPause = Duration.milliseconds(500)
  /// How long a handler that was not to be reached is asked only when there is no other.
  static let handlerRest = Duration.seconds(10)
  /// Between two tries to record how an execution ended, when the store refuses.
  static let recordPause = Duration.seconds(1)
  /// Steps of an execution: each is a row and two transactions.
  static let steps = 1_000
  /// Records of an execution's chain.
  static let records = 10_000
  /// What is told of one execution: those who follow it read all of it.
  static let updates: Int64 = 40_000
  /// Updates read at a time.
  static let updatesPerRead = 128
  /// Parameters, outputs and state as encoded: an event that tells of a record has 64 KiB in all.
  static let objectBytes = 32 << 10
  /// Members of a session's state at its first level.
  static let stateKeys = 256
  /// How long a state may be kept, if it says that it ends.
  static let ttlMilliseconds: Int64 = 366 * 86_400_000
  static let metadata = 32
  static let metadataLetters = 256
  static let messageLetters = 500
  /// Content of an artifact, which is gathered in memory and stored in one transaction.
  static let contentBytes = 8 << 20
  /// Pieces in which content is stored and sent.
  static let pieceBytes = 256 << 10
  /// Parents of one artifact.
  static let parents = 64
  /// Ancestors that are resolved with an artifact.
  static let ancestors = 1_000
  /// Forms of one artifact.
  static let materializations = 8
  static let artifactsOfResult = 1_000
  static let eventsOfResult = 100
  /// Handlers of a tenant, all intents together.
  static let handlers = 1_000
  static let maxPageSize = 500
  static let defaultPageSize = 50
  /// Differences that are told of one object.
  static let differences = 500
}
