/// Every bound of the policy service, with its reason.
enum PolicyLimits {
  /// Names are ids of roles, rules, flags; they have the length of ids.
  static let nameLetters = 128
  /// More approvals than the longest row of an approval matrix could ask for.
  static let approvalReferences = 32
}
