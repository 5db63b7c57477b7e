import Foundation
import SpanwireProtobuf
import SpanwireRPC
import SpanwireRPCOverHTTP2
import SpanwireSchema
import SpanwireWellKnown
import Testing

@testable import SpanwirePlatform

/// Every method of every contract, tried by every kind of principal over the wire, and by every service in process, against what its
/// contract declares. Nothing here names a method: a new one is tried because it is there.
@Suite
struct ExposureTests {
  static let services: [ServiceDescriptor] = [
    ProductRuntimeGateway.descriptor, Registry.descriptor, Policy.descriptor, JourneyRuntime.descriptor, AgentOrchestrator.descriptor,
    AgentWorker.descriptor, Executions.descriptor,
    Trutta.descriptor, Lem.descriptor, Identity.descriptor, Flags.descriptor, Chain.descriptor, Flagd_Evaluation_V1_Service.descriptor,
    Flagd_Evaluation_V2_Service.descriptor,
    Flagd_Sync_V1_FlagSyncService.descriptor, Events.descriptor, Collector.descriptor, Operations.descriptor,
    Turns.descriptor, TurnHost.descriptor,
  ]

  @Test("Every method of the platform says who may call it")
  func everyMethodIsDeclared() {
    for method in Self.services.flatMap(\.methods) {
      #expect(method.exposure != nil, "\(method.path) has no access option")
    }
    #expect(Set(Self.services.map(\.fullName)) == Set(ServiceNames.byContract.keys))
  }

  @Test("Over the wire every method admits just the kinds of principals that it declares, and names the rule that refuses the others")
  func overTheWire() async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "exposure-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let platform = try await Platform.start(PlatformOptions(dataFolder: folder.path, listen: "127.0.0.1:0", isDevelopment: true))
    let channel = try HTTP2Channel(#require(ChannelTarget(platform.address)))

    let callers: [(kind: Principal.Kind, token: String?)] = [
      (.anonymous, nil), (.user, "dev:user:U:t:traveller"), (.agent, "dev:agent:A:t:external_agent"),
      (.worker, "dev:worker:W:t:external_agent"), (.ops, "dev:ops:O:platform:ops_lead,platform_admin"),
    ]
    for method in Self.services.flatMap(\.methods) {
      for (kind, token) in callers {
        let principal = Principal(kind: kind, id: "x", tenant: "t", surface: SpanwireRPC.Surface(of: kind))
        let admitted = try #require(method.exposure).admits(principal)
        let error = await outcome(of: method, on: channel, token: token)
        if admitted {
          // What the access policy then says of it, such as of an export of the audit, is another matter.
          let rule = error?.reasonMetadata("rule") ?? ""
          #expect(
            error?.code != .unauthenticated && !rule.hasPrefix("EXPOSURE-") && !rule.hasPrefix("AGENT-"),
            "\(method.path) refused \(kind): \(String(describing: error))")
        } else if kind == .anonymous {
          #expect(error?.code == .unauthenticated, "\(method.path) answered nobody in particular: \(String(describing: error))")
        } else {
          #expect(error?.code == .permissionDenied, "\(method.path) admitted \(kind): \(String(describing: error))")
          #expect(error?.reasonMetadata("rule") == ExposureGate.rule(for: principal, method: method), "\(method.path) for \(kind)")
        }
      }
    }
    await channel.close()
    await platform.stop(grace: .seconds(1))
  }

  @Test("In process every service may call just what the contracts grant it; the orchestrator changes nothing of Trutta, Registry and LEM")
  func inProcess() async throws {
    let mutating = [
      "Issue", "Redeem", "Compensate", "Settle", "CorrectSettlement", "Apply", "SyncServicePoints", "BlockServicePoint",
      "UnblockServicePoint",
    ]
    for method in Self.services.flatMap(\.methods) {
      let exposure = try #require(method.exposure)
      for service in Set(ServiceNames.byContract.values) {
        let admitted = exposure.admits(.service(service))
        let granted = exposure.surfaces.contains(.internal) && exposure.principals.contains(.service)
        #expect(
          admitted == (granted && (exposure.services.isEmpty || exposure.services.contains(service))), "\(method.path) for \(service)")
      }
      if ["prg"].contains(ServiceNames.byContract[method.service]) { continue }
      if mutating.contains(method.name) {
        #expect(!exposure.admits(.service(ServiceNames.ao)), "\(method.path) is open to the orchestrator")
        #expect(exposure.agentRule.hasPrefix("AGENT-FORBIDDEN-"), "\(method.path) names no rule against agents")
        #expect(exposure.principals.isDisjoint(with: [.agent, .worker]), "\(method.path) is open to agents")
      }
    }
  }

  /// What a call with an empty request ends with; nil for OK. A stream is left after its first message.
  private func outcome(of method: MethodDescriptor, on channel: HTTP2Channel, token: String?) async -> RPCError? {
    var options = CallOptions(timeout: method.kind.serverStreams ? .seconds(1) : .seconds(20))
    if let token { options.metadata.set("authorization", "Bearer \(token)") }
    do {
      let call = try await channel.start(method, options)
      _ = try call.send(Google_Protobuf_Empty())
      call.finishSending()
      if method.kind.serverStreams {
        // A subscription without an end is left after its first message, or when its deadline says that none comes.
        _ = try await call.receive(Google_Protobuf_Empty.self)
        call.cancel()
      } else {
        while try await call.receive(Google_Protobuf_Empty.self) != nil {}
      }
      return nil
    } catch {
      return error as? RPCError ?? RPCError(.unknown, "\(error)")
    }
  }
}
