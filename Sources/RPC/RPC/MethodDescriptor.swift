/// How many messages go each way.
public enum MethodKind: UInt8, Sendable, Hashable {
  case unary, serverStreaming, clientStreaming, bidirectional

  public var clientStreams: Bool { self == .clientStreaming || self == .bidirectional }
  public var serverStreams: Bool { self == .serverStreaming || self == .bidirectional }
}

/// What is known of a method without its code: generated, one object for the process.
public final class MethodDescriptor: Sendable {
  /// `spanwire.city.v1.Lem`
  public let service: String
  /// `Route`
  public let name: String
  public let kind: MethodKind
  /// Full names of the message types.
  public let inputType: String
  public let outputType: String
  /// Who may call; nil when the contract says nothing, which the exposure check takes as nobody.
  public let exposure: MethodExposure?
  /// The contract's `idempotency_level = NO_SIDE_EFFECTS`.
  public let noSideEffects: Bool
  /// The contract's `idempotency_level = IDEMPOTENT`, or stronger.
  public let isIdempotent: Bool
  /// `/spanwire.city.v1.Lem/Route`
  public let path: String

  public init(
    service: String, name: String, kind: MethodKind, inputType: String, outputType: String, exposure: MethodExposure? = nil,
    noSideEffects: Bool = false, isIdempotent: Bool = false
  ) {
    self.service = service
    self.name = name
    self.kind = kind
    self.inputType = inputType
    self.outputType = outputType
    self.exposure = exposure
    self.noSideEffects = noSideEffects
    self.isIdempotent = isIdempotent || noSideEffects
    path = "/\(service)/\(name)"
  }
}

extension MethodDescriptor: CustomStringConvertible {
  public var description: String { path }
}

/// What is known of a service without its code: its full name and its methods. Its file is found by its name in the descriptor pool.
public final class ServiceDescriptor: Sendable {
  /// `spanwire.city.v1.Lem`
  public let fullName: String
  public let methods: [MethodDescriptor]

  public init(fullName: String, methods: [MethodDescriptor]) {
    self.fullName = fullName
    self.methods = methods
  }
}
