//! What all sessions of a run share once the plan is made.

use super::setup::SqlSetup;
use crate::{
    fault::Fault,
    layout::{Layout, RowDetail},
    ledger::{DatabaseState, Ledger, Survey, known_tools::ToolLedger, read_all_query, survey_query},
    migrate::{self, Place},
    postgres::{
        Session,
        own_query::{OwnQuery, RunLockRequirement},
        query_rows,
        run_lock::{self, AdvisoryLock},
    },
    run::MigrationId,
};
use std::sync::Arc;

/// The plan, and the state of the database before it.
#[derive(Debug)]
pub(super) struct SharedPlan<'a> {
    pub(super) setup: SqlSetup<'a>,
    pub(super) layout: Layout,
    /// The places of all tenants, or the only one.
    pub(super) places: Vec<Arc<Place>>,
    /// Other ledgers in the database of a run without tenants.
    pub(super) other_ledgers: Vec<ToolLedger>,
    pub(super) before: DatabaseState,
    /// The digest of the plan.
    pub(super) digest: String,
    /// Number of planned migrations.
    pub(super) pending_count: usize,
    /// The identities of all files, without tenants.
    pub(super) all_migrations: Vec<MigrationId>,
}

impl SharedPlan<'_> {
    /// Reports whether each tenant has its own schema.
    pub(super) fn has_tenants(&self) -> bool {
        self.places.iter().any(|place| place.tenant.is_some())
    }

    /// Returns the locks that the session of the run lock holds: the tool's own ones, too, without tenants.
    pub(super) fn held_locks(&self) -> Vec<AdvisoryLock> {
        let without_tenant = self.places.iter().filter(|place| place.tenant.is_none());
        let locks_of_tool = without_tenant.flat_map(|place| self.setup.locks_of_tool(&place.ledger));
        [run_lock::bastion_migrate_lock()].into_iter().chain(locks_of_tool).collect()
    }

    /// Reads the ledgers of these places as they are after the work.
    pub(super) async fn read_after_work<'p>(
        &self,
        session: &Session,
        lock: RunLockRequirement,
        places: impl Iterator<Item = &'p Arc<Place>>,
    ) -> Result<DatabaseState, Fault> {
        let created: Vec<(&str, Ledger)> = places.map(|place| (place.schema(), place.ledger.as_created())).collect();
        let ledgers = created.iter().map(|(schema, ledger)| (*schema, ledger, self.other_ledgers.as_slice()));
        let query = read_all_query(ledgers, RowDetail::ForPlan).requiring_lock(lock);
        Ok(self.parse_state(&query_rows(&session.client, &query).await?))
    }

    /// Reads the ledgers after work that did not end by itself; if the creation of one was rolled back, nothing is
    /// recorded in it. Everything that it returns is durable.
    pub(super) async fn read_after_stop(
        &self,
        session: &Session,
        lock: RunLockRequirement,
    ) -> Result<DatabaseState, Fault> {
        query_rows(&session.client, &OwnQuery::read_write(migrate::FLUSH)).await?;
        let places = if self.has_tenants() { self.find_standing_places(session).await? } else { self.places.clone() };
        match self.read_after_work(session, lock, places.iter()).await {
            Err(fault) if matches!(fault.sqlstate.as_deref(), Some("42P01" | "3F000")) => Ok(DatabaseState::default()),
            state => state,
        }
    }

    /// Returns the places whose ledgers exist now.
    async fn find_standing_places(&self, session: &Session) -> Result<Vec<Arc<Place>>, Fault> {
        let query = survey_query(self.setup.settings.sql.ledger_table.as_deref(), None);
        let survey = Survey::from_rows(&query_rows(&session.client, &query).await?);
        Ok(self.places.iter().filter(|place| survey.has_table(&place.ledger.table)).map(Arc::clone).collect())
    }

    fn parse_state(&self, rows: &crate::postgres::Rows) -> DatabaseState {
        let versions: Vec<&str> = self.all_migrations.iter().map(|id| id.version.as_str()).collect();
        DatabaseState::from_rows(rows, self.layout, &versions)
    }
}
