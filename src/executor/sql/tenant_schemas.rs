//! The schemas of the tenants, from their source.

use crate::{fault::Fault, ledger, settings::TenantSource};
use tokio_postgres::Client;

/// Returns the schemas of the tenants, in their order.
///
/// # Errors
/// `tenants-invalid`.
pub(super) async fn read_schemas(client: &Client, source: &TenantSource) -> Result<Vec<String>, Fault> {
    match source {
        TenantSource::Names(names) => Ok(names.clone()),
        TenantSource::Query(query) => ledger::read_tenants(client, query).await,
    }
}
