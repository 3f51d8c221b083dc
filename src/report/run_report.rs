//! The report of a run, folded from its events as they happen, so that it exists however the run ends.

use super::{
    database_changes::DatabaseChanges,
    entries::{MigrationReport, MigrationState, NoticeReport, StageTime, StepReport, UsageReport, serialize_shared},
    run_outcome::RunOutcome,
};
use crate::{
    fault::{Class, Fault, Stage},
    github::runner::Runner,
    run::{
        AftercareFacts, BackupFacts, BastionFacts, Coverage, DatabaseFacts, DoctorFinding, HalfDoneMigration,
        ImageFacts, LedgerEntry, PastRun, PlanFacts, RehearsalFacts, ReviewedPlan, TunnelFacts,
        event::{Event, NoticeSubject, Proof, StepId, StepPhase, StepState},
    },
    settings::Command,
};
use std::{sync::Arc, time::Duration};

/// The report of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RunReport {
    /// The command; absent if the inputs have no valid one.
    pub command: Option<Command>,
    /// The environment's name.
    pub environment: Option<String>,
    /// The variable that the workflow maps to the pinned host keys, if it has the environment's prefix.
    #[serde(skip)]
    pub pin_variable: Option<String>,
    /// The URL of the run's page.
    pub run_url: Option<String>,
    /// The URL under which GitHub shows the files of the run's commit.
    #[serde(skip)]
    pub files_url: Option<String>,
    /// The findings of `command: doctor`.
    pub findings: Vec<DoctorFinding>,
    /// The SSH connection.
    pub bastion: Option<BastionFacts>,
    /// The database.
    pub database: Option<DatabaseFacts>,
    /// The image that the tool ran in.
    pub image: Option<ImageFacts>,
    /// Resources that each command in a container used.
    pub usage: Vec<UsageReport>,
    /// The way in which the session settings reached the tool's sessions.
    pub settings: Option<String>,
    /// The address at which later steps reach the database.
    pub tunnel: Option<TunnelFacts>,
    /// The plan.
    pub plan: Option<PlanFacts>,
    /// The review of the plan.
    #[serde(serialize_with = "serialize_shared")]
    pub review: Option<Arc<ReviewedPlan>>,
    /// The rehearsal of the plan, with `command: rehearse`.
    #[serde(serialize_with = "serialize_shared", skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Arc<RehearsalFacts>>,
    /// The backup before the migration, planned or made.
    pub backup: Option<BackupFacts>,
    /// The content of the ledger, with `command: status`.
    pub recorded: Vec<LedgerEntry>,
    /// Migrations that were started and not finished, with `command: status`.
    pub half_done: Vec<HalfDoneMigration>,
    /// The runs of the past, the newest first, with `command: history`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<PastRun>>,
    /// The plan's migrations with their states.
    pub migrations: Vec<MigrationReport>,
    /// The stages with their times.
    pub stages: Vec<StageTime>,
    /// The steps before and after the migration, and the migration itself.
    pub steps: Vec<StepReport>,
    /// Changes by foreign commands outside of the migration.
    #[serde(skip)]
    pub(super) changed: DatabaseChanges,
    /// Set if the result was read again and is as expected.
    pub verified: bool,
    /// The source of the verification.
    pub proof: Option<Proof>,
    /// The changes of the schema, each as lines of a diff.
    pub schema: Vec<String>,
    /// The result of the after-care.
    pub aftercare: Option<AftercareFacts>,
    /// The first `MAX_BLOCKED` lock waits.
    pub blocked: Vec<String>,
    /// The newest [`MAX_NOTICES`] messages of the server.
    pub notices: Vec<NoticeReport>,
    /// Number of messages of the server and of tools that are neither here nor in the log.
    pub skipped: u64,
    /// Faults that did not change the outcome.
    pub warnings: Vec<Fault>,
    /// Faults that decided the outcome; the root cause comes first.
    pub faults: Vec<Fault>,
    /// Duration of the run in milliseconds.
    pub duration_ms: u64,
}

/// Maximum number of lock waits kept for the summary; the log has all.
pub(super) const MAX_BLOCKED: usize = 20;

/// Maximum number of server messages kept for the summary; the log has all.
pub const MAX_NOTICES: usize = 50;

impl RunReport {
    /// Creates an empty report of this run.
    #[must_use]
    pub fn new(command: Option<Command>, environment: Option<String>, runner: &Runner) -> Self {
        Self { command, environment, run_url: runner.run_url(), files_url: runner.files_url(), ..Self::default() }
    }

    /// Adds one event. `at` is the time since the start of the run.
    pub fn fold_event(&mut self, event: &Event, at: Duration) {
        let now = whole_millis(at);
        self.duration_ms = now;
        self.changed = self.changed.after_event(event, self.open_stage());
        match event {
            Event::StageStarted(stage) => {
                self.stages.push(StageTime { stage: *stage, started_ms: now, took_ms: None });
            }
            Event::StageDone(stage) => {
                if let Some(open) = self.stages.iter_mut().rev().find(|open| open.stage == *stage) {
                    open.took_ms = Some(now.saturating_sub(open.started_ms));
                }
            }
            Event::Bastion(facts) => self.bastion = Some(facts.clone()),
            Event::Database(facts) => self.database = Some(facts.clone()),
            Event::Examined(finding) => {
                self.faults.extend(finding.fault().cloned());
                self.findings.push(finding.clone());
            }
            Event::Planned(facts) => {
                self.migrations = facts.pending.iter().map(MigrationReport::new_pending).collect();
                self.plan = Some(facts.clone());
            }
            Event::Reviewed(plan) => self.review = Some(Arc::clone(plan)),
            Event::Rehearsed(facts) => self.rehearsal = Some(Arc::clone(facts)),
            Event::Backup(facts) => self.backup = Some(facts.clone()),
            Event::LedgerListed { recorded, half_done } => {
                self.recorded.clone_from(recorded);
                self.half_done.clone_from(half_done);
            }
            Event::History(runs) => self.history = Some(runs.clone()),
            Event::Notice { severity, text, about } => {
                let file = about.as_ref().map(|about| self.subject_name(about));
                self.keep_notice(NoticeReport { severity: severity.clone(), text: text.clone(), file });
            }
            Event::LinesOmitted { lines: left_out } | Event::MessagesSkipped { messages: left_out } => {
                self.skipped = self.skipped.saturating_add(*left_out);
            }
            Event::Image(facts) => self.image = Some(facts.clone()),
            Event::Tunnel(facts) => self.tunnel = Some(facts.clone()),
            Event::ResourceUsage { command, usage } => {
                self.usage.push(UsageReport { command: command.clone(), usage: *usage });
            }
            Event::SettingsDelivered { way } => self.settings = Some(way.clone()),
            Event::SchemaChanged { changes } => self.schema.clone_from(changes),
            Event::Aftercare(facts) => self.aftercare = Some(facts.clone()),
            Event::Blocked { text } if self.blocked.len() < MAX_BLOCKED => self.blocked.push(text.clone()),
            Event::StatementDone { .. }
            | Event::Resumed { .. }
            | Event::Started(_)
            | Event::Applied { .. }
            | Event::Baselined { .. }
            | Event::RolledBack { .. }
            | Event::Unrecorded { .. }
            | Event::Failed { .. }
            | Event::Cancelled { .. }
            | Event::LostInCrash { .. }
            | Event::InDoubt { .. }
            | Event::ToolMigrationStarted { .. }
            | Event::Ended { .. }
            | Event::Unplanned(_)
            | Event::SchemaAssigned { .. }
            | Event::Recorded { .. } => self.fold_migration_event(event, now),
            Event::Steps(ids) => self.steps = ids.iter().map(StepReport::new_not_run).collect(),
            Event::StepChanged { id, fate } => self.fold_step(id, *fate, now),
            Event::Verified(proof) => (self.verified, self.proof) = (true, Some(*proof)),
            Event::Warning(fault) => self.warnings.push(fault.clone()),
            Event::Fault(fault) => self.fold_fault(fault),
            Event::Note(_)
            | Event::Waiting { .. }
            | Event::Blocked { .. }
            | Event::LongWait(_)
            | Event::Locked { .. }
            | Event::CommandStarted { .. }
            | Event::ReadOnlyChecked(_)
            | Event::Output { .. } => {}
        }
    }

    fn fold_fault(&mut self, fault: &Fault) {
        if fault.code.class() == Class::Cancelled {
            self.cancel_running();
        }
        self.faults.push(fault.clone());
    }

    fn keep_notice(&mut self, notice: NoticeReport) {
        if self.notices.len() == MAX_NOTICES {
            self.notices.remove(0);
        }
        self.notices.push(notice);
    }

    fn subject_name(&self, about: &NoticeSubject) -> String {
        match about {
            NoticeSubject::File(file) => file.clone(),
            NoticeSubject::Migration(index) => {
                let entry = self.migrations.iter().find(|entry| entry.id.index == *index);
                entry.map_or_else(|| index.to_string(), |entry| entry.id.display_path().into_owned())
            }
        }
    }

    fn fold_step(&mut self, id: &StepId, fate: StepState, now: u64) {
        let known = self.steps.iter_mut().find(|step| step.id == *id);
        let Some(step) = known else { return };
        step.fate = fate;
        match fate {
            StepState::Running => step.started_ms = Some(now),
            StepState::Done | StepState::Failed => {
                step.took_ms = step.started_ms.map(|started| now.saturating_sub(started));
            }
            StepState::NotRun => {}
        }
    }

    /// Marks running migrations as cancelled: they were stopped with the run.
    fn cancel_running(&mut self) {
        let is_running = |entry: &&mut MigrationReport| entry.fate == MigrationState::Running;
        self.migrations.iter_mut().filter(is_running).for_each(|entry| entry.fate = MigrationState::Cancelled);
    }

    /// Returns whether the event repeats a reported fault or warning.
    pub(super) fn is_known_fault(&self, event: &Event) -> bool {
        match event {
            Event::Fault(fault) => self.faults.contains(fault),
            Event::Warning(fault) => self.warnings.contains(fault),
            _ => false,
        }
    }

    /// Returns the migrations in this state, in order.
    pub fn in_state(&self, fate: MigrationState) -> impl Iterator<Item = &MigrationReport> {
        self.migrations.iter().filter(move |entry| entry.fate == fate)
    }

    /// Returns the stage that was started and has not succeeded.
    #[must_use]
    pub fn open_stage(&self) -> Option<Stage> {
        self.stages.iter().rev().find(|stage| stage.took_ms.is_none()).map(|stage| stage.stage)
    }

    /// Returns the migrations that may be running: many are pipelined before the first start is reported.
    #[must_use]
    pub fn possibly_running(&self) -> Vec<usize> {
        let open = self.stages.iter().any(|stage| stage.stage == Stage::Migrate && stage.took_ms.is_none());
        let is_open =
            |entry: &&MigrationReport| open && matches!(entry.fate, MigrationState::Pending | MigrationState::Running);
        self.migrations.iter().filter(is_open).map(|entry| entry.id.index).collect()
    }

    /// Returns the migrations that are not applied: not started, or rolled back.
    pub fn not_done(&self) -> impl Iterator<Item = &MigrationReport> {
        let goes_back = self.command.is_some_and(Command::removes_rows);
        self.migrations.iter().filter(move |entry| match entry.fate {
            MigrationState::Pending | MigrationState::Running | MigrationState::Failed | MigrationState::Cancelled => {
                !goes_back
            }
            MigrationState::RolledBack | MigrationState::Unrecorded => true,
            MigrationState::Applied | MigrationState::InDoubt => false,
        })
    }

    /// Returns the outcome.
    #[must_use]
    pub fn outcome(&self) -> RunOutcome {
        if let Some(class) = self.failure_class() {
            return match class {
                Class::InDoubt => RunOutcome::InDoubt,
                Class::Cancelled => RunOutcome::Cancelled,
                Class::Configuration
                | Class::Connection
                | Class::Lock
                | Class::PlanRefused
                | Class::MigrationFailed
                | Class::VerificationFailed
                | Class::Bug => RunOutcome::Failed,
            };
        }
        let is_done =
            |state| matches!(state, MigrationState::Applied | MigrationState::RolledBack | MigrationState::Unrecorded);
        let open = self.migrations.iter().any(|entry| !is_done(entry.fate));
        match self.command {
            _ if open => RunOutcome::Pending,
            Some(Command::Verify | Command::Doctor | Command::History | Command::Tunnel) => RunOutcome::Success,
            // The ledger of the tool is unknown: it may have applied anything.
            Some(Command::Migrate) if self.has_migrated() && !self.verified => RunOutcome::Success,
            // Migrations that could not be listed may be pending.
            Some(Command::Plan | Command::Rehearse | Command::Status) if self.has_unknown_plan() => RunOutcome::Pending,
            _ if self.migrations.is_empty() => RunOutcome::NothingToDo,
            _ => RunOutcome::Success,
        }
    }

    /// Returns whether the pending migrations could not be listed.
    #[must_use]
    pub fn has_unknown_plan(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.coverage == Coverage::Unknown)
    }

    /// Returns whether a migration step has succeeded.
    #[must_use]
    pub fn has_migrated(&self) -> bool {
        self.steps.iter().any(|step| step.id.phase == StepPhase::Migrate && step.fate == StepState::Done)
    }

    /// Returns the exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.failure_class().map_or(0, Class::exit_code)
    }

    /// Returns the class of the failure: that of the first fault, unless a commit is in doubt, which always needs
    /// action.
    fn failure_class(&self) -> Option<Class> {
        let first = self.faults.first()?.code.class();
        let doubt = self.in_state(MigrationState::InDoubt).next().is_some();
        Some(if doubt { Class::InDoubt } else { first })
    }
}

pub(super) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::{
        fault::Code,
        run::{ResourceUsage, event::ClockPrecision},
    };

    #[test]
    fn a_run_with_an_unapplied_migration_is_no_success() {
        let mut events = sample::successful_events();
        events.retain(|(_, event)| !matches!(event, Event::Applied { index: 4, .. }));
        assert_eq!(sample::report_of(&events).outcome(), RunOutcome::Pending);
        assert_eq!(sample::report_of(&sample::successful_events()).outcome(), RunOutcome::Success);
    }

    #[test]
    fn a_commit_in_doubt_takes_precedence_over_other_faults() {
        for code in [Code::Cancelled, Code::BastionLost] {
            let fault = (410, Event::Fault(Fault::new(code, "x")));
            let mut events = sample::events_until_migration();
            events.push(fault.clone());
            assert_eq!(sample::report_of(&events).exit_code(), code.class().exit_code());
            events.extend([(400, Event::InDoubt { index: 4 }), fault]);
            let report = sample::report_of(&events);
            assert_eq!((report.outcome(), report.exit_code()), (RunOutcome::InDoubt, 8));
        }
    }

    #[test]
    fn the_end_of_the_tool_is_not_the_end_of_its_migrations() {
        let times = |more: Vec<(u64, Event)>, took| {
            let (name, schema) = ("drop_name".to_owned(), None);
            let mut events: sample::SampleEvents =
                sample::events_until_migration().into_iter().take_while(|(at, _)| *at < 310).collect();
            events.push((1_000, Event::ToolMigrationStarted { name, schema, clock: ClockPrecision::Exact }));
            events.extend(more);
            events.push((2_200, Event::Recorded { index: 4, took }));
            let entry = sample::report_of(&events).migrations[1].clone();
            (entry.started_ms, entry.took_ms)
        };
        let millis = |took| Some(Duration::from_millis(took));
        let ended = |took| vec![(2_190, Event::Ended { name: "drop_name".to_owned(), schema: None, took })];
        assert_eq!(times(Vec::new(), None), (Some(1_000), None));
        assert_eq!(times(ended(None), None), (Some(1_000), None));
        assert_eq!(times(ended(millis(26)), None), (Some(1_000), Some(26)));
        assert_eq!(times(ended(millis(26)), millis(24)), (Some(1_000), Some(24)), "the ledger takes precedence");
    }

    #[test]
    fn migrations_that_run_when_the_run_is_stopped_are_cancelled() {
        for code in [Code::Cancelled, Code::TimedOut] {
            let mut events = sample::events_until_migration();
            events.push((400, Event::Fault(Fault::new(code, "stopped"))));
            let report = sample::report_of(&events);
            assert_eq!(report.migrations[1].fate, MigrationState::Cancelled);
            assert_eq!(report.not_done().count(), 1);
        }
    }

    #[test]
    fn an_outcome_has_one_name() {
        use RunOutcome::{Cancelled, Failed, InDoubt, NothingToDo, Pending, Success};
        for outcome in [Success, NothingToDo, Pending, Failed, Cancelled, InDoubt] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }

    #[test]
    fn the_resource_usage_of_commands_is_not_added_up() {
        let used = |command: &str, mib: u64, cpu_ms| {
            let usage = ResourceUsage { memory_bytes: mib << 20, cpu_ms };
            (0, Event::ResourceUsage { command: command.to_owned(), usage })
        };
        let report = sample::report_of(&vec![used("tool list", 90, 700), used("tool up", 60, 300)]);
        assert_eq!(
            serde_json::to_value(&report.usage).unwrap(),
            serde_json::json!([
                {"command": "tool list", "memory_bytes": 90 << 20, "cpu_ms": 700},
                {"command": "tool up", "memory_bytes": 60 << 20, "cpu_ms": 300},
            ])
        );
        let summary = super::super::render_summary(&report, 100_000);
        assert!(summary.contains("| Used | <code>60 MiB of memory and under 1 s of CPU time by tool up"), "{summary}");
    }

    #[test]
    fn keeps_the_newest_notices() {
        let notice =
            |number: usize| Event::Notice { severity: "NOTICE".to_owned(), text: number.to_string(), about: None };
        let events = (0..MAX_NOTICES + 5).map(|number| (0, notice(number))).collect();
        let report = sample::report_of(&events);
        assert_eq!((report.notices.len(), report.notices[0].text.as_str()), (MAX_NOTICES, "5"));
    }
}
