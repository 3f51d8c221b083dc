//! Classifies statements that begin with SET or SELECT by their effect on the session.

use super::{
    lexer::Tokens,
    phrase::{Part, Phrase},
    statement_class::{StatementClass, refused_class},
    transaction_options::TransactionModes,
};

/// Reads the rest of `SET …`.
pub(crate) fn classify_set(phrase: &mut Phrase<'_>) -> StatementClass {
    if phrase.eat("constraints") {
        return StatementClass::Plain;
    }
    if phrase.eat("transaction") {
        if phrase.eat("snapshot") {
            return refused_class(
                "`SET TRANSACTION SNAPSHOT` needs a session that has exported a snapshot and still holds it",
                Some("remove it: such a snapshot is gone when the file is run again"),
            );
        }
        return TransactionModes::read_list(phrase).map_or(StatementClass::Plain, StatementClass::SetTransaction);
    }
    let default_class = if phrase.eat("local") { StatementClass::Plain } else { StatementClass::Session };
    if phrase.eat("session") && phrase.eat_all(&["characteristics", "as", "transaction"]) {
        return TransactionModes::read_list(phrase)
            .map_or(StatementClass::Session, |modes| StatementClass::DefaultModes(modes.isolation_only()));
    }
    let Some(name) = phrase.eat_name().map(|name| name.name.to_ascii_lowercase()) else { return default_class };
    if !phrase.eat("to") {
        phrase.by_ref().next();
    }
    match name.as_str() {
        "standard_conforming_strings" if !is_on(phrase) => refused_class(
            "`standard_conforming_strings` other than `on` changes where strings end",
            Some("remove it, and write strings with backslash escapes as E'…'"),
        ),
        "transaction_isolation" => {
            TransactionModes::read_isolation_value(phrase).map_or(StatementClass::Plain, StatementClass::SetTransaction)
        }
        "default_transaction_isolation" if default_class == StatementClass::Session => {
            TransactionModes::read_isolation_value(phrase).map_or(default_class, StatementClass::DefaultModes)
        }
        "transaction_read_only" | "transaction_deferrable" => StatementClass::Plain,
        _ => default_class,
    }
}

fn is_on(phrase: &Phrase<'_>) -> bool {
    let value = phrase.peek().map(|part| part.text().trim_matches(['\'', '"']).to_ascii_lowercase());
    matches!(value.as_deref(), Some("on" | "true" | "1" | "yes"))
}

/// Functions whose only effect is on the session that calls them.
const SESSION_FUNCTIONS: &[&str] = &[
    "set_config",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_shared",
];

/// Reads the rest of `SELECT …`; a statement that calls only functions like `set_config(…)` just changes the session.
pub(crate) fn classify_select(phrase: &mut Phrase<'_>) -> StatementClass {
    loop {
        if phrase.eat("pg_catalog") {
            phrase.by_ref().next();
        }
        let called = phrase.eat_one_of(SESSION_FUNCTIONS).and_then(|_| phrase.eat_group());
        if called.is_none_or(|arguments| Tokens::new(arguments).any(|token| token.is_word(arguments, "select"))) {
            return StatementClass::Plain;
        }
        if phrase.eat("as") {
            phrase.by_ref().next();
        }
        match phrase.by_ref().next() {
            None => return StatementClass::Session,
            Some(Part::Other(",")) => {}
            Some(_) => return StatementClass::Plain,
        }
    }
}
