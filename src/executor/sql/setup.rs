//! The surroundings of the work on SQL files.

use crate::{
    fault::Fault,
    github::runner::Runner,
    ledger::Ledger,
    postgres::{
        DatabaseTarget, StartupSettings,
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
    pub(super) startup: StartupSettings,
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

/// Returns the start-up settings, which cost no round trip. The order matters: the user's own come after ours, and
/// read-only comes last, so that no option can make a plan write.
fn startup_settings(settings: &Settings, runner: &Runner) -> StartupSettings {
    let safety = &settings.safety;
    // Ten minutes idle in a transaction: longer than it takes to send any file, and an end to a run that hangs.
    let options = format!(
        "-c lock_timeout={} -c statement_timeout={} -c idle_in_transaction_session_timeout=600000 \
         -c client_connection_check_interval=1000 -c standard_conforming_strings=on \
         -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3",
        safety.lock_timeout.as_millis(),
        safety.statement_timeout.as_millis(),
    );
    let mut startup = StartupSettings::new(run_lock::application_name(runner), &options, settings.database.as_ref());
    if !settings.command.may_write() {
        startup.options += " -c default_transaction_read_only=on";
    }
    startup
}
