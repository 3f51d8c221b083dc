//! The rows that a rehearsal copies: their number, the tables, and the columns whose values are replaced.

use std::fmt;

/// The rows that are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleSettings {
    /// The number of rows of each table; rows that they refer to come in addition.
    pub rows: u32,
    /// The tables whose rows are copied; none is all.
    pub tables: Vec<TablePattern>,
    /// The columns whose values are replaced.
    pub mask: Vec<ColumnPattern>,
}

impl SampleSettings {
    /// The number of rows of each table, if the user names none.
    pub const USUAL_ROWS: u32 = 1_000;

    /// The highest number of rows of each table: a rehearsal is no migration of data.
    pub const MAX_ROWS: u32 = 100_000;
}

/// The names of tables; `*` is any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern {
    /// The schema; none is any.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
}

/// The names of columns; `*` is any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnPattern {
    /// The tables.
    pub table: TablePattern,
    /// The column.
    pub column: String,
}

impl TablePattern {
    /// Returns whether this table is among them.
    #[must_use]
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        self.schema.as_deref().is_none_or(|pattern| matches_name(pattern, schema)) && matches_name(&self.table, table)
    }
}

impl ColumnPattern {
    /// Returns whether this column is among them.
    #[must_use]
    pub fn matches(&self, schema: &str, table: &str, column: &str) -> bool {
        self.table.matches(schema, table) && matches_name(&self.column, column)
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(formatter, "{schema}.")?;
        }
        formatter.write_str(&self.table)
    }
}

impl fmt::Display for ColumnPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.table, self.column)
    }
}

/// Returns whether a name is the pattern, in which `*` is any text.
fn matches_name(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, behind)) = left.split_once(part) else { return false };
        left = behind;
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, name, expected) in [
            ("users", "users", true),
            ("users", "users2", false),
            ("*", "", true),
            ("auth_*", "auth_user", true),
            ("auth_*", "user_auth_", false),
            ("*mail*", "e_mail_2", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches_name(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_without_a_schema_is_about_every_schema() {
        let table =
            |schema: Option<&str>| TablePattern { schema: schema.map(str::to_owned), table: "users".to_owned() };
        assert!(table(None).matches("a", "users") && !table(None).matches("a", "orders"));
        assert!(table(Some("t*")).matches("t1", "users") && !table(Some("t*")).matches("public", "users"));
        let column = ColumnPattern { table: table(None), column: "*mail".to_owned() };
        assert!(column.matches("a", "users", "email") && !column.matches("a", "users", "mailing"));
        assert_eq!(column.to_string(), "users.*mail");
    }
}
