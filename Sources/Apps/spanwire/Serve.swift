import ArgumentParser
import Foundation
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireOrchestrator
import SpanwirePlatform
import SpanwireRegistry
import SpanwireSchema
import SpanwireServiceKit

struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serve the platform from a data folder.",
    discussion: """
      Prints 'listening on HOST:PORT' once it serves. SIGTERM and SIGINT drain it: health says NOT_SERVING, new calls are sent \
      elsewhere, running ones finish within --grace, and it exits with 0. SIGHUP, or a change of the certificate files, makes new \
      connections see the new certificates; the keys of tokens are read again in the same way.

      Callers prove who they are by a token of the issuer (--jwt-keys, --jwt-issuer and --jwt-audience), by a key that 'spanwire keys' \
      made, or by a client certificate (--tls-client-ca). Development tokens count only with --dev.

      Agents whose definition says by_model are done by language models: those of the providers in the file that --models names. It lists \
      them under 'providers', each with provider (its name in model routes), base_url (of an API like OpenAI's), api_key_env or \
      api_key_file, and its models with input_price and output_price of a million tokens.
      """)

  @Option(help: "The folder of its databases; made if it isn't there.") var data: String
  @Option(help: "HOST:PORT to listen on, port 0 takes a free one; or unix:PATH.") var listen = "127.0.0.1:7300"
  @Option(name: .customLong("tls-cert"), help: "PEM file of the certificate chain; needs --tls-key.") var tlsCertificate: String?
  @Option(name: .customLong("tls-key"), help: "PEM file of the private key.") var tlsKey: String?
  @Option(name: .customLong("tls-client-ca"), help: "PEM file of the authorities of client certificates.") var tlsClientAuthorities: String?
  @Flag(name: .customLong("tls-require-client-cert"), help: "Refuse connections without a client certificate; needs --tls-client-ca.")
  var tlsRequiresClientCertificate = false
  @OptionGroup var tokens: TokenIssuerOptions
  @Option(name: .customLong("rate-limit"), help: "Calls a second that one caller may make in the long run; twice as many at once.")
  var callsPerSecond: Double?
  @Option(help: "The tenant whose flags callers without a credential see, as flagd's stock clients are.") var flagsTenant: String?
  @Option(
    name: .customLong("tenant-weight"),
    help: "TENANT=N: while tenants compete for agents, this one gets N turns where others get one. May be repeated.")
  var tenantWeights: [String] = []
  @Option(help: "YAML file of the providers of language models.") var models: String?
  @Option(help: "A URL of HTTP that is sent a POST of JSON whenever incident mode changes.") var incidentWebhook: String?
  @Option(name: .customLong("audit-heads"), help: "A folder for signed heads of the audit, outside of --data; needs --audit-key.")
  var auditHeads: String?
  @Option(name: .customLong("audit-key"), help: "PEM file of the key that signs them; 'spanwire audit key' makes one.")
  var auditKey: String?
  @Option(
    name: .customLong("accept-audit-gap"),
    help: "Why the log may be behind its newest signed head, as after a backup was restored; without it such a server does not start.")
  var acceptedAuditGap: String?
  @Flag(help: "Admit development tokens; listens on loopback only.") var dev = false
  @Flag(help: "A place for analysis and simulation: events may be replayed here.") var sandbox = false
  @Option(name: .customLong("keep-operational"), help: "Days that operational events are kept; business events are kept for ever.")
  var keepOperational: Double = 90
  @Option(name: .customLong("keep-transient"), help: "Days that transient events are kept.") var keepTransient: Double = 7
  @Option(help: "Let the platform's clock begin at this moment, in RFC 3339.") var clock: String?
  @Option(help: "Seconds that running calls have to finish when it stops.") var grace: Double = 10

  func chosenClock() throws -> any WallClock {
    guard let clock else { return SystemClock() }
    guard let start = RFC3339.parse(clock) else { throw ValidationError("--clock takes RFC 3339, such as 2026-05-19T09:00:00+02:00") }
    return OffsetClock(startingAt: start)
  }

  func chosenWeights() throws -> [String: UInt32] {
    try tenantWeights.reduce(into: [:]) { weights, text in
      let parts = text.split(separator: "=", omittingEmptySubsequences: false)
      guard parts.count == 2, Identifier.isValid(String(parts[0])), let weight = UInt32(parts[1]), (1...100).contains(weight) else {
        throw ValidationError("--tenant-weight is TENANT=N, with N from 1 to 100, not '\(text)'")
      }
      weights[String(parts[0])] = weight
    }
  }

  func chosenModels() throws -> ModelProviders {
    guard let models else { return ModelProviders() }
    guard let yaml = try? String(contentsOfFile: models, encoding: .utf8) else { throw PlatformError("\(models) cannot be read") }
    return try ModelProviders(
      BundleFile.message(ModelConfiguration.self, yaml: yaml).providers,
      variable: { ProcessInfo.processInfo.environment[$0] }, file: { try? String(contentsOfFile: $0, encoding: .utf8) })
  }

  mutating func validate() throws {
    _ = try chosenClock()
    _ = try chosenWeights()
    if (tlsCertificate == nil) != (tlsKey == nil) { throw ValidationError("--tls-cert and --tls-key go together") }
    if tlsClientAuthorities != nil, tlsCertificate == nil { throw ValidationError("--tls-client-ca needs --tls-cert") }
    if tlsRequiresClientCertificate, tlsClientAuthorities == nil {
      throw ValidationError("--tls-require-client-cert needs --tls-client-ca")
    }
    if (auditHeads == nil) != (auditKey == nil) { throw ValidationError("--audit-heads and --audit-key go together") }
    if acceptedAuditGap != nil, auditHeads == nil { throw ValidationError("--accept-audit-gap goes with --audit-heads") }
    if let callsPerSecond, !(callsPerSecond > 0) { throw ValidationError("--rate-limit must be more than 0") }
    for days in [keepOperational, keepTransient] where !(0...36_500).contains(days) {
      throw ValidationError("--keep-operational and --keep-transient take days, from 0 to 36500")
    }
    if keepTransient > keepOperational { throw ValidationError("transient events are kept no longer than operational ones") }
    if grace < 0 { throw ValidationError("--grace must not be negative") }
  }

  private func days(_ count: Double) -> Duration { .seconds(Int64(count * 86_400)) }

  func run() async throws {
    lineBuffered()
    ProcessResources.raiseOpenFiles()
    ProcessResources.returnFreedMemory()
    // Only debug builds measure.
    EventLoop.onHold { hold in
      FileHandle.standardError.write(Data("\(hold.work) \(hold.slept ? "slept on" : "held") \(hold.loop) for \(hold.duration)\n".utf8))
    }
    try await reportingFailures {
      let platform = try await Platform.start(
        PlatformOptions(
          dataFolder: data, listen: listen, certificateFile: tlsCertificate, keyFile: tlsKey, clientAuthoritiesFile: tlsClientAuthorities,
          requiresClientCertificate: tlsRequiresClientCertificate, callsPerSecond: callsPerSecond, isDevelopment: dev,
          isSandbox: sandbox, retention: RetentionPeriods(operational: days(keepOperational), transient: days(keepTransient)),
          clock: try chosenClock(), flagsTenant: flagsTenant, tenantWeights: try chosenWeights(), models: try chosenModels(),
          incidentWebhook: incidentWebhook,
          auditHeads: auditHeads.map { AuditHeadOptions(folder: $0, keyFile: auditKey ?? "", acceptedGap: acceptedAuditGap) },
          tokens: try tokens.chosen()))
      let watches = [
        FileWatch("certificates", [tlsCertificate, tlsKey, tlsClientAuthorities].compactMap { $0 }) { try platform.reloadCertificates() },
        FileWatch("keys of tokens", [tokens.keys].compactMap { $0 }) { try await platform.reloadTokenKeys() },
      ]
      catchTermination()  // whoever reads the next line may send it
      print("listening on \(platform.address)\(dev ? " (development tokens are admitted)" : "")")
      await terminationRequest()
      for watch in watches { watch.end() }
      print("draining")
      await platform.stop(grace: .milliseconds(Int64(min(grace, 3_600) * 1_000)))
      print("stopped")
    }
  }
}
