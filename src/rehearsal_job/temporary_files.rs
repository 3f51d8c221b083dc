//! The temporary files that migrations wrote on a copy. The server counts them for a database when a session ends, so their sum is
//! exact once the sessions of a round have ended.

use crate::{
    fault::Fault,
    postgres::{DatabaseTarget, OwnQuery, SessionSettings, query_rows},
    rehearsal::CopyServer,
    run::event::Events,
};

/// The name of the session that asks.
const ASKING: &str = "bastion-migrate-rehearsal";

/// Returns the number of bytes of temporary files in the copy so far; none if the server does not tell.
///
/// # Errors
/// `rehearsal-copy`, or the lost connection.
pub(super) async fn temporary_bytes(
    server: &CopyServer,
    copy: &DatabaseTarget,
    events: &Events,
) -> Result<Option<u64>, Fault> {
    let session = server.open_session(copy, &SessionSettings::named(ASKING), events).await?;
    let query = OwnQuery::read_only(
        "SELECT d.temp_bytes FROM pg_catalog.pg_stat_database d WHERE d.datname = pg_catalog.current_database()",
    );
    let answer = query_rows(&session.client, &query).await;
    session.close().await;
    Ok(answer?.first_text().and_then(|bytes| bytes.parse().ok()))
}
