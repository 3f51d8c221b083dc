//! SQL that completes the row of a run.

use super::{new_run::NewRun, runs_table::TABLE};
use crate::{
    postgres::{OwnQuery, quote_literal},
    run::RunEnd,
};

/// Returns the statement that completes the row of this run. It is a block of its own, whose failure changes nothing else
/// in its transaction, and it returns no row.
#[must_use]
pub fn guarded_end_sql(end: &RunEnd, run: &NewRun) -> String {
    // Nothing that others have named is inside the block.
    let RunEnd { outcome, planned, done, .. } = end;
    format!(
        "DO $bastion_migrate$ BEGIN UPDATE {TABLE} SET ended_at = pg_catalog.clock_timestamp(), outcome = '{outcome}', \
         planned = {planned}, done = {done} WHERE id OPERATOR(pg_catalog.=) {}::pg_catalog.uuid; \
         EXCEPTION WHEN OTHERS THEN NULL; END $bastion_migrate$",
        run.id_sql()
    )
}

/// Returns the query that completes the row, also with what may have become known since it was written.
#[must_use]
pub fn end_query(end: &RunEnd, run: &NewRun, plan_digest: Option<&str>, approvers: Option<&str>) -> OwnQuery {
    let literal = |text: Option<&str>| text.map_or_else(|| "NULL".to_owned(), quote_literal);
    let RunEnd { outcome, fault, planned, done } = end;
    OwnQuery::read_write(format!(
        "UPDATE {TABLE} SET ended_at = pg_catalog.clock_timestamp(), outcome = '{outcome}', planned = {planned}, \
         done = {done}, fault = {}, plan_digest = {}, approved_by = {} WHERE id = {}",
        literal(fault.as_deref()),
        literal(plan_digest),
        literal(approvers),
        run.id_sql()
    ))
    .preceded_by("SET TRANSACTION READ WRITE")
}
