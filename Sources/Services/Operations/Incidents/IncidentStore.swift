import SpanwireDatabase
import SpanwireSchema

/// The rows of incident mode: where its machine stands, what it goes by, and the log of what was declared.
enum IncidentStore {
  /// The machine with the entry of the log that it has open.
  struct Standing: Sendable, Hashable {
    var machine = IncidentStateMachine()
    /// Empty in normal mode.
    var incidentID = ""
  }

  static func standing(_ reader: borrowing some Reader & ~Copyable) throws -> Standing {
    try reader.first(
      "SELECT mode, since, held_since, calm_since, forced_by, forced_reason, forced_until, incident_id FROM ops_mode WHERE id = 1"
    ) { row in
      let forced = IncidentStateMachine.Forced(by: row[4], reason: row[5], until: row[6])
      return Standing(
        machine: IncidentStateMachine(
          mode: row[0], since: row[1], heldSince: row[2], calmSince: row[3], forced: forced.by.isEmpty ? nil : forced),
        incidentID: row[7])
    } ?? Standing()
  }

  static func write(_ standing: Standing, _ transaction: borrowing Transaction) throws {
    let (machine, forced) = (standing.machine, standing.machine.forced)
    try transaction.execute(
      """
      INSERT INTO ops_mode (id, mode, since, held_since, calm_since, forced_by, forced_reason, forced_until, incident_id)
      VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
      ON CONFLICT (id) DO UPDATE SET mode = excluded.mode, since = excluded.since, held_since = excluded.held_since,
        calm_since = excluded.calm_since, forced_by = excluded.forced_by, forced_reason = excluded.forced_reason,
        forced_until = excluded.forced_until, incident_id = excluded.incident_id
      """, machine.mode, machine.since, machine.heldSince, machine.calmSince, forced?.by ?? "", forced?.reason ?? "", forced?.until ?? 0,
      standing.incidentID, expecting: .rows(1))
  }

  // MARK: Figures

  static func figures(_ reader: borrowing some Reader & ~Copyable) throws -> IncidentFigures {
    // As many as there are stretches in the windows, currencies and workers.
    let rows = try reader.query("SELECT kind, name, stretch, total, failed FROM ops_figure") { row in
      (IncidentFigures.Key(kind: row[0], name: row[1], stretch: row[2]), IncidentFigures.Count(total: row[3], failed: row[4]))
    }
    return IncidentFigures(counts: Dictionary(uniqueKeysWithValues: rows))
  }

  /// Brings the rows to what differs from them.
  static func write(_ figures: IncidentFigures, _ transaction: borrowing Transaction) throws {
    for key in figures.changed {
      if let count = figures.counts[key] {
        try transaction.execute(
          """
          INSERT INTO ops_figure (kind, name, stretch, total, failed) VALUES (?1, ?2, ?3, ?4, ?5)
          ON CONFLICT (kind, name, stretch) DO UPDATE SET total = excluded.total, failed = excluded.failed
          """, key.kind, key.name, key.stretch, count.total, count.failed)
      } else {
        try transaction.execute(
          "DELETE FROM ops_figure WHERE kind = ?1 AND name = ?2 AND stretch = ?3", key.kind, key.name, key.stretch)
      }
    }
  }

  // MARK: The log

  static func write(_ entry: IncidentLogEntry, _ transaction: borrowing Transaction) throws {
    try transaction.execute(
      """
      INSERT INTO actp_incident_log (incident_id, declared_at, resolved_at, entry) VALUES (?1, ?2, ?3, ?4)
      ON CONFLICT (incident_id) DO UPDATE SET resolved_at = excluded.resolved_at, entry = excluded.entry
      """, entry.incidentID, entry.declaredAt?.nanosecondsSinceEpoch ?? 0, entry.resolvedAt?.nanosecondsSinceEpoch, entry.encoded())
  }

  static func entry(_ reader: borrowing some Reader & ~Copyable, _ id: String) throws -> IncidentLogEntry? {
    try reader.first("SELECT entry FROM actp_incident_log WHERE incident_id = ?1", id, row: entry)
  }

  /// The latest first, after one of them; empty for the first page.
  static func entries(_ reader: borrowing some Reader & ~Copyable, before id: String, limit: Int) throws -> [IncidentLogEntry] {
    try reader.query(
      "SELECT entry FROM actp_incident_log WHERE ?1 = '' OR incident_id < ?1 ORDER BY incident_id DESC LIMIT ?2", id, limit, row: entry)
  }

  private static func entry(_ row: Row) throws -> IncidentLogEntry { try IncidentLogEntry(decoding: row.get(0, as: [UInt8].self)) }
}

extension IncidentStateMachine.Mode: SQLValue {}
extension IncidentFigures.Kind: SQLValue {}
