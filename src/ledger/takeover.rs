//! Finds and reads the ledger of another tool that plain files take over.

use super::{catalog::CatalogTable, discover::Survey, known_tools};
use crate::{
    fault::{Code, Fault},
    layout::{LedgerSource, RecordedMigration, SourceTool, Table},
    postgres::{RowTag, Rows, own_query::OwnQuery},
};

/// The ledger that is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLedger {
    /// The tool that kept it.
    pub tool: SourceTool,
    /// Its table.
    pub table: Table,
}

impl Survey {
    /// Returns the only ledger of this tool, or the one that the user named.
    ///
    /// # Errors
    /// `takeover-refused` if there is none, or if there are several; the reason why it can't be trusted.
    pub fn find_source(&self, source: &LedgerSource) -> Result<SourceLedger, Fault> {
        let tool = source.tool;
        let found: Vec<&CatalogTable> = match source.table.as_deref() {
            Some(table) => self.table_at(table).filter(|found| self.may_be_of(tool, found)).into_iter().collect(),
            None => self.tables.iter().filter(|found| self.tool_of(found) == Some(tool.name())).collect(),
        };
        let (trusted, others): (Vec<&CatalogTable>, Vec<&CatalogTable>) =
            found.into_iter().partition(|found| found.is_trusted());
        match trusted.as_slice() {
            [only] => Ok(SourceLedger { tool, table: only.table.clone() }),
            [first, second, ..] => Err(two_sources_fault(tool, &first.table, &second.table)),
            [] => match others.first() {
                Some(other) => {
                    Err(other.refuse_untrusted(&self.role).err().unwrap_or_else(|| self.no_source_fault(source)))
                }
                None => Err(self.no_source_fault(source)),
            },
        }
    }

    fn tool_of(&self, found: &CatalogTable) -> Option<&'static str> {
        known_tools::tool_of(found, &self.tables)
    }

    /// Reports whether a table that the user named can be a ledger of this tool: its name may be any.
    fn may_be_of(&self, tool: SourceTool, found: &CatalogTable) -> bool {
        match (self.tool_of(found), tool) {
            (Some(known), _) => known == tool.name(),
            (None, SourceTool::Layout(layout)) => layout.recognises(&found.columns),
            (None, SourceTool::Other(_)) => false,
        }
    }

    fn no_source_fault(&self, source: &LedgerSource) -> Fault {
        let tool = source.tool.name();
        let cause = match source.table.as_deref() {
            Some(table) => format!("there is no table `{table}` that is a ledger of {tool}"),
            None => format!("there is no ledger of {tool} in this database"),
        };
        let others = self.tables.iter().filter_map(|found| Some((SourceTool::by_name(self.tool_of(found)?)?, found)));
        let others: Vec<String> =
            others.map(|(tool, found)| format!("`from: {} {}`", tool.name(), found.table)).collect();
        let fix = match others.as_slice() {
            [] => "check that `database-url` names the database that the tool migrated".to_owned(),
            others => format!("set {} to take over the ledger that is there", others.join(" or ")),
        };
        Fault::new(Code::TakeoverRefused, cause).fix(fix)
    }
}

fn two_sources_fault(tool: SourceTool, first: &Table, second: &Table) -> Fault {
    let tool = tool.name();
    Fault::new(Code::TakeoverRefused, format!("there are two ledgers of {tool}, `{first}` and `{second}`")).fix(
        format!("name the one whose migrations these files are: `from: {tool} {first}` or `from: {tool} {second}`"),
    )
}

impl SourceLedger {
    /// Returns the query for its rows.
    #[must_use]
    pub fn read_query(&self) -> OwnQuery {
        OwnQuery::read_only(self.tool.read_sql(&self.table))
    }

    /// Reads the response, with versions as plain files have them. `versions` are those of all files.
    #[must_use]
    pub fn parse_rows(&self, rows: &Rows, versions: &[&str]) -> Vec<RecordedMigration> {
        let rows = rows.tagged(RowTag::RecordedMigration).map(RecordedMigration::from_row).collect();
        self.tool.complete_rows(rows, versions)
    }
}
