import SpanwireProtobuf
import SpanwireRPC
import SpanwireWellKnown

/// What is wrong with a service config, and where: `methodConfig[0].retryPolicy.maxAttempts`.
public struct ServiceConfigError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The field, as in the JSON; empty for the whole.
  public let path: String
  /// What it should have been.
  public let problem: String

  /// The path in the JSON, and what is wrong there.
  public var description: String { path.isEmpty ? problem : "\(path): \(problem)" }
}

extension ServiceConfig {
  /// Reads gRPC's JSON form (grpc/service_config/service_config.proto): `methodConfig`, `retryThrottling`, `loadBalancingConfig`,
  /// `loadBalancingPolicy`, `healthCheckConfig`. Fields that are not known are skipped; what is known must be right.
  public init(json text: String) throws(ServiceConfigError) {
    let whole: Google_Protobuf_Struct
    do {
      whole = try Google_Protobuf_Struct(jsonString: text)
    } catch {
      throw ServiceConfigError(path: "", problem: "\(error)")
    }
    try self.init(ConfigField(path: "", value: Google_Protobuf_Value(kind: .structValue(whole))))
  }

  private init(_ config: ConfigField) throws(ServiceConfigError) {
    for entry in try config["methodConfig"]?.list() ?? [] {
      let settings = try Method(entry)
      for name in try entry["name"]?.list() ?? [] {
        let service = try name["service"]?.text() ?? "", method = try name["method"]?.text() ?? ""
        if service.isEmpty, !method.isEmpty { throw name.error("a method without its service") }
        let key = service.isEmpty ? "" : "/\(service)/\(method)"
        if methods.updateValue(settings, forKey: key) != nil { throw name.error("the name is there twice") }
      }
    }
    if let throttling = try config["retryThrottling"] { self.throttling = try Throttling(throttling) }
    try readBalancing(config)
    if let health = try config["healthCheckConfig"] { healthService = try health["serviceName"]?.text() }
  }

  /// The first policy of the list that we have; a list without any is an error, as gRPC has it.
  private mutating func readBalancing(_ config: ConfigField) throws(ServiceConfigError) {
    if let policies = try config["loadBalancingConfig"] {
      for policy in try policies.list() {
        let members = try policy.members()
        guard members.count == 1, let (name, settings) = members.first else { throw policy.error("one policy by its name is expected") }
        if try choose(name, settings) { return }
      }
      throw policies.error("no policy of the list is known: pick_first, round_robin, least_request")
    }
    if let policy = try config["loadBalancingPolicy"], try !choose(policy.text().lowercased(), nil) {
      throw policy.error("no such policy: pick_first, round_robin, least_request")
    }
  }

  private mutating func choose(_ name: String, _ settings: ConfigField?) throws(ServiceConfigError) -> Bool {
    switch name {
    case "pick_first":
      balancing = .pickFirst
      shufflesAddresses = try settings?["shuffleAddressList"]?.flag() ?? false
    case "round_robin": balancing = .roundRobin
    case "least_request", "least_request_experimental":
      let choices = try settings?["choiceCount"]
      let count = try choices?.integer() ?? 2
      if count < 2 { throw choices!.error("at least 2") }
      balancing = .leastRequest(choices: min(count, 10))  // as in gRPC: more are no better
    default: return false
    }
    return true
  }
}

extension ServiceConfig.Method {
  fileprivate init(_ entry: ConfigField) throws(ServiceConfigError) {
    waitForReady = try entry["waitForReady"]?.flag()
    if let field = try entry["timeout"] { timeout = try field.span(isPositive: false) }
    maxRequestBytes = try entry["maxRequestMessageBytes"]?.integer()
    maxResponseBytes = try entry["maxResponseMessageBytes"]?.integer()
    let retry = try entry["retryPolicy"], hedging = try entry["hedgingPolicy"]
    if retry != nil, let hedging { throw hedging.error("a method has a retryPolicy or a hedgingPolicy, not both") }
    if let retry { repetition = .retry(try RetryPolicy(retry)) }
    if let hedging { repetition = .hedge(try HedgingPolicy(hedging)) }
  }
}

extension RetryPolicy {
  fileprivate init(_ policy: ConfigField) throws(ServiceConfigError) {
    let multiplier = try policy.required("backoffMultiplier")
    let codes = try policy.required("retryableStatusCodes")
    self.init(
      maxAttempts: try policy.required("maxAttempts").attempts(),
      initialBackoff: try policy.required("initialBackoff").span(isPositive: true),
      maxBackoff: try policy.required("maxBackoff").span(isPositive: true), backoffMultiplier: try multiplier.number(),
      retryableCodes: try codes.statusCodes())
    if backoffMultiplier <= 0 { throw multiplier.error("more than 0") }
    if retryableCodes.isEmpty { throw codes.error("at least one status code") }
  }
}

extension HedgingPolicy {
  fileprivate init(_ policy: ConfigField) throws(ServiceConfigError) {
    self.init(maxAttempts: try policy.required("maxAttempts").attempts())
    if let delay = try policy["hedgingDelay"] { hedgingDelay = try delay.span(isPositive: false) }
    if let codes = try policy["nonFatalStatusCodes"] { nonFatalCodes = try codes.statusCodes() }
  }
}

extension ServiceConfig.Throttling {
  fileprivate init(_ throttling: ConfigField) throws(ServiceConfigError) {
    let tokens = try throttling.required("maxTokens"), ratio = try throttling.required("tokenRatio")
    maxTokens = try tokens.number()
    // Three decimal places count, as gRPC has it.
    tokenRatio = (try ratio.number() * 1000).rounded(.down) / 1000
    if maxTokens <= 0 || maxTokens > 1000 { throw tokens.error("more than 0 and at most 1000") }
    if tokenRatio <= 0 { throw ratio.error("at least 0.001") }
  }
}

/// A value of the JSON and where it stands.
private struct ConfigField {
  let path: String
  let value: Google_Protobuf_Value

  func error(_ problem: String) -> ServiceConfigError { ServiceConfigError(path: path, problem: problem) }

  func members() throws(ServiceConfigError) -> [(String, ConfigField)] {
    guard case .structValue(let object) = value.kind else { throw error("an object is expected") }
    return object.fields.pairs.map { ($0.key, ConfigField(path: path.isEmpty ? $0.key : "\(path).\($0.key)", value: $0.value)) }
  }

  /// A member; nil when it is not there, or null.
  subscript(_ name: String) -> ConfigField? {
    get throws(ServiceConfigError) {
      guard let member = try members().first(where: { $0.0 == name })?.1 else { return nil }
      if case .nullValue = member.value.kind { return nil }
      return member
    }
  }

  func required(_ name: String) throws(ServiceConfigError) -> ConfigField {
    guard let member = try self[name] else { throw ServiceConfigError(path: "\(path).\(name)", problem: "is missing") }
    return member
  }

  func list() throws(ServiceConfigError) -> [ConfigField] {
    guard case .listValue(let list) = value.kind else { throw error("a list is expected") }
    return list.values.enumerated().map { ConfigField(path: "\(path)[\($0.offset)]", value: $0.element) }
  }

  func text() throws(ServiceConfigError) -> String {
    guard case .stringValue(let text) = value.kind else { throw error("a text is expected") }
    return text
  }

  func flag() throws(ServiceConfigError) -> Bool {
    guard case .boolValue(let flag) = value.kind else { throw error("true or false is expected") }
    return flag
  }

  func number() throws(ServiceConfigError) -> Double {
    switch value.kind {
    case .numberValue(let number) where number.isFinite: return number
    case .stringValue(let text):
      if let number = Double(text), number.isFinite { return number }
    default: break
    }
    throw error("a number is expected")
  }

  /// A whole number that is not negative and fits into 32 bits; JSON allows it as text.
  func integer() throws(ServiceConfigError) -> Int {
    guard let number = UInt32(exactly: try number()) else { throw error("a whole number from 0 is expected") }
    return Int(number)
  }

  func attempts() throws(ServiceConfigError) -> Int {
    let count = try integer()
    if count < 2 { throw error("at least 2") }
    return min(count, ClientLimits.attempts)
  }

  /// `1.5s`, up to nine decimal places; `.5s`, as some write it, is taken too.
  func span(isPositive: Bool) throws(ServiceConfigError) -> Duration {
    let text = try text()
    let expected = "a duration is expected, as 1.5s"
    guard text.hasSuffix("s") else { throw error(expected) }
    let parts = text.dropLast().split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    let whole = parts[0], fraction = parts.count > 1 ? parts[1] : ""
    let digits = { (part: Substring) in part.utf8.allSatisfy { 0x30...0x39 ~= $0 } }
    guard digits(whole), digits(fraction), fraction.count <= 9, !(whole.isEmpty && fraction.isEmpty), parts.count == 1 || !fraction.isEmpty,
      let seconds = whole.isEmpty ? 0 : Int64(whole), seconds <= 315_576_000_000
    else { throw error(expected) }
    let nanoseconds = Int64(fraction + String(repeating: "0", count: 9 - fraction.count))!
    if isPositive, seconds == 0, nanoseconds == 0 { throw error("more than 0") }
    return .seconds(seconds) + .nanoseconds(nanoseconds)
  }

  /// Codes by name, in any case, or by number.
  func statusCodes() throws(ServiceConfigError) -> Set<RPCError.Code> {
    var codes = Set<RPCError.Code>()
    for item in try list() {
      let code: RPCError.Code? =
        switch item.value.kind {
        case .stringValue(let name): RPCError.Code(name: name.uppercased())
        case .numberValue(let number): UInt8(exactly: number).flatMap { RPCError.Code(rawValue: $0) }
        default: nil
        }
      guard let code else { throw item.error("a status code is expected, by its name or number, and not OK") }
      codes.insert(code)
    }
    return codes
  }
}
