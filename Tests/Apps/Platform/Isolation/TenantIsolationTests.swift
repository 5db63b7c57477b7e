import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import Testing

@testable import SpanwirePlatform

/// Every method of every contract, called by everybody of one tenant to whom it is open, with the ids of what another tenant has. Nothing
/// here names a method: a new one is tried because it is there, and fails until `RequestFiller` says what to put into its request.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct TenantIsolationTests {
  /// What an intruder may be answered with: that there is no such thing, that it is not allowed, or what is the intruder's own.
  private static let refusals: Set<RPCError.Code> = [.notFound, .permissionDenied, .unauthenticated]
  /// Methods that may also be refused for the state of what is the intruder's own, and why.
  private static let ownStates: [String: (code: RPCError.Code, reason: String)] = [
    "/spanwire.city.v1.Lem/UnblockServicePoint": (.failedPrecondition, "blocks are a tenant's own, also of places it does not know"),
    "/spanwire.city.v1.Lem/ReserveCapacity": (.alreadyExists, "ids of reservations are a tenant's own: the first call took it"),
    "/spanwire.agents.v1.AgentOrchestrator/RunTask": (.alreadyExists, "ids of tasks are a tenant's own: the first call took it"),
    "/spanwire.agents.v1.AgentOrchestrator/SubmitTask": (.alreadyExists, "the same"),
    "/spanwire.agents.v1.AgentOrchestrator/CancelTask": (.failedPrecondition, "the task of that id that RunTask made, which has ended"),
    "/spanwire.executions.v1.Executions/GetState": (.invalidArgument, "a worker that names no claim"),
    "/spanwire.executions.v1.Executions/SetState": (.invalidArgument, "the same"),
    "/spanwire.executions.v1.Executions/RegisterArtifact": (.invalidArgument, "the same"),
    "/spanwire.executions.v1.Executions/UploadArtifact": (.invalidArgument, "the same"),
    "/spanwire.executions.v1.Executions/SetArtifactState": (.invalidArgument, "the same"),
    "/spanwire.executions.v1.Executions/ResolveArtifact": (.invalidArgument, "the same"),
    "/spanwire.executions.v1.Executions/ReadArtifact": (.invalidArgument, "the same"),
    "/spanwire.events.v1.Events/ReplayEvents": (.failedPrecondition, "nobody listens to the intruder's channel"),
  ]

  @Test("Whatever a tenant's people and services ask for by another tenant's ids, they read nothing of it and change nothing of it")
  func intruders() async throws {
    let platform = try await TwoTenants()
    let belongings = try await Belongings(in: platform)
    let filler = RequestFiller(belongings)
    var rows = try platform.rows(of: TwoTenants.owner)
    let secrets = belongings.secrets(in: rows)
    #expect(secrets.count > 5, "the owner has too little for this to prove anything")
    var tried = 0
    for method in ExposureTests.services.flatMap(\.methods) {
      for (number, caller) in TwoTenants.callers(of: method, from: TwoTenants.other).enumerated() {
        for request in try filler.requests(of: method, by: caller, key: "\(method.name)-\(number)") {
          tried += 1
          let outcome = await platform.call(method, request, as: caller)
          let who = "\(method.path) by \(caller)"
          if let code = outcome.code {
            let isOwn = code == Self.ownStates[method.path]?.code
            #expect(isOwn || Self.refusals.contains(code), "\(who): \(code) \(outcome.message)")
          }
          for answer in outcome.answers + [Array(outcome.message.utf8)] {
            let told = String(decoding: answer, as: UTF8.self)
            for secret in secrets where told.contains(secret) { Issue.record("\(who) was told \(secret)") }
          }
        }
      }
      let now = try platform.rows(of: TwoTenants.owner)
      if now != rows {
        let changes = now.symmetricDifference(rows).map { String($0.prefix(300)) }.sorted()
        Issue.record("\(method.path) changed rows of another tenant:\n\(changes.joined(separator: "\n"))")
        rows = now
      }
    }
    #expect(tried > 200)
    await platform.stop()
  }

  /// What the owner's people may be answered with, and still have reached what they asked for: it is not in the right state, or not theirs to
  /// change.
  private static let reached: Set<RPCError.Code> = [.failedPrecondition, .alreadyExists, .resourceExhausted, .aborted, .permissionDenied]

  /// Methods about what the owner has none of, and why.
  private static let unmade = [
    "/spanwire.agents.v1.AgentOrchestrator/GetDeadLetter": "no task of the owner's has failed",
    "/spanwire.agents.v1.AgentOrchestrator/ReviewDeadLetter": "the same",
    "/spanwire.agents.v1.AgentOrchestrator/RedriveDeadLetters": "the same",
    "/spanwire.agents.v1.AgentWorker/DrainWorker": "a worker's stream ends with its request",
    "/spanwire.agents.v1.AgentWorker/PerformExecution": "no worker is attached",
  ]

  @Test("The same requests by the owner's own people reach what they ask for: so it is the tenant that refuses the others")
  func owners() async throws {
    let platform = try await TwoTenants()
    let filler = RequestFiller(try await Belongings(in: platform))
    for method in ExposureTests.services.flatMap(\.methods) where Self.unmade[method.path] == nil {
      var refusals: [String] = []
      search: for (number, caller) in TwoTenants.callers(of: method, from: TwoTenants.owner).enumerated() {
        for request in try filler.requests(of: method, by: caller, key: "own-\(method.name)-\(number)") {
          let outcome = await platform.call(method, request, as: caller)
          guard let code = outcome.code, !Self.reached.contains(code) else {
            refusals = []
            break search
          }
          refusals.append("\(caller): \(code) \(outcome.message)")
        }
      }
      #expect(refusals.isEmpty, "\(method.path) reaches nothing of its owner: \(refusals.joined(separator: "; "))")
    }
    await platform.stop()
  }
}
