//! The places of a run with tenants: reads which tenants there are, and finds their ledgers.

use super::{
    comparison::detail_for,
    connected::{ChosenPlaces, ConnectedSql},
    tenant_schemas::read_schemas,
};
use crate::{
    fault::Fault,
    ledger::{self, Survey, TenantLedger, TenantLedgers, read_all_query},
    migrate::{Place, Tenant},
    postgres::{query_rows, wait::answer_within},
    settings::TenantSettings,
};
use futures_util::future::try_join;
use std::sync::Arc;

impl ConnectedSql<'_> {
    /// Reads the tenants and their ledgers in two round trips.
    ///
    /// # Errors
    /// `tenants-invalid`, or a ledger that can't be used.
    pub(super) async fn choose_tenant_places(&mut self, tenants: &TenantSettings) -> Result<ChosenPlaces, Fault> {
        let settings = self.setup.settings;
        let (wait, client) = (settings.wait_timeout, &self.session.client);
        let query = ledger::tenant_survey_query(settings.sql.ledger_table.as_deref());
        let query = query.requiring_lock(self.lock_requirement());
        let reading = try_join(read_schemas(client, &tenants.source), query_rows(client, &query));
        let (schemas, rows) = answer_within(wait, reading).await?;
        let schemas = ledger::order_tenants(schemas, tenants.canary.as_deref())?;
        self.survey = Survey::from_rows(&rows);
        let session_path = ledger::parse_session_path(&rows);
        let TenantLedgers { layout, reason, ledgers, ignored } =
            self.survey.choose_tenant_ledgers(&self.hints(), &schemas)?;
        let detail = detail_for(settings.command);
        let query = read_all_query(ledgers.iter().map(TenantLedger::as_read), detail);
        let query = query.requiring_lock(self.lock_requirement());
        let rows = answer_within(wait, query_rows(client, &query)).await?;
        ledger::refuse_foreign_tenants(&rows, &ledgers)?;
        let database = &self.setup.target.name;
        let places = ledgers.into_iter().map(|TenantLedger { schema, ledger, .. }| {
            let tenant = Tenant::new(schema, &session_path, ledger.tool_lock_keys(database));
            Arc::new(Place { ledger, tenant: Some(tenant) })
        });
        let (places, other_ledgers) = (places.collect(), Vec::new());
        Ok(ChosenPlaces { layout, reason, places, other_ledgers, ignored, rows: Some(rows) })
    }
}
