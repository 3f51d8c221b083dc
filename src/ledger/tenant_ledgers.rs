//! Finds the ledgers of tenants, each in the schema of its tenant.

use super::{
    DatabaseState, Ledger, LedgerHints, Survey,
    catalog::CatalogTable,
    choice_faults::{ledger_moved_fault, refuse_foreign},
    known_tools::{self, ToolLedger},
};
use crate::{
    fault::{Code, Fault},
    layout::{Layout, Table},
    postgres::{Rows, quote_identifier},
};
use std::collections::BTreeMap;

/// The ledgers of a run with tenants.
#[derive(Debug)]
pub struct TenantLedgers {
    /// Their layout.
    pub layout: Layout,
    /// The reason for it, as a sentence without its full stop.
    pub reason: String,
    /// The ledgers, in the order of the tenants.
    pub ledgers: Vec<TenantLedger>,
    /// Tables with the name of a ledger that are ignored, with the reason.
    pub ignored: Vec<String>,
}

/// The ledger of a tenant.
#[derive(Debug)]
pub struct TenantLedger {
    /// The schema of the tenant.
    pub schema: String,
    /// Its ledger.
    pub ledger: Ledger,
    /// Other tools' ledgers in the schema.
    pub others: Vec<ToolLedger>,
}

impl TenantLedger {
    /// Returns what the query for all ledgers needs.
    #[must_use]
    pub fn as_read(&self) -> (&str, &Ledger, &[ToolLedger]) {
        (&self.schema, &self.ledger, &self.others)
    }
}

impl Survey {
    /// Chooses the layout and the ledgers of these tenants.
    ///
    /// # Errors
    /// A schema that does not exist or belongs to a role that is not trusted, or a ledger that can't be used.
    pub fn choose_tenant_ledgers(&self, hints: &LedgerHints<'_>, schemas: &[String]) -> Result<TenantLedgers, Fault> {
        let by_schema = self.tables_by_schema();
        let tables_of = |schema: &String| by_schema.get(schema.as_str()).map_or(&[][..], Vec::as_slice);
        let standing = |layout: Layout| {
            let name = hints.table.or_else(|| layout.tenant_table());
            let mut tables = schemas.iter().flat_map(|schema| tables_of(schema).iter().copied());
            tables.find(|found| Some(found.table.name.as_str()) == name && layout.recognises(&found.columns))
        };
        let (layout, reason) = self.choose_layout(hints, standing)?;
        let Some(default_name) = layout.tenant_table() else {
            let cause = format!("the ledger of the layout `{}` can't be in the schema of a tenant", layout.name());
            return Err(Fault::new(Code::TenantsInvalid, cause).fix("remove `tenants`, or set another `layout`"));
        };
        let name = hints.table.unwrap_or(default_name);
        self.refuse_schemas(schemas)?;
        let mut ignored = Vec::new();
        let ledgers = schemas.iter().map(|schema| {
            let tables = tables_of(schema);
            let ledger = self.tenant_ledger((layout, name), schema, tables)?;
            let others = tables.iter().copied().filter(|found| found.table != ledger.table);
            let (trusted, rest): (Vec<&CatalogTable>, Vec<_>) = others.partition(|found| found.is_trusted());
            ignored.extend(rest.into_iter().map(|found| found.describe_issue()));
            let trusted: Vec<CatalogTable> = trusted.into_iter().cloned().collect();
            let others = if hints.table.is_some() { Vec::new() } else { known_tools::ledgers_among(&trusted) };
            Ok(TenantLedger { schema: schema.clone(), ledger, others })
        });
        let ledgers = ledgers.collect::<Result<Vec<TenantLedger>, Fault>>()?;
        Ok(TenantLedgers { layout, reason: reason?, ledgers, ignored })
    }

    /// Reports whether a table exists.
    #[must_use]
    pub fn has_table(&self, table: &Table) -> bool {
        self.tables.iter().any(|found| found.table == *table)
    }

    fn tables_by_schema(&self) -> BTreeMap<&str, Vec<&CatalogTable>> {
        let mut by_schema: BTreeMap<&str, Vec<&CatalogTable>> = BTreeMap::new();
        for found in &self.tables {
            by_schema.entry(found.table.schema.as_str()).or_default().push(found);
        }
        by_schema
    }

    fn refuse_schemas(&self, schemas: &[String]) -> Result<(), Fault> {
        let owners: BTreeMap<&str, &Option<String>> =
            self.schemas.iter().map(|(schema, owner)| (schema.as_str(), owner)).collect();
        for schema in schemas {
            let quoted = quote_identifier(schema);
            match owners.get(schema.as_str()) {
                Some(None) => {}
                Some(Some(owner)) => {
                    let cause = format!(
                        "the schema `{schema}` belongs to `{owner}`, whose code could run in a session of `{}`",
                        self.role
                    );
                    let fix = format!(
                        "if `{owner}` may do all that the migration role may, let a superuser run `GRANT {} TO {};`; or let \
                         its owner run `ALTER SCHEMA {quoted} OWNER TO {};`",
                        quote_identifier(owner),
                        quote_identifier(&self.role),
                        quote_identifier(&self.role)
                    );
                    return Err(Fault::new(Code::LedgerUntrusted, cause).fix(fix));
                }
                None => {
                    let cause = format!("the tenant `{schema}` has no schema in this database");
                    let fix = format!(
                        "leave it out of `tenants`, correct its name, or create the schema (`CREATE SCHEMA {quoted}`)"
                    );
                    return Err(Fault::new(Code::TenantsInvalid, cause).fix(fix));
                }
            }
        }
        Ok(())
    }

    fn tenant_ledger(
        &self,
        (layout, name): (Layout, &str),
        schema: &str,
        tables: &[&CatalogTable],
    ) -> Result<Ledger, Fault> {
        let table = Table { schema: schema.to_owned(), name: name.to_owned() };
        match tables.iter().find(|found| found.table == table) {
            Some(found) => self.existing_ledger(layout, found),
            None => {
                let is_ledger = |found: &&&CatalogTable| {
                    layout.unique_column().is_some() && found.is_trusted() && found.has_only_columns(layout.columns())
                };
                match tables.iter().find(is_ledger) {
                    Some(elsewhere) => Err(ledger_moved_fault(&elsewhere.table, &table).fix(format!(
                        "set `ledger-table: {}`, if these files were applied with it",
                        elsewhere.table.name
                    ))),
                    None => self.with_progress(Ledger {
                        layout,
                        table,
                        exists: false,
                        schema_exists: true,
                        progress_exists: false,
                    }),
                }
            }
        }
    }
}

/// Refuses a tenant whose ledger is empty, and in whose schema another tool's ledger has rows. `rows` are the response to
/// the query for all ledgers.
///
/// # Errors
/// `ledger-foreign`.
pub fn refuse_foreign_tenants(rows: &Rows, ledgers: &[TenantLedger]) -> Result<(), Fault> {
    let Some(first) = ledgers.first() else { return Ok(()) };
    let state = DatabaseState::from_rows(rows, first.ledger.layout, &[]);
    let foreign = ledgers.iter().find_map(|TenantLedger { schema, ledger, .. }| {
        let found = state.ledger_of(schema);
        let (tool, table) = found.other_ledgers.first().filter(|_| found.recorded.is_empty())?;
        Some(refuse_foreign(ledger, tool, table))
    });
    foreign.map_or(Ok(()), Err)
}
