//! A summary of a query without its data.

/// Words at the beginning of an SQL command, up to the name of its object.
const KEYWORDS: &str = "ALTER ANALYZE BEGIN CALL CHECKPOINT CLUSTER COLLATION COMMENT COMMIT CONCURRENTLY COPY CREATE CURSOR \
    DATABASE DEALLOCATE DECLARE DELETE DISCARD DO DOMAIN DROP END EXCLUSIVE EXECUTE EXISTS EXPLAIN EXTENSION FETCH FOREIGN FROM \
    FULL FUNCTION GLOBAL GRANT IF IN INDEX INSERT INTO ISOLATION LISTEN LOCAL LOCK MATERIALIZED MERGE MOVE NOT NOTIFY ON ONLY \
    OR POLICY PREPARE PROCEDURE PUBLICATION REFRESH REINDEX RELEASE REPLACE RESET REVOKE ROLE ROLLBACK RULE SAVEPOINT SCHEMA \
    SELECT SEQUENCE SET START SUBSCRIPTION TABLE TABLESPACE TEMP TEMPORARY TRANSACTION TRIGGER TRUNCATE TYPE UNIQUE UNLISTEN \
    UNLOGGED UPDATE USER VACUUM VALUES VERBOSE VIEW WITH";

/// Words that the name of a relation or another object follows.
const BEFORE_NAMES: &str = "CLUSTER CONCURRENTLY COPY EXISTS EXTENSION FROM FUNCTION INDEX INTO LOCK ONLY PROCEDURE SCHEMA SEQUENCE \
    TABLE TRIGGER TRUNCATE TYPE UPDATE VACUUM VIEW ANALYZE";

/// Summarizes a query by its command, and by its object if the name follows at once, as in `UPDATE orders`. The rest
/// may be other people's data.
pub(crate) fn summarize_query(query: &str) -> String {
    let is_in = |list: &str, word: &str| list.split_whitespace().any(|entry| entry.eq_ignore_ascii_case(word));
    let words = skip_leading_comments(query).split_whitespace().map(|word| word.trim_end_matches([';', '(']));
    let mut summary: Vec<&str> = Vec::new();
    for word in words {
        if is_in(KEYWORDS, word) {
            summary.push(word);
            continue;
        }
        let follows = summary.last().is_some_and(|last| is_in(BEFORE_NAMES, last));
        summary.extend(Some(word).filter(|word| follows && is_plain_name(word)));
        break;
    }
    if summary.is_empty() { "another command".to_owned() } else { summary.join(" ") }
}

/// Reports whether the word is an unquoted name, with or without a schema, and so no literal.
fn is_plain_name(word: &str) -> bool {
    let letter = |letter: char| letter.is_alphanumeric() || "_.$".contains(letter);
    word.starts_with(|first: char| first.is_alphabetic() || first == '_') && word.chars().all(letter)
}

/// Returns the query from its first word on. The comments before it are meant for other tools.
pub(super) fn skip_leading_comments(query: &str) -> &str {
    let mut rest = query.trim_start();
    loop {
        let after = match rest.get(..2) {
            Some("--") => rest.split_once('\n').map(|(_, after)| after),
            Some("/*") => rest.split_once("*/").map(|(_, after)| after),
            _ => return rest,
        };
        rest = after.unwrap_or_default().trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summarizes_a_query_by_its_command_and_object() {
        for (query, summary) in [
            ("UPDATE big SET name = 'Ada'", "UPDATE big"),
            ("update only public.big set x = 1", "update only public.big"),
            ("INSERT INTO users (name) VALUES ('Ada')", "INSERT INTO users"),
            ("insert into users values ('Ada')", "insert into users"),
            ("DELETE FROM users WHERE name = 'Ada'", "DELETE FROM users"),
            ("SELECT secret_of('Ada')", "SELECT"),
            ("select 'Ada' from users", "select"),
            ("select * from users where name = 'Ada'", "select"),
            ("ALTER TABLE IF EXISTS big ADD note text DEFAULT 'Ada'", "ALTER TABLE IF EXISTS big"),
            (
                "CREATE UNIQUE INDEX CONCURRENTLY big_name ON big (name) WHERE name <> 'Ada'",
                "CREATE UNIQUE INDEX CONCURRENTLY big_name",
            ),
            ("ALTER ROLE app PASSWORD 'Ada'", "ALTER ROLE"),
            ("SET app.token TO Ada", "SET"),
            ("COPY users FROM STDIN", "COPY users"),
            ("COPY (SELECT 'Ada') TO STDOUT", "COPY"),
            ("COMMIT;", "COMMIT"),
            ("/* app:Ada */ -- Ada\n  LOCK TABLE big IN EXCLUSIVE MODE", "LOCK TABLE big"),
            ("/* Ada", "another command"),
            ("Ada Lovelace", "another command"),
            ("UPDATE \"Ada\"", "UPDATE"),
            ("TRUNCATE 'Ada'", "TRUNCATE"),
            ("", "another command"),
        ] {
            assert_eq!(summarize_query(query), summary, "{query}");
        }
    }
}
