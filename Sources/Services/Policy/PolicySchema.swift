import SpanwireDatabase

extension PolicyServer {
  public static let migrations = Migrations(
    "policy",
    [
      .init(
        "budgets",
        sqlite: """
          CREATE TABLE actp_budget_ledger (
            tenant_id TEXT NOT NULL,
            entry_id TEXT NOT NULL,
            line INTEGER NOT NULL,
            policy_tenant TEXT NOT NULL,
            policy_id TEXT NOT NULL,
            period TEXT NOT NULL,
            currency TEXT NOT NULL,
            reservation_id TEXT NOT NULL,
            -- reserve, settle, release or expire.
            kind TEXT NOT NULL,
            -- What the entry adds to what is set aside, and to what is spent.
            reserved_micros INTEGER NOT NULL,
            spent_micros INTEGER NOT NULL,
            agent_slug TEXT NOT NULL,
            tool_name TEXT NOT NULL,
            run_id TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, entry_id, line)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX actp_budget_ledger_of_reservation ON actp_budget_ledger (tenant_id, reservation_id);

          CREATE TABLE policy_budget_balances (
            policy_tenant TEXT NOT NULL,
            policy_id TEXT NOT NULL,
            period TEXT NOT NULL,
            currency TEXT NOT NULL,
            reserved_micros INTEGER NOT NULL CHECK (reserved_micros >= 0),
            spent_micros INTEGER NOT NULL CHECK (spent_micros >= 0),
            PRIMARY KEY (policy_tenant, policy_id, period, currency)
          ) STRICT, WITHOUT ROWID;

          CREATE TABLE policy_reservations (
            tenant_id TEXT NOT NULL,
            reservation_id TEXT NOT NULL,
            state INTEGER NOT NULL,
            micros INTEGER NOT NULL,
            spent_micros INTEGER NOT NULL,
            currency TEXT NOT NULL,
            agent_slug TEXT NOT NULL,
            tool_name TEXT NOT NULL,
            run_id TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, reservation_id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX policy_reservations_of_run ON policy_reservations (tenant_id, run_id, reservation_id);
          """),
      .init(
        "approvals",
        sqlite: """
          CREATE TABLE policy_approvals (
            tenant_id TEXT NOT NULL,
            approval_id TEXT NOT NULL,
            state INTEGER NOT NULL,
            category TEXT NOT NULL,
            target TEXT NOT NULL,
            target_tenant_id TEXT NOT NULL,
            requested_by TEXT NOT NULL,
            reason TEXT NOT NULL,
            matrix_row TEXT NOT NULL,
            -- Role keys, a comma between two.
            required_approvers TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, approval_id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX policy_approvals_by_state ON policy_approvals (tenant_id, state, approval_id);

          CREATE TABLE policy_approval_decisions (
            tenant_id TEXT NOT NULL,
            approval_id TEXT NOT NULL,
            approver TEXT NOT NULL,
            role TEXT NOT NULL,
            approved INTEGER NOT NULL,
            note TEXT NOT NULL,
            decided_at INTEGER NOT NULL,
            PRIMARY KEY (tenant_id, approval_id, approver)
          ) STRICT, WITHOUT ROWID;
          """),
      .init(
        "assist and view-as grants",
        sqlite: """
          CREATE TABLE policy_help_grants (
            -- Of who is helped.
            tenant_id TEXT NOT NULL,
            grant_id TEXT NOT NULL,
            kind INTEGER NOT NULL,
            target_user_id TEXT NOT NULL,
            granted_to TEXT NOT NULL,
            granted_to_tenant_id TEXT NOT NULL,
            reason TEXT NOT NULL,
            granted_by TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            revoked_at INTEGER,
            revoked_by TEXT NOT NULL,
            PRIMARY KEY (tenant_id, grant_id)
          ) STRICT, WITHOUT ROWID;
          CREATE INDEX policy_help_grants_of_helper ON policy_help_grants (granted_to_tenant_id, granted_to, grant_id);
          """),
    ])
}
