/// The bounds of the embedded engine, each with its reason.
public enum SQLiteLimits {
  /// Transactions that share a commit: beyond it the gain has flattened, and the first caller waits for the last.
  public static let group = 256
  /// Transactions that wait: at the slowest disk measured (2 ms a group) the last is answered in about a tenth of a second.
  public static let queue = 8_192
  /// Groups that are run with savepoints after one had to be run again for want of them: where many refuse, few groups are run twice.
  public static let carefulGroups = 64
  /// How long a commit waits for callers who have just been answered, at most: a part of a slow disk's commit, which they then share.
  public static let gatherNanoseconds: Int64 = 20_000_000
  /// Frames of the write-ahead log at which an idle writer moves them into the database.
  public static let framesWhenIdle: Int32 = 200
  /// How long nothing has come when a writer is idle: between two groups the queue is empty too, and moving frames then would double
  /// what a busy writer writes.
  public static let idleNanoseconds: Int64 = 1_000_000_000
  /// Frames at which it does so at any rate: 16 MB, which bounds the log and what a restart has to read.
  public static let framesAlways: Int32 = 4_000
  /// Threads for scans: they wait for the disk more than they compute.
  public static let readers = 2
  /// Scans that wait.
  public static let scans = 1_024
  /// Bytes of texts and blobs that a prepared statement keeps room for, once it has needed them: an event's envelope and what stands beside
  /// it. Of larger ones SQLite takes a copy.
  public static let statementBytes = 4_096
  /// Page cache of the writer, in KiB. A full group of the busiest changes some seven hundred pages, and what exceeds the cache is written to
  /// the log before its commit and read back, 9 % of the writer's time; but a server holds this for as long as it runs.
  public static let writerCache = 1_024
  /// Page cache of each connection that reads, in KiB; every loop and every reader's thread has one, in each database. Every commit
  /// empties it, so it has use for what one reading needs.
  public static let readerCache = 256
  /// Files up to this size are checked page by page when they open, a fraction of a second's work; larger ones by `examine`, which
  /// `spanwire verify` asks for, so that a start does not take longer the more there is.
  public static let checkedBytes = 32 << 20
}
