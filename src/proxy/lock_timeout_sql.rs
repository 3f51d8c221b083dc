//! Queries of the proxy in a client's session, which disable our lock timeout and restore it.

use std::time::Duration;

/// Our own setting that records that the lock timeout is disabled.
const DISABLED_SETTING: &str = "bastion_migrate.lifted";

/// Returns a query that disables our lock timeout and records in a setting that it did, so that a timeout that the
/// client has set itself is not overwritten later.
pub(crate) fn disable_sql(limit: Duration) -> String {
    let millis = limit.as_millis();
    format!(
        "SELECT pg_catalog.set_config('lock_timeout', '0', false), pg_catalog.set_config('{DISABLED_SETTING}', 'on', false) \
         WHERE pg_catalog.current_setting('lock_timeout')::pg_catalog.interval OPERATOR(pg_catalog.=) '{millis} ms'::pg_catalog.interval"
    )
}

/// Returns a query that restores our lock timeout if the other query has disabled it.
pub(crate) fn restore_sql(limit: Duration) -> String {
    let millis = limit.as_millis();
    format!(
        "SELECT pg_catalog.set_config('lock_timeout', '{millis}', false), pg_catalog.set_config('{DISABLED_SETTING}', 'off', false) \
         WHERE pg_catalog.current_setting('{DISABLED_SETTING}', true) OPERATOR(pg_catalog.=) 'on'"
    )
}
