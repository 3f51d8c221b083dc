//! Runs a SQL file that is not a migration: the whole text is one message, as with `psql -c`.

use super::{
    answer::{Outcome, outcome},
    error_location,
};
use crate::{
    fault::Fault,
    postgres::fault::statement_fault,
    sql::{Source, Span, split::spans},
};
use tokio_postgres::Client;

/// Runs the whole text.
///
/// # Errors
/// The server's error, at its place in the file.
pub async fn run(client: &Client, source: Source<'_>) -> Result<(), Fault> {
    let fault = |error| statement_fault(&error).in_file(source.file());
    let stream = client.simple_query_raw(source.text).await.map_err(fault)?;
    let Outcome { completed, error } = outcome(Box::pin(stream)).await;
    let Some(error) = error else { return Ok(()) };
    let whole = Span::whole(source.text);
    let place = error.as_db_error().map(|server| {
        let failing = spans(source, whole).nth(completed);
        error_location::place(server, source, whole, failing)
    });
    Err(statement_fault(&error).in_file(place.unwrap_or_else(|| source.file())))
}
