//! The settings with which a session begins, by its purpose. They travel in the start-up packet: that costs no round
//! trip, and `RESET ALL` returns to them. A pooler does not pass them on: behind one, statements set them
//! ([`super::session_defaults`]).
//!
//! The later of two settings wins. Ours come first, then those of the user's URL, then those that must hold: no option
//! can make a plan write.

use super::{
    session_defaults::SessionDefaults,
    startup_options::{decode_options, encode_options},
    target::DatabaseTarget,
};
use crate::fault::{Code, Fault};
use std::time::Duration;

/// The settings of every session of ours. A tool's sessions have other ones: how they treat strings and idle times is
/// between the tool and the database.
const OWN: [(&str, &str); 3] = [
    // Our session may have to wait for other sessions longer than the database lets one be idle. (Since PostgreSQL 14.)
    ("idle_session_timeout", "0"),
    CONNECTION_CHECK,
    // PostgreSQL's default, by which SQL text is split into statements.
    ("standard_conforming_strings", "on"),
];

/// The setting that ends a statement within a second if its client is gone.
const CONNECTION_CHECK: (&str, &str) = ("client_connection_check_interval", "1000");

/// The settings that end an idle session within a minute if its client is gone. Only the sessions that hold the run
/// lock have them, because all other runs wait for these.
const KEEPALIVES: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "30"), ("tcp_keepalives_interval", "10"), ("tcp_keepalives_count", "3")];

/// PL/pgSQL that disables a `transaction_timeout` set for the database or the role: the inputs `timeout` and
/// `statement-timeout` set the limits instead. It can't be a start-up setting, because servers before PostgreSQL 17
/// reject an unknown one. (The inner condition costs 2 ms, as each block is planned anew.)
pub const DISABLE_TRANSACTION_TIMEOUT: &str = "IF pg_catalog.current_setting('transaction_timeout', true) OPERATOR(pg_catalog.<>) '0' THEN \
    IF EXISTS (SELECT FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'transaction_timeout' \
    AND s.source OPERATOR(pg_catalog.<>) ALL (ARRAY['client', 'session'])) \
    THEN PERFORM pg_catalog.set_config('transaction_timeout', '0', false); END IF; END IF; ";

/// The settings of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// The server keeps 63 bytes at most; see [`super::run_lock::application_name`].
    pub application_name: String,
    /// Ours, by name; those of the URL or the client win over them.
    defaults: Vec<(String, String)>,
    /// `options` of the user's URL.
    user_options: String,
    /// Settings behind all others, so that none of those can override them.
    enforced: Vec<(String, String)>,
    delivery: SettingsDelivery,
}

/// The way in which settings reach a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SettingsDelivery {
    /// By its start-up packet.
    #[default]
    StartupPacket,
    /// By statements after the log-in: a pooler does not pass the start-up packet on.
    Statements,
}

/// The time limits of a session's statements; zero is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementTimeouts {
    /// The limit of each wait for a lock.
    pub lock: Duration,
    /// The limit of each statement.
    pub statement: Duration,
}

impl SessionSettings {
    /// Creates settings that set nothing but the name.
    #[must_use]
    pub fn named(application_name: impl Into<String>) -> Self {
        let (defaults, user_options, enforced) = (Vec::new(), String::new(), Vec::new());
        let delivery = SettingsDelivery::default();
        Self { application_name: application_name.into(), defaults, user_options, enforced, delivery }
    }

    /// Creates the settings of the session that holds the run lock and applies files. It may be idle in a transaction
    /// for ten minutes: longer than it takes to send any file, and an end to a run that hangs.
    #[must_use]
    pub fn migrating(
        application_name: impl Into<String>,
        timeouts: StatementTimeouts,
        target: Option<&DatabaseTarget>,
    ) -> Self {
        Self::named(application_name)
            .with_defaults(OWN)
            .with_timeouts(timeouts)
            .with_default("idle_in_transaction_session_timeout", "600000")
            .with_defaults(KEEPALIVES)
            .with_options_of(target)
    }

    /// Creates the settings of the session that holds the run lock while a tool works: it can only read, so no change
    /// can come from it. Its queries are short, but a foreign lock on a ledger must not hold them up without a limit.
    #[must_use]
    pub fn holding_lock(application_name: impl Into<String>, target: Option<&DatabaseTarget>) -> Self {
        Self::named(application_name)
            .with_defaults(OWN)
            .with_default("lock_timeout", "5000")
            .with_defaults(KEEPALIVES)
            .with_options_of(target)
            .read_only()
    }

    /// Creates the settings of the session that drops INVALID indexes. It has no time limits of ours: it waits for
    /// other transactions by design.
    #[must_use]
    pub fn dropping_indexes(application_name: impl Into<String>, target: &DatabaseTarget) -> Self {
        Self::named(application_name).with_defaults(OWN).with_options_of(Some(target))
    }

    /// Creates the settings of the session that monitors others. It can only read, its limits are short because a
    /// failed poll is repeated, and the user's options, which are meant for the work, don't apply.
    #[must_use]
    pub fn monitoring(application_name: impl Into<String>) -> Self {
        let timeouts = StatementTimeouts { lock: Duration::from_millis(200), statement: Duration::from_secs(2) };
        Self::named(application_name).with_defaults(OWN).with_timeouts(timeouts).read_only()
    }

    /// Creates the settings of the session that examines the database. It can only read, and sets no time limit of ours:
    /// those of the database are among what it examines.
    #[must_use]
    pub fn examining(application_name: impl Into<String>, target: &DatabaseTarget) -> Self {
        Self::named(application_name).with_defaults([CONNECTION_CHECK]).with_options_of(Some(target)).read_only()
    }

    /// Creates the settings of the session that runs the SQL file of a step.
    #[must_use]
    pub fn for_step(application_name: impl Into<String>, timeouts: StatementTimeouts, target: &DatabaseTarget) -> Self {
        Self::named(application_name).with_defaults(OWN).with_timeouts(timeouts).with_options_of(Some(target))
    }

    /// Creates the settings that a tool's sessions get, from the proxy or from the environment. The tool reads the
    /// user's options from the URL itself.
    #[must_use]
    pub fn for_tool(application_name: impl Into<String>, timeouts: StatementTimeouts) -> Self {
        Self::named(application_name).with_timeouts(timeouts).with_defaults([CONNECTION_CHECK])
    }

    /// Makes all transactions read-only, whatever the other settings are.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.enforced.push(("default_transaction_read_only".to_owned(), "on".to_owned()));
        self
    }

    /// Lets transactions write, whatever the other settings are.
    #[must_use]
    pub fn read_write(mut self) -> Self {
        self.enforced.push(("default_transaction_read_only".to_owned(), "off".to_owned()));
        self
    }

    /// Changes the way in which they reach the session.
    #[must_use]
    pub fn delivered(self, delivery: SettingsDelivery) -> Self {
        Self { delivery, ..self }
    }

    /// Returns the way in which they reach the session.
    #[must_use]
    pub fn delivery(&self) -> SettingsDelivery {
        self.delivery
    }

    /// Adds a setting of ours.
    #[must_use]
    pub fn with_default(self, name: &str, value: &str) -> Self {
        self.with_defaults([(name, value)])
    }

    fn with_defaults<const COUNT: usize>(mut self, settings: [(&str, &str); COUNT]) -> Self {
        self.defaults.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    fn with_timeouts(self, timeouts: StatementTimeouts) -> Self {
        let millis = |limit: Duration| limit.as_millis().to_string();
        self.with_default("lock_timeout", &millis(timeouts.lock))
            .with_default("statement_timeout", &millis(timeouts.statement))
    }

    fn with_options_of(mut self, target: Option<&DatabaseTarget>) -> Self {
        self.user_options = target.and_then(|target| target.options.clone()).unwrap_or_default();
        self.with_role_of(target)
    }

    /// Takes the target's role, if it names one. `RESET ROLE` returns to it (PostgreSQL manual, SET ROLE).
    #[must_use]
    pub fn with_role_of(mut self, target: Option<&DatabaseTarget>) -> Self {
        let role = target.and_then(|target| target.role.clone());
        self.enforced.extend(role.map(|role| ("role".to_owned(), role)));
        self
    }

    /// Returns all settings in the syntax of `options` in the start-up packet, and of libpq's PGOPTIONS; empty if they
    /// don't travel there.
    #[must_use]
    pub fn as_options(&self) -> String {
        match self.delivery {
            SettingsDelivery::StartupPacket => self.joined_options(&self.user_options),
            SettingsDelivery::Statements => String::new(),
        }
    }

    /// Returns the settings for statements, with `client_options` in place of those of the URL. The name and the
    /// encoding are among them: without a pooler they travel beside `options`, and RESET returns to them as well.
    ///
    /// # Errors
    /// `database-pooler` for an option that no statement can set.
    pub(crate) fn for_statements(&self, client_options: Option<&str>) -> Result<Vec<(String, String)>, Fault> {
        let options = self.joined_options(client_options.unwrap_or(&self.user_options));
        let settings = decode_options(&options).map_err(|word| {
            let cause =
                format!("`{word}` in `options` is no setting (`-c name=value`), and a pooler does not pass it on");
            Fault::new(Code::DatabasePooler, cause).fix("remove it from `options`, or use the direct port")
        })?;
        let name = ("application_name".to_owned(), self.application_name.clone());
        Ok([name].into_iter().chain(settings).collect())
    }

    /// Returns the settings to which a session of ours returns.
    ///
    /// # Errors
    /// `database-pooler` for an option that no statement can set.
    pub(super) fn session_defaults(&self) -> Result<SessionDefaults, Fault> {
        match self.delivery {
            SettingsDelivery::StartupPacket => Ok(SessionDefaults::default()),
            SettingsDelivery::Statements => {
                let encoding = ("client_encoding".to_owned(), "UTF8".to_owned());
                let settings = [encoding].into_iter().chain(self.for_statements(None)?).collect();
                Ok(SessionDefaults::set_by_statement(settings))
            }
        }
    }

    fn joined_options(&self, user_options: &str) -> String {
        let parts = [self.default_options(), user_options.to_owned(), self.enforced_options()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// Returns the settings that come before those of a client, in the same syntax.
    pub(crate) fn default_options(&self) -> String {
        encode_options(&self.defaults)
    }

    /// Returns the settings that come behind those of a client, in the same syntax.
    pub(crate) fn enforced_options(&self) -> String {
        encode_options(&self.enforced)
    }

    /// Returns the settings behind all others.
    pub(crate) fn enforced_settings(&self) -> &[(String, String)] {
        &self.enforced
    }

    /// Returns our lock timeout; zero if there is none.
    pub(crate) fn lock_timeout(&self) -> Duration {
        let setting = self.defaults.iter().find(|(name, _)| name == "lock_timeout");
        let millis = setting.and_then(|(_, millis)| millis.parse().ok());
        Duration::from_millis(millis.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str =
        "-c idle_session_timeout=0 -c client_connection_check_interval=1000 -c standard_conforming_strings=on";
    const KEEPALIVES: &str = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3";
    const LIMITS: &str = "-c lock_timeout=4000 -c statement_timeout=60000";
    const MIGRATING: &str = "-c idle_in_transaction_session_timeout=600000";
    const USERS: &str = "-c default_transaction_read_only=off";
    const READ_ONLY: &str = "-c default_transaction_read_only=on";

    fn target() -> DatabaseTarget {
        DatabaseTarget { options: Some(USERS.to_owned()), ..DatabaseTarget::new("db", 5432, "app", "shop") }
    }

    #[test]
    fn a_session_gets_the_settings_of_its_purpose_and_read_only_comes_last() {
        let target = target();
        let some = Some(&target);
        let limits = StatementTimeouts { lock: Duration::from_secs(4), statement: Duration::from_secs(60) };
        for (settings, expected) in [
            (SessionSettings::named("we"), &[][..]),
            (SessionSettings::migrating("we", limits, some), &[OURS, LIMITS, MIGRATING, KEEPALIVES, USERS]),
            (
                SessionSettings::migrating("we", limits, some).read_only(),
                &[OURS, LIMITS, MIGRATING, KEEPALIVES, USERS, READ_ONLY],
            ),
            (SessionSettings::holding_lock("we", some), &[OURS, "-c lock_timeout=5000", KEEPALIVES, USERS, READ_ONLY]),
            (SessionSettings::holding_lock("we", None), &[OURS, "-c lock_timeout=5000", KEEPALIVES, READ_ONLY]),
            (SessionSettings::dropping_indexes("we", &target), &[OURS, USERS]),
            (SessionSettings::monitoring("we"), &[OURS, "-c lock_timeout=200 -c statement_timeout=2000", READ_ONLY]),
            (SessionSettings::for_step("we", limits, &target), &[OURS, LIMITS, USERS]),
            (SessionSettings::for_tool("we", limits), &[LIMITS, "-c client_connection_check_interval=1000"]),
            (
                SessionSettings::for_tool("we", limits).read_only(),
                &[LIMITS, "-c client_connection_check_interval=1000", READ_ONLY],
            ),
        ] {
            assert_eq!((settings.as_options(), settings.application_name.as_str()), (expected.join(" "), "we"));
        }
    }

    #[test]
    fn the_settings_around_those_of_a_client_are_separate() {
        let timeouts = StatementTimeouts { lock: Duration::from_millis(1_500), statement: Duration::ZERO };
        let settings = SessionSettings::for_tool("we", timeouts).read_only();
        let defaults = "-c lock_timeout=1500 -c statement_timeout=0 -c client_connection_check_interval=1000";
        assert_eq!((settings.default_options().as_str(), settings.enforced_options().as_str()), (defaults, READ_ONLY));
        assert_eq!(settings.lock_timeout(), timeouts.lock);
        assert_eq!(SessionSettings::named("we").lock_timeout(), Duration::ZERO);
    }

    #[test]
    fn a_role_comes_behind_the_options_of_the_url() {
        let target = DatabaseTarget { role: Some("the owner".to_owned()), ..target() };
        let settings = SessionSettings::holding_lock("we", Some(&target)).as_options();
        assert!(settings.ends_with(&format!("{USERS} -c role=the\\ owner {READ_ONLY}")), "{settings}");
        assert!(!SessionSettings::monitoring("we").as_options().contains("role"));
    }

    #[test]
    fn behind_a_pooler_statements_set_them_in_the_same_order() {
        let limits = StatementTimeouts { lock: Duration::from_secs(4), statement: Duration::ZERO };
        let settings =
            SessionSettings::for_step("we", limits, &target()).read_only().delivered(SettingsDelivery::Statements);
        assert_eq!(settings.as_options(), "");
        let set = settings.for_statements(None).unwrap();
        let names: Vec<_> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(names.first().unwrap(), "application_name=we");
        let last = ["statement_timeout=0", "default_transaction_read_only=off", "default_transaction_read_only=on"];
        assert_eq!(names[names.len() - 3..], last);
        let fault = settings.for_statements(Some("-B 16")).unwrap_err();
        assert_eq!(fault.code, Code::DatabasePooler);
        assert!(fault.cause.starts_with("`-B` in `options`"), "{}", fault.cause);
    }
}
