/// Every bound of this room, with its reason.
public enum EntitlementLimits {
  /// Tokens of one entitlement: more than any pass holds, small enough that its value can't overflow.
  public static let quantity: Int64 = 1_000_000
  /// What one token is worth at most: a million of the currency's units. quantity · value stays below 2⁶³.
  public static let unitValueMicros: Int64 = 1_000_000_000_000
  /// Redemptions of one settlement batch: what a vendor can check, and one transaction can hold.
  public static let settlementRedemptions = 10_000
  /// Letters of a reason that an operator gives: what an audit record shows whole.
  public static let reasonCharacters = 500
  /// Letters of an actor's or a payment's name: an id with its kind before it.
  public static let nameCharacters = 200
  /// A page when the caller does not say, and at most: a few hundred short rows.
  public static let defaultPageSize = 100
  public static let pageSize = 500
}
