import Foundation
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// What a model may call: of the methods below those that its agent's definition names, and always the functions by which it proposes.
///
/// A method's arguments are the JSON form of its request, and what comes back is that of the response. Where the traveller is, whose
/// session it is and what time it is are the task's to say and not the model's. Each call goes the way of every agent's: through its
/// circuit, and past policy.
struct ModelTools: Sendable {
  private let run: AgentRun
  private let methods: [String: Method]
  /// What a model reads of them.
  let functions: [ChatFunction]

  init(_ run: AgentRun, _ agent: AgentDefinition) {
    self.run = run
    let named = agent.capabilities.compactMap { capability in Self.catalogue[capability.tool].map { (capability.tool, $0) } }
    methods = Dictionary(named.map { (Self.functionName($0.0), $0.1) }) { first, _ in first }
    functions =
      named.map { ChatFunction(name: Self.functionName($0.0), description: $0.1.description, parameters: $0.1.parameters) }
      + ProposalFunction.allCases.map(\.function)
  }

  /// `Lem.ComputeRoute` as models may spell it.
  static func functionName(_ tool: String) -> String { tool.replacingOccurrences(of: ".", with: "_") }

  /// What came of a call: what the model is told, and what it proposed by it, if it did.
  struct Outcome: Sendable {
    var text: String
    var draft: AgentAnswer.Draft?
  }

  /// Does what a model wants done, or tells it why not. Throws when the task is over.
  func perform(_ call: ChatToolCall, drafts: Int) async throws -> Outcome {
    if let wish = Self.forbidden(call.name) {
      // Refused by policy and audited with the answer, as a wish in words is.
      let action = RequestedAction(action: wish, target: run.context.productRuntimeSessionID)
      return Outcome(
        text: Self.error("no agent may do that: it was noted and will be refused"),
        draft: AgentAnswer.Draft(
          summary: "Wanted to act: \(wish)", rationale: "The model called \(call.name.redacted(nil)); no agent may do that.", confidence: 1,
          kind: .requestedAction(action)))
    }
    do {
      if let proposal = ProposalFunction(rawValue: call.name) {
        guard drafts < run.maxSuggestions else { return Outcome(text: Self.error("\(run.maxSuggestions) proposals are as many as may be")) }
        return Outcome(text: #"{"noted":true}"#, draft: try proposal.draft(call.arguments))
      }
      guard let method = methods[call.name] else { return Outcome(text: Self.error("there is no such function")) }
      return Outcome(text: Self.cut(try await method.call(run, call.arguments.isEmpty ? "{}" : call.arguments)))
    } catch let error as RPCError where error.code != .cancelled && !Task.isCancelled {
      return Outcome(text: Self.error(error.message))
    } catch let error as JSONError {
      return Outcome(text: Self.error("the arguments cannot be read: \(error.path) \(error.problem)"))
    }
  }

  /// The action that a function of this name would be; nil for every other name.
  private static func forbidden(_ name: String) -> String? {
    let words = name.lowercased().split { !$0.isLetter }
    let service = words.first ?? ""
    switch service {
    case "trutta":
      return words.contains("redeem") ? "redeem" : words.contains { $0.hasPrefix("list") || $0.hasPrefix("get") } ? nil : "issue"
    case "lem": return words.contains { $0.contains("block") || $0.hasPrefix("sync") || $0.hasPrefix("reserve") } ? "lem_mutation" : nil
    case "registry": return words.contains { ["apply", "rollback"].contains($0) } ? "registry_change" : nil
    default: return words.contains { ["pay", "payment", "purchase", "charge", "refund"].contains($0) } ? "payment" : nil
    }
  }

  private static func error(_ text: String) -> String { ChatQuestion.object([("error", ChatQuestion.quoted(text))]) }

  private static func cut(_ text: String) -> String {
    guard text.utf8.count > OrchestratorLimits.modelToolBytes else { return text }
    return String(decoding: text.utf8.prefix(OrchestratorLimits.modelToolBytes), as: UTF8.self) + "… (cut off: ask for less)"
  }

  // MARK: The catalogue

  private struct Method: Sendable {
    var description: String
    var parameters: String
    var call: @Sendable (AgentRun, String) async throws -> String
  }

  private static func method<Request: Message, Response: Message>(
    _ name: String, _ description: String, _ properties: String, required: [String] = [],
    _ request: Request.Type, settle: @escaping @Sendable (inout Request, AgentRun) -> Void,
    call: @escaping @Sendable (AgentRun, Request) async throws -> Response
  ) -> (String, Method) {
    let parameters = #"{"type":"object","properties":{\#(properties)},"required":\#(ChatQuestion.list(required.map(ChatQuestion.quoted)))}"#
    return (
      name,
      Method(description: description, parameters: parameters) { run, arguments in
        var asked = try Request(jsonString: arguments)
        settle(&asked, run)
        let final = asked
        let response = try await run.tool(name) { try await call(run, final) }
        return try response.jsonString(options: JSONEncodingOptions(usesProtoNames: true))
      }
    )
  }

  private static let catalogue: [String: Method] = Dictionary(
    uniqueKeysWithValues: [
      method(
        "Lem.ListServicePoints",
        "Places of the traveller's market with their opening hours now, experience_score from 0 to 1, and whether they are blocked; nearest first.",
        #""tags":{"type":"array","items":{"type":"string"},"description":"all must be borne, such as cafe"},"open_only":{"type":"boolean"},"#
          + #""within_metres":{"type":"number"},"page_size":{"type":"integer","maximum":50},"page_token":{"type":"string"}"#,
        ListServicePointsRequest.self,
        settle: { request, run in
          (request.marketCode, request.near) = (run.context.marketCode, run.context.position)
          request.at = .init(nanosecondsSinceEpoch: run.now)
          request.pageSize = request.pageSize == 0 ? 20 : min(request.pageSize, 50)
        }, call: { try await $0.sources.lem.listServicePoints($1) }),
      method(
        "Lem.GetServicePoint", "One place, by its id.", #""service_point_id":{"type":"string"}"#, required: ["service_point_id"],
        GetServicePointRequest.self, settle: { $0.at = .init(nanosecondsSinceEpoch: $1.now) },
        call: { try await $0.sources.lem.getServicePoint($1) }),
      method(
        "Lem.ComputeRoute",
        "The best order of visits among the places named, on foot, each open until she leaves it; says which were left out.",
        #""service_point_ids":{"type":"array","items":{"type":"string"}},"max_stops":{"type":"integer"}"#, required: ["service_point_ids"],
        ComputeRouteRequest.self,
        settle: { request, run in
          (request.marketCode, request.finishBy) = (run.context.marketCode, run.context.finishBy)
          request.departAt = .init(nanosecondsSinceEpoch: run.now)
          if let position = run.context.position { request.start = position }
        }, call: { try await $0.sources.lem.computeRoute($1) }),
      method(
        "Trutta.ListEntitlements", "What the traveller holds, and what is left of it.", "", ListEntitlementsRequest.self,
        settle: { request, run in
          request = ListEntitlementsRequest(productRuntimeSessionID: run.context.productRuntimeSessionID, pageSize: 100)
        }, call: { try await $0.sources.trutta.listEntitlements($1) }),
      method(
        "JourneyRuntime.GetJourney", "Where the traveller's journey stands, and which places she has visited.", "", GetJourneyRequest.self,
        settle: { $0.journeyInstanceID = $1.context.journeyInstanceID }, call: { try await $0.sources.journeys.getJourney($1) }),
      method(
        "Registry.GetSnapshot", "The product that the session runs on: its variants with prices, and what its profiles allow.", "",
        GetSnapshotRequest.self, settle: { $0.snapshotRef = $1.context.runtimeSnapshotRef },
        call: { try await $0.sources.registry.getSnapshot($1) }),
      method(
        "Events.ListEvents", "Events of the platform's log about the task's subject, the oldest first.",
        #""page_size":{"type":"integer","maximum":100},"cursor":{"type":"string"}"#, ListEventsRequest.self,
        settle: { request, run in
          request.filter = IncidentAnalyst.filter(of: IncidentAnalyst.subject(of: run)) ?? EventFilter()
          request.pageSize = min(request.pageSize == 0 ? 50 : request.pageSize, 100)
        },
        call: { run, request in
          // The log is no service of another's, whose client would ask.
          try await run.agentGuard.admit(tool: "Events.ListEvents")
          return try await run.sources.log.list(request, tenant: run.tenant)
        }),
    ])
}

/// How a model proposes: by calls that change nothing, and that the platform makes proposals of.
enum ProposalFunction: String, CaseIterable, Sendable {
  case route = "propose_route"
  case product = "propose_product"
  case place = "recommend_place"
  case explanation = "propose_explanation"
  case action = "request_action"

  var function: ChatFunction {
    let common = [
      ("summary", #"{"type":"string","description":"one line that the traveller reads"}"#), ("rationale", #"{"type":"string"}"#),
      ("confidence", #"{"type":"number","minimum":0,"maximum":1}"#),
    ]
    let text = #"{"type":"string"}"#
    let (description, own, required): (String, [(String, String)], [String]) =
      switch self {
      case .route:
        (
          "Propose places to visit, in their order.", [("service_point_ids", #"{"type":"array","items":{"type":"string"}}"#)],
          ["service_point_ids"]
        )
      case .product: ("Propose another product or variant of it.", [("product_id", text), ("variant_id", text)], ["product_id"])
      case .place: ("Recommend a place, a vendor, a time.", [("service_point_id", text), ("vendor_id", text), ("at", text)], [])
      case .explanation: ("Offer an explanation.", [("text", text)], ["text"])
      case .action:
        (
          "Say that the traveller wants what no agent may do: payment, issue, redeem, registry_change or lem_mutation. It will be refused.",
          [("action", #"{"type":"string","enum":["payment","issue","redeem","registry_change","lem_mutation"]}"#), ("target", text)],
          ["action"]
        )
      }
    let fields = ChatQuestion.object(own + common)
    let names = ChatQuestion.list((required + ["summary"]).map(ChatQuestion.quoted))
    return ChatFunction(
      name: rawValue, description: description, parameters: #"{"type":"object","properties":\#(fields),"required":\#(names)}"#)
  }

  /// The draft of a proposal. Throws INVALID_ARGUMENT with what is wrong with the arguments.
  func draft(_ arguments: String) throws -> AgentAnswer.Draft {
    guard let said = try? JSONDecoder().decode(Arguments.self, from: Data(arguments.utf8)) else {
      throw RPCError.invalidArgument("the arguments are not of the types that were asked for")
    }
    let kind: Proposal.Kind =
      switch self {
      case .route: .route(RouteProposal(servicePointIds: said.service_point_ids ?? []))
      case .product: .product(ProductProposal(productID: said.product_id ?? "", variantID: said.variant_id ?? ""))
      case .place:
        .recommendation(
          Recommendation(
            servicePointID: said.service_point_id ?? "",
            at: said.at.flatMap(RFC3339.parse).map { .init(nanosecondsSinceEpoch: $0) }, vendorID: said.vendor_id ?? ""))
      case .explanation: .explanation(Explanation(text: said.text ?? ""))
      case .action: .requestedAction(RequestedAction(action: said.action ?? "", target: said.target ?? ""))
      }
    let proposal = Proposal(
      summary: said.summary ?? "", rationale: said.rationale ?? "", confidence: said.confidence ?? 0.5, kind: kind)
    // What holds for what workers propose holds for what models do.
    guard let draft = try WorkerValidation.answer(WorkResult(proposals: [proposal])).drafts.first else {
      throw RPCError.invalidArgument("it proposes nothing")
    }
    return draft
  }

  private struct Arguments: Decodable {
    var summary: String?
    var rationale: String?
    var confidence: Double?
    var service_point_ids: [String]?
    var product_id: String?
    var variant_id: String?
    var service_point_id: String?
    var vendor_id: String?
    var at: String?
    var text: String?
    var action: String?
    var target: String?
  }
}
