/// Who may call a method, as its contract declares: by which surfaces, which kinds of principals, which services, which agents not.
public struct MethodExposure: Sendable, Hashable {
  public struct Surfaces: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let edge = Surfaces(rawValue: 1 << 1)
    public static let ops = Surfaces(rawValue: 1 << 2)
    public static let worker = Surfaces(rawValue: 1 << 3)
    public static let `internal` = Surfaces(rawValue: 1 << 4)
  }

  public struct Principals: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let anonymous = Principals(rawValue: 1 << 1)
    public static let user = Principals(rawValue: 1 << 2)
    public static let agent = Principals(rawValue: 1 << 3)
    public static let worker = Principals(rawValue: 1 << 4)
    public static let ops = Principals(rawValue: 1 << 5)
    public static let service = Principals(rawValue: 1 << 6)
  }

  public var surfaces: Surfaces
  public var principals: Principals
  /// The service identities admitted when the caller is a service; empty admits every service.
  public var services: [String]
  /// The rule named in the refusal of an agent, a worker or a service that is not admitted; empty for none.
  public var agentRule: String

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
