/// Every bound of this room, with its reason.
public enum EntitlementLimits {
  /// Tokens of one entitlement: more than any pass holds, small enough that its value can't overflow.
  public static let quantity: Int64 = 1_000_000
  /// What one token is worth at most: a million of the currency's units. quantity · value stays below 2⁶³.
  public static let unitValueMicros: Int64 = 1_000_000_000_000
  /// Redemptions of one settlement batch: what a vendor can check, and one transaction can hold.
  public static let settlementRedemptions = 10_000
}
