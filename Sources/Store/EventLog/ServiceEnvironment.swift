import SpanwireDatabase
import SpanwireServiceKit

/// What every service is given by Platform: the store, the log, its effects, the time and the ids. Nothing in it belongs to a service.
///
/// A class, since every step of every service carries it along.
public final class ServiceEnvironment: Sendable {
  public let database: any Database
  public let log: EventLog
  public let effects: EffectDispatcher
  public let clock: any WallClock
  public let ids: IDGenerator
  let denials = DenialWindow()

  public init(database: any Database, log: EventLog, effects: EffectDispatcher, clock: any WallClock, ids: IDGenerator) {
    self.database = database
    self.log = log
    self.effects = effects
    self.clock = clock
    self.ids = ids
  }

  /// The schema of everything in the store that rooms share; their own come after.
  public static let migrations: [Migrations] = [Idempotency.migrations, LogStore.migrations, EffectStore.migrations]
}
