/// Who may call a method, as its contract declares: by which surfaces, which kinds of principals, which services, which agents not.
public struct MethodExposure: Sendable, Hashable {
  /// A set of surfaces.
  public struct Surfaces: OptionSet, Sendable, Hashable {
    /// The bits.
    public let rawValue: UInt8
    /// A set by its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Travellers and their clients.
    public static let edge = Surfaces(rawValue: 1 << 1)
    /// Operators.
    public static let ops = Surfaces(rawValue: 1 << 2)
    /// Agents and workers.
    public static let worker = Surfaces(rawValue: 1 << 3)
    /// Other services.
    public static let `internal` = Surfaces(rawValue: 1 << 4)
  }

  /// A set of kinds of callers.
  public struct Principals: OptionSet, Sendable, Hashable {
    /// The bits.
    public let rawValue: UInt8
    /// A set by its bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Callers without a credential.
    public static let anonymous = Principals(rawValue: 1 << 1)
    /// People who travel.
    public static let user = Principals(rawValue: 1 << 2)
    /// Programs that propose.
    public static let agent = Principals(rawValue: 1 << 3)
    /// Programs that work for agents.
    public static let worker = Principals(rawValue: 1 << 4)
    /// People who operate.
    public static let ops = Principals(rawValue: 1 << 5)
    /// Other services.
    public static let service = Principals(rawValue: 1 << 6)
  }

  /// The surfaces by which a method is open.
  public var surfaces: Surfaces
  /// The kinds of callers for which a method is open.
  public var principals: Principals
  /// The service identities admitted when the caller is a service; empty admits every service.
  public var services: [String]
  /// The rule named in the refusal of an agent, a worker or a service that is not admitted; empty for none.
  public var agentRule: String

  /// What a contract says of a method.
  public init(surfaces: Surfaces, principals: Principals, services: [String] = [], agentRule: String = "") {
    self.surfaces = surfaces
    self.principals = principals
    self.services = services
    self.agentRule = agentRule
  }

  /// Whether the caller may call.
  ///
  /// A service is judged by its own identity, on whosever behalf it acts: what the one behind may do is for that service to decide.
  public func admits(_ caller: Principal) -> Bool {
    guard surfaces.rawValue & (1 << caller.surface.rawValue) != 0, principals.rawValue & (1 << caller.kind.rawValue) != 0 else {
      return false
    }
    return caller.kind != .service || services.isEmpty || services.contains(caller.id)
  }
}
