//! The search path that a script sets: it decides which table a name without a schema means.

use crate::sql::{Part, Phrase, fold_identifier};

/// The schemas in which the names of a script are looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum SearchPath {
    /// Those of the session.
    #[default]
    OfSession,
    /// Only this one, besides PostgreSQL's own.
    Schema(String),
    /// Several, or unknown ones.
    Other,
}

/// The end of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathDuration {
    Transaction,
    Session,
}

/// Returns the search path that a statement sets, if it sets one.
pub(super) fn read_search_path(statement: &str) -> Option<(SearchPath, PathDuration)> {
    let mut phrase = Phrase::new(statement);
    match phrase.eat_one_of(&["set", "reset", "discard", "select"])? {
        "set" => read_set(&mut phrase),
        "select" => read_set_config(statement),
        // RESET search_path, RESET ALL or DISCARD ALL.
        _ => {
            let name = phrase.next()?.text().to_ascii_lowercase();
            matches!(name.as_str(), "search_path" | "all").then_some((SearchPath::OfSession, PathDuration::Session))
        }
    }
}

fn read_set(phrase: &mut Phrase<'_>) -> Option<(SearchPath, PathDuration)> {
    let duration = match phrase.eat_one_of(&["local", "session"]) {
        Some("local") => PathDuration::Transaction,
        _ => PathDuration::Session,
    };
    // SET SCHEMA 'a' is SET search_path TO a (PostgreSQL manual, SET).
    if !phrase.eat("schema") {
        let name = phrase.next()?.text().trim_matches('"').to_ascii_lowercase();
        if name != "search_path" {
            return None;
        }
        phrase.next()?;
    }
    if phrase.peek().is_some_and(|value| value.is_word("default")) {
        return Some((SearchPath::OfSession, duration));
    }
    Some((path_of(phrase.filter(|part| part.text() != ",")), duration))
}

fn path_of<'a>(values: impl Iterator<Item = Part<'a>>) -> SearchPath {
    let schemas: Option<Vec<_>> = values
        .map(|value| match value.text().strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
            Some(text) => Some(text.replace("''", "'")),
            None => fold_identifier(value.text()),
        })
        .collect();
    let mut schemas = schemas.unwrap_or_default();
    schemas.retain(|schema| schema != "pg_catalog" && schema != "pg_temp");
    match <[String; 1]>::try_from(schemas) {
        Ok([schema]) if !schema.is_empty() => SearchPath::Schema(schema),
        _ => SearchPath::Other,
    }
}

/// Reads `SELECT set_config('search_path', …)`, as `pg_dump` writes it.
fn read_set_config(statement: &str) -> Option<(SearchPath, PathDuration)> {
    let text = statement.to_ascii_lowercase();
    (text.contains("set_config") && text.contains("'search_path'"))
        .then_some((SearchPath::Other, PathDuration::Session))
}

#[cfg(test)]
mod tests {
    use super::{super::picture::effects_of, *};

    #[test]
    fn reads_every_spelling() {
        let path = |statement| read_search_path(statement).map(|(path, _)| path);
        let schema = |name: &str| Some(SearchPath::Schema(name.to_owned()));
        assert_eq!(path("SET search_path TO Tenant"), schema("tenant"));
        assert_eq!(path("set local \"search_path\" = \"T 1\", pg_catalog;"), schema("T 1"));
        assert_eq!(path("SET SESSION search_path = 'T'"), schema("T"));
        assert_eq!(path("SET SCHEMA 'a'"), schema("a"));
        assert_eq!(path("SET search_path = a, public"), Some(SearchPath::Other));
        assert_eq!(path("SET search_path = ''"), Some(SearchPath::Other));
        assert_eq!(path("SELECT pg_catalog.set_config('search_path', '', false)"), Some(SearchPath::Other));
        assert_eq!(path("SET search_path TO DEFAULT"), Some(SearchPath::OfSession));
        assert_eq!((path("RESET search_path"), path("DISCARD ALL")), (Some(SearchPath::OfSession), path("RESET ALL")));
        assert_eq!((path("SET lock_timeout = 1"), path("SELECT 1"), path("RESET role")), (None, None, None));
    }

    #[test]
    fn a_name_without_a_schema_is_looked_up_in_the_path_of_the_script() {
        let lock = |before: &str, name: &str| {
            let effects = effects_of(&format!("{before}; LOCK ONLY {name}"));
            effects.lines().last().unwrap_or_default().replace("ACCESS EXCLUSIVE ", "")
        };
        assert_eq!(lock("SET search_path TO a", "t"), "\"a\".\"t\"");
        assert_eq!(lock("SET search_path TO a", "b.t"), "\"b\".\"t\"");
        assert_eq!(lock("SET search_path TO a; RESET search_path", "t"), "\"t\"");
        assert_eq!(
            lock("SET search_path TO a, b", "t"),
            "\"t\"; more: the script sets the search path, so t may be in one of several schemas"
        );
        assert_eq!(lock("SET search_path TO a, b", "b.t"), "\"b\".\"t\"");
        assert_eq!(lock("BEGIN; SET LOCAL search_path TO a; COMMIT", "t"), "\"t\"");
    }
}
