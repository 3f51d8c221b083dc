//! Statements that by design wait for other transactions to end (`CREATE INDEX CONCURRENTLY` and its kind): a lock
//! timeout would abort them in the middle of their work, and no other session queues behind them meanwhile.

use super::query_summary::skip_leading_comments;

/// The first words of each form, the last word if the form needs one, and the name of the form.
const FORMS: &[(&str, Option<&str>, &str)] = &[
    ("CREATE INDEX CONCURRENTLY", None, "CREATE INDEX CONCURRENTLY"),
    ("CREATE UNIQUE INDEX CONCURRENTLY", None, "CREATE UNIQUE INDEX CONCURRENTLY"),
    ("DROP INDEX CONCURRENTLY", None, "DROP INDEX CONCURRENTLY"),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY", None, "REFRESH MATERIALIZED VIEW CONCURRENTLY"),
    ("REINDEX INDEX CONCURRENTLY", None, "REINDEX CONCURRENTLY"),
    ("REINDEX TABLE CONCURRENTLY", None, "REINDEX CONCURRENTLY"),
    ("REINDEX SCHEMA CONCURRENTLY", None, "REINDEX CONCURRENTLY"),
    ("REINDEX DATABASE CONCURRENTLY", None, "REINDEX CONCURRENTLY"),
    ("ALTER TABLE", Some("CONCURRENTLY"), "DETACH PARTITION CONCURRENTLY"),
    ("ALTER TABLE", Some("FINALIZE"), "DETACH PARTITION FINALIZE"),
];

/// The option of `REINDEX (…)`.
const CONCURRENTLY: &str = "CONCURRENTLY";

/// Bytes of a statement to inspect from its beginning, so that a long one costs no more.
const MAX_INSPECTED: usize = 4 << 10;

/// Returns the name of the form, if the statement is one of these.
pub(crate) fn waits_for_transactions(statement: &str) -> Option<&'static str> {
    let statement = skip_leading_comments(statement).trim_end().trim_end_matches(';').trim_end();
    // Behind a semicolon may stand a statement that other sessions do queue behind. A concurrent index build can't be
    // part of such a message.
    if (statement.len() > MAX_INSPECTED || statement.contains(';')) && !is_create(statement) {
        return None;
    }
    let mut end = MAX_INSPECTED.min(statement.len());
    while !statement.is_char_boundary(end) {
        end -= 1;
    }
    let words: Vec<&str> = split_words(statement.get(..end).unwrap_or_default());
    if let Some(reindex) = reindex_with_options(&words) {
        return reindex;
    }
    let form = FORMS.iter().find(|(begins, ends, _)| {
        let matches_start = begins.split(' ').zip(words.iter().map(Some).chain(std::iter::repeat(None)));
        let matches_start = { matches_start }
            .all(|(expected, actual)| actual.is_some_and(|actual| actual.eq_ignore_ascii_case(expected)));
        matches_start && ends.is_none_or(|end| is_detach(&words, end))
    });
    form.map(|(_, _, name)| *name)
}

fn is_create(statement: &str) -> bool {
    statement.get(..6).is_some_and(|first| first.eq_ignore_ascii_case("create"))
}

/// Reports whether this is `ALTER TABLE … DETACH PARTITION name CONCURRENTLY` or `FINALIZE`.
fn is_detach(words: &[&str], end: &str) -> bool {
    let detach = words.windows(2).any(|pair| {
        matches!(pair, [first, second] if first.eq_ignore_ascii_case("detach") && second.eq_ignore_ascii_case("partition"))
    });
    detach && words.last().is_some_and(|last| last.eq_ignore_ascii_case(end))
}

/// Recognizes `REINDEX (options) TABLE [CONCURRENTLY] name`. The outer `None`: this is no REINDEX with options.
fn reindex_with_options(words: &[&str]) -> Option<Option<&'static str>> {
    let (first, rest) = words.split_first()?;
    if !first.eq_ignore_ascii_case("reindex") || !rest.first()?.starts_with('(') {
        return None;
    }
    // `CONCURRENTLY false` is not written in practice. If it is, the run's own time limit bounds its waits.
    let is_concurrently =
        |word: &&&str| word.trim_matches(|sign| "(),".contains(sign)).eq_ignore_ascii_case(CONCURRENTLY);
    Some(rest.iter().take(8).find(is_concurrently).map(|_| "REINDEX CONCURRENTLY"))
}

/// Splits a text into words without comments; a quoted name is one word, with its quotes, and so no keyword.
fn split_words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = match rest.split_at_checked(1) {
            Some(("\"", quoted)) => quoted.find('"').map_or(rest.len(), |end| end + 2),
            _ => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        words.push(word);
        rest = skip_leading_comments(after);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::waits_for_transactions;

    #[test]
    fn recognizes_every_form_in_any_spelling() {
        for (statement, name) in [
            ("CREATE INDEX CONCURRENTLY a ON t (x);", "CREATE INDEX CONCURRENTLY"),
            ("create unique index\n concurrently if not exists a on t (x)", "CREATE UNIQUE INDEX CONCURRENTLY"),
            ("-- why\n/* x */ CREATE INDEX /* y */ CONCURRENTLY \"A b\" ON t (x)", "CREATE INDEX CONCURRENTLY"),
            ("drop index concurrently if exists a;", "DROP INDEX CONCURRENTLY"),
            ("REINDEX INDEX CONCURRENTLY i", "REINDEX CONCURRENTLY"),
            ("REINDEX (VERBOSE) TABLE CONCURRENTLY t", "REINDEX CONCURRENTLY"),
            ("REINDEX (VERBOSE, CONCURRENTLY) TABLE t", "REINDEX CONCURRENTLY"),
            ("reindex (tablespace x, concurrently true) index i", "REINDEX CONCURRENTLY"),
            ("ALTER TABLE ONLY a DETACH PARTITION s.b CONCURRENTLY ;", "DETACH PARTITION CONCURRENTLY"),
            ("alter table \"a b\" detach partition b finalize", "DETACH PARTITION FINALIZE"),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "REFRESH MATERIALIZED VIEW CONCURRENTLY"),
        ] {
            assert_eq!(waits_for_transactions(statement), Some(name), "{statement}");
        }
        let long = format!("CREATE INDEX CONCURRENTLY a ON t (x) WHERE x IN ({})", "'é', ".repeat(3_000));
        assert_eq!(waits_for_transactions(&long), Some("CREATE INDEX CONCURRENTLY"));
    }

    #[test]
    fn does_not_recognize_statements_that_other_sessions_queue_behind() {
        for statement in [
            "CREATE INDEX a ON t (x)",
            "CREATE INDEX \"CONCURRENTLY\" ON t (x)",
            "DROP INDEX a",
            "REINDEX TABLE t",
            "REINDEX (VERBOSE) TABLE t",
            "ALTER TABLE a DETACH PARTITION b",
            "ALTER TABLE a ADD x text DEFAULT 'detach partition' , ADD concurrently int",
            "REFRESH MATERIALIZED VIEW v",
            "REFRESH MATERIALIZED VIEW CONCURRENTLY v; ALTER TABLE t ADD x int",
            "SELECT 'CREATE INDEX CONCURRENTLY'",
            "INSERT INTO t VALUES ('concurrently')",
            "",
            ";",
            "é",
        ] {
            assert_eq!(waits_for_transactions(statement), None, "{statement}");
        }
    }
}
