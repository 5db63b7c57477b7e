import ArgumentParser
import SpanwireSchema

struct ModelsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "models", abstract: "Language models: which this server can ask, and which a task would be put to.",
    discussion: """
      Providers and their prices are in the file that 'spanwire serve --models' names. Which model does what, the registry says: an agent \
      whose definition has by_model is done by the models that the model routes of its intent name, else those of its agent_type, else by \
      those of its model policy; the lowest priority number first, each followed by its fallbacks. Provider built_in is the platform's own \
      agent, the last resort that needs no model. What each task asked of whom, and what it cost, 'spanwire tasks show' tells; the \
      circuits of providers are in 'spanwire breakers'.
      """,
    subcommands: [ModelsList.self, ModelsRoute.self], defaultSubcommand: ModelsList.self)
}

struct ModelsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the models that this server can ask, and their prices.")

  @OptionGroup var connection: ConnectionOptions
  @Flag(help: "Print JSON, a provider a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let client = AgentOrchestratorClient(try await connection.channel())
      let providers = try await client.listModelProviders(ListModelProvidersRequest()).providers
      if json { return try providers.forEach { try printJSON($0) } }
      printTable(
        ["PROVIDER", "MODEL", "A MILLION IN", "A MILLION OUT", "CONTEXT", "AT"],
        providers.flatMap { provider in
          provider.models.map { offer in
            [
              provider.provider, offer.model, offer.inputPrice?.text ?? "", offer.outputPrice?.text ?? "",
              offer.contextLength == 0 ? "" : "\(offer.contextLength)", provider.baseURL,
            ]
          }
        })
    }
  }
}

struct ModelsRoute: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "route", abstract: "Show which models a task of an agent would be put to, in their order, and which would be passed over.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "The agent, by its slug.") var agent: String
  @Argument(help: "What is wanted of it, such as suggest_next_stop.") var intent: String
  @Option(help: "About how many tokens the question has.") var tokens: UInt32 = 0
  @Flag(help: "Print JSON, a model a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let client = AgentOrchestratorClient(try await connection.channel())
      let request = ExplainModelRouteRequest(agentSlug: agent, intent: intent, contextLength: tokens)
      let choices = try await client.explainModelRoute(request).choices
      if json { return try choices.forEach { try printJSON($0) } }
      printTable(
        ["ROUTE", "PROVIDER", "MODEL", "PRIORITY", "AT MOST", "PASSED OVER"],
        choices.map { choice in
          [
            choice.routeID.isEmpty ? "(model policy)" : choice.routeID, choice.provider, choice.model,
            choice.routeID.isEmpty ? "" : "\(choice.priority)", choice.maxCost?.text ?? "", choice.passedOver,
          ]
        })
    }
  }
}
