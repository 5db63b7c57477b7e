import SpanwireOutbound
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown

/// The providers that a server was started with: where they are, what they offer at which price, and the keys for them.
///
/// They are configuration of the process and no definitions of the registry: who may name a place to send a key to could read the key.
public struct ModelProviders: Sendable {
  /// The provider of routes that need no model: the platform's own agents.
  static let builtIn = "built_in"

  private let providers: [String: ModelProviderClient]
  /// As they were configured. Where a key is found is in it, the key is not.
  let contract: [ModelProvider]

  /// None.
  public init() {
    providers = [:]
    contract = []
  }

  /// Checks the configuration and reads the keys.
  ///
  /// Throws INVALID_ARGUMENT with the paths of everything that is wrong; no key is in it.
  ///
  /// - Parameters:
  ///   - variable: the value of an environment variable.
  ///   - file: the content of a file.
  public init(
    _ configuration: [ModelProvider], variable: (String) -> String?, file: (String) -> String?
  ) throws {
    var validation = Validation()
    var providers: [String: ModelProviderClient] = [:]
    validation.check(
      configuration.count <= OrchestratorLimits.modelProviders, "providers", "at most \(OrchestratorLimits.modelProviders)")
    for (index, provider) in configuration.prefix(OrchestratorLimits.modelProviders).enumerated() {
      let path = "providers[\(index)]"
      Self.check(provider, path, &validation)
      validation.check(
        provider.provider != Self.builtIn && providers[provider.provider] == nil, "\(path).provider", "must be another name than any other")
      var key: String?
      if !provider.apiKeyEnv.isEmpty {
        key = variable(provider.apiKeyEnv)
        validation.check(key?.isEmpty == false, "\(path).api_key_env", "the environment has no \(provider.apiKeyEnv)")
      } else if !provider.apiKeyFile.isEmpty {
        key = file(provider.apiKeyFile)?.split(whereSeparator: \.isNewline).first.map(String.init)
        validation.check(key?.isEmpty == false, "\(path).api_key_file", "no key can be read from it")
      }
      if let key { validation.check(key.utf8.allSatisfy { $0 > 32 && $0 < 127 }, path, "the key holds what no key holds") }
      providers[provider.provider] = ModelProviderClient(provider, key: key)
    }
    try validation.finish()
    self.providers = providers
    contract = configuration
  }

  subscript(name: String) -> ModelProviderClient? { providers[name] }

  /// The providers that offer a model, in the order of their names.
  func offering(_ model: String) -> [String] {
    providers.filter { $0.value.offer(model) != nil }.keys.sorted()
  }

  /// Closes the connections.
  func shutDown() {
    for provider in providers.values { provider.client.shutDown() }
  }

  private static func check(_ provider: ModelProvider, _ path: String, _ validation: inout Validation) {
    validation.id(provider.provider, "\(path).provider")
    let isURL = ["https://", "http://"].contains { provider.baseURL.hasPrefix($0) && provider.baseURL.utf8.count > $0.utf8.count }
    validation.check(
      isURL && provider.baseURL.utf8.allSatisfy { $0 > 32 && $0 < 127 } && !provider.baseURL.contains { "?#@".contains($0) },
      "\(path).base_url", "must be a URL of http or https, without user, query or fragment")
    validation.check(
      provider.apiKeyEnv.isEmpty || provider.apiKeyFile.isEmpty, "\(path).api_key_file", "the key comes from one place: here or api_key_env"
    )
    for (field, timeout) in [
      ("first_timeout", provider.firstTimeout), ("idle_timeout", provider.idleTimeout),
    ] {
      guard let timeout else { continue }
      validation.check(
        timeout.nanoseconds > 0 && timeout.nanoseconds <= OrchestratorLimits.modelTimeoutNanoseconds, "\(path).\(field)",
        "must be more than nothing and at most \(OrchestratorLimits.modelTimeoutNanoseconds / 1_000_000_000) s")
    }
    validation.check(!provider.models.isEmpty, "\(path).models", "must offer one")
    validation.check(Set(provider.models.map(\.model)).count == provider.models.count, "\(path).models", "one is there twice")
    validation.check(provider.models.count <= OrchestratorLimits.modelsOfProvider, "\(path).models", "too many")
    for (index, offer) in provider.models.prefix(OrchestratorLimits.modelsOfProvider).enumerated() {
      let path = "\(path).models[\(index)]"
      validation.text(offer.model, "\(path).model", max: 128)
      for (field, price) in [("input_price", offer.inputPrice), ("output_price", offer.outputPrice)] {
        validation.money(price, "\(path).\(field)")
        validation.range(price?.micros ?? 0, "\(path).\(field).micros", 0...OrchestratorLimits.modelPrice)
      }
      validation.check(
        offer.inputPrice?.currency == offer.outputPrice?.currency, "\(path).output_price.currency", "must be that of input_price")
    }
  }
}

extension ModelOffer {
  var currency: String { inputPrice?.currency ?? "" }

  /// What tokens cost, in micro-units, a part of one counting as one.
  func cost(prompt: Int, completion: Int) -> Int64 {
    let micros = Int64(prompt) * (inputPrice?.micros ?? 0) + Int64(completion) * (outputPrice?.micros ?? 0)
    return (micros + 999_999) / 1_000_000
  }

  /// How many tokens of answer a sum pays for, besides the question's.
  func completion(for micros: Int64, prompt: Int) -> Int {
    let price = outputPrice?.micros ?? 0
    let left = micros - cost(prompt: prompt, completion: 0)
    if left < 0 { return 0 }
    guard price > 0 else { return OrchestratorLimits.modelTokens }
    // Clamped so that the product stays below 2^63: it pays for more than any model says.
    return Int(min(Int64(OrchestratorLimits.modelTokens), min(left, 1_000_000_000_000) * 1_000_000 / price))
  }
}
