//! Statements that wait for the end of other transactions by what they are: a limit on waits for locks would hit them in the
//! middle of their work, and nobody queues behind them meanwhile.

use super::query_summary::without_comments;

/// How a statement begins, and what its last word has to be, if that is what makes it one of them. A group stands for
/// anything in parentheses.
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

/// What may be in the parentheses behind REINDEX.
const OPTION: &str = "CONCURRENTLY";

/// So much of a statement is looked at from its beginning, so that a long one costs nothing.
const LOOKED_AT: usize = 4 << 10;

/// Names the form, if the statement is one of them.
pub(crate) fn waits_for_others(statement: &str) -> Option<&'static str> {
    let statement = without_comments(statement).trim_end().trim_end_matches(';').trim_end();
    // Behind a semicolon may follow what others do queue behind; the build of an index can't be in such company.
    if (statement.len() > LOOKED_AT || statement.contains(';')) && !is_create(statement) {
        return None;
    }
    let mut end = LOOKED_AT.min(statement.len());
    while !statement.is_char_boundary(end) {
        end -= 1;
    }
    let words: Vec<&str> = words(statement.get(..end).unwrap_or_default());
    if let Some(reindex) = reindex_with_options(&words) {
        return reindex;
    }
    let form = FORMS.iter().find(|(begins, ends, _)| {
        let begins_so = begins.split(' ').zip(words.iter().map(Some).chain(std::iter::repeat(None)));
        let begins_so = { begins_so }.all(|(word, said)| said.is_some_and(|said| said.eq_ignore_ascii_case(word)));
        begins_so && ends.is_none_or(|end| is_detach(&words, end))
    });
    form.map(|(_, _, name)| *name)
}

fn is_create(statement: &str) -> bool {
    statement.get(..6).is_some_and(|first| first.eq_ignore_ascii_case("create"))
}

/// `ALTER TABLE … DETACH PARTITION name CONCURRENTLY`.
fn is_detach(words: &[&str], end: &str) -> bool {
    let detach = words.windows(2).any(|pair| {
        matches!(pair, [first, second] if first.eq_ignore_ascii_case("detach") && second.eq_ignore_ascii_case("partition"))
    });
    detach && words.last().is_some_and(|last| last.eq_ignore_ascii_case(end))
}

/// `REINDEX (options) TABLE [CONCURRENTLY] name`: says whether it is one, once there are options.
fn reindex_with_options(words: &[&str]) -> Option<Option<&'static str>> {
    let (first, rest) = words.split_first()?;
    if !first.eq_ignore_ascii_case("reindex") || !rest.first()?.starts_with('(') {
        return None;
    }
    // `CONCURRENTLY false` is nothing that anybody writes; told for one, its waits are bounded by the run's own limit.
    let says = |word: &&&str| word.trim_matches(|sign| "(),".contains(sign)).eq_ignore_ascii_case(OPTION);
    Some(rest.iter().take(8).find(says).map(|_| "REINDEX CONCURRENTLY"))
}

/// The words outside of quotes and comments; what is in quotes is one word, and no keyword.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = match rest.split_at_checked(1) {
            Some(("\"", inside)) => inside.find('"').map_or(rest.len(), |end| end + 2),
            _ => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        let (word, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
        words.push(word);
        rest = without_comments(behind);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::waits_for_others;

    #[test]
    fn every_form_is_known_however_it_is_written() {
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
            assert_eq!(waits_for_others(statement), Some(name), "{statement}");
        }
        let long = format!("CREATE INDEX CONCURRENTLY a ON t (x) WHERE x IN ({})", "'é', ".repeat(3_000));
        assert_eq!(waits_for_others(&long), Some("CREATE INDEX CONCURRENTLY"));
    }

    #[test]
    fn what_others_queue_behind_is_none_of_them() {
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
            assert_eq!(waits_for_others(statement), None, "{statement}");
        }
    }
}
