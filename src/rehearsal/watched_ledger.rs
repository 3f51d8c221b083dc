//! The ledger of a tool, by which its statements are assigned to migrations.

use super::statement_kind::StatementKindOnCopy;
use crate::{proxy::SentStatement, run::MigrationId, sql::Phrase, tool::LedgerMoment};

/// Bytes of a statement within which it names the table that it writes.
const MAX_START: usize = 200;

/// The ledger of a tool, by which its statements are assigned to migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedLedger {
    /// The names of its tables, without their schemas.
    pub tables: Vec<String>,
    /// The moment at which it gets its rows.
    pub moment: LedgerMoment,
}

impl WatchedLedger {
    /// Returns whether a statement writes into the ledger.
    pub(super) fn is_written_by(&self, text: &str) -> bool {
        let start = text.get(..text.floor_char_boundary(MAX_START)).unwrap_or(text);
        let names = || self.tables.iter().any(|table| start.contains(table.as_str()));
        names() && StatementKindOnCopy::of(text) == StatementKindOnCopy::Rows
    }

    /// Returns whether statements write the row of a migration. A tool that writes it first changes it at the end.
    pub(super) fn gets_row(&self, statements: &[SentStatement]) -> bool {
        statements.iter().any(|sent| {
            let is_row = match self.moment {
                LedgerMoment::Start => Phrase::new(&sent.text).eat("insert"),
                LedgerMoment::End => true,
            };
            is_row && self.is_written_by(&sent.text)
        })
    }
}

/// Returns the position of the migration whose row has these statements' values.
pub(super) fn position_of_row(
    pending: &[MigrationId],
    statements: &[SentStatement],
    schema: Option<&str>,
) -> Option<usize> {
    let values: Vec<String> = statements.iter().flat_map(constants_of).collect();
    pending.iter().position(|id| is_row_of(id, &values, schema))
}

/// Returns the constants in a statement, and the values of its parameters.
fn constants_of(sent: &SentStatement) -> Vec<String> {
    let quoted = sent.text.split('\'').skip(1).step_by(2).map(str::to_owned);
    quoted.chain(sent.values.iter().cloned()).collect()
}

/// Returns whether a ledger's row with these values is that of a migration. A name may be in two columns, as app and name.
fn is_row_of(id: &MigrationId, values: &[String], schema: Option<&str>) -> bool {
    let has = |text: &str| values.iter().any(|value| value == text);
    let is_split = |sign: char| id.name.split_once(sign).is_some_and(|(one, other)| has(one) && has(other));
    let is_schema = schema.is_none_or(|schema| id.schema.is_empty() || id.schema == schema);
    is_schema && (has(&id.name) || is_split('.') || is_split(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_a_ledger_names_its_migration_in_one_column_or_two() {
        let id = |name: &str, schema: &str| MigrationId {
            name: name.to_owned(),
            schema: schema.to_owned(),
            ..MigrationId::default()
        };
        let sent = SentStatement {
            text: "INSERT INTO \"django_migrations\" (\"app\", \"name\") VALUES ('shop', '0002_more')".to_owned(),
            values: vec!["ae10".to_owned()],
        };
        let values = constants_of(&sent);
        assert!(is_row_of(&id("shop.0002_more", ""), &values, None) && is_row_of(&id("ae10", ""), &values, None));
        assert!(!is_row_of(&id("shop.0003_else", ""), &values, None));
        assert!(is_row_of(&id("shop.0002_more", "t1"), &values, Some("t1")));
        assert!(!is_row_of(&id("shop.0002_more", "t1"), &values, Some("t2")));
    }

    #[test]
    fn the_row_that_is_written_first_is_an_insert() {
        let sent = |text: &str| vec![SentStatement { text: text.to_owned(), values: Vec::new() }];
        let tables = vec!["_prisma_migrations".to_owned()];
        let ledger = WatchedLedger { tables, moment: LedgerMoment::Start };
        assert!(ledger.gets_row(&sent("INSERT INTO _prisma_migrations VALUES (1)")));
        assert!(!ledger.gets_row(&sent("UPDATE _prisma_migrations SET finished_at = now()")));
        assert!(ledger.is_written_by("UPDATE _prisma_migrations SET finished_at = now()"));
        assert!(!ledger.is_written_by("SELECT * FROM _prisma_migrations"));
        let ledger = WatchedLedger { moment: LedgerMoment::End, ..ledger };
        assert!(ledger.gets_row(&sent("UPDATE _prisma_migrations SET finished_at = now()")));
    }
}
