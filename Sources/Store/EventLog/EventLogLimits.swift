/// The bounds of the log and its readers, each with its reason.
public enum EventLogLimits {
  /// Positions of a history page. A full page never changes, so it is shared; about 100 KB, as much as a subscriber's stream takes at once,
  /// a quarter of a millisecond to read.
  public static let page: Int64 = 128
  /// Summaries of pages read in one query, and in one turn of a reader's thread: those of two million events, twenty milliseconds' work.
  public static let summaries: Int64 = 512
  public static let summariesPerRead: Int64 = 16_384
  /// Pages that one request for a list may look through in vain: what it has found by then it answers with, and where to go on.
  public static let pagesPerList = 128
  /// Pages that one transaction of compaction goes through: a few milliseconds of the writer's time.
  public static let pagesPerCompaction: Int64 = 16
  /// How far a named consumer's stored place may lag behind what it has seen, in positions: it is what a restart reads again.
  public static let consumerLag: Int64 = 1_024
  /// Bytes of shared pages kept: a thousand subscribers that catch up together read the same ones. Others read again from the system's
  /// own cache.
  public static let pageCacheBytes = 1 << 20
  /// Events that the loops keep to close the gap between history and live: a second of a busy log. They keep the same ones, once.
  public static let ring = 1_024
  /// Bytes of those events, for when they are large.
  public static let ringBytes = 2 << 20
  /// An envelope with its payload. An event tells of a change; contents go to artifacts.
  public static let envelopeBytes = 64 << 10
  /// Where the writer of a change's envelopes begins; an envelope has half of it.
  public static let writerBytes = 1_024
  /// Events of one transaction: they become one batch on every loop.
  public static let eventsPerTransaction = 1_000
  /// Positions behind the ring within which a LIVE subscription sheds telemetry alone; further back it sheds data too.
  public static let liveWindow: Int64 = 1_024
  /// Control events that a LIVE subscription may owe; past it the stream ends with its cursor, since control is never shed.
  public static let liveControl = 64
  /// How often an idle subscription learns how far the log has come.
  public static let heartbeat = Duration.seconds(15)
  /// Subscriptions of a loop: each costs a look at every event that no session index keeps from it.
  public static let subscriptionsPerLoop = 10_000
  /// Named consumers, which compaction waits for and whose list is read whole.
  public static let consumers = 1_000
  /// Replay channels that are listened to at a time, and who listens to each: a replay waits for the slowest.
  public static let replayChannels = 64
  public static let replayListeners = 64
  /// Within which denials of one kind become two records at most, the first and a count.
  public static let denialWindow = Duration.seconds(60)
  /// Kinds of denials that are told apart at a time: with the window, what a flood may write is 400 records a minute.
  public static let denialKinds = 200
  /// Signed heads that one request compares a log with; the newest vouches for all before it.
  public static let comparedHeads = 1_000
}
