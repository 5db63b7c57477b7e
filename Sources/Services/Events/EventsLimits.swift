/// The bounds of the service, each with its reason.
public enum EventsLimits {
  /// A reason is a sentence or two for the audit.
  public static let reason = 500
  /// Effects of a page unless asked otherwise: a screen.
  public static let effectsPage = 50
}
