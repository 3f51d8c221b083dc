//! After-care: what a migration leaves to do in the database. It never decides the outcome of a run: what could not be
//! done is a warning with the SQL to do it by hand.

mod catalog_facts;
mod findings;

use super::{
    Executor,
    monitored::{MonitoredBackend, run_monitored},
};
use crate::{
    fault::{Code, Fault, Stage},
    postgres::{
        DISABLE_TRANSACTION_TIMEOUT, LockWaits, OwnQuery, Session, SessionSettings, StatementTimeouts,
        fault::statement_fault,
        pooler, query_rows, run_lock,
        wait::{self, answer_within},
    },
    run::{
        AftercareFacts,
        event::{Event, Events},
    },
    settings::{AftercareTask, Settings},
    site::Sites,
    transport::Transport,
};
use catalog_facts::CatalogFacts;
use findings::{findings_query, parse_findings};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Part of the run's time limit that is left when the after-care has to end: a tenth, up to this.
const MAX_RESERVE: Duration = Duration::from_secs(15);

/// Pause after each 200 pages or so that ANALYZE reads: the default of `autovacuum_vacuum_cost_delay` (PostgreSQL
/// manual, 20.10), which spares the disk. Without it, a manual ANALYZE reads as fast as it can.
const COST_DELAY: &str = "SET vacuum_cost_delay TO 2";

/// Lets the session report how many rows it has changed with its next transaction, which is otherwise done once a
/// second. Older servers than PostgreSQL 15 have no such function.
const REPORT_CHANGED_ROWS: &str = "DO $bastion_migrate$ BEGIN \
    IF pg_catalog.to_regproc('pg_catalog.pg_stat_force_next_flush') IS NOT NULL \
    THEN PERFORM pg_catalog.pg_stat_force_next_flush(); END IF; END $bastion_migrate$";

/// Maximum number of statements in the warning about those that were not executed.
const MAX_UNDONE: usize = 20;

/// The after-care of a run.
#[derive(Debug)]
pub(crate) struct Aftercare<'a> {
    settings: &'a Settings,
    events: &'a Events,
    /// The moment at which the run has to be nearly done.
    deadline: Instant,
    /// The facts before the work; `None` if they are not known.
    before: Option<CatalogFacts>,
}

/// A statement that was not executed, and the reason.
#[derive(Debug, PartialEq, Eq)]
struct UndoneStatement {
    sql: String,
    reason: String,
}

/// The statements of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CareWork {
    Analyze,
    Validate,
}

impl<'a> Aftercare<'a> {
    /// Prepares the after-care of a run that begins now.
    pub(crate) fn new(settings: &'a Settings, events: &'a Events) -> Self {
        let limit = settings.safety.timeout;
        let deadline = Instant::now() + limit - MAX_RESERVE.min(limit / 10);
        Self { settings, events, deadline, before: None }
    }

    /// Returns whether there is a task.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.settings.aftercare.is_empty()
    }

    /// Reads the facts before the work, over the session that holds the run lock.
    pub(crate) async fn read_before(&mut self, executor: &Executor<'_>) {
        let Some(session) = executor.session().filter(|_| self.is_wanted()) else { return };
        match read_facts(session, self.settings.wait_timeout).await {
            Ok(facts) => self.before = Some(facts),
            Err(fault) => self.warn(&format!("the changes of this run are not known: {}", fault.cause), &[]),
        }
    }

    /// Does what the settings ask for, over a session of its own.
    pub(crate) async fn run(&self, executor: &Executor<'_>, sites: &Sites<'_>) {
        if let Some(session) = executor.session() {
            let report = OwnQuery::read_only(REPORT_CHANGED_ROWS);
            // Without it, the sizes of the tables still show what was filled.
            drop(answer_within(self.settings.wait_timeout, query_rows(&session.client, &report)).await);
        }
        match self.open_session(sites).await {
            Ok(session) => {
                if let Err(fault) = self.run_in(&session, sites).await {
                    self.warn(&fault.cause, &[]);
                }
                session.close().await;
            }
            Err(fault) => self.warn(&format!("no session could be opened: {}", fault.cause), &[]),
        }
    }

    async fn open_session(&self, sites: &Sites<'_>) -> Result<Session, Fault> {
        let (target, wait) = (self.settings.required_database()?, self.settings.wait_timeout);
        let safety = &self.settings.safety;
        let timeouts = StatementTimeouts { lock: safety.lock_timeout, statement: safety.statement_timeout };
        let startup = SessionSettings::for_step(run_lock::tool_application_name(sites.runner), timeouts, target);
        let startup = startup.delivered(sites.delivery());
        let mut session = wait::wait_for_session(sites.transport()?, target, &startup, wait, self.events).await?;
        pooler::take_backend_if_pooled(&mut session, wait).await?;
        let prepare =
            format!("DO $bastion_migrate$ BEGIN {DISABLE_TRANSACTION_TIMEOUT}END $bastion_migrate$; {COST_DELAY}");
        let prepared = async { session.client.batch_execute(&prepare).await.map_err(|error| statement_fault(&error)) };
        answer_within(wait, prepared).await?;
        Ok(session)
    }

    async fn run_in(&self, session: &Session, sites: &Sites<'_>) -> Result<(), Fault> {
        let mut facts = AftercareFacts::default();
        let mut undone = Vec::new();
        if let Some(before) = &self.before
            && self.settings.aftercare.iter().any(|task| *task != AftercareTask::Report)
        {
            let after = read_facts(session, self.settings.wait_timeout).await?;
            let work = statements(&self.settings.aftercare, before, &after);
            let (transport, lock_waits) = (sites.transport()?, LockWaits::default());
            let watch =
                MonitoredBackend { settings: self.settings, runner: sites.runner, events: self.events, session };
            let execute = self.execute(session, transport, work, &mut facts);
            undone = run_monitored(watch, transport, &lock_waits, execute).await;
        }
        if self.settings.aftercare.contains(&AftercareTask::Report) {
            match answer_within(self.settings.wait_timeout, query_rows(&session.client, &findings_query())).await {
                Ok(rows) => facts.findings = parse_findings(&rows, self.before.as_ref()),
                Err(fault) => self.warn(&format!("what should be mended is not known: {}", fault.cause), &[]),
            }
        }
        self.events.emit(Event::Aftercare(facts));
        if let Some(first) = undone.first() {
            self.warn(&format!("{} of its statements could not be executed: {}", undone.len(), first.reason), &undone);
        }
        Ok(())
    }

    /// Executes each statement in a transaction of its own, and returns those that failed or were not reached.
    async fn execute(
        &self,
        session: &Session,
        transport: &Transport,
        work: Vec<(CareWork, String, String)>,
        facts: &mut AftercareFacts,
    ) -> Vec<UndoneStatement> {
        let (mut undone, mut end) = (Vec::new(), None);
        for (kind, name, sql) in work {
            let executed = match &end {
                Some(reason) => Err(Fault::new(Code::AftercareUndone, String::clone(reason))),
                None => {
                    self.events.emit_note(sql.clone());
                    self.execute_within_limit(session, transport, &sql).await
                }
            };
            match executed {
                Ok(()) if kind == CareWork::Analyze => facts.analyzed.push(name),
                Ok(()) => facts.validated.push(name),
                Err(fault) => {
                    if fault.code.ends_session() || fault.code == Code::AftercareUndone {
                        end.get_or_insert_with(|| fault.cause.clone());
                    }
                    undone.push(UndoneStatement { sql, reason: fault.cause });
                }
            }
        }
        undone
    }

    async fn execute_within_limit(&self, session: &Session, transport: &Transport, sql: &str) -> Result<(), Fault> {
        match timeout_at(self.deadline, session.client.batch_execute(sql)).await {
            Ok(executed) => executed.map_err(|error| statement_fault(&error)),
            Err(_elapsed) => {
                answer_within(self.settings.wait_timeout, session.canceller().cancel(transport)).await?;
                Err(Fault::new(Code::AftercareUndone, "the time limit of the run (`timeout`) was near"))
            }
        }
    }

    fn warn(&self, problem: &str, undone: &[UndoneStatement]) {
        let mut fault = Fault::new(Code::AftercareUndone, format!("after-care: {problem}")).in_stage(Stage::After);
        if let Some(first) = undone.first() {
            fault = fault.fix(fix_for(undone));
            for statement in undone.iter().take(MAX_UNDONE) {
                let reason = match statement.reason == first.reason {
                    true => String::new(),
                    false => format!(" -- {}", statement.reason),
                };
                fault = fault.detail(format!("{};{reason}", statement.sql));
            }
            if let Some(more) = undone.len().checked_sub(MAX_UNDONE).filter(|more| *more > 0) {
                fault = fault.detail(format!("… and {more} more"));
            }
        }
        self.events.emit(Event::Warning(fault));
    }
}

fn fix_for(undone: &[UndoneStatement]) -> String {
    match undone {
        [one] => format!("execute it by hand when the table is less busy: `{};`", one.sql),
        _ => "execute the statements below by hand when the tables are less busy".to_owned(),
    }
}

/// Returns the statements to execute, each with the name of its object.
fn statements(
    tasks: &BTreeSet<AftercareTask>,
    before: &CatalogFacts,
    after: &CatalogFacts,
) -> Vec<(CareWork, String, String)> {
    let mut work = Vec::new();
    if tasks.contains(&AftercareTask::Analyze) {
        let tables = before.outdated_tables(after).into_iter();
        work.extend(tables.map(|name| (CareWork::Analyze, name.clone(), format!("ANALYZE {name}"))));
    }
    if tasks.contains(&AftercareTask::Validate) {
        let added = before.added_unvalidated(after).into_iter();
        work.extend(added.map(|constraint| (CareWork::Validate, constraint.name, constraint.sql)));
    }
    work
}

async fn read_facts(session: &Session, wait: Duration) -> Result<CatalogFacts, Fault> {
    let rows = answer_within(wait, query_rows(&session.client, &CatalogFacts::query())).await?;
    Ok(CatalogFacts::from_rows(&rows))
}
