//! The description of a schema, read from the rows of its question.

use super::{
    creation_order::{ColumnOf, Dependency, OrderedObject, creation_order},
    question::TOO_LARGE,
    statement::{Column, NullConstraint, SchemaStatement},
};
use crate::{
    fault::{Code, Fault},
    postgres::{Row, RowTag, Rows},
};
use std::collections::BTreeSet;

/// The beginning of a file.
const HEADER: &str = "-- The schema of a database, as bastion-migrate describes it. Written by `command: status` with `schema-file`.\n\n\
    SET check_function_bodies TO off;\n";

/// The rank of the statements before which the defaults of a cycle are set.
const RANK_AFTER_TABLES: u16 = 84;

/// The rank of the statements that set an owner.
const OWNER_RANK: u16 = 160;

/// The description: statements in an order in which they can be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaDescription {
    pub(super) statements: Vec<DescribedStatement>,
    /// The columns whose defaults come later.
    late_defaults: BTreeSet<ColumnOf>,
}

/// A statement, and the object that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DescribedStatement {
    pub(super) statement: SchemaStatement,
    /// The statement that takes it back; none if another one replaces it.
    pub(super) undo: Option<String>,
    /// The object in the database.
    address: String,
    /// The object that it belongs to.
    parent: Option<String>,
    rank: u16,
}

impl SchemaDescription {
    /// Reads the response to [`super::description_query`].
    ///
    /// # Errors
    /// `schema-unknown` if a row can't be read.
    pub fn from_rows(rows: &Rows) -> Result<Self, Fault> {
        let statements: Option<Vec<_>> = rows.tagged(RowTag::SchemaStatement).map(read_statement).collect();
        let unreadable = || Fault::new(Code::SchemaUnknown, "the server's description of the schema can't be read");
        let mut statements = statements.ok_or_else(unreadable)?;
        statements.sort_by(|left, right| (left.rank, &left.statement).cmp(&(right.rank, &right.statement)));
        let dependencies: Vec<Dependency> = rows.tagged(RowTag::SchemaDependency).filter_map(read_dependency).collect();
        let objects: Vec<OrderedObject<'_>> = statements
            .iter()
            .map(|statement| OrderedObject { address: &statement.address, parent: statement.parent.as_deref() })
            .collect();
        let (order, late_defaults) = creation_order(&objects, &dependencies);
        let mut unordered: Vec<Option<DescribedStatement>> = statements.into_iter().map(Some).collect();
        let statements = order.into_iter().filter_map(|position| unordered.get_mut(position)?.take()).collect();
        Ok(Self { statements, late_defaults })
    }

    /// Returns the fault of a description that could not be read: why it is left out.
    #[must_use]
    pub fn unknown_fault(fault: &Fault) -> Fault {
        let fix = match fault.sqlstate.as_deref() {
            Some("55P03") => "run again when no other session has locked a table in ACCESS EXCLUSIVE mode",
            Some(TOO_LARGE) => "remove `schema-file` if it is set: a schema of this size is not described",
            _ => return Fault::new(Code::SchemaUnknown, format!("the schema is not described: {}", fault.cause)),
        };
        Fault::new(Code::SchemaUnknown, format!("the schema is not described: {}", fault.cause)).fix(fix)
    }

    /// Returns the description as a file.
    #[must_use]
    pub fn to_file(&self) -> String {
        let mut text = HEADER.to_owned();
        let mut late: Vec<String> = Vec::new();
        for described in &self.statements {
            if described.rank > RANK_AFTER_TABLES && described.parent.is_some() {
                late.drain(..).for_each(|statement| push_statement(&mut text, &statement));
            }
            let (statement, defaults) = self.split_late_defaults(described);
            push_statement(&mut text, &statement.to_string());
            late.extend(defaults);
        }
        late.into_iter().for_each(|statement| push_statement(&mut text, &statement));
        text
    }

    /// Returns a statement without the defaults that come later, and the statements that set these.
    fn split_late_defaults(&self, described: &DescribedStatement) -> (SchemaStatement, Vec<String>) {
        let SchemaStatement::Columns { head, columns, tail } = &described.statement else {
            return (described.statement.clone(), Vec::new());
        };
        let is_late = |column: &&Column| self.late_defaults.contains(&(described.address.clone(), column.name.clone()));
        let table = table_name(head);
        let defaults = columns.iter().filter(is_late).filter_map(|column| {
            let expression = column.default.as_ref()?;
            Some(format!("ALTER TABLE ONLY {table} ALTER COLUMN {} SET DEFAULT {expression}", column.name))
        });
        let defaults: Vec<String> = defaults.collect();
        if defaults.is_empty() {
            return (described.statement.clone(), defaults);
        }
        let early =
            columns.iter().map(|column| if is_late(&column) { column.without_default() } else { column.clone() });
        (SchemaStatement::Columns { head: head.clone(), columns: early.collect(), tail: tail.clone() }, defaults)
    }

    /// Returns all statements.
    pub(super) fn all_statements(&self) -> impl Iterator<Item = &DescribedStatement> {
        self.statements.iter()
    }

    /// Returns the statements, without the owners of objects that `other` does not have: both describe one database, at
    /// different times.
    pub(super) fn statements_beside(&self, other: &Self) -> Vec<&DescribedStatement> {
        let known: BTreeSet<&str> = other.statements.iter().map(|statement| statement.address.as_str()).collect();
        let is_told = |statement: &&DescribedStatement| {
            statement.rank != OWNER_RANK || statement.parent.as_deref().is_none_or(|parent| known.contains(parent))
        };
        self.statements.iter().filter(is_told).collect()
    }
}

/// Returns the table's name in the beginning of its statement.
pub(super) fn table_name(head: &str) -> &str {
    ["CREATE TABLE ", "CREATE UNLOGGED TABLE "].iter().find_map(|prefix| head.strip_prefix(prefix)).unwrap_or(head)
}

fn push_statement(text: &mut String, statement: &str) {
    text.push('\n');
    text.push_str(statement);
    text.push_str(";\n");
}

fn read_statement(row: Row<'_>) -> Option<DescribedStatement> {
    let [_, address, parent, head, tail, undo, parts] = row.columns();
    let (head, rank) = (head?, row.parse(0)?);
    let statement = match (parts, tail) {
        (None, tail) => SchemaStatement::Whole(format!("{head}{}", tail.unwrap_or_default())),
        (Some(labels), Some("labels")) => {
            SchemaStatement::Labels { head: head.to_owned(), labels: serde_json::from_str(labels).ok()? }
        }
        (Some(columns), tail) => SchemaStatement::Columns {
            head: head.to_owned(),
            columns: serde_json::from_str::<Vec<ColumnRow>>(columns).ok()?.into_iter().map(read_column).collect(),
            tail: tail.unwrap_or_default().to_owned(),
        },
    };
    let (undo, parent) = (undo.map(str::to_owned), parent.map(str::to_owned));
    Some(DescribedStatement { statement, undo, address: address?.to_owned(), parent, rank })
}

/// Name, type, generation, default, and whether null is forbidden.
type ColumnRow = (String, String, Option<String>, Option<String>, bool);

fn read_column((name, data_type, generation, default, not_null): ColumnRow) -> Column {
    let constraint = if not_null { NullConstraint::NotNull } else { NullConstraint::Nullable };
    Column { name, data_type, generation, default, constraint }
}

fn read_dependency(row: Row<'_>) -> Option<Dependency> {
    let [dependent, referenced, default_of] = row.columns();
    let default_of = default_of.map(str::to_owned);
    Some(Dependency { dependent: dependent?.to_owned(), referenced: referenced?.to_owned(), default_of })
}
