//! A file with the description of a schema, read back into its statements.

use super::{
    change::SchemaChange,
    description::{DescribedStatement, SchemaDescription, table_name},
    difference::compare_statements,
    statement::{Column, NullConstraint, SchemaStatement},
};
use crate::{
    fault::{Code, Fault},
    sql::{SqlSource, TextStart, TokenKind, Tokens, split::split_statements},
};

/// The first words of a file that `pg_dump` wrote.
const DUMP_MARK: &str = "-- PostgreSQL database dump";

/// The statements of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFile {
    statements: Vec<SchemaStatement>,
}

/// Reads a file. `file` is its path as the user wrote it.
///
/// # Errors
/// `schema-file` for a file of `pg_dump`, or one that is no SQL.
pub fn parse_schema_file(file: &str, text: &str) -> Result<SchemaFile, Vec<Fault>> {
    if text.contains(DUMP_MARK) {
        let cause = format!("`{file}` is a dump of pg_dump, and `schema-file` has a format of its own");
        return Err(vec![
            Fault::new(Code::SchemaFile, cause)
                .fix("set `schema-file` to another path, run `command: status` to write it, and commit that file"),
        ]);
    }
    let text = text.replace("\r\n", "\n");
    let script = split_statements(SqlSource { file, text: &text, start: TextStart::OF_FILE })?;
    let mut statements: Vec<SchemaStatement> = Vec::new();
    for raw in script.statements {
        let statement = raw.span.slice_of(&text).trim_end_matches(';').trim_end();
        if statement.starts_with("SET ") || sets_known_default(&mut statements, statement) {
            continue;
        }
        statements.push(parse_statement(statement));
    }
    Ok(SchemaFile { statements })
}

impl SchemaFile {
    /// Returns the changes that lead from the database to the file.
    #[must_use]
    pub fn changes_from(&self, database: &SchemaDescription) -> Vec<SchemaChange> {
        let described: Vec<&DescribedStatement> = database.statements.iter().collect();
        compare_statements(&described, self.statements.iter())
    }
}

/// Sets the default that a statement gives to a column of a table before it: the file sets those of a cycle later.
fn sets_known_default(statements: &mut [SchemaStatement], statement: &str) -> bool {
    let Some(rest) = statement.strip_prefix("ALTER TABLE ONLY ") else { return false };
    let column = statements.iter_mut().find_map(|known| {
        let SchemaStatement::Columns { head, columns, .. } = known else { return None };
        let rest = rest.strip_prefix(table_name(head))?.strip_prefix(" ALTER COLUMN ")?;
        columns.iter_mut().find_map(|column| {
            let expression = rest.strip_prefix(column.name.as_str())?.strip_prefix(" SET DEFAULT ")?;
            Some((column, expression))
        })
    });
    match column {
        Some((column, expression)) => {
            column.default = Some(expression.to_owned());
            true
        }
        None => false,
    }
}

fn parse_statement(statement: &str) -> SchemaStatement {
    let is_table =
        ["CREATE TABLE ", "CREATE UNLOGGED TABLE ", "CREATE TYPE "].iter().any(|start| statement.starts_with(start));
    let whole = || SchemaStatement::Whole(statement.to_owned());
    let Some((head, parts, tail)) = is_table.then(|| split_parts(statement)).flatten() else { return whole() };
    if head.ends_with(" AS ENUM") {
        return SchemaStatement::Labels { head, labels: parts };
    }
    let has_columns = head.ends_with(" AS") || !head.starts_with("CREATE TYPE ");
    let columns: Option<Vec<Column>> = parts.iter().map(|part| parse_column(part)).collect();
    match columns.filter(|_| has_columns && !table_name(&head).contains(" OF ")) {
        Some(columns) => SchemaStatement::Columns { head, columns, tail },
        None => whole(),
    }
}

/// Returns the text before the first parenthesis, the parts in it, and the text behind it.
fn split_parts(statement: &str) -> Option<(String, Vec<String>, String)> {
    let (mut depth, mut opened, mut begin, mut parts) = (0_usize, None, 0, Vec::new());
    for token in Tokens::new(statement) {
        match token.kind {
            TokenKind::OpenParen | TokenKind::OpenBracket => {
                depth += 1;
                if depth == 1 {
                    opened = Some(token.span.start);
                    begin = token.span.end;
                }
            }
            TokenKind::Comma if depth == 1 => {
                parts.push(statement.get(begin..token.span.start)?.trim().to_owned());
                begin = token.span.end;
            }
            TokenKind::CloseParen | TokenKind::CloseBracket if depth == 1 => {
                let last = statement.get(begin..token.span.start)?.trim();
                parts.extend((!last.is_empty()).then(|| last.to_owned()));
                let head = statement.get(..opened?)?.trim_end().to_owned();
                return Some((head, parts, statement.get(token.span.end..)?.to_owned()));
            }
            TokenKind::CloseParen | TokenKind::CloseBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Reads a column as the description writes it: name, type, `GENERATED …` or `DEFAULT …`, `NOT NULL`.
fn parse_column(text: &str) -> Option<Column> {
    let (text, constraint) = match text.strip_suffix(" NOT NULL") {
        Some(rest) => (rest, NullConstraint::NotNull),
        None => (text, NullConstraint::Nullable),
    };
    let (mut depth, mut name_end, mut value_start) = (0_usize, None, None);
    for token in Tokens::new(text).filter(|token| token.is_significant()) {
        match token.kind {
            _ if name_end.is_none() => name_end = Some(token.span.end),
            TokenKind::OpenParen | TokenKind::OpenBracket => depth += 1,
            TokenKind::CloseParen | TokenKind::CloseBracket => depth = depth.saturating_sub(1),
            _ if depth == 0 && (token.is_word(text, "DEFAULT") || token.is_word(text, "GENERATED")) => {
                value_start = Some(token.span.start);
                break;
            }
            _ => {}
        }
    }
    let (name_end, value_start) = (name_end?, value_start.unwrap_or(text.len()));
    let (name, data_type, value) = (text.get(..name_end)?, text.get(name_end..value_start)?, text.get(value_start..)?);
    let default = value.strip_prefix("DEFAULT ").map(str::to_owned);
    let generation = Some(value).filter(|value| value.starts_with("GENERATED ")).map(str::to_owned);
    Some(Column { name: name.to_owned(), data_type: data_type.trim().to_owned(), generation, default, constraint })
}
