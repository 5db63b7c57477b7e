/// Every bound of the policy service, with its reason.
enum PolicyLimits {
  /// Names are ids of roles, rules, flags; they have the length of ids.
  static let nameLetters = 128
  /// More approvals than the longest row of an approval matrix could ask for.
  static let approvalReferences = 32
  /// Questions in one batch: a page of a console, and a millisecond or two of work.
  static let batch = 1_000
  /// How old the policies that are gone by may be, where another node changed them.
  static let policyLifetime = Duration.seconds(10)
  /// Tenants whose policies are in memory, before all are read anew.
  static let tenants = 1_000
  /// Policies whose calls are counted, over all tenants, before idle ones are forgotten.
  static let rateWindows = 10_000
  /// What one call or one budget may come to: a million of the currency's units. Sums of very many stay below 2^63.
  static let micros: Int64 = 1_000_000_000_000
  /// How long money is set aside when the caller does not say, and at most: longer than any tool call.
  static let reservation = Duration.seconds(300)
  static let longestReservation = Duration.seconds(3_600)
  /// How long an approval lasts when the requester does not say, and at most.
  static let approval = Duration.seconds(24 * 3_600)
  static let longestApproval = Duration.seconds(30 * 24 * 3_600)
  /// Letters of a reason or note: what an audit record shows whole.
  static let reasonLetters = 500
  /// A page when the caller does not say, and at most.
  static let defaultPage = 100
  static let page = 500
}
