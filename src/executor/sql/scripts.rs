//! The review of a plan of SQL files: their SQL, and the places in them. With tenants, the tables are those of the largest
//! one.

use super::connected::ConnectedSql;
use crate::{
    executor::review::{ReviewResult, ReviewSubject, review_plan},
    fault::{Fault, FilePosition},
    migrate::PlannedMigration,
    postgres::{RowTag, own_query::OwnQuery, query_rows, quote_literal, wait::answer_within},
    review::{HiddenPart, MigrationScript, PlanPath, ScriptTransaction},
};
use std::collections::{HashMap, HashSet};

/// Most bytes of SQL that are reviewed: they are all in memory at once.
const MAX_REVIEWED_BYTES: usize = 16 << 20;

impl ConnectedSql<'_> {
    /// Reviews the plan.
    ///
    /// # Errors
    /// What the settings do not accept.
    pub(super) async fn review(&self, pending: &[Vec<PlannedMigration>]) -> Result<ReviewResult, Vec<Fault>> {
        let distinct = distinct_files(pending);
        let by_index: HashMap<usize, &PlannedMigration> =
            distinct.iter().map(|migration| (migration.id.index, *migration)).collect();
        let path = self.reviewed_path(&distinct).await.map_err(|fault| vec![fault])?;
        let place_of = |index: usize, byte: usize| -> Option<FilePosition> {
            by_index.get(&index).map(|migration| migration.reviewed_place(byte))
        };
        let scripts = scripts_of(&distinct);
        let subject = ReviewSubject { scripts, session: Some(&self.session), path, place_of: &place_of };
        review_plan(self.setup.settings, &self.setup.events, subject).await
    }

    /// Returns the search path of the tables to look at: that of the session, or of the largest tenant.
    async fn reviewed_path(&self, distinct: &[&PlannedMigration]) -> Result<PlanPath, Fault> {
        let tenants = distinct.iter().any(|migration| migration.place.tenant.is_some());
        let Some(names) = self.setup.settings.sql.tenants.as_ref().filter(|_| tenants) else {
            return Ok(PlanPath::Session);
        };
        let schemas = super::tenant_schemas::read_schemas(&self.session.client, &names.source);
        let wait = self.setup.settings.wait_timeout;
        let schemas = answer_within(wait, schemas).await?;
        let query = OwnQuery::read_only(largest_schema_sql(&schemas));
        let rows = answer_within(wait, query_rows(&self.session.client, &query)).await?;
        let Some(largest) = rows.texts_tagged(RowTag::Tenant).next() else { return Ok(PlanPath::Session) };
        let count = schemas.len();
        self.setup
            .events
            .emit_note(format!("the plan is weighed in the schema `{largest}`, the largest of {count} tenants"));
        Ok(PlanPath::Schemas(vec![largest, "public".to_owned()]))
    }
}

/// Returns each file once, if it is pending in several schemas.
fn distinct_files(pending: &[Vec<PlannedMigration>]) -> Vec<&PlannedMigration> {
    let mut seen = HashSet::new();
    pending.iter().flatten().filter(|migration| seen.insert(migration.id.file.as_str())).collect()
}

fn scripts_of(migrations: &[&PlannedMigration]) -> Vec<MigrationScript> {
    let mut read = 0;
    let scripts = migrations.iter().map(|migration| {
        let text = migration.reviewed_text();
        read += text.as_ref().map_or(0, String::len);
        let left_out = match (&text, read > MAX_REVIEWED_BYTES) {
            (None, _) => Some("the file is longer than 1 MiB".to_owned()),
            (Some(_), true) => Some(format!("the plan has more than {} MiB of SQL", MAX_REVIEWED_BYTES >> 20)),
            (Some(_), false) => None,
        };
        let transaction = match migration.runs_in_one_transaction() {
            true => ScriptTransaction::Whole,
            false => ScriptTransaction::AsWritten,
        };
        let sql = text.filter(|_| left_out.is_none()).unwrap_or_default();
        let hidden = left_out.into_iter().map(HiddenPart::Everything).collect();
        MigrationScript { id: migration.id.clone(), sql, transaction, hidden }
    });
    scripts.collect()
}

/// Returns the query for the schema with the most pages (PostgreSQL manual, 53.11).
fn largest_schema_sql(schemas: &[String]) -> String {
    let names: Vec<String> = schemas.iter().map(|schema| quote_literal(schema)).collect();
    format!(
        "SELECT {}, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm', 'p') \
         AND n.nspname = ANY (ARRAY[{}]::name[]) GROUP BY n.nspname ORDER BY pg_catalog.sum(c.relpages) DESC, n.nspname LIMIT 1",
        RowTag::Tenant,
        names.join(", ")
    )
}
