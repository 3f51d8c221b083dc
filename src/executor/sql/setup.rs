//! The surroundings of the work on SQL files.

use crate::{
    fault::Fault,
    github::runner::Runner,
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
}

impl<'a> SqlSetup<'a> {
    /// Collects the surroundings.
    ///
    /// # Errors
    /// `input-missing` without a database.
    pub(super) fn new(settings: &'a Settings, runner: &'a Runner, events: Events) -> Result<Self, Fault> {
        let (target, startup) = (settings.required_database()?, startup_settings(settings, runner));
        Ok(Self { settings, runner, events, target, startup })
    }

    /// Returns the lock that the tool of this ledger's layout takes.
    pub(super) fn lock_of_tool(&self, ledger: &Ledger) -> Option<AdvisoryLock> {
        let key = ledger.layout.lock_key(&self.target.name)?;
        Some(run_lock::tool_lock(key, ledger.layout.name()))
    }
}

/// Returns the start-up settings.
fn startup_settings(settings: &Settings, runner: &Runner) -> SessionSettings {
    let safety = &settings.safety;
    let timeouts = StatementTimeouts { lock: safety.lock_timeout, statement: safety.statement_timeout };
    let (name, target) = (run_lock::application_name(runner), settings.database.as_ref());
    let startup = SessionSettings::migrating(name, timeouts, target);
    if settings.command.may_write() { startup } else { startup.read_only() }
}
