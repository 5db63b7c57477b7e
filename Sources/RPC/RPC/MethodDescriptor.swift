/// How many messages go each way.
public enum MethodKind: UInt8, Sendable, Hashable {
  case unary, serverStreaming, clientStreaming, bidirectional

  /// Whether the client sends any number of messages.
  public var clientStreams: Bool { self == .clientStreaming || self == .bidirectional }
  /// Whether the server sends any number of messages.
  public var serverStreams: Bool { self == .serverStreaming || self == .bidirectional }
}

/// What is known of a method without its code: generated, one object for the process.
public final class MethodDescriptor: Sendable {
  /// `spanwire.city.v1.Lem`
  public let service: String
  /// `Route`
  public let name: String
  /// Which sides stream.
  public let kind: MethodKind
  /// Full names of the message types.
  public let inputType: String
  /// The full name of the response's type.
  public let outputType: String
  /// Who may call; nil when the contract says nothing, which the exposure check takes as nobody.
  public let exposure: MethodExposure?
  /// The contract's `idempotency_level = NO_SIDE_EFFECTS`.
  public let noSideEffects: Bool
  /// The contract's `idempotency_level = IDEMPOTENT`, or stronger.
  public let isIdempotent: Bool
  /// `/spanwire.city.v1.Lem/Route`
  public let path: String

  /// A method, as its contract declares it.
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
  /// The path.
  public var description: String { path }
}

/// What is known of a service without its code: its full name and its methods. Its file is found by its name in the descriptor pool.
public final class ServiceDescriptor: Sendable {
  /// `spanwire.city.v1.Lem`
  public let fullName: String
  /// Its methods, in the order of the contract.
  public let methods: [MethodDescriptor]

  /// A service, as its contract declares it.
  public init(fullName: String, methods: [MethodDescriptor]) {
    self.fullName = fullName
    self.methods = methods
  }
}
