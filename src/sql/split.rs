//! Splits a SQL text into statements, as psql does.

use super::{
    lexer::{LiteralKind, Token, TokenKind, Tokens},
    location::SqlSource,
    span::Span,
};
use crate::fault::{Code, Fault};

/// A statement's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawStatement {
    /// From its first word to its semicolon.
    pub(crate) span: Span,
    /// The rows after a `COPY … FROM STDIN`, without the line that ends them.
    pub(crate) data: Option<Span>,
}

/// The statements of a text.
#[derive(Debug, Default)]
pub(crate) struct SplitScript {
    /// In order, without empty ones.
    pub(crate) statements: Vec<RawStatement>,
    /// Lines that concern only psql and can be skipped.
    pub(crate) ignored: Vec<Span>,
}

/// Splits a text into statements.
///
/// # Errors
///
/// Every psql command, and every quote or comment that is never closed.
pub(crate) fn split_statements(source: SqlSource<'_>) -> Result<SplitScript, Vec<Fault>> {
    let SplitPart { script, faults, .. } = split_part(source, MoreText::Nothing);
    let in_file = |found: FaultAt| found.fault.in_file(source.place_at_byte(found.byte));
    if faults.is_empty() { Ok(script) } else { Err(faults.into_iter().map(in_file).collect()) }
}

/// What follows a part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MoreText {
    /// The text ends with this part.
    Nothing,
    /// More text, so that the last statement of this part may be incomplete.
    Follows,
}

/// The statements of a part of a text.
#[derive(Debug, Default)]
pub(crate) struct SplitPart {
    pub(crate) script: SplitScript,
    /// Every psql command, and every quote or comment that is never closed.
    pub(crate) faults: Vec<FaultAt>,
    /// Lines that are commands of psql.
    pub(crate) psql_lines: Vec<Span>,
    /// The byte after the last complete statement and its rows: the next part begins here.
    pub(crate) end: usize,
    /// Set if the rows of the last statement go on in the next part.
    pub(crate) rows_go_on: bool,
}

/// A fault and its byte in the text.
#[derive(Debug)]
pub(crate) struct FaultAt {
    pub(crate) fault: Fault,
    pub(crate) byte: usize,
}

/// Splits a part of a text, which begins where a statement may begin. If more text follows, the statement that may go on
/// in it is left out.
pub(crate) fn split_part(source: SqlSource<'_>, more: MoreText) -> SplitPart {
    let (tokens, part) = (Tokens::new(source.text), SplitPart::default());
    let mut splitter = Splitter { source, tokens, more, part, current: None, complete: Found::default() };
    while let Some(token) = splitter.tokens.next() {
        splitter.take_token(token);
    }
    splitter.finish()
}

/// Returns the end of the rows of a COPY that begin at this byte, where a line begins, and the byte after the line `\.`.
/// Without that line, the rows extend to the end of the text; if more text follows, to that of its last complete line.
pub(crate) fn find_end_of_rows(text: &str, from: usize, more: MoreText) -> (usize, Option<usize>) {
    let mut end = from;
    for line in text.get(from..).unwrap_or_default().split_inclusive('\n') {
        if more == MoreText::Follows && !line.ends_with('\n') {
            break;
        }
        if line.trim_end_matches(['\n', '\r']) == "\\." {
            return (end, Some(end + line.len()));
        }
        end += line.len();
    }
    (end, None)
}

/// Returns the statements of a part of a text, in order. The server sends one `CommandComplete` for each statement that
/// succeeded, so their number is the index of the one that failed.
pub(crate) fn statement_spans(source: SqlSource<'_>, part: Span) -> impl Iterator<Item = Span> + use<> {
    let script = split_statements(SqlSource { text: part.slice_of(source.text), ..source }).unwrap_or_default();
    let shifted = move |byte| part.start + byte;
    script.statements.into_iter().map(move |raw| Span { start: shifted(raw.span.start), end: shifted(raw.span.end) })
}

struct Splitter<'a> {
    source: SqlSource<'a>,
    tokens: Tokens<'a>,
    more: MoreText,
    part: SplitPart,
    current: Option<OpenStatement>,
    /// What was found up to the end of the last complete statement.
    complete: Found,
}

/// The number of faults and of lines that were found.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    faults: usize,
    ignored: usize,
    psql_lines: usize,
}

/// A statement whose end has not been reached.
#[derive(Clone, Copy)]
struct OpenStatement {
    first: Token,
    /// The last significant token.
    previous: Token,
    parentheses: usize,
    brackets: usize,
    head: RoutineHead,
    /// Number of open `BEGIN ATOMIC` blocks.
    blocks: usize,
    /// Set after `json_object` and `json_objectagg`: `json_object('key':'value')` has colons before strings.
    json: bool,
    /// The first FROM or TO of a COPY; a later one belongs to its WHERE condition.
    direction: Option<Span>,
    /// Set for `COPY … FROM STDIN`: rows follow.
    rows: bool,
}

/// The progress in recognising `CREATE FUNCTION` or `CREATE PROCEDURE`, whose body may contain semicolons.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RoutineHead {
    Nothing,
    Create,
    CreateOr,
    Routine,
    Other,
}

impl RoutineHead {
    /// Reads one more word of `CREATE [OR REPLACE] FUNCTION | PROCEDURE`.
    fn read_word(self, is_keyword: impl Fn(&str) -> bool) -> Self {
        match self {
            Self::Nothing if is_keyword("create") => Self::Create,
            Self::Create if is_keyword("or") => Self::CreateOr,
            Self::CreateOr if is_keyword("replace") => Self::Create,
            Self::Create if is_keyword("function") || is_keyword("procedure") => Self::Routine,
            Self::Routine => Self::Routine,
            Self::Nothing | Self::Create | Self::CreateOr | Self::Other => Self::Other,
        }
    }
}

impl OpenStatement {
    fn new(first: Token) -> Self {
        Self {
            first,
            previous: first,
            parentheses: 0,
            brackets: 0,
            head: RoutineHead::Nothing,
            blocks: 0,
            json: false,
            direction: None,
            rows: false,
        }
    }

    fn ends_here(self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn take_token(&mut self, token: Token, text: &str) {
        self.head = self.head.read_word(|word| token.is_word(text, word));
        match token.kind {
            TokenKind::OpenParen => self.parentheses += 1,
            TokenKind::CloseParen => self.parentheses = self.parentheses.saturating_sub(1),
            TokenKind::OpenBracket => self.brackets += 1,
            TokenKind::CloseBracket => self.brackets = self.brackets.saturating_sub(1),
            TokenKind::Ident => self.take_word(token, text),
            _ => {}
        }
        self.previous = token;
    }

    fn take_word(&mut self, token: Token, text: &str) {
        let is_keyword = |word| token.is_word(text, word);
        let follows = |word| self.previous.is_word(text, word);
        if self.head == RoutineHead::Routine && self.parentheses == 0 {
            if is_keyword("atomic") && follows("begin") {
                self.blocks += 1;
            } else if is_keyword("end") && (self.previous.kind == TokenKind::Semi || follows("atomic")) {
                // Any other END belongs to a CASE, or is a name: the END of a block follows a complete statement.
                self.blocks = self.blocks.saturating_sub(1);
            }
        }
        if self.parentheses == 0 && self.first.is_word(text, "copy") {
            let begins_copy = follows("from") && self.direction == Some(self.previous.span);
            self.rows |= begins_copy && (is_keyword("stdin") || is_keyword("stdout"));
            if is_keyword("from") || is_keyword("to") {
                self.direction = self.direction.or(Some(token.span));
            }
        }
        self.json |= is_keyword("json_object") || is_keyword("json_objectagg");
    }

    /// Reports whether the token is part of a psql variable. `:'name'` and `:"name"` are; `::"type"`, `a[1:'2']` and
    /// `json_object('a':'b')` are SQL.
    fn is_psql_variable(self, token: Token, text: &str) -> bool {
        let quoted =
            matches!(token.kind, TokenKind::QuotedIdent { .. } | TokenKind::Literal { kind: LiteralKind::Str { .. } });
        let colon = self.previous.kind == TokenKind::Colon && self.previous.span.end == token.span.start;
        let cast = text.get(..self.previous.span.start).unwrap_or_default().ends_with(':');
        quoted && colon && !cast && self.brackets == 0 && !self.json
    }
}

/// Reports whether a token is part of a statement: comments and the semicolons of empty statements are not.
fn is_content(token: Token) -> bool {
    token.is_significant() && token.kind != TokenKind::Semi
}

impl Splitter<'_> {
    fn take_token(&mut self, token: Token) {
        if let Some(quoted_kind) = token.unterminated_kind() {
            let line = self.source.line_number(token.span.start);
            let cause =
                format!("the {quoted_kind} that begins on line {line} of `{}` is never closed", self.source.file);
            self.add_fault(Code::FileSyntax, cause, token.span.start);
        }
        if !token.is_significant() {
            return;
        }
        let text = self.source.text;
        if token.kind == TokenKind::Unknown && token.span.slice_of(text) == "\\" {
            return self.take_backslash(token);
        }
        match (token.kind, self.current) {
            (TokenKind::Semi, None) => self.end_at(token.span.end),
            (TokenKind::Semi, Some(statement)) if statement.ends_here() => {
                self.current = None;
                self.close_statement(&statement, token.span.end);
            }
            (_, None) => {
                let mut statement = OpenStatement::new(token);
                statement.take_token(token, text);
                self.current = Some(statement);
            }
            (_, Some(mut statement)) => {
                if statement.is_psql_variable(token, text) {
                    self.refuse_variable(token);
                }
                statement.take_token(token, text);
                self.current = Some(statement);
            }
        }
    }

    /// Marks the end of what is complete.
    fn end_at(&mut self, byte: usize) {
        self.part.end = byte;
        let SplitPart { script, faults, psql_lines, .. } = &self.part;
        self.complete = Found { faults: faults.len(), ignored: script.ignored.len(), psql_lines: psql_lines.len() };
    }

    fn close_statement(&mut self, statement: &OpenStatement, end: usize) {
        if !statement.rows {
            self.add_statement(statement, end, None);
            return self.end_at(end);
        }
        let rest = self.source.text.get(end..).unwrap_or_default();
        let (same_line, lines) = match rest.split_once('\n') {
            Some(parts) => parts,
            None if self.more == MoreText::Follows => return self.tokens.resume_at(self.source.text.len()),
            None => (rest, ""),
        };
        self.refuse_on_line_of_copy(same_line, end);
        let start = self.source.text.len() - lines.len();
        let (data_end, next) = find_end_of_rows(self.source.text, start, self.more);
        self.add_statement(statement, end, Some(Span { start, end: data_end }));
        self.part.rows_go_on = next.is_none() && self.more == MoreText::Follows;
        self.end_at(next.unwrap_or(data_end));
        self.tokens.resume_at(next.unwrap_or(self.source.text.len()));
    }

    fn add_statement(&mut self, statement: &OpenStatement, end: usize, data: Option<Span>) {
        self.part.script.statements.push(RawStatement { span: Span { start: statement.first.span.start, end }, data });
    }

    /// Refuses anything but comments between a `COPY … FROM STDIN`, which ends at this byte, and the end of its line.
    fn refuse_on_line_of_copy(&mut self, same_line: &str, after: usize) {
        if Tokens::new(same_line).any(|token| token.unterminated_kind().is_some() || is_content(token)) {
            let cause = format!(
                "on line {} of `{}`, something follows COPY … FROM STDIN on the same line",
                self.source.line_number(after),
                self.source.file
            );
            self.add_fault(Code::FileSyntax, cause, after);
        }
    }

    /// Returns what was found, without what may go on in the text that follows.
    fn finish(mut self) -> SplitPart {
        if self.more == MoreText::Follows {
            self.part.faults.truncate(self.complete.faults);
            self.part.script.ignored.truncate(self.complete.ignored);
            self.part.psql_lines.truncate(self.complete.psql_lines);
            return self.part;
        }
        let length = self.source.text.len();
        if let Some(statement) = self.current.take() {
            // A statement without a semicolon extends to the end of the text; only comments follow it, no rows.
            let data = statement.rows.then_some(Span { start: length, end: length });
            self.add_statement(&statement, statement.previous.span.end, data);
        }
        self.part.end = length;
        self.part
    }

    /// Handles a backslash outside of quotes: a psql command, up to the end of the line. Since the releases of August
    /// 2025 `pg_dump` writes `\restrict` and `\unrestrict`, which protect psql from the dump and concern no other
    /// program.
    fn take_backslash(&mut self, token: Token) {
        let start = token.span.start;
        let command = self.source.text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        let span = Span { start, end: start + command.len() };
        self.part.psql_lines.push(span);
        let mut words = command.split_whitespace();
        let is_restrict = matches!(words.next(), Some("\\restrict" | "\\unrestrict"));
        if is_restrict && self.current.is_none() && command.is_ascii() {
            self.part.script.ignored.push(span);
        } else {
            let name = command.split_whitespace().next().unwrap_or("\\");
            let line = self.source.line_number(start);
            let cause = format!("`{name}` on line {line} of `{}` is a command of psql", self.source.file);
            self.add_fault(Code::PsqlCommand, cause, start);
        }
        if self.current.is_none() && span.end < self.source.text.len() {
            self.end_at(span.end);
        }
        self.tokens.resume_at(span.end);
    }

    fn refuse_variable(&mut self, token: Token) {
        let name = token.span.slice_of(self.source.text);
        let line = self.source.line_number(token.span.start);
        let cause = format!("`:{name}` on line {line} of `{}` is a variable of psql", self.source.file);
        let fault = Fault::new(Code::PsqlCommand, cause).fix("write the value itself: only psql knows its variables");
        self.part.faults.push(FaultAt { fault, byte: token.span.start - 1 });
    }

    fn add_fault(&mut self, code: Code, cause: String, byte: usize) {
        self.part.faults.push(FaultAt { fault: Fault::new(code, cause), byte });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str) -> Result<SplitScript, Vec<Fault>> {
        split_statements(SqlSource::of_file("0001_a.sql", text))
    }

    fn statements(text: &str) -> Vec<&str> {
        split(text).unwrap().statements.iter().map(|raw| raw.span.slice_of(text)).collect()
    }

    fn faults(text: &str) -> Vec<(Code, usize, String)> {
        let line = |fault: &Fault| fault.place.as_ref().and_then(|place| place.line).unwrap();
        split(text).unwrap_err().into_iter().map(|fault| (fault.code, line(&fault), fault.cause)).collect()
    }

    #[test]
    fn splits_at_semicolons_and_leaves_comments_out() {
        let text = "-- a;\nSELECT 1 /* ; */;;\n;  SELECT ';' -- b\n;\nSELECT 3 -- c";
        assert_eq!(statements(text), ["SELECT 1 /* ; */;", "SELECT ';' -- b\n;", "SELECT 3"]);
        assert!(statements(" -- nothing\n;;").is_empty());
    }

    #[test]
    fn keeps_rules_in_parentheses_together() {
        let rule = "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); DELETE FROM b;);";
        assert_eq!(statements(&format!("{rule} SELECT 1;")), [rule, "SELECT 1;"]);
        assert_eq!(statements("SELECT 1); SELECT 2;"), ["SELECT 1);", "SELECT 2;"]);
    }

    #[test]
    fn keeps_sql_function_bodies_together() {
        for function in [
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;",
            "CREATE OR REPLACE PROCEDURE f() begin atomic SELECT CASE WHEN a THEN CASE b WHEN 1 THEN 2 END END; END;",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT t.end, 1 AS case, 2 AS end FROM t; SELECT 2; END;",
            "CREATE FUNCTION f() RETURNS int BEGIN /* x */ ATOMIC SELECT 1; END;",
            "CREATE OR /* x */ REPLACE FUNCTION f(\"begin\" int, atomic int) RETURNS int BEGIN ATOMIC END;",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 end; SELECT CASE WHEN a THEN 1 END; END;",
            "CREATE FUNCTION f() RETURNS void BEGIN ATOMIC CREATE FUNCTION g() BEGIN ATOMIC SELECT 1; END; END;",
        ] {
            assert_eq!(statements(&format!("{function} SELECT 1;")), [function, "SELECT 1;"]);
        }
        assert_eq!(statements("BEGIN; SELECT 1; END; SELECT 2"), ["BEGIN;", "SELECT 1;", "END;", "SELECT 2"]);
    }

    #[test]
    fn names_like_those_of_a_function_body_hide_no_semicolon() {
        for first in [
            "CREATE TABLE atomic (begin int);",
            "CREATE TABLE t (begin atomic);",
            "CREATE TABLE t AS SELECT 1 AS begin, begin atomic FROM x;",
            "CREATE VIEW v AS SELECT begin atomic FROM t;",
            "CREATE FUNCTION f(begin atomic) RETURNS int LANGUAGE sql AS 'SELECT 1';",
            "CREATE FUNCTION f() RETURNS TABLE (begin atomic) LANGUAGE sql AS 'SELECT 1';",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ BEGIN ATOMIC $$;",
            "CREATE TABLE function (begin int); ALTER TABLE function ADD procedure atomic;",
            "CREATE TRIGGER t BEFORE INSERT ON t EXECUTE FUNCTION begin();",
            "ALTER FUNCTION begin atomic;",
        ] {
            let text = format!("{first} COMMIT; SELECT 1;");
            let found = statements(&text);
            assert_eq!(found[found.len() - 2..], ["COMMIT;", "SELECT 1;"], "{first}");
        }
    }

    #[test]
    fn separates_the_rows_of_a_copy() {
        let text = "COPY t (a, b) FROM stdin WITH (FORMAT csv);\n1;'\n$$\"\\\n\\.\nSELECT 1;\n";
        let script = split(text).unwrap();
        let rows: Vec<_> = script.statements.iter().map(|raw| raw.data.map(|data| data.slice_of(text))).collect();
        assert_eq!(rows, [Some("1;'\n$$\"\\\n"), None]);
        assert_eq!(statements(text), ["COPY t (a, b) FROM stdin WITH (FORMAT csv);", "SELECT 1;"]);
    }

    #[test]
    fn rows_end_with_the_file_or_with_a_line_of_any_ending() {
        for (text, expected) in [
            ("COPY t FROM STDIN;\n1\n2", "1\n2"),
            ("COPY t FROM STDIN;\r\n1\r\n\\.\r\nSELECT 1;", "1\r\n"),
            ("COPY t FROM STDIN; \n\\.\n", ""),
            ("COPY t FROM STDIN;", ""),
            ("COPY t FROM STDIN", ""),
        ] {
            let script = split(text).unwrap();
            assert_eq!(script.statements[0].data.unwrap().slice_of(text), expected, "{text:?}");
        }
        assert_eq!(statements("COPY t FROM STDIN;\r\n1\r\n\\.\r\nSELECT 1;").len(), 2);
    }

    #[test]
    fn other_copies_have_no_rows() {
        for text in [
            "COPY t FROM '/stdin'; SELECT 1",
            "COPY t FROM '/x' WHERE a IS DISTINCT FROM stdin; COMMIT",
            "COPY (SELECT * FROM stdin) TO '/x'; SELECT 1",
            "SELECT 1 FROM stdin; x",
        ] {
            assert!(split(text).unwrap().statements.iter().all(|raw| raw.data.is_none()), "{text}");
            assert_eq!(statements(text).len(), 2, "{text}");
        }
    }

    #[test]
    fn refuses_text_after_a_copy_on_its_line() {
        assert_eq!(faults("\nCOPY t FROM STDIN; SELECT 1;\n1\n\\.\n")[0].0, Code::FileSyntax);
    }

    #[test]
    fn skips_the_psql_commands_that_pg_dump_writes() {
        let text = "--\n\\restrict abC1\nSELECT 1;\n\\unrestrict abC1\n";
        let ignored: Vec<_> = split(text).unwrap().ignored.iter().map(|span| span.slice_of(text)).collect();
        assert_eq!(ignored, ["\\restrict abC1", "\\unrestrict abC1"]);
        assert_eq!(statements(text), ["SELECT 1;"]);
    }

    #[test]
    fn refuses_every_psql_command_with_its_line() {
        let found = faults("\\set x 'it''s\nSELECT 1;\n  \\i other.sql\nSELECT 2 \\gexec\n\\.\n");
        let found: Vec<_> = found.iter().map(|(code, line, cause)| (*code, *line, cause.as_str())).collect();
        assert_eq!(
            found,
            [
                (Code::PsqlCommand, 1, "`\\set` on line 1 of `0001_a.sql` is a command of psql"),
                (Code::PsqlCommand, 3, "`\\i` on line 3 of `0001_a.sql` is a command of psql"),
                (Code::PsqlCommand, 4, "`\\gexec` on line 4 of `0001_a.sql` is a command of psql"),
                (Code::PsqlCommand, 5, "`\\.` on line 5 of `0001_a.sql` is a command of psql"),
            ]
        );
        assert_eq!(faults("SELECT 1 \\restrict x")[0].0, Code::PsqlCommand, "inside a statement");
    }

    #[test]
    fn refuses_psql_variables() {
        for text in ["SELECT :'x'", "CREATE ROLE a PASSWORD :'pw'", "SELECT * FROM :\"schema\".t", "SELECT f(1, :'x')"]
        {
            assert_eq!(faults(text)[0].0, Code::PsqlCommand, "{text}");
        }
    }

    #[test]
    fn does_not_take_sql_for_psql_variables() {
        for text in [
            "SELECT a[1:2], a['1':'2'], a[:'2']",
            "SELECT '\"x\"'::\"char\", 1::\"MyType\", x :: \"char\"",
            "SELECT json_object('a':'b', 'c':'d'), JSON_OBJECTAGG(k:'v')",
            "SELECT ':''x''', $$:'x'$$ -- :'x'",
            "SELECT a : 'x'",
        ] {
            assert_eq!(split(text).map(|script| script.statements.len()), Ok(1), "{text}");
        }
    }

    #[test]
    fn names_the_line_where_something_was_opened() {
        let text = "SELECT 1;\nSELECT 'it''s;\nSELECT 2;\n";
        assert_eq!(
            faults(text),
            [(Code::FileSyntax, 2, "the string that begins on line 2 of `0001_a.sql` is never closed".to_owned())]
        );
        assert_eq!(faults("SELECT 1;\n\n/* a /* b */").first().map(|fault| fault.1), Some(3));
    }

    /// Pieces of SQL that hide a semicolon, and pieces that do not.
    fn piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "SELECT 1",
            "x",
            " ",
            "\n",
            ";",
            "; ",
            "'a;''b'",
            "E'\\';'",
            "\";\"",
            "$$;$$",
            "$t$;$$;$t$",
            "/*;/*;*/*/",
            "--;'\n",
            "(a;b)",
            "é",
            "::int",
            "a$b",
            "$1",
            "COPY t FROM STDIN;\n;1'\t2\n\\.\n",
            "CASE",
            "END",
        ])
    }

    proptest! {
        #[test]
        fn statements_and_gaps_make_up_the_text(parts in prop::collection::vec(piece(), 0..30)) {
            let text = parts.concat();
            let Ok(script) = split(&text) else { return Ok(()) };
            let mut position = 0;
            for span in script.statements.iter().flat_map(|raw| [Some(raw.span), raw.data]).flatten() {
                prop_assert!(position <= span.start && span.start <= span.end);
                let between = Span { start: position, end: span.start }.slice_of(&text);
                let between = between.strip_prefix("\\.\n").unwrap_or(between);
                prop_assert!(Tokens::new(between).all(|t| !t.is_significant() || t.kind == TokenKind::Semi), "gap {between:?}");
                position = span.end;
            }
        }

        #[test]
        fn never_splits_inside_quotes(parts in prop::collection::vec(piece(), 0..12), count in 1..5_usize) {
            let harmless: Vec<_> = parts.into_iter().filter(|part| !part.starts_with(';') && !part.starts_with("COPY")).collect();
            let statement = format!("SELECT {} 1", harmless.join(" "));
            let text = format!("{statement};\n").repeat(count);
            let expected = format!("{statement};");
            prop_assert_eq!(statements(&text), vec![expected.as_str(); count]);
        }

        #[test]
        fn survives_any_text(text in "[a-z;:'\"$\\\\\\n\\r\\t()*/\\-é\\[\\] ]{0,80}") {
            match split(&text) {
                Ok(script) => prop_assert!(script.statements.iter().all(|raw| !raw.span.slice_of(&text).is_empty())),
                Err(faults) => prop_assert!(!faults.is_empty()),
            }
        }
    }
}
