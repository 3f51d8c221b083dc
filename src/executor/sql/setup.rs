//! The surroundings of the work on SQL files.

use crate::{
    executor::audit_trail::AuditTrail,
    fault::Fault,
    github::runner::Runner,
    layout::{self, Layout, Table},
    ledger::Ledger,
    postgres::{
        DatabaseTarget, SessionSettings, StatementTimeouts,
        run_lock::{self, AdvisoryLock},
    },
    run::event::Events,
    settings::Settings,
};

/// The surroundings of the work, the same in each phase.
#[derive(Debug)]
pub(super) struct SqlSetup<'a> {
    pub(super) settings: &'a Settings,
    pub(super) runner: &'a Runner,
    pub(super) events: Events,
    pub(super) target: &'a DatabaseTarget,
    pub(super) startup: SessionSettings,
    /// The record of the run; none if it only reads, or if there is to be none.
    pub(super) audit: Option<AuditTrail>,
}

impl<'a> SqlSetup<'a> {
    /// Collects the surroundings.
    ///
    /// # Errors
    /// `input-missing` without a database.
    pub(super) fn new(
        settings: &'a Settings,
        runner: &'a Runner,
        events: Events,
        audit: Option<AuditTrail>,
    ) -> Result<Self, Fault> {
        let (target, startup) = (settings.required_database()?, startup_settings(settings, runner));
        Ok(Self { settings, runner, events, target, startup, audit })
    }

    /// Returns the locks that the tool of this ledger's layout takes.
    pub(super) fn locks_of_tool(&self, ledger: &Ledger) -> Vec<AdvisoryLock> {
        let keys = ledger.tool_lock_keys(&self.target.name);
        keys.into_iter().map(|key| run_lock::tool_lock(key, ledger.layout.name())).collect()
    }
}

/// Returns the locks that the tools of all layouts take if their ledgers stand in their usual places.
pub(super) fn usual_locks_of_tools(target: &DatabaseTarget) -> Vec<AdvisoryLock> {
    layout::ALL.into_iter().flat_map(|layout| usual_locks(layout, target)).collect()
}

/// Returns the locks that this layout's tool takes if its ledger stands in the usual place.
pub(super) fn usual_locks(layout: Layout, target: &DatabaseTarget) -> Vec<AdvisoryLock> {
    let (schema, name) = layout.default_table().split_once('.').unwrap_or(("public", layout.default_table()));
    let table = Table { schema: schema.to_owned(), name: name.to_owned() };
    let keys = layout.lock_keys(&target.name, &table);
    keys.into_iter().map(|key| run_lock::tool_lock(key, layout.name())).collect()
}

/// Returns the start-up settings.
fn startup_settings(settings: &Settings, runner: &Runner) -> SessionSettings {
    let safety = &settings.safety;
    let timeouts = StatementTimeouts { lock: safety.lock_timeout, statement: safety.statement_timeout };
    let (name, target) = (run_lock::application_name(runner), settings.database.as_ref());
    let startup = SessionSettings::migrating(name, timeouts, target);
    if settings.command.may_write() { startup } else { startup.read_only() }
}
