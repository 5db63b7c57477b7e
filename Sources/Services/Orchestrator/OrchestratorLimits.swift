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
  /// Tenants' agents whose pace is known at a time; an average that was forgotten is there again after a few turns.
  static let paces = 4_096
  /// A task is admitted if it can be expected to begin within this part of its time: the rest is for the work.
  static let waitingPart = 0.5
  /// How long a caller is told to wait when there is no room: about as long as a task takes.
  static let retryAfterMilliseconds: Int64 = 500
  /// How long what is set aside for a task stays so: longer than all its runs, with a restart between two of them.
  static let reservation = Duration.seconds(900)
  /// Attempts of a task after the first, in an incident: to fail fast takes load off.
  static let retriesInIncident: UInt64 = 1
  /// How old the incident mode may be that another node changed.
  static let modeLifetime = Duration.seconds(10)
  /// Between two tries to record how a task ended, when the store refuses: as long as it takes a busy one to have room again.
  static let recordPause = Duration.seconds(1)
  /// It doubles up to this: a store that stays broken is not asked by every task every second.
  static let longestRecordPause = Duration.seconds(60)
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

  // MARK: Models

  /// Providers of one server, and models of one of them: what an operator looks over.
  static let modelProviders = 32
  static let modelsOfProvider = 256
  /// Micro-units for a million tokens: a thousand of any currency's. Its product with the most tokens stays below 2^63.
  static let modelPrice: Int64 = 1_000_000_000
  /// Tokens of one question or answer: more than any model takes.
  static let modelTokens = 100_000_000
  /// Models that one task is put to, one after the other: its time is not for more.
  static let modelChain = 8
  /// Questions of one task to one model: each answers with calls of tools, but the last.
  static let modelRounds = 6
  /// Calls of tools that one answer may ask for.
  static let modelCalls = 16
  /// Arguments of one such call: names and a few numbers.
  static let modelArgumentBytes = 16_384
  /// What a model is told that a tool came to: about five thousand tokens.
  static let modelToolBytes = 16_384
  /// One event of a stream: a chunk of a completion has some hundred bytes.
  static let modelEventBytes = 1 << 20
  /// All of a stream: a hundred thousand tokens, each in a chunk of its own, and some space.
  static let modelStreamBytes = 64 << 20
  /// The body of an answer that tells of an error.
  static let modelErrorBytes = 64 << 10
  /// Letters of what a provider says of an error.
  static let modelErrorLetters = 300
  /// When nobody says otherwise: the beginning of the answer, the next piece.
  static let modelFirst = Duration.seconds(30)
  static let modelIdle = Duration.seconds(15)
  /// The longest of these that may be configured: no task takes longer.
  static let modelTimeoutNanoseconds: Int64 = 60_000_000_000
  /// The longest wait that a provider is believed.
  static let modelRetryAfterSeconds: Int64 = 3_600
  /// Tokens of answer that money is set aside for at first; each further piece is twice as large, so that a long answer asks policy seldom.
  static let modelSlice = 256
  /// How long what is set aside for a call stays so: longer than a task may take.
  static let modelReservation = Duration.seconds(120)
  /// A piece of the answer is stored and sent on when so much time has passed since the last, or so many letters have come: a commit each.
  static let partialPause = Duration.milliseconds(250)
  static let partialLetters = 400
}
