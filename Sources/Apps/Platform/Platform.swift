import Foundation
import SpanwireCityGraph
import SpanwireDatabase
import SpanwireEntitlements
import SpanwireEventLog
import SpanwireEvents
import SpanwireGateway
import SpanwireIdentity
import SpanwireJourneys
import SpanwireObservability
import SpanwireOperations
import SpanwireOrchestrator
import SpanwirePolicy
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireRPCServices
import SpanwireRegistry
import SpanwireSchema
import SpanwireServiceKit
import SpanwireTLS
import SpanwireTelemetry

/// The composition root: which services there are, on which store, behind which port. Nothing else is decided here.
public final class Platform: Sendable {
  /// `HOST:PORT`, or `unix:PATH`, where it listens.
  public let address: String

  private let server: HTTP2Server
  private let health: HealthService
  private let services: PlatformServices
  private let databases: [any Database]
  private let auditHeads: AuditHeadExporter?
  private let authenticator: Authenticator
  private let watch: Task<Void, Never>
  private let tokens: TokenOptions?

  private init(
    address: String, server: HTTP2Server, health: HealthService, services: PlatformServices, databases: [any Database],
    auditHeads: AuditHeadExporter?, authenticator: Authenticator, tokens: TokenOptions?
  ) {
    self.address = address
    self.server = server
    self.health = health
    self.services = services
    self.databases = databases
    self.auditHeads = auditHeads
    self.authenticator = authenticator
    watch = Task { await authenticator.keepWatch() }
    self.tokens = tokens
  }

  /// Opens the data folder, puts the services together, takes up what an earlier run left pending, and listens.
  public static func start(_ options: PlatformOptions) async throws -> Platform {
    let endpoint = try endpoint(of: options)
    var verifier: TokenVerifier?
    if let tokens = options.tokens { verifier = TokenVerifier(rules: tokens.rules, keys: try await tokens.keys()) }
    do {
      try FileManager.default.createDirectory(atPath: options.dataFolder, withIntermediateDirectories: true)
    } catch {
      throw PlatformError("the data folder \(options.dataFolder) cannot be made: \(error.localizedDescription)")
    }
    var alert: IncidentAlertSender?
    if let webhook = try options.incidentWebhook.map(IncidentWebhook.init) { alert = { try await webhook.send($0) } }
    let database = try await SQLiteDatabase.open(path: options.dataFolder + "/spanwire.db", migrations: PlatformServices.migrations)
    let spans = try await SQLiteDatabase.open(
      path: options.dataFolder + "/spans.db", durability: .normal, migrations: [CollectorServer.migrations])
    let services = try await PlatformServices(
      database: database, spans: spans, files: [("spanwire.db", database), ("spans.db", spans)], folder: options.dataFolder,
      clock: options.clock, retention: options.retention, isSandbox: options.isSandbox,
      flagsTenant: options.flagsTenant, tenantWeights: options.tenantWeights, models: options.models, alert: alert)

    let served = services.routes.map(\.descriptor)
    let health = HealthService(services: served)
    let channelz = ChannelzService()
    let inspection = channelz.routes(exposure: MethodExposure(surfaces: .ops, principals: .ops))
    let others =
      [health.routes, inspection]
      + ReflectionService.routes(
        services: served + [Grpc_Health_V1_Health.descriptor, inspection.descriptor],
        files: SpanwireSchemaFiles.all + [Grpc_Health_V1_Health.file, Grpc_Channelz_V1_Channelz.file])
    let authenticator = Authenticator(
      environment: services.environment, acceptsDevelopmentTokens: options.isDevelopment, tokens: verifier)
    var interceptors: [any ServerInterceptor] = [authenticator]
    if let rate = options.callsPerSecond {
      let limit = RateLimit(burst: Int(max(1, min(2 * rate, 1e9))), perSecond: rate)
      // What the services ask of each other is the work of a call that was let in.
      interceptors.append(RateLimitInterceptor(limit) { $0.peer === Peer.inProcess ? nil : RateLimitInterceptor.caller($0) })
    }
    let router = services.connect(beside: others, behind: interceptors, observer: services.recorder)
    let auditHeads = try options.auditHeads.map {
      try AuditHeadExporter($0, dataFolder: options.dataFolder, environment: services.environment)
    }
    try await auditHeads?.start()
    try await services.start()
    services.keepHouse()

    var configuration = ServerConfiguration([endpoint])
    if let certificate = options.certificateFile, let key = options.keyFile {
      configuration.tls = TLSServerConfiguration(
        certificateChain: .file(path: certificate), privateKey: .file(path: key),
        clientCertificates: options.clientAuthoritiesFile.map {
          options.requiresClientCertificate ? .required(authorities: .file(path: $0)) : .verified(authorities: .file(path: $0))
        } ?? .ignored)
    }
    let server = try HTTP2Server(router, configuration)
    channelz.add(server)
    let bound = try await server.start()[0]
    let address =
      switch endpoint {
      case .ip(let host, let asked): "\(host.contains(":") ? "[\(host)]" : host):\(bound.port ?? asked)"
      case .unix(let path, _): "unix:\(path)"
      }
    return Platform(
      address: address, server: server, health: health, services: services, databases: [database, spans], auditHeads: auditHeads,
      authenticator: authenticator, tokens: options.tokens)
  }

  /// Reads the certificate files again: new connections see what they hold now. When they cannot be used it throws and nothing changes.
  public func reloadCertificates() throws { try server.reloadCertificates() }

  /// Reads the file of the token issuer's keys again; returns how many there are now. When it cannot be used it throws and the keys stay.
  @discardableResult
  public func reloadTokenKeys() async throws -> Int {
    guard let tokens else { return 0 }
    let keys = try await tokens.keys()
    authenticator.replace(keys)
    return keys.count
  }

  /// Says NOT_SERVING, lets running calls finish within the grace, and closes the store.
  public func stop(grace: Duration) async {
    health.drain()
    watch.cancel()
    await services.endSubscriptions()
    await server.shutDown(grace: grace)
    await services.stop()
    await auditHeads?.stop()
    for database in databases { await database.close() }
  }

  private static func endpoint(of options: PlatformOptions) throws -> ServerConfiguration.Endpoint {
    if options.listen.hasPrefix("unix:") { return .unix(path: String(options.listen.dropFirst("unix:".count)), mode: 0o600) }
    guard let colon = options.listen.lastIndex(of: ":"), let port = UInt16(options.listen[options.listen.index(after: colon)...]) else {
      throw PlatformError("--listen is HOST:PORT or unix:PATH, not '\(options.listen)'")
    }
    var host = String(options.listen[..<colon])
    if host == "localhost" || host.isEmpty { host = "127.0.0.1" }
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    let isLoopback = host == "::1" || host.hasPrefix("127.")
    if options.isDevelopment, !isLoopback {
      throw PlatformError("a server that admits development tokens listens on loopback only, not on \(host)")
    }
    return .ip(host, port: port)
  }
}
