import SpanwireDatabase
import SpanwireEventLog
import SpanwireEventLoop
import SpanwireProtobuf
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit
import SpanwireWellKnown
import Synchronization

/// LEM: where things are, when they are open, and how to walk between them.
///
/// Every question is answered from a city in memory, off the loop where there is more than one place to look at; every change is rows
/// and events in one transaction, seen by the next question.
public final class CityGraphServer: LemService {
  let environment: ServiceEnvironment
  let cities: Cities
  private let coverages = CoverageMemo()

  public static let migrations = CityGraphStore.migrations

  public init(environment: ServiceEnvironment) {
    self.environment = environment
    cities = Cities(database: environment.database)
  }

  public func getServicePoint(_ request: GetServicePointRequest, context: ServerContext) async throws -> ServicePointStatus {
    let step = try step(context)
    var fields = Validation()
    fields.id(request.servicePointID, "service_point_id")
    fields.moment(request.at, "at")
    try fields.finish()
    let city = try await cities.city(of: step.tenant)
    return city.status(of: try Self.place(request.servicePointID, in: city), at: request.at?.nanosecondsSinceEpoch ?? step.now)
  }

  public func listServicePoints(
    _ request: ListServicePointsRequest, context: ServerContext
  ) async throws -> ListServicePointsResponse {
    let step = try step(context)
    var fields = Validation()
    fields.optionalID(request.marketCode, "market_code")
    fields.tags(request.tags, "tags")
    fields.optionalID(request.clusterID, "cluster_id")
    fields.position(request.near, "near")
    fields.check(request.withinMetres >= 0 && request.withinMetres.isFinite, "within_metres", "must be 0 or more")
    fields.check(request.withinMetres <= 0 || request.near != nil, "within_metres", "needs near")
    fields.moment(request.at, "at")
    let size = fields.pageSize(request.pageSize, default: CityGraphLimits.defaultPageSize, max: CityGraphLimits.pageSize)
    try fields.finish()
    let after = try PlaceListing.Place(pageToken: request.pageToken)
    let city = try await cities.city(of: step.tenant)
    let listing = PlaceListing(
      market: request.marketCode, tags: request.tags, cluster: request.clusterID, near: Coordinate(request.near),
      withinMetres: request.withinMetres > 0 ? request.withinMetres : nil, at: request.at?.nanosecondsSinceEpoch ?? step.now,
      openOnly: request.openOnly)
    return try await away { listing.page(of: city, after: after, size: size) }
  }

  public func checkCoverage(_ request: CheckCoverageRequest, context: ServerContext) async throws -> CheckCoverageResponse {
    let step = try step(context)
    var fields = Validation()
    fields.id(request.marketCode, "market_code")
    fields.moment(request.at, "at")
    fields.tags(request.tags, "tags")
    try fields.finish()
    let city = try await cities.city(of: step.tenant)
    let at = request.at?.nanosecondsSinceEpoch ?? step.now
    let second = UnixTime.seconds(at)
    let question = CoverageMemo.Question(tenant: step.tenant, version: city.version, market: request.marketCode, tags: request.tags)
    if let known = coverages.answer(to: question, at: second), known.covered { return known }
    let response = try await away { () -> CheckCoverageResponse in
      guard let calendar = city.map.calendar(ofMarket: request.marketCode) else {
        return CheckCoverageResponse(reason: "there is no market \(request.marketCode)")
      }
      let places = city.map.places(inMarket: request.marketCode, tags: request.tags).filter { city.block(of: $0.id, at: at) == nil }
      let coverage = Coverage(of: places.map(\.hours), at: second, in: calendar)
      return CheckCoverageResponse(
        covered: coverage.isCovered, servicePoints: UInt32(coverage.servicePoints), openNow: UInt32(coverage.openNow),
        reason: coverage.reason ?? "")
    }
    if response.covered {
      if city.blocksHold(through: second) { coverages.keep(response, to: question, at: second) }
    } else {
      await note(CoverageMissed(marketCode: request.marketCode, reason: response.reason), market: request.marketCode, step)
    }
    return response
  }

  public func computeRoute(_ request: ComputeRouteRequest, context: ServerContext) async throws -> ComputeRouteResponse {
    let step = try step(context)
    let plan = try RoutePlan(request, now: step.now)
    let city = try await cities.city(of: step.tenant)
    let (response, event) = try await away { isCancelled in try plan.solve(in: city, isCancelled: isCancelled) }
    await note(event, market: request.marketCode, step)
    return response
  }

  // MARK: Inside

  func step(_ context: ServerContext) throws -> CityStep {
    CityStep(caller: try Caller(context), now: environment.clock.now, trace: context.trace, environment: environment)
  }

  static func place(_ id: String, in city: City) throws -> CityPlace {
    guard let place = city.map.place(id) else { throw missing(id) }
    return place
  }

  static func missing(_ id: String) -> RPCError {
    .missing(.servicePointNotFound, "there is no service point \(id)")
  }

  /// Computes off the loop: hundreds of places times their opening hours are milliseconds.
  func away<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await away { _ in try body() }
  }

  /// The same for work that looks now and then whether somebody still waits for it: its call's deadline passing, or its caller going
  /// away, cancels it.
  func away<Result: Sendable>(_ body: @escaping @Sendable (_ isCancelled: @escaping () -> Bool) throws -> Result) async throws -> Result {
    let abandonment = Abandonment()
    do {
      return try await withTaskCancellationHandler {
        try await offload {
          let result = try body { abandonment.isCalled }
          if abandonment.isCalled { throw CancellationError() }
          return result
        }
      } onCancel: {
        abandonment.call()
      }
    } catch is OffloadError {
      throw RPCError.later(.resourceExhausted, .queueFull, "the city graph computes as much as it can", after: .milliseconds(200))
    }
  }

  /// Telemetry of an answer that stands without it: a store that is too busy for it sheds it.
  private func note(_ payload: some EventPayload, market: String, _ step: CityStep) async {
    _ = try? await environment.database.transaction("lem.note") { tx in try step.tell(payload, market: market, in: tx) }
  }
}

/// Whether nobody waits for some work any more.
private final class Abandonment: Sendable {
  private let called = Atomic(false)
  var isCalled: Bool { called.load(ordering: .relaxed) }
  func call() { called.store(true, ordering: .relaxed) }
}

/// Who asked, and when it is. Taken before the transaction, which may run again.
struct CityStep: Sendable {
  let caller: Caller
  let now: Int64
  let trace: TraceContext?
  let environment: ServiceEnvironment

  var tenant: String { caller.tenant }

  /// Appends an event to the city graph's own stream.
  func tell(_ payload: some EventPayload, market: String, in tx: borrowing Transaction) throws {
    let draft = EventDraft(
      payload, producer: "lem", tenant: tenant, org: caller.organization, market: market, occurredAt: now, trace: trace)
    try tx.append(draft, environment)
  }
}

extension Validation {
  mutating func tags(_ values: [String], _ field: String) {
    ids(values, field, max: CityGraphLimits.tags)
  }

  mutating func position(_ value: GeoPoint?, _ field: String) {
    guard let value else { return }
    check((-90...90).contains(value.latitude), "\(field).latitude", "must be -90 to 90")
    check((-180...180).contains(value.longitude), "\(field).longitude", "must be -180 to 180")
  }

  /// A moment within the years that our calendars reckon with.
  mutating func moment(_ value: Google_Protobuf_Timestamp?, _ field: String) {
    guard let value else { return }
    check((0..<1_000_000_000).contains(value.nanos), "\(field).nanos", "must be 0 to 999999999")
    check((0..<CityGraphLimits.lastSecond).contains(value.seconds), field, "must lie between 1970 and 2200")
  }
}
