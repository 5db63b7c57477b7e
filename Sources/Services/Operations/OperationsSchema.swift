import SpanwireDatabase

extension OperationsServer {
  public static let migrations = Migrations(
    "operations",
    [
      .init(
        "incident mode, service levels, schedules",
        sqlite: """
          -- One row: the mode, and where its machine stands.
          CREATE TABLE ops_mode (
            id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
            mode TEXT NOT NULL,
            since INTEGER NOT NULL,
            held_since INTEGER,
            calm_since INTEGER,
            forced_by TEXT NOT NULL,
            forced_reason TEXT NOT NULL,
            forced_until INTEGER NOT NULL,
            -- Of the log's open entry; empty in normal mode.
            incident_id TEXT NOT NULL
          ) STRICT;
          CREATE TABLE actp_incident_log (
            incident_id TEXT NOT NULL,
            declared_at INTEGER NOT NULL,
            resolved_at INTEGER,
            entry BLOB NOT NULL,
            PRIMARY KEY (incident_id)
          ) STRICT, WITHOUT ROWID;
          -- What the mode goes by, as far as the log was read.
          CREATE TABLE ops_figure (
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            stretch INTEGER NOT NULL,
            total INTEGER NOT NULL,
            failed INTEGER NOT NULL,
            PRIMARY KEY (kind, name, stretch)
          ) STRICT, WITHOUT ROWID;

          -- What runs, and is measured when it ends.
          CREATE TABLE ops_sla_open (
            tenant_id TEXT NOT NULL,
            subject_id TEXT NOT NULL,
            is_execution INTEGER NOT NULL,
            job_type TEXT NOT NULL,
            received_at INTEGER NOT NULL,
            first_update_at INTEGER,
            tool_rounds INTEGER NOT NULL,
            first_update_told INTEGER NOT NULL,
            completion_told INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, subject_id)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE actp_sla_measurements (
            tenant_id TEXT NOT NULL,
            id TEXT NOT NULL,
            job_id TEXT NOT NULL,
            job_type TEXT NOT NULL,
            time_to_first_update_ms INTEGER,
            time_to_completion_ms INTEGER NOT NULL,
            tool_rounds INTEGER NOT NULL,
            sla_breached INTEGER NOT NULL,
            outcome TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX actp_sla_measurements_by_type ON actp_sla_measurements (tenant_id, job_type, id);

          CREATE TABLE ops_schedule (
            tenant_id TEXT NOT NULL,
            schedule_id TEXT NOT NULL,
            schedule BLOB NOT NULL,
            -- In whose name its work is done.
            subject TEXT NOT NULL,
            next_due INTEGER NOT NULL,
            -- The effect that fires it.
            timer TEXT NOT NULL,
            PRIMARY KEY (tenant_id, schedule_id)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE ops_schedule_run (
            tenant_id TEXT NOT NULL,
            schedule_id TEXT NOT NULL,
            run_id TEXT NOT NULL,
            due INTEGER NOT NULL,
            outcome INTEGER NOT NULL,
            subject_id TEXT NOT NULL,
            reason TEXT NOT NULL,
            firings INTEGER NOT NULL,
            decided_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, schedule_id, run_id)
          ) STRICT, WITHOUT ROWID;
          """)
    ])
}
