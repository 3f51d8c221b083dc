//! Runs a SQL file that is not a migration: the whole text is one message, as with `psql -c`.

use super::{
    error_location,
    response::{BodyResponse, read_body_response},
};
use crate::{
    fault::Fault,
    postgres::fault::statement_fault,
    sql::{Span, SqlSource, split::statement_spans},
};
use tokio_postgres::Client;

/// Runs the whole text.
///
/// # Errors
/// The server's error, at its place in the file.
pub async fn run_script(client: &Client, source: SqlSource<'_>) -> Result<(), Fault> {
    let fault = |error| statement_fault(&error).in_file(source.whole_file());
    let stream = client.simple_query_raw(source.text).await.map_err(fault)?;
    let BodyResponse { completed, error } = read_body_response(Box::pin(stream)).await;
    let Some(error) = error else { return Ok(()) };
    let whole_text = Span::whole(source.text);
    let position = error.as_db_error().map(|server| {
        let failing = statement_spans(source, whole_text).nth(completed);
        error_location::error_place(server, source, whole_text, failing)
    });
    Err(statement_fault(&error).in_file(position.unwrap_or_else(|| source.whole_file())))
}
