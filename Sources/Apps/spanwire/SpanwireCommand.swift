import ArgumentParser
import SpanwireProtobuf
import SpanwireSchema

/// The command `spanwire`: the server, and everything an operator or a developer does to one from a terminal.
@main
struct SpanwireCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "spanwire",
    abstract: "A platform on the gRPC wire for products that people and agents travel through together.",
    discussion: """
      Client commands talk to --server (default: $SPANWIRE_SERVER, then 127.0.0.1:7300) with the credential of --token \
      (default: $SPANWIRE_TOKEN).

      Exit codes: 0 done; 64 the command line is wrong; 65 the server found the input invalid; 66 not found; 69 the server \
      cannot be reached; 70 the server failed; 75 try again later; 76 the state does not allow it; 77 not permitted; \
      1 a check that was asked for did not hold.
      """,
    subcommands: [
      Serve.self, Demo.self, CallCommand.self, EventsCommand.self, EffectsCommand.self, SessionsCommand.self, JourneysCommand.self,
      TraceCommand.self, RegistryCommand.self, PlacesCommand.self, RoutesCommand.self, FlagsCommand.self, PolicyCommand.self,
      ApprovalsCommand.self, GrantsCommand.self, ChainCommand.self, TasksCommand.self, TurnsCommand.self, WorkersCommand.self,
      ModelsCommand.self, DeadLettersCommand.self, BreakersCommand.self, IncidentsCommand.self, SlaCommand.self, SchedulesCommand.self,
      ExecutionsCommand.self, ArtifactsCommand.self, StateCommand.self, TimelineCommand.self, ReplayCommand.self, DiffCommand.self,
      TenantsCommand.self, BindingsCommand.self, KeysCommand.self, TokensCommand.self, WhoAmICommand.self,
      EntitlementsCommand.self, SettlementsCommand.self, AuditCommand.self, VerifyCommand.self, BackupCommand.self,
    ])

  static func main() async {
    // Payloads are printed by their types' names, so every type must be known, used by code here or not.
    for file in SpanwireSchemaFiles.all { DescriptorPool.generated.add(file) }
    await main(nil)
  }
}
