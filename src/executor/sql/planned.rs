//! The third phase: the plan is made. It is applied by `fresh_session` and proven here; `recovery` handles work that did
//! not end by itself.

use super::setup::SqlSetup;
use crate::{
    fault::{Code, Fault, Stage},
    ledger::{Ledger, LedgerState, known_tools::ToolLedger},
    migrate::{CommitProgress, FreshState, Migration},
    plan,
    postgres::{Rows, Session, own_query::RunLockRequirement, query_rows},
    run::{
        MigrationId,
        event::{Event, Proof},
    },
    settings::Command,
    transport::Transport,
};

/// The session and the plan.
#[derive(Debug)]
pub struct PlannedSql<'a> {
    pub(super) setup: SqlSetup<'a>,
    pub(super) session: Session,
    /// The lock requirement of our queries.
    pub(super) lock: RunLockRequirement,
    /// The state of the session when it was new.
    pub(super) fresh_state: FreshState,
    pub(super) ledger: Ledger,
    /// Other ledgers in the database.
    pub(super) other_ledgers: Vec<ToolLedger>,
    pub(super) ledger_before: LedgerState,
    /// The identities of all files.
    pub(super) all_migrations: Vec<MigrationId>,
    pub(super) pending: Vec<Migration>,
    /// The ledger, read directly behind the last file.
    pub(super) early_proof: Option<LedgerState>,
    pub(super) commits: CommitProgress,
}

impl PlannedSql<'_> {
    /// Proves the result: after `migrate`, that the ledger contains everything that was applied; for `verify`, that
    /// nothing is pending; for both, that no index is INVALID.
    ///
    /// # Errors
    /// All deviations from the expected state.
    pub(super) async fn verify(&mut self, transport: &mut Transport) -> Result<(), Vec<Fault>> {
        let faults = match self.setup.settings.command {
            Command::Verify => plan::still_pending(&self.pending, &self.ledger_before),
            // Nothing has changed since the plan read the ledger under the lock: that is the proof.
            _ if self.pending.is_empty() => Vec::new(),
            _ => {
                let proves =
                    |after: &LedgerState| plan::missing_after_run(&self.pending, &self.ledger_before, after).is_empty();
                let after = match self.early_proof.take().filter(proves) {
                    Some(after) => after,
                    None => self.read_ledger_after(transport).await.map_err(|fault| vec![fault])?,
                };
                warn_of_old_invalid_indexes(&self.setup, &self.ledger_before, &after);
                plan::missing_after_run(&self.pending, &self.ledger_before, &after)
            }
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        self.setup.events.emit(Event::Verified(Proof::Ledger));
        Ok(())
    }

    pub(super) async fn read_ledger(&self, ledger: &Ledger) -> Result<LedgerState, Fault> {
        let query = ledger.read_query(&self.other_ledgers).requiring_lock(self.lock);
        let rows = query_rows(&self.session.client, &query).await?;
        Ok(self.parse_state(&rows))
    }

    /// Reads the ledger's rows, completed by the files.
    pub(super) fn parse_state(&self, rows: &Rows) -> LedgerState {
        let versions: Vec<&str> = self.all_migrations.iter().map(|id| id.version.as_str()).collect();
        self.ledger.parse_state(rows, &versions)
    }
}

/// Warns of INVALID indexes that earlier runs, or others, left behind and this run does not repair. `verify` reports
/// them as faults instead.
pub(super) fn warn_of_old_invalid_indexes(setup: &SqlSetup<'_>, before: &LedgerState, now: &LedgerState) {
    if setup.settings.command == Command::Verify {
        return;
    }
    for index in now.invalid_indexes.iter().filter(|index| before.invalid_indexes.contains(index)) {
        let fault = Fault::new(Code::VerifyIndex, format!("the index {index} is INVALID since before this run"));
        setup.events.emit(Event::Warning(fault.in_stage(Stage::Plan)));
    }
}
