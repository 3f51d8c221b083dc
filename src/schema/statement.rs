//! A statement of the description, with the parts of it that can change one by one.

use std::fmt::{self, Display, Write as _};

/// A statement that creates or changes an object, without its semicolon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SchemaStatement {
    /// One that is replaced as a whole.
    Whole(String),
    /// `CREATE TABLE` or `CREATE TYPE … AS` with columns.
    Columns {
        /// The text before the parenthesis.
        head: String,
        columns: Vec<Column>,
        /// The text behind the parenthesis, with the space before it.
        tail: String,
    },
    /// `CREATE TYPE … AS ENUM`.
    Labels {
        /// The text before the parenthesis.
        head: String,
        /// As string literals.
        labels: Vec<String>,
    },
}

/// A column of a table, or an attribute of a type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Column {
    /// Quoted if need be.
    pub(super) name: String,
    /// The type, with its collation.
    pub(super) data_type: String,
    /// `GENERATED …`, of a column that computes its value.
    pub(super) generation: Option<String>,
    /// The expression.
    pub(super) default: Option<String>,
    pub(super) constraint: NullConstraint,
}

/// Whether a column may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NullConstraint {
    Nullable,
    NotNull,
}

impl Column {
    /// Returns the column without its default.
    pub(super) fn without_default(&self) -> Self {
        Self { default: None, ..self.clone() }
    }
}

impl Display for Column {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.name, self.data_type)?;
        if let Some(generation) = &self.generation {
            write!(formatter, " {generation}")?;
        }
        if let Some(default) = &self.default {
            write!(formatter, " DEFAULT {default}")?;
        }
        match self.constraint {
            NullConstraint::NotNull => formatter.write_str(" NOT NULL"),
            NullConstraint::Nullable => Ok(()),
        }
    }
}

impl SchemaStatement {
    /// Returns the text by which it is found in another description: all versions of one object have it in common.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Whole(text) => text.lines().next().unwrap_or_default().to_owned(),
            Self::Columns { head, .. } => head.replacen("CREATE UNLOGGED TABLE ", "CREATE TABLE ", 1),
            Self::Labels { head, .. } => head.clone(),
        }
    }
}

impl Display for SchemaStatement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(text) => formatter.write_str(text),
            Self::Columns { head, columns, tail } if columns.is_empty() => write!(formatter, "{head} (){tail}"),
            Self::Columns { head, columns, tail } => {
                let mut lines = String::new();
                for (index, column) in columns.iter().enumerate() {
                    let comma = if index + 1 < columns.len() { "," } else { "" };
                    writeln!(lines, "    {column}{comma}")?;
                }
                write!(formatter, "{head} (\n{lines}){tail}")
            }
            Self::Labels { head, labels } => write!(formatter, "{head} ({})", labels.join(", ")),
        }
    }
}
