/// Every bound of the gateway, with its reason.
public enum GatewayLimits {
  /// A reason is a sentence for the audit, not a document.
  public static let reasonCharacters = 500
  /// What policy takes in one question.
  public static let approvals = 32
  /// Segments and experiment keys of one session: more is a mistake in the client, and each is looked up.
  public static let segments = 32
  public static let experimentKeys = 32
  /// What a traveller says to an agent; an agent's context is bounded, so is what goes into it.
  public static let messageCharacters = 4_000
  /// A payment is named by its reference only.
  public static let paymentReferenceCharacters = 200
  /// Sessions of one page.
  public static let pageSize = 500
  public static let defaultPageSize = 50
  /// Tokens kinds one variant grants: each is an effect of the purchase's transaction.
  public static let grantsPerPurchase = 16
  /// Purchases of one session; they stand in its row as entitlement ids.
  public static let entitlementsPerSession = 200
  /// Resolved configurations held in memory. They never change once made, so that any of them may be dropped at any time.
  public static let cachedSnapshots = 64
  /// Answers of the registry held in memory: products times markets, and the users of experiments that came last.
  public static let cachedConfigs = 1_024
  /// How long an answer of the registry is used although no change was pushed: no longer than an operator who just changed something
  /// would wait for a push that never comes.
  public static let configLifetime = Duration.seconds(30)
  /// How long the gateway waits before it follows the registry again, at first and at most.
  public static let firstWatchPause = Duration.milliseconds(20)
  public static let longestWatchPause = Duration.seconds(2)
  /// Sessions looked through for one page: a listing by what has no index answers in time, with fewer and a token to go on.
  public static let sessionsScanned = 10_000
  /// How long a call waits for what it asked of another service before it answers that this goes on without it.
  public static let effectPatience = Duration.seconds(20)
  /// Suggestions an agent may be asked for, as the contract says.
  public static let suggestions: UInt32 = 10
  /// Tokens and time an agent may be given: beyond it, a traveller has long gone.
  public static let agentTokens: UInt32 = 100_000
  public static let agentTimeoutMilliseconds: UInt32 = 120_000
  /// Pages of a hundred settlements searched for one that is to be corrected: years of a vendor's.
  public static let settlementPages = 50
}
