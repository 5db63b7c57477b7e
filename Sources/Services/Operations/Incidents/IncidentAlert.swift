import SpanwireDatabase
import SpanwireEventLog
import SpanwireRPC
import SpanwireSchema
import SpanwireServiceKit

/// Tells somebody outside of an incident: the body of a POST, as JSON. Throws when it was not taken.
public typealias IncidentAlertSender = @Sendable (_ body: [UInt8]) async throws -> Void

/// The call of the webhook: a timer written with the change that it tells of, tried a few times, whatever the process goes through.
enum IncidentAlert {
  static let method = "incident-alert"

  /// Which change it tells of, and which try it is.
  struct Order: Sendable, Hashable {
    var incidentID: String
    var mode: IncidentStateMachine.Mode
    var reason: String
    var at: Int64
    var attempt = 1

    /// Reason last: it may hold anything.
    fileprivate var text: String { "\(incidentID)\n\(mode.rawValue)\n\(at)\n\(attempt)\n\(reason)" }

    fileprivate init?(text: String) {
      let parts = text.split(separator: "\n", maxSplits: 4, omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 5, let mode = IncidentStateMachine.Mode(rawValue: parts[1]), let at = Int64(parts[2]),
        let attempt = Int(parts[3])
      else { return nil }
      self.init(incidentID: parts[0], mode: mode, reason: parts[4], at: at, attempt: attempt)
    }

    init(incidentID: String, mode: IncidentStateMachine.Mode, reason: String, at: Int64, attempt: Int = 1) {
      (self.incidentID, self.mode, self.reason, self.at, self.attempt) = (incidentID, mode, reason, at, attempt)
    }

    /// What the webhook is sent.
    var body: [UInt8] {
      func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
          switch scalar {
          case "\"": out += "\\\""
          case "\\": out += "\\\\"
          case "\n": out += "\\n"
          case "\t": out += "\\t"
          case _ where scalar.value < 0x20: out += " "
          default: out.unicodeScalars.append(scalar)
          }
        }
        return out + "\""
      }
      let fields = [
        ("incident_id", quoted(incidentID)), ("mode", quoted(mode.rawValue)), ("reason", quoted(reason)),
        ("occurred_at", quoted(RFC3339.format(at))), ("attempt", "\(attempt)"),
      ]
      return Array("{\(fields.map { "\"\($0.0)\": \($0.1)" }.joined(separator: ", "))}".utf8)
    }
  }

  static func set(_ order: Order, id: String, dueAt: Int64, in transaction: borrowing Transaction) throws {
    try transaction.perform(
      Effect(
        id: id, owner: OperationsServer.producer, stream: "alert:\(order.incidentID)", method: method, request: Array(order.text.utf8),
        dueAt: dueAt, tenant: Caller.platformTenant))
  }

  /// Makes one call, and returns what to write of it: that it was taken, that it is tried again, or that it never was.
  static func perform(
    _ effect: Effect, _ send: IncidentAlertSender?, now: Int64, next id: String
  ) async -> (@Sendable (borrowing Transaction) throws -> Void)? {
    guard let order = Order(text: String(decoding: effect.request, as: UTF8.self)) else { return nil }
    var note = "delivered"
    do {
      guard let send else { throw RPCError.unavailable("no webhook is set any more") }
      try await send(order.body)
    } catch {
      note = "attempt \(order.attempt) of \(IncidentLimits.alertAttempts) failed: \((error as? RPCError)?.message ?? "\(error)")"
    }
    let (alert, isDone) = (String(note.prefix(IncidentLimits.reasonLetters)), note == "delivered")
    return { transaction in
      if var entry = try IncidentStore.entry(transaction, order.incidentID) {
        entry.alert = alert
        try IncidentStore.write(entry, transaction)
      }
      guard !isDone, order.attempt < IncidentLimits.alertAttempts else { return }
      var again = order
      again.attempt += 1
      try set(again, id: id, dueAt: now + IncidentLimits.firstAlertPause << Int64(order.attempt - 1), in: transaction)
    }
  }
}
