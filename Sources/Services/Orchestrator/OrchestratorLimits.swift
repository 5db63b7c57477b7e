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
  /// Of one tenant, by agents and workers together: half of the platform's own places, so that another tenant always finds one.
  static let runningTasksPerTenant = 128
  /// Of one agent of a tenant: one agent that hangs leaves room for its tenant's others.
  static let runningTasksPerAgent = 96
  /// Of one session: a person waits for one answer, perhaps for a few side by side.
  static let runningTasksPerSession = 8
  /// Tasks admitted and not ended, waiting or running. Each holds a few kilobytes; what cannot begin within its minute is not worth storing.
  static let openTasks = 4_096
  /// Of one tenant: half, so that a greedy one never fills it all.
  static let openTasksPerTenant = 2_048
  /// How long a caller is told to wait when there is no room: about as long as a task takes.
  static let retryAfterMilliseconds: Int64 = 500
  /// How long what is set aside for a task stays so: longer than all its runs, with a restart between two of them.
  static let reservation = Duration.seconds(900)
  /// Attempts after the first, before a task goes to the dead letters.
  static let retries: UInt64 = 3
  /// Between two tries to record how a task ended, when the store refuses: as long as it takes a busy one to have room again.
  static let recordPause = Duration.seconds(1)
  /// Runs ended in one transaction at a start that finds them open: a few milliseconds of the writer's time.
  static let abandonedAtOnce = 64
  /// Runs of a task, those included that the process's end cut short: past it the task itself is the likely cause.
  static let runs: UInt64 = 8
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
  /// How often a worker says that it lives, and how long its leases stand without: three heartbeats may get lost.
  static let heartbeatMilliseconds: UInt32 = 1_000
  static let leaseNanoseconds: Int64 = 4_000_000_000
  /// How long a worker may be silent before it is taken for dead.
  static let deadAfterNanoseconds: Int64 = 60_000_000_000
  /// How often workers are looked at: no lease stands longer than it may by more than this.
  static let supervision = Duration.milliseconds(500)
  /// How often a healthy worker's heartbeat and renewed leases are written into the log.
  static let heartbeatEventNanoseconds: Int64 = 60_000_000_000
  /// How long a worker may hold a task, unless it says otherwise when it registers; a task may not last longer than a minute.
  static let claimMilliseconds: UInt32 = 30_000
  static let maxClaimMilliseconds: UInt32 = 60_000
  /// What a worker may occupy of memory, unless it says otherwise.
  static let residentBytes: UInt64 = 2 << 30
  /// Tasks of one worker at a time.
  static let workerConcurrency: UInt32 = 256
  /// Workers attached at a time: each has a stream, and supervision looks at each.
  static let workers = 1_024
  /// Agents that one worker serves.
  static let workerSlugs = 64
  /// What a worker has not read yet: its work and the cancellations of it, and refusals of answers nobody asked for.
  static let workerOutbox = 1_024
  /// Letters of a worker's answer, or of a part of it: it goes into an event, whose envelope has 64 KiB.
  static let answerLetters = 12_000
  /// Stops of a proposed route: more than a day has.
  static let proposedStops = 50
  /// Dead letters done again in one call: one transaction of a few milliseconds.
  static let redrivenAtOnce: UInt32 = 100
  /// Circuits of one tenant that operators may name beside those in use.
  static let circuits = 1_024
  /// A breaker's window, of which a second each is kept, and its probe.
  static let breakerSeconds: UInt32 = 600
  /// One token is about four letters of English.
  static let lettersPerToken = 4
}
