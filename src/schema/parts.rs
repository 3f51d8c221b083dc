//! The smallest parts of a schema that come and go by themselves, as lines that name them.

use super::{
    description::{SchemaDescription, table_name},
    statement::SchemaStatement,
};

impl SchemaDescription {
    /// Returns the parts: each column of a table by itself, everything else as its statement. They are in no order that
    /// means anything.
    #[must_use]
    pub fn parts(&self) -> Vec<String> {
        self.statements.iter().flat_map(|described| parts_of(&described.statement)).collect()
    }
}

fn parts_of(statement: &SchemaStatement) -> Vec<String> {
    match statement {
        SchemaStatement::Columns { head, columns, tail } => {
            let table = table_name(head);
            let columns = columns.iter().map(|column| format!("{table}: {column}"));
            std::iter::once(format!("{head}{tail}")).chain(columns).collect()
        }
        SchemaStatement::Whole(_) | SchemaStatement::Labels { .. } => vec![statement.to_string()],
    }
}
