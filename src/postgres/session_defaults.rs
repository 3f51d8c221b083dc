//! The SQL that returns a session to the settings with which it started.
//!
//! Where they came with the start-up packet, RESET does that. A pooler's server session has begun without them: there,
//! RESET returns to the settings of the database and the role alone, and ours are set again behind it.

use super::{quote_identifier, quote_literal};

/// The settings to which a session returns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionDefaults {
    /// Those to which RESET does not return, in their order.
    settings: Vec<(String, String)>,
}

impl SessionDefaults {
    /// Creates the defaults of a session to which RESET does not return.
    pub(super) fn set_by_statement(settings: Vec<(String, String)>) -> Self {
        Self { settings }
    }

    /// Returns the SQL that resets the role and all settings.
    #[must_use]
    pub fn reset_all_sql(&self) -> String {
        let reset = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL";
        match self.settings.as_slice() {
            [] => reset.to_owned(),
            settings => format!("{reset}; {}", set_sql(settings, Scope::Session)),
        }
    }

    /// Returns the SQL that resets one setting.
    #[must_use]
    pub fn reset_sql(&self, name: &str) -> String {
        match self.of_setting(name).as_slice() {
            [] => format!("RESET {}", quote_identifier(name)),
            settings => set_sql(settings, Scope::Session),
        }
    }

    /// Returns the SQL that resets these settings for the rest of the transaction.
    #[must_use]
    pub fn reset_local_sql(&self, names: &[&str]) -> String {
        let reset = |name: &&str| match self.of_setting(name).as_slice() {
            [] => format!("SET LOCAL {name} TO DEFAULT"),
            settings => set_sql(settings, Scope::Transaction),
        };
        names.iter().map(reset).collect::<Vec<_>>().join("; ")
    }

    fn of_setting(&self, name: &str) -> Vec<(String, String)> {
        self.settings.iter().filter(|(set, _)| set.eq_ignore_ascii_case(name)).cloned().collect()
    }
}

/// The part of a session for which a setting counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Session,
    Transaction,
}

/// Returns the statement that sets these settings for the session, in their order. It returns no rows.
pub(crate) fn set_for_session_sql(settings: &[(String, String)]) -> String {
    set_sql(settings, Scope::Session)
}

/// Returns the statement that sets these settings for the transaction. It returns no rows.
pub(super) fn set_for_transaction_sql(settings: &[(String, String)]) -> String {
    set_sql(settings, Scope::Transaction)
}

fn set_sql(settings: &[(String, String)], scope: Scope) -> String {
    let is_local = scope == Scope::Transaction;
    let set = |(name, value): &(String, String)| {
        format!("PERFORM pg_catalog.set_config({}, {}, {is_local}); ", quote_literal(name), quote_literal(value))
    };
    format!("DO $bastion_migrate$ BEGIN {}END $bastion_migrate$", settings.iter().map(set).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled() -> SessionDefaults {
        let settings = [("lock_timeout", "5000"), ("search_path", "a, b"), ("Search_Path", "it's")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        SessionDefaults::set_by_statement(settings.to_vec())
    }

    #[test]
    fn a_reset_suffices_where_the_session_started_with_its_settings() {
        let direct = SessionDefaults::default();
        assert_eq!(direct.reset_all_sql(), "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL");
        assert_eq!(direct.reset_sql("lock_timeout"), "RESET \"lock_timeout\"");
        let local = "SET LOCAL search_path TO DEFAULT; SET LOCAL role TO DEFAULT";
        assert_eq!(direct.reset_local_sql(&["search_path", "role"]), local);
    }

    #[test]
    fn settings_of_statements_are_set_again_and_the_later_one_wins() {
        let block = |body: &str| format!("DO $bastion_migrate$ BEGIN {body}END $bastion_migrate$");
        let set = |name: &str, value: &str, local: bool| {
            format!("PERFORM pg_catalog.set_config('{name}', '{value}', {local}); ")
        };
        let lock = set("lock_timeout", "5000", false);
        let path = [set("search_path", "a, b", false), set("Search_Path", "it''s", false)].concat();
        let reset = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL";
        assert_eq!(pooled().reset_all_sql(), format!("{reset}; {}", block(&[lock.clone(), path].concat())));
        assert_eq!(pooled().reset_sql("lock_timeout"), block(&lock));
        let local_path = [set("search_path", "a, b", true), set("Search_Path", "it''s", true)].concat();
        let local = format!("{}; SET LOCAL role TO DEFAULT", block(&local_path));
        assert_eq!(pooled().reset_local_sql(&["search_path", "role"]), local);
    }
}
