//! The proof of a tool's work: the recorded migrations and the schema, compared with the plan.

use super::{ToolExecutor, ToolProgress, contradictions, plan, snapshot::LedgerSnapshot};
use crate::{
    fault::{Code, Fault},
    ledger::known_tools::ToolMigration,
    run::{
        Coverage, MigrationId,
        event::{Event, Proof},
    },
    settings::{Command, Resolution, StepWork},
    site::{
        CommandPurpose, RunMode, SiteCommand, Sites, Transcript,
        container_spec::{SessionAccess, SessionTerms},
    },
    tool::{CommandLine, LedgerCount, Verb},
};
use std::{cell::RefCell, collections::BTreeMap};

impl ToolExecutor<'_> {
    /// Proves the result: after `migrate`, that the ledger contains everything that was pending and nothing else; for
    /// `verify`, that nothing is pending and that the tool's own check agrees; for both, that no index is INVALID.
    ///
    /// # Errors
    /// All deviations from the expected state.
    pub async fn verify(&mut self, sites: &Sites<'_>) -> Result<(), Vec<Fault>> {
        let faults = match (self.settings.command, &self.snapshot_after) {
            (Command::Verify, _) => self.verify_without_run(sites).await,
            (_, Some(after)) => self.plan_deviations(sites, after).await,
            // Nothing was pending when the ledger was read under the lock, and read again: that is the proof.
            (_, None) => Vec::new(),
        };
        let faults = if faults.is_empty() { self.missing_ledger_fault().into_iter().collect() } else { faults };
        if !faults.is_empty() {
            return Err(faults);
        }
        let now = self.snapshot_after.as_ref().unwrap_or(&self.snapshot_before);
        // Without a listing the expected migrations are unknown: only new rows prove something.
        let is_decision = matches!(self.settings.command, Command::Resolve(_));
        let has_evidence =
            is_decision || self.listing.is_listed() || now.rows_since(&self.snapshot_before).next().is_some();
        let proof = match &self.lock_holder {
            Some(_) if has_evidence && !now.ledgers.is_empty() => Some(Proof::Ledger),
            None if self.listing.is_listed() => Some(Proof::Listing),
            _ => None,
        };
        match proof {
            Some(proof) => self.events.emit(Event::Verified(proof)),
            None => {
                let (reason, fix) = self.unproven_reason(now);
                let cause = format!("{reason}: only the tool itself reports that the migration took place");
                let warning = Fault::new(Code::VerifyLedger, cause).fix(fix);
                self.events.emit(Event::Warning(sites.with_contrary_evidence(warning)));
            }
        }
        Ok(())
    }

    /// Returns a fault if the tool keeps a ledger and there is none after a run; a rollback may leave none.
    fn missing_ledger_fault(&self) -> Option<Fault> {
        let now = self.snapshot_after.as_ref().unwrap_or(&self.snapshot_before);
        let expects_ledger = !self.settings.command.removes_rows();
        let recipe = &self.tool.recipe;
        let is_missing = self.lock_holder.is_some() && recipe.ledger.is_some() && now.ledgers.is_empty();
        (expects_ledger && is_missing).then(|| contradictions::no_ledger_fault(recipe))
    }

    /// Returns the deviations from the plan.
    async fn plan_deviations(&self, sites: &Sites<'_>, after: &LedgerSnapshot) -> Vec<Fault> {
        let remaining = self.not_done(after);
        let fault = match self.settings.command {
            Command::Rollback => contradictions::not_rolled_back_fault(&self.command_texts(), &remaining),
            Command::Resolve(Resolution::NotApplied) => contradictions::still_recorded_fault(&remaining),
            _ => contradictions::unapplied_fault(&self.command_texts(), &remaining),
        };
        if let Some(missing_ledger) = self.missing_ledger_fault() {
            return vec![fault.map_or(missing_ledger.clone(), |fault| fault.detail(missing_ledger.cause))];
        }
        let unplanned_faults = self.unplanned_changes(sites, after).await;
        fault
            .into_iter()
            .chain(unplanned_faults)
            .chain(after.invalid_index_faults_since(&self.snapshot_before))
            .collect()
    }

    /// Returns the planned migrations that were not done. If each schema has a ledger, ledgers that were created
    /// meanwhile count, too.
    fn not_done(&self, after: &LedgerSnapshot) -> Vec<MigrationId> {
        let mut remaining: Vec<MigrationId> =
            self.pending.iter().filter(|id| !self.is_done(id, after)).cloned().collect();
        let recipe = &self.tool.recipe;
        if remaining.is_empty()
            && self.settings.command == Command::Migrate
            && recipe.ledgers == LedgerCount::EachSchema
        {
            remaining = plan::pending_migrations(recipe, self.listing.migrations(), after);
        }
        remaining
    }

    /// Returns the changes of the ledger beyond the plan. Some are explained by squashed migrations; the others are
    /// faults if the plan was approved or is a rollback, and else warnings.
    async fn unplanned_changes(&self, sites: &Sites<'_>, after: &LedgerSnapshot) -> Vec<Fault> {
        if self.coverage != Some(Coverage::Complete) {
            return Vec::new();
        }
        let is_rollback = self.settings.command.removes_rows();
        let (old, new) = if is_rollback { (after, &self.snapshot_before) } else { (&self.snapshot_before, after) };
        // Tenants that were created meanwhile are expected.
        let is_of_tenants = self.tool.recipe.ledgers == LedgerCount::EachSchema;
        let is_new = |row: &ToolMigration| is_of_tenants && !old.has_ledger_in(&row.schema);
        let added_rows: Vec<&ToolMigration> =
            new.rows_since(old).filter(|row| !self.is_pending(row, after) && !is_new(row)).collect();
        let unexplained_rows = self.without_squashed(sites, new, added_rows).await;
        let verb = if is_rollback { "undone" } else { "recorded" };
        let fault = contradictions::unplanned_fault(verb, &unexplained_rows);
        let lost =
            if is_rollback { None } else { contradictions::lost_rows_fault(self.snapshot_before.rows_since(after)) };
        let (mut deviations, mut warnings) = (Vec::new(), Vec::new());
        let is_approved = self.settings.safety.expect_plan.is_some();
        if is_rollback || is_approved { &mut deviations } else { &mut warnings }.extend(fault);
        let is_ours = self.tool.run.is_none() && self.settings.steps.migrate.is_empty();
        if is_ours { &mut deviations } else { &mut warnings }.extend(lost);
        warnings.into_iter().for_each(|fault| self.events.emit(Event::Warning(fault)));
        deviations
    }

    /// Returns the rows that do not belong to a squashed migration, which is recorded together with those that it
    /// replaces.
    async fn without_squashed<'w>(
        &self,
        sites: &Sites<'_>,
        after: &LedgerSnapshot,
        rows: Vec<&'w ToolMigration>,
    ) -> Vec<&'w ToolMigration> {
        let Some(line) = self.tool.recipe.squash_command().filter(|_| !rows.is_empty()) else { return rows };
        let (transcript, line) = (RefCell::new(Transcript::default()), self.tool.with_prefix(line));
        let task = SiteCommand {
            site: &self.tool.site,
            command: &line,
            purpose: CommandPurpose::Assist,
            terms: SessionTerms::with_user_lock_timeout(self.settings, SessionAccess::ReadOnly),
        };
        if let Err(fault) = sites.run_to_success(task, RunMode::Start, &transcript).await {
            self.events.emit_note(format!("the tool can't list its squashed migrations: {}", fault.cause));
        }
        let transcript = transcript.into_inner();
        let squashed_into = self.tool.recipe.parse_squashed(transcript.lines());
        let mut row_counts: BTreeMap<&str, usize> = BTreeMap::new();
        let (squashed_rows, rest): (Vec<&ToolMigration>, Vec<&ToolMigration>) =
            rows.into_iter().partition(|row| squashed_into.get(&row.name).is_some_and(|squash| after.has_name(squash)));
        for squash in squashed_rows.iter().filter_map(|row| squashed_into.get(&row.name)) {
            *row_counts.entry(squash).or_default() += 1;
        }
        if !squashed_rows.is_empty() {
            let row_texts: Vec<String> =
                row_counts.iter().map(|(squash, count)| format!("`{squash}` ({count})")).collect();
            let verb = if self.settings.command.removes_rows() { "undone with" } else { "recorded by" };
            self.events.emit_note(format!(
                "{} more rows {verb} squashed migrations: {}",
                squashed_rows.len(),
                row_texts.join(", ")
            ));
        }
        rest
    }

    fn unproven_reason(&self, after: &LedgerSnapshot) -> (&'static str, &'static str) {
        match &self.lock_holder {
            None => (
                "no database is given, and the tool has no listing of the applied migrations",
                "give `database-url`, so that the tool's ledger can be read",
            ),
            Some(_) if after.ledgers.is_empty() => (
                "no ledger was found in the database",
                "if the tool keeps a ledger (a table of the migrations that it has applied), check that it uses the database in \
                 `database-url`; if it keeps none, nothing can be verified, and this warning stays",
            ),
            Some(_) => (
                "the tool can't list its migrations, and there is nothing new in the ledger",
                "name a recipe that can list in `tool`; where there was nothing to apply, nothing is wrong",
            ),
        }
    }

    /// Returns the commands of the migration for display.
    pub(crate) fn command_texts(&self) -> String {
        let step_text = |step: &crate::settings::Step| match &step.work {
            StepWork::Command { line, .. } => line.display_text(),
            StepWork::Sql { shown: step_text, .. } => step_text.clone(),
        };
        self.steps.iter().map(step_text).collect::<Vec<_>>().join("; ")
    }

    async fn verify_without_run(&mut self, sites: &Sites<'_>) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(first) = self.pending.first() {
            let cause = match self.pending.len() {
                1 => format!("`{}` is not applied", first.label()),
                several => format!("{several} migrations are not applied, `{}` first", first.label()),
            };
            faults.push(Fault::new(Code::VerifyPending, cause));
        } else if let Some(fault) = self.unverifiable_fault() {
            faults.push(fault);
        } else {
            let lines: Vec<CommandLine> = [Verb::Verify, Verb::Check]
                .into_iter()
                .filter(|verb| !self.completed.verbs.contains(verb))
                .filter_map(|verb| self.command_for(verb))
                .collect();
            self.progress = ToolProgress::ReadOnlyRun;
            for line in &lines {
                let task = SiteCommand {
                    site: &self.tool.site,
                    command: line,
                    purpose: CommandPurpose::Assist,
                    terms: SessionTerms::with_user_lock_timeout(self.settings, SessionAccess::ReadOnly),
                };
                faults.extend(sites.run_checked(task).await.err());
            }
            faults.extend(self.check_unchanged(sites).await.err());
        }
        faults.extend(self.snapshot_before.invalid_index_faults());
        faults
    }

    /// Returns the reason why nothing proves that everything is applied: a tool's exit code does not.
    fn unverifiable_fault(&self) -> Option<Fault> {
        let has_ledger = self.lock_holder.is_none() || !self.snapshot_before.ledgers.is_empty();
        if self.listing.is_listed() && has_ledger {
            return None;
        }
        self.missing_ledger_fault().or_else(|| {
            let cause = format!("there is nothing to verify by: {}", self.unproven_reason(&self.snapshot_before).0);
            let fix = "name a tool that can list and keeps a ledger, and give `database-url`";
            Some(Fault::new(Code::VerifyLedger, cause).fix(fix))
        })
    }
}
