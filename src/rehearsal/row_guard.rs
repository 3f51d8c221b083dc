//! Keeps the rows of a copy out of what is shown about it. A message of the server can have values of a row in it, as in
//! `Key (email)=(…) already exists`, and so can what the app's own code raises. So each word of such a message is shown only
//! if the schema, the SQL of the migrations or PostgreSQL's own messages have it.

use super::{observation::ObservedScript, watched_run::FailedStatement};
use crate::{
    fault::Fault,
    run::{DestroyedObject, RehearsedStatement, StatementReview},
    sql::QualifiedName,
};
use std::collections::BTreeSet;

/// The words of PostgreSQL's messages about statements, and of ours around them (PostgreSQL, `src/backend/po`; the messages
/// of the SQLSTATE classes 0A, 21, 22, 23, 25, 2B, 40, 42, 54, 55 and 57).
const MESSAGE_WORDS: &str = "a aborted access active after aggregate all already ambiguous an and another any are argument arguments array as at \
    attached because be been before being block blocks boolean both by can cannot canceling cast cascade change character check clause column \
    columns commands committed composite concurrent concurrently condition conflicting connection constraint constraints contains control \
    conversion copy could create current cursor data database date deadlock default deferrable deferred defined delete denied depend \
    dependent depends detected different division do does domain double drop due duplicate each either element empty end enough enum equal \
    error exceeds exception exclusion execute exist existing exists expected expression extension failed failure few field first for foreign \
    format found from function generated get global group has have identity if ignored implicitly in incompatible index inherit inherited \
    input insert inside instead insufficient integer interval into invalid is isolation it json key language large left length level limit \
    line lock locked log long malformed many match maximum may memory missing mode more multiple must name names nested new no non not null \
    number numeric object objects of off old on only operator option or order other out outside overflow overlap owner parameter partition \
    partitioned partitions pending permission policy position precision primary privilege privileges procedure property query range read \
    record recursion reference referenced references referencing relation relations replica required requires resource restrict result \
    results return returned returning returns right role row rows rule same savepoint scale schema security select sequence serialize server \
    session set setting shared should size snapshot some source space specified stack statement statements state still string structure \
    subquery superuser supported syntax system table tables temporary term text than that the there this time timed timeout timestamp to \
    token too transaction transactions trigger triggers true truncate two type types unable under unexpected union unique unknown unlogged \
    unrecognized unsafe unterminated update updated use used user using uuid valid value values varying view views violated violates \
    violation was were when which while with within without would write xml you zero zone \
    bigint smallint real bytea char varchar bpchar jsonb inet oid pkey fkey key idx excl seq not skipped noticed notice warning info hint detail \
    where context pl pgsql raise perform s it fails its migration file failed because undone \
    ended code signal started t killed needed than";

/// The words that the server adds to the names of constraints, indexes and sequences (PostgreSQL, `ChooseConstraintName`).
const NAME_WORDS: &str = "pkey key idx fkey check excl seq not null";

/// The words that may be shown.
#[derive(Debug)]
pub struct RowGuard {
    /// The words of the schema and of the migrations, and those of names that the server makes.
    names: BTreeSet<String>,
    /// The words of messages.
    phrases: BTreeSet<String>,
}

impl RowGuard {
    /// Creates the guard of a copy with rows; `texts` are the schema and the SQL that runs there.
    #[must_use]
    pub fn new<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let names = texts.into_iter().chain([NAME_WORDS]).flat_map(words_of).map(str::to_lowercase).collect();
        Self { names, phrases: words_of(MESSAGE_WORDS).map(str::to_lowercase).collect() }
    }

    /// Removes the rows from what was seen of the statements.
    pub fn guard_observed(&self, scripts: &mut [ObservedScript]) {
        for statement in scripts.iter_mut().flat_map(|script| &mut script.statements) {
            let texts = statement.notices.iter_mut().chain(&mut statement.error);
            texts.for_each(|text| *text = self.guard_text(text));
            // A statement may have renamed them.
            for names in [&mut statement.rewritten, &mut statement.rebuilt] {
                *names = std::mem::take(names).into_iter().map(|name| self.guard_name(name)).collect();
            }
        }
    }

    /// Removes the rows from lines of a schema, whose names, comments and constraints may be made of them.
    pub fn guard_lines(&self, lines: &mut [String]) {
        lines.iter_mut().for_each(|line| *line = self.guard_text(line));
    }

    /// Removes the rows from a fault of the copy: what the server adds to its message is left out, and of the message stays
    /// what is known.
    #[must_use]
    pub fn guard_fault(&self, fault: Fault) -> Fault {
        if fault.sqlstate.is_none() {
            return fault;
        }
        let cause = self.guard_text(&fault.cause);
        let shown = Fault { cause, detail: Vec::new(), ..fault };
        shown.detail("the server's detail is not shown, because the copy has rows of the database")
    }

    /// Removes the rows from a fault of a tool, whose output may have them: of the cause stay the command in front and what is
    /// known.
    #[must_use]
    pub fn guard_tool_fault(&self, fault: Fault) -> Fault {
        let command_end = fault.cause.strip_prefix('`').and_then(|rest| rest.find('`')).map_or(0, |at| at + 2);
        let (command, rest) = fault.cause.split_at(command_end);
        let cause = format!("{command}{}", self.guard_text(rest));
        let shown = Fault { cause, detail: Vec::new(), ..fault };
        shown.detail("the tool's output is not shown, because the copy has rows of the database")
    }

    /// Removes the rows from what is shown of a tool's statement with this text, which the tool may have made of them.
    pub(super) fn guard_rehearsed(&self, statement: &mut RehearsedStatement, text: &str) {
        let unknown = self.unknown_words(text);
        let RehearsedStatement { seen, differences, .. } = statement;
        let StatementReview { summary, locks, work, estimate, destroys, in_the_way, reasons, .. } = seen;
        *summary = self.guard_text(summary);
        let bases = estimate.iter_mut().map(|estimate| &mut estimate.basis);
        let lost =
            destroys.iter_mut().flat_map(|DestroyedObject { what, qualified, facts, .. }| [what, qualified, facts]);
        let ours = [locks, work, in_the_way, reasons, differences].into_iter().flatten().chain(bases).chain(lost);
        ours.for_each(|text| *text = replace_words(text, |word| !unknown.contains(&word.to_lowercase())));
    }

    /// Returns the words of a statement that are not known, in lower case. A number counts where it is a part of a name.
    fn unknown_words(&self, text: &str) -> BTreeSet<String> {
        let in_name = |part: &str, word: &str| {
            [format!("_{word}"), format!("{word}_")].iter().any(|joined| part.contains(joined))
        };
        let mut unknown = BTreeSet::new();
        for (at, part) in text.split('"').enumerate() {
            let is_quoted = at % 2 == 1;
            let words = words_of(part).filter(|word| !is_number(word) || is_quoted || in_name(part, word));
            unknown.extend(
                words.map(str::to_lowercase).filter(|word| !self.names.contains(word) && !self.phrases.contains(word)),
            );
        }
        unknown
    }

    /// Returns a failure without the rows.
    #[must_use]
    pub fn guard_failure(&self, failed: &FailedStatement) -> FailedStatement {
        let (text, error) = (self.guard_text(&failed.text), self.guard_text(&failed.error));
        FailedStatement { text, error, ..failed.clone() }
    }

    fn guard_name(&self, name: QualifiedName) -> QualifiedName {
        let QualifiedName { schema, name } = name;
        let shown = |text: String| guard_part(&text, &[&self.names]);
        QualifiedName { schema: schema.map(shown), name: shown(name) }
    }

    /// Returns the text with its unknown words replaced. Between quotation marks the server has names and values, and no
    /// words of its own.
    fn guard_text(&self, text: &str) -> String {
        let parts: Vec<String> = text
            .split('"')
            .enumerate()
            .map(|(at, part)| {
                if at % 2 == 0 {
                    guard_part(part, &[&self.names, &self.phrases])
                } else {
                    guard_part(part, &[&self.names])
                }
            })
            .collect();
        parts.join("\"")
    }
}

/// Returns the part of a text with the words replaced that are in none of these sets. A number is a value more often than not.
fn guard_part(text: &str, known: &[&BTreeSet<String>]) -> String {
    replace_words(text, |word| !is_number(word) && known.iter().any(|words| words.contains(&word.to_lowercase())))
}

/// Returns the text with the words replaced that are not known.
fn replace_words(text: &str, is_known: impl Fn(&str) -> bool) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_of_word) {
        let (between, from) = rest.split_at(start);
        shown.push_str(between);
        let (word, behind) = from.split_at(from.find(|letter| !is_of_word(letter)).unwrap_or(from.len()));
        match is_known(word) {
            true => shown.push_str(word),
            false => shown.push('…'),
        }
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric()
}

/// Returns the words of a text. The parts of a name count by themselves: the server makes names of them.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter| !is_of_word(letter)).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::observation::ObservedStatement;
    use super::*;
    use crate::fault::Code;

    fn guard() -> RowGuard {
        RowGuard::new([
            "CREATE TABLE public.customers (email text); CREATE VIEW v AS SELECT 4711 AS id",
            "create unique index on customers (email); raise notice 'bad customer %'",
        ])
    }

    #[test]
    fn a_message_keeps_its_names_and_loses_its_values() {
        for (message, shown) in [
            (
                "duplicate key value violates unique constraint \"customers_email_key\"",
                "duplicate key value violates unique constraint \"customers_email_key\"",
            ),
            ("invalid input syntax for type integer: \"Ada\"", "invalid input syntax for type integer: \"…\""),
            ("invalid input syntax for type integer: \"other\"", "invalid input syntax for type integer: \"…\""),
            ("bad customer ada@example.com", "bad customer …@….…"),
            ("relation \"customers\" does not exist", "relation \"customers\" does not exist"),
            ("value \"4711\" is out of range", "value \"…\" is out of range"),
            ("Grüße", "…"),
        ] {
            assert_eq!(guard().guard_text(message), shown);
        }
    }

    #[test]
    fn a_fault_loses_the_details_of_the_server() {
        let fault =
            Fault::new(Code::RehearsalFailed, "on the copy, could not create unique index \"customers_email_idx\"");
        let fault = fault.sqlstate("23505").detail("detail: Key (email)=(ada) is duplicated.");
        let shown = guard().guard_fault(fault);
        assert_eq!(shown.cause, "on the copy, could not create unique index \"customers_email_idx\"");
        assert!(!format!("{shown:?}").contains("ada"), "{shown:#?}");
        let ours = Fault::new(Code::RehearsalFailed, "the second run did it again");
        assert_eq!(guard().guard_fault(ours.clone()), ours);
    }

    #[test]
    fn names_that_code_has_made_of_rows_are_nowhere_in_a_statement() {
        let text = "drop index \"idx_ada_4712\"; alter table of_4712 add n varchar(5)";
        let seen = StatementReview {
            summary: text.to_owned(),
            locks: vec![
                "ACCESS EXCLUSIVE on idx_ada_4712".to_owned(),
                "ACCESS EXCLUSIVE on customers (5.0 M rows)".to_owned(),
            ],
            reasons: vec!["it writes all rows of of_4712 anew".to_owned()],
            ..StatementReview::default()
        };
        let differences = vec!["it reads all rows of public.of_4712, which was not forecast".to_owned()];
        let mut statement = RehearsedStatement { seen, differences, ..RehearsedStatement::default() };
        guard().guard_rehearsed(&mut statement, text);
        let shown = serde_json::to_string(&statement).expect("it is data");
        assert!(!shown.contains("ada") && !shown.contains("4712"), "{shown}");
        assert_eq!(statement.seen.locks[1], "ACCESS EXCLUSIVE on customers (5.0 M rows)");
        assert_eq!(statement.differences, ["it reads all rows of public.of_…, which was not forecast"]);
    }

    #[test]
    fn a_table_that_was_renamed_by_a_row_is_not_named() {
        let name = |name: &str| QualifiedName { schema: Some("public".to_owned()), name: name.to_owned() };
        let rewritten = [name("customers"), name("of ada")].into();
        let statements = vec![ObservedStatement { rewritten, ..ObservedStatement::default() }];
        let mut scripts = [ObservedScript { statements }];
        guard().guard_observed(&mut scripts);
        assert_eq!(scripts[0].statements[0].rewritten, [name("customers"), name("… …")].into());
    }
}
