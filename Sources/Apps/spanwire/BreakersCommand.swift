import ArgumentParser
import SpanwireSchema

struct BreakersCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "breakers", abstract: "Circuit breakers of agents, tools and models' providers: see them, set them, force them.",
    discussion: """
      A circuit, agent:<slug>, tool:<name> or provider:<name>, is closed while its calls go well. It opens after 5 failures in 60 s, or by the rates that are \
      set; calls are refused then, or go to its fallback. After 30 s one call tries: if it goes well the circuit closes. An operator can \
      force it open, or disable it so that it never opens.
      """,
    subcommands: [BreakersList.self, BreakersSet.self], defaultSubcommand: BreakersList.self)
}

/// Prints circuits as rows.
private func printBreakers(_ breakers: [Breaker]) {
  printTable(
    ["CIRCUIT", "STATE", "MODE", "CALLS", "FAILED", "SLOW", "OPENS", "FALLBACK", "CHANGED", "WHY"],
    breakers.map { breaker in
      let config = breaker.config ?? BreakerConfig()
      var opens = "\(config.failureThreshold) in \(config.windowSeconds) s"
      if config.failureRate > 0 { opens += ", \(Int(config.failureRate * 100)) % failed" }
      if config.slowCallRate > 0 { opens += ", \(Int(config.slowCallRate * 100)) % over \(config.slowCallMs) ms" }
      return [
        breaker.circuit, breaker.state.word, breaker.mode.word, "\(breaker.calls)", "\(breaker.failures)", "\(breaker.slowCalls)", opens,
        config.fallback, timeOfDay(breaker.changedAt), breaker.reason,
      ]
    })
}

struct BreakersList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List the circuits that were used or set.")

  @OptionGroup var connection: ConnectionOptions
  @Option(help: "Only those in this state.") var state: BreakerState?
  @Flag(help: "Print JSON, one a line.") var json = false

  func run() async throws {
    try await reportingFailures {
      let all = try await AgentOrchestratorClient(try await connection.channel()).listBreakers(ListBreakersRequest()).breakers
      let wanted = all.filter { state == nil || $0.state == state }
      if json { try wanted.forEach { try printJSON($0) } } else { printBreakers(wanted) }
    }
  }
}

struct BreakersSet: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "set", abstract: "Change a circuit's mode, or when it opens; what is not named stays as it is.")

  @OptionGroup var connection: ConnectionOptions
  @Argument(help: "agent:<slug>, tool:<name>, or provider:<name> of language models.") var circuit: String
  @Option(help: "automatic, forced_open, or disabled.") var mode: BreakerMode?
  @Option(help: "Open after so many failures in the window.") var failures: UInt32?
  @Option(help: "The window, in seconds.") var window: UInt32?
  @Option(help: "Try one call after so many seconds.") var probe: UInt32?
  @Option(help: "Open when this part of the calls failed, 0 to 1; 0 does not judge by it.") var failureRate: Double?
  @Option(help: "Open when this part of the calls was slow, 0 to 1; 0 does not judge by it.") var slowRate: Double?
  @Option(help: "What is slow, in milliseconds.") var slowMs: UInt32?
  @Option(help: "Judge by the rates from so many calls on.") var minimumCalls: UInt32?
  @Option(help: "Who serves while it is open: built_in, or none.") var fallback: String?
  @Option(help: "Why, for the audit.") var reason: String
  @Option(help: "Repeats a command that may have been done already: the same key does it once.") var idempotencyKey: String?
  @Flag(help: "Print JSON.") var json = false

  private var changesConfig: Bool {
    failures != nil || window != nil || probe != nil || failureRate != nil || slowRate != nil || slowMs != nil || minimumCalls != nil
      || fallback != nil
  }

  mutating func validate() throws {
    if mode == nil, !changesConfig { throw ValidationError("say what to change: --mode, or when it opens") }
  }

  func run() async throws {
    try await reportingFailures {
      let agents = AgentOrchestratorClient(try await connection.channel())
      var request = SetBreakerRequest(
        idempotencyKey: idempotencyKey ?? newIdempotencyKey(), circuit: circuit, mode: mode ?? .unspecified, reason: reason)
      if changesConfig {
        let breakers = try await agents.listBreakers(ListBreakersRequest()).breakers
        var config = breakers.first { $0.circuit == circuit }?.config ?? BreakerConfig()
        if let failures { config.failureThreshold = failures }
        if let window { config.windowSeconds = window }
        if let probe { config.recoveryProbeSeconds = probe }
        if let failureRate { config.failureRate = failureRate }
        if let slowRate { config.slowCallRate = slowRate }
        if let slowMs { config.slowCallMs = slowMs }
        if let minimumCalls { config.minimumCalls = minimumCalls }
        if let fallback { config.fallback = fallback == "none" ? "" : fallback }
        request.config = config
      }
      let breaker = try await agents.setBreaker(request)
      if json { try printJSON(breaker) } else { printBreakers([breaker]) }
    }
  }
}
