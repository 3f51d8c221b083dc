//! The effects of the statements of a script, as far as its text shows them: squawk's tree of each statement, read with
//! PostgreSQL's own rules. Pure; the tables themselves are unknown here.

mod added_column;
#[cfg(test)]
mod agreement;
mod alter_table;
mod attached;
mod change;
mod column_type;
mod constraint;
mod copy;
mod create_table;
mod draft;
mod dropped;
mod functions;
mod index;
mod maintenance;
pub(super) mod nesting;
mod partition;
#[cfg(test)]
mod picture;
mod plain_rows;
mod query;
mod query_use;
mod routine;
mod script_state;
mod search_path;
mod statements;
mod storage_options;
mod summary;
mod tree;
mod type_change;

use super::{
    effect::{StatementEffect, TableWork},
    script::MigrationScript,
};
use crate::sql::{
    MoreText, Phrase, Span, SqlSource, StatementClass, classify_statement,
    split::{SplitPart, split_part},
};
use draft::EffectDraft;
use script_state::{ScriptState, Series};
use squawk_syntax::SourceFile;
use std::panic;
use tree::{SyntaxKind, SyntaxNode, has_within};

/// The most bytes of a script that are split into statements.
const MAX_READ_BYTES: usize = 2 << 20;

/// The most bytes of a script that are parsed, for which squawk's parser and its checks take a fifth of a second. Rows of
/// plain values are not parsed.
const MAX_PARSED_BYTES: usize = 512 << 10;

/// The most bytes of a single statement that are read.
const MAX_STATEMENT_BYTES: usize = 256 << 10;

/// Returns the effect of each statement of a script, in its order.
///
/// One effect stands for a series of INSERTs of plain values into one table, as `pg_dump` writes them.
///
/// `server_version` is the server's `server_version_num`, as 150018 for 15.18. Up to 512 KiB of
/// statements are parsed, besides rows of plain values; the certainty of the others says so. Of a script above 2 MiB, the
/// last effect stands for the rest.
#[must_use]
pub fn statement_effects(script: &MigrationScript, server_version: u32) -> Vec<StatementEffect> {
    let text = script.sql.as_str();
    let read = text.get(..text.floor_char_boundary(MAX_READ_BYTES)).unwrap_or_default();
    let more = if read.len() < text.len() { MoreText::Follows } else { MoreText::Nothing };
    let part = split_part(SqlSource::of_file(&script.id.display_path(), read), more);
    let mut state = ScriptState::new(server_version, script.transaction);
    let mut effects = Vec::new();
    for raw in &part.script.statements {
        add_effect(text, raw.span, &mut state, &mut effects);
    }
    if more == MoreText::Follows {
        effects.extend(read_rest(text, part.end, &mut state));
    }
    effects.extend(unsplit_effects(text, &part));
    effects.sort_by_key(|effect| effect.span.start);
    // There may be thousands of scripts, and a list begins with room for several.
    effects.shrink_to_fit();
    effects
}

/// First words of statements that neither begin nor end a transaction, and can run in one. Most of a large script begins
/// with them, and is not classified.
const DATA_WORDS: [&str; 5] = ["delete", "insert", "merge", "update", "values"];

/// Adds the effect of a statement, or lets the last effect stand for it, too.
fn add_effect(text: &str, span: Span, state: &mut ScriptState, effects: &mut Vec<StatementEffect>) {
    let statement = span.slice_of(text);
    let rows = plain_rows::read_plain_insert(statement);
    if rows.is_none() && Phrase::new(statement).eat_one_of(&DATA_WORDS).is_none() {
        state.follow_transaction(&classify_statement(statement));
        state.follow_search_path(statement);
    }
    let series = match &rows {
        Some(table) => Series::Rows(table.clone()),
        None if state.parsed_bytes() > MAX_PARSED_BYTES => Series::Unread,
        None => Series::None,
    };
    if state.continue_series(series)
        && let Some(last) = effects.last_mut()
    {
        last.span.end = span.end;
        return;
    }
    let mut draft = EffectDraft::in_path(state.search_path());
    match rows {
        Some(table) => change::read_inserted(table, &mut draft),
        None => read_text(statement, &mut draft, state),
    }
    effects.push(finish_effect(statement, span, draft, state));
}

/// Reads a statement, or the beginning of a long one.
fn read_text(statement: &str, draft: &mut EffectDraft, state: &mut ScriptState) {
    let read = statement.get(..statement.floor_char_boundary(MAX_STATEMENT_BYTES)).unwrap_or_default();
    if nesting::is_too_deep(read) {
        return draft.add_reason("it is nested too deeply to be read");
    }
    if state.count_parsed(read.len()) > MAX_PARSED_BYTES {
        return draft.add_reason("more than 512 KiB of the script was read before it");
    }
    let Some((root, syntax)) = parse_statement(read) else {
        return draft.add_reason("its syntax is not known here");
    };
    if read.len() < statement.len() {
        draft.add_reason("the statement is long, and only its beginning was read");
    } else if syntax == Syntax::Unknown {
        draft.add_reason("its syntax is not known here");
    }
    if matches!(classify_statement(read), StatementClass::NonTransactional { .. }) {
        draft.end_locks_early();
    }
    for node in root.children().filter(|node| node.kind() != SyntaxKind::ERROR) {
        statements::read_statement(&node, draft, state);
    }
}

/// Whether the parser understands a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    Known,
    Unknown,
}

/// Returns squawk's tree. Its parser and its check of literals contain assertions, so a panic is a statement that it does
/// not understand; none was found in 200,000 mutations of SQL.
fn parse_statement(statement: &str) -> Option<(SyntaxNode, Syntax)> {
    panic::catch_unwind(|| {
        let parse = SourceFile::parse(statement);
        let root = parse.syntax_node();
        // The bodies of functions are not checked: they only run when they are called.
        let has_body =
            has_within(&root, SyntaxKind::CREATE_FUNCTION) || has_within(&root, SyntaxKind::CREATE_PROCEDURE);
        let is_unread = has_within(&root, SyntaxKind::ERROR) || (!has_body && !parse.errors().is_empty());
        (root, if is_unread { Syntax::Unknown } else { Syntax::Known })
    })
    .ok()
}

/// Returns the effect of the text behind the part that was read, unless there is no statement in it.
fn read_rest(text: &str, start: usize, state: &mut ScriptState) -> Option<StatementEffect> {
    let rest = text.get(start..)?.trim_start();
    let start = text.len() - rest.len();
    let head = rest.get(..rest.floor_char_boundary(MAX_STATEMENT_BYTES))?;
    let split = split_part(SqlSource::of_file("", head), MoreText::Nothing);
    let first = split.script.statements.first().map(|statement| statement.span);
    if first.is_none() && head.len() == rest.len() {
        return None;
    }
    let mut draft = EffectDraft::in_path(state.search_path());
    // A long comment may stand before the next statement.
    let Some(first) = first else {
        draft.add_reason("the script is longer than 2 MiB, and its end was not read");
        return Some(finish_effect("…", Span { start, end: text.len() }, draft, state));
    };
    draft.add_reason("the script is longer than 2 MiB, and nothing behind this statement was read");
    read_text(first.slice_of(head), &mut draft, state);
    Some(finish_effect(first.slice_of(head), Span { start: start + first.start, end: text.len() }, draft, state))
}

/// Returns an effect for each part of the script that can't be split into statements, as a command of psql.
fn unsplit_effects(text: &str, part: &SplitPart) -> Vec<StatementEffect> {
    let effect = |byte: usize, cause: &str| {
        let line = text.get(byte..).unwrap_or_default().lines().next().unwrap_or_default();
        let mut draft = EffectDraft::default();
        draft.add_reason(cause);
        let state = ScriptState::new(0, super::script::ScriptTransaction::AsWritten);
        finish_effect(line, Span { start: byte, end: byte + line.len() }, draft, &state)
    };
    part.faults.iter().map(|found| effect(found.byte, found.fault.cause.trim_end_matches('.'))).collect()
}

fn finish_effect(statement: &str, span: Span, mut draft: EffectDraft, state: &ScriptState) -> StatementEffect {
    let locks = draft.take_locks(state.lock_duration());
    let (mut work, destroys, mut creates, certainty) = draft.finish();
    drop_lesser_work(&mut work);
    creates.shrink_to_fit();
    StatementEffect { span, summary: summary::summarize(statement), locks, work, destroys, creates, certainty }
}

/// Leaves out the reading of a table that the statement writes in any case.
fn drop_lesser_work(work: &mut Vec<TableWork>) {
    let rewritten: Vec<_> = work
        .iter()
        .filter_map(|work| match work {
            TableWork::Rewrite(table) => Some(table.clone()),
            _ => None,
        })
        .collect();
    work.retain(|work| match work {
        TableWork::Scan(table) | TableWork::BuildIndex(table) => !rewritten.contains(table),
        _ => true,
    });
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            effect::{Certainty, LockDuration},
            script::ScriptTransaction,
        },
        picture::{effects_of, read_script},
        *,
    };
    use proptest::prelude::*;
    use std::time::Instant;

    #[test]
    fn what_cannot_be_read_is_never_nothing() {
        for sql in [
            "FROBNICATE t;",
            "ALTER TABLE t FROB x;",
            "ALTER TABLE t ALTER COLUMN a FROB;",
            "SELECT FROM WHERE;",
            "ALTER TABLE U&\"d\\0061t\" ADD COLUMN a int",
            "\\i other.sql",
            "SELECT 'never closed",
            "GRANT",
            "SELECT U&'\\D800\\0061', E'\\uD800', E'\\U00110000', U&'\\+110000'",
        ] {
            let effects = read_script(150_000, sql, ScriptTransaction::Whole);
            let uncertain = |effect: &StatementEffect| matches!(effect.certainty, Certainty::MayBeMore(_));
            assert!(effects.iter().any(uncertain), "{sql}: {effects:?}");
        }
        assert_eq!(effects_of("-- nothing\n;;"), "");
    }

    #[test]
    fn code_may_do_more() {
        assert_eq!(effects_of("DO $$ begin drop table a; end $$"), "more: it runs code, which can do anything");
        assert_eq!(effects_of("CALL f()"), "more: it runs a procedure, whose code is not in the text");
        assert_eq!(effects_of("EXECUTE p"), "more: it runs a prepared statement");
        assert_eq!(
            effects_of("SELECT app.add_tenant('x'), now()"),
            "more: it calls the function app.add_tenant, whose code is not in the text"
        );
        assert_eq!(effects_of("SELECT setval('s', 1), pg_catalog.set_config('a.b', '', false)"), "ROW EXCLUSIVE \"s\"");
        assert_eq!(effects_of("CREATE EXTENSION pgcrypto"), "more: the script of an extension can do anything");
    }

    #[test]
    fn names_are_read_as_postgresql_does() {
        assert_eq!(
            effects_of("LOCK Orders, \"Or\"\"ders\", db.S.\"T\" IN SHARE MODE"),
            "SHARE \"orders\"; SHARE below \"orders\"; SHARE \"Or\"\"ders\"; SHARE below \"Or\"\"ders\"; \
             SHARE \"s\".\"T\"; SHARE below \"s\".\"T\""
        );
        assert_eq!(effects_of("LOCK TABLE ONLY t, ONLY (u)"), "ACCESS EXCLUSIVE \"t\"; ACCESS EXCLUSIVE \"u\"");
    }

    #[test]
    fn locks_end_with_the_transaction_around_the_statement() {
        let durations = |transaction| {
            let sql = "LOCK a; BEGIN; LOCK b; COMMIT; LOCK c; CREATE INDEX CONCURRENTLY i ON t (a);";
            let effects = read_script(150_000, sql, transaction);
            effects.iter().filter_map(|effect| effect.locks.first().map(|lock| lock.duration)).collect::<Vec<_>>()
        };
        let (statement, transaction) = (LockDuration::Statement, LockDuration::Transaction);
        assert_eq!(durations(ScriptTransaction::Whole), [transaction, transaction, transaction, statement]);
        assert_eq!(durations(ScriptTransaction::AsWritten), [statement, transaction, statement, statement]);
    }

    #[test]
    fn a_series_of_rows_is_one_effect() {
        let spans = |sql: &str| {
            let effects = read_script(150_000, sql, ScriptTransaction::Whole);
            effects.iter().map(|effect| effect.span.slice_of(sql).to_owned()).collect::<Vec<_>>()
        };
        let rows = "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);";
        assert_eq!(spans(&format!("{rows} DROP TABLE t; {rows}")), [rows, "DROP TABLE t;", rows]);
        assert_eq!(spans("INSERT INTO t VALUES (1); INSERT INTO u VALUES (2);").len(), 2);
        assert_eq!(spans("INSERT INTO t VALUES (1); SET search_path TO a; INSERT INTO t VALUES (1)").len(), 3);
        assert_eq!(spans("DELETE FROM t; DELETE FROM t").len(), 2);
    }

    #[test]
    fn a_script_is_read_up_to_a_limit() {
        let uncertain = |effect: &StatementEffect, reason: &str| matches!(&effect.certainty, Certainty::MayBeMore(found) if found.contains(reason));
        let insert = "INSERT INTO t (a, b) VALUES (1, 'some text; and more');\n";
        let rows = insert.repeat(2 * MAX_PARSED_BYTES / insert.len());
        let effects = read_script(150_000, &format!("{rows}DROP TABLE t;"), ScriptTransaction::Whole);
        assert!(effects.iter().all(|effect| effect.certainty == Certainty::Known), "plain rows hide nothing");

        let update = "UPDATE t SET a = 1, b = 'some longer text' WHERE id = 7;\n";
        let updates = update.repeat(2 * MAX_PARSED_BYTES / update.len());
        let effects = read_script(150_000, &format!("{updates}DROP TABLE t;"), ScriptTransaction::Whole);
        assert_eq!(effects.first().map(|effect| &effect.certainty), Some(&Certainty::Known));
        assert!(effects.last().is_some_and(|effect| uncertain(effect, "more than 512 KiB")));

        let rows = insert.repeat(MAX_READ_BYTES / insert.len());
        let sql = format!("{rows}{}DROP TABLE t;", " ".repeat(MAX_READ_BYTES - rows.len()));
        let effects = read_script(150_000, &sql, ScriptTransaction::Whole);
        let last = effects.last().expect("the rest has an effect");
        assert!(uncertain(last, "2 MiB") && last.span.end == sql.len(), "{last:?}");
        assert_eq!((effects.len(), last.locks.is_empty(), last.summary.as_str()), (2, false, "DROP TABLE t"));

        let comment = format!("SELECT 1;/*{}*/DROP TABLE t;", " ".repeat(MAX_READ_BYTES));
        let effects = read_script(150_000, &comment, ScriptTransaction::Whole);
        let last = effects.last().expect("nothing is left out silently");
        assert!(uncertain(last, "2 MiB") && last.span.end == comment.len() && last.summary == "…", "{last:?}");
        let only_blanks = format!("SELECT 1;{}", " ".repeat(MAX_READ_BYTES));
        assert_eq!(read_script(150_000, &only_blanks, ScriptTransaction::Whole).len(), 1);

        let row = format!("INSERT INTO t VALUES (f(), '{}')", "x".repeat(MAX_STATEMENT_BYTES));
        let effects = effects_of(&format!("{row}; DROP TABLE t;"));
        assert!(
            effects.starts_with("ROW EXCLUSIVE \"t\";") && effects.contains("only its beginning"),
            "{effects:.300}"
        );
    }

    /// Not a promise of speed, but a guard against one that is out of proportion: an unoptimized build on a busy machine.
    #[test]
    fn four_thousand_statements_are_read_at_once() {
        let sql = "ALTER TABLE orders ADD COLUMN note varchar(20) DEFAULT 'x' NOT NULL;\n".repeat(4_000);
        let start = Instant::now();
        assert_eq!(read_script(150_000, &sql, ScriptTransaction::Whole).len(), 4_000);
        let took = start.elapsed();
        assert!(took.as_secs() < 30, "{took:?}");
    }

    /// Pieces of SQL, and of what is none.
    const PIECES: &str = "ALTER TABLE|ALTER|ADD|COLUMN|DROP|CREATE|TABLE|INDEX|ON|t|s.t|\"Q\"|U&\"x\"|(|)|[|]|,|;|.|::|'x'|E'\\'|\
        $$a;b$$|1|1.5e|$1|é|-- c\n|/*|*/|SELECT|FROM|WHERE|JOIN|UNION|WITH|AS|INSERT INTO|VALUES|UPDATE|SET|=|\
        DELETE|MERGE|USING|WHEN|THEN|CASE|END|NOT|NULL|DEFAULT|CHECK|REFERENCES|FOREIGN KEY|PRIMARY KEY|UNIQUE|\
        NOT VALID|TYPE|varchar|int|CONCURRENTLY|ONLY|PARTITION OF|FOR|CASCADE|FUNCTION|BEGIN ATOMIC|COPY|STDIN|\
        \\.|GENERATED ALWAYS AS|COMMENT|IS|LOCK|IN|SHARE|MODE|REINDEX|VACUUM|FULL|GRANT|TO|EXPLAIN|INTERVAL|\
        JSON_TABLE|XMLTABLE|GROUP BY|ORDER BY|LIMIT|OVER|*|+|<>|\n|\t";

    fn piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(PIECES.split('|').collect::<Vec<_>>())
    }

    fn check_effects(text: &str) {
        for effect in read_script(150_000, text, ScriptTransaction::AsWritten) {
            assert!(text.get(effect.span.start..effect.span.end).is_some(), "{text:?}: {:?}", effect.span);
            assert!(effect.summary.chars().count() <= 120, "{:?}", effect.summary);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn spans_lie_in_the_text(parts in prop::collection::vec(piece(), 0..25)) {
            check_effects(&parts.join(" "));
            check_effects(&parts.concat());
        }

        #[test]
        fn survives_any_text(text in "\\PC{0,60}") {
            check_effects(&text);
        }
    }
}
