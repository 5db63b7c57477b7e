import SpanwireExecutions
import SpanwireIdentity
import SpanwireOperations
import SpanwireSchema

/// The short names of the services: as identities, as producers of events and as `service.name` of spans.
enum ServiceNames {
  static let prg = "prg"
  static let registry = "registry"
  static let policy = "policy"
  static let tjm = "tjm"
  static let ao = "ao"
  static let turns = "turns"
  static let executions = ExecutionsServer.producer
  static let trutta = "trutta"
  static let lem = "lem"
  static let identity = IdentityServer.producer
  static let flags = "flags"
  static let chain = "chain"
  static let events = "events"
  static let observability = "observability"
  static let operations = OperationsServer.producer

  /// By the full name of the contract.
  static let byContract: [String: String] = [
    ProductRuntimeGateway.descriptor.fullName: prg,
    Registry.descriptor.fullName: registry,
    Policy.descriptor.fullName: policy,
    JourneyRuntime.descriptor.fullName: tjm,
    AgentOrchestrator.descriptor.fullName: ao,
    AgentWorker.descriptor.fullName: ao,
    TurnHost.descriptor.fullName: ao,
    Turns.descriptor.fullName: turns,
    Executions.descriptor.fullName: executions,
    Trutta.descriptor.fullName: trutta,
    Lem.descriptor.fullName: lem,
    Identity.descriptor.fullName: identity,
    Flags.descriptor.fullName: flags,
    Flagd_Evaluation_V1_Service.descriptor.fullName: flags,
    Flagd_Evaluation_V2_Service.descriptor.fullName: flags,
    Flagd_Sync_V1_FlagSyncService.descriptor.fullName: flags,
    Chain.descriptor.fullName: chain,
    Events.descriptor.fullName: events,
    Collector.descriptor.fullName: observability,
    Operations.descriptor.fullName: operations,
  ]
}
