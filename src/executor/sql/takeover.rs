//! `command: baseline` with `from`: plain files take over the ledger of another tool.

use super::{
    comparison::{PlannedWork, work_in_place},
    connected::{ChosenPlaces, ConnectedSql},
};
use crate::{
    fault::{Code, Fault},
    layout::{Layout, LedgerSource, RecordedMigration, SourceTool},
    ledger::{DatabaseState, LedgerChoice, SourceLedger},
    migrate::{self, Migration},
    plan::{self, PlanRules},
    postgres::{Rows, query_rows, wait::answer_within},
    settings::Command,
};

/// The ledger that is taken over, and its rows.
#[derive(Debug)]
pub(super) struct ReadSource {
    ledger: SourceLedger,
    rows: Vec<RecordedMigration>,
}

impl ConnectedSql<'_> {
    /// Reads our own ledger, whatever other ledgers have rows: one of them is taken over.
    pub(super) async fn read_own_ledger(&mut self) -> Result<(LedgerChoice, Option<Rows>), Fault> {
        let choice = self.choose_ledger()?;
        let rows = self.read_ledger_of(&choice).await?;
        Ok((choice, rows))
    }

    /// Reads the ledger that is taken over, if one is. `versions` are those of all files.
    pub(super) async fn read_source(&self, versions: &[&str]) -> Result<Option<ReadSource>, Fault> {
        let Some(source) = &self.setup.settings.sql.from else { return Ok(None) };
        let ledger = self.survey.find_source(source)?;
        let rows = self.read_source_rows(&ledger, versions).await?;
        self.setup.events.emit_note(format!(
            "`{}`, the ledger of {}, is taken over; it has {} as applied",
            ledger.table,
            ledger.tool.name(),
            match rows.len() {
                1 => "1 migration".to_owned(),
                count => format!("{count} migrations"),
            }
        ));
        Ok(Some(ReadSource { ledger, rows }))
    }

    /// Changes the fix of files out of order where an interrupted takeover is the cause: it records the newest version
    /// first. `versions` are those of all files.
    ///
    /// # Errors
    /// All faults, those of `plan` included.
    pub(super) async fn check_order(
        &self,
        plan: Result<PlannedWork, Vec<Fault>>,
        (chosen, before): (&ChosenPlaces, &DatabaseState),
        versions: &[&str],
    ) -> Result<PlannedWork, Vec<Fault>> {
        let Err(faults) = plan else { return plan };
        let is_of_order = |fault: &Fault| fault.code == Code::OutOfOrder;
        let [place] = chosen.places.as_slice() else { return Err(faults) };
        if chosen.layout != Layout::default() || place.tenant.is_some() || !faults.iter().any(is_of_order) {
            return Err(faults);
        }
        let state = before.ledger_of(place.schema());
        for (tool, table) in &state.other_ledgers {
            let Some(tool) = SourceTool::by_name(tool) else { continue };
            // These faults are less important than those of the plan.
            let Ok(ledger) = self.survey.find_source(&LedgerSource { tool, table: Some(table.to_string()) }) else {
                continue;
            };
            let Ok(rows) = self.read_source_rows(&ledger, versions).await else { continue };
            if plan::is_unfinished_takeover(&rows, &state.recorded, versions) {
                let fix = format!(
                    "the takeover of `{table}` was interrupted: run `command: baseline` with `from: {} {table}` again, which records \
                     the rest",
                    tool.name()
                );
                let explain = |fault: Fault| if is_of_order(&fault) { fault.fix(fix.clone()) } else { fault };
                return Err(faults.into_iter().map(explain).collect());
            }
        }
        Err(faults)
    }

    async fn read_source_rows(
        &self,
        ledger: &SourceLedger,
        versions: &[&str],
    ) -> Result<Vec<RecordedMigration>, Fault> {
        let query = ledger.read_query().requiring_lock(self.lock_requirement());
        let rows = answer_within(self.setup.settings.wait_timeout, query_rows(&self.session.client, &query)).await?;
        Ok(ledger.parse_rows(&rows, versions))
    }

    /// Plans to record what the ledger has as applied.
    ///
    /// # Errors
    /// All faults that forbid it.
    pub(super) fn plan_takeover(
        &self,
        source: &ReadSource,
        migrations: Vec<Migration>,
        (chosen, before): (&ChosenPlaces, &DatabaseState),
        rules: PlanRules,
    ) -> Result<PlannedWork, Vec<Fault>> {
        let [place] = chosen.places.as_slice() else { return Ok(PlannedWork::default()) };
        let rules = PlanRules { ledger: place.ledger.table.clone(), ..rules };
        let recorded = &before.ledger_of(place.schema()).recorded;
        let half_done =
            migrate::refuse_other_direction(Command::Baseline.plan_action(), before.ledger_of(place.schema()));
        if !half_done.is_empty() {
            return Err(half_done);
        }
        let planned = plan::find_taken_over(migrations, (&source.ledger, &source.rows), recorded, &rules)?;
        Ok(work_in_place(Command::Baseline, planned, (place, recorded), rules.layout))
    }
}
