//! The newest runs, as `command: history` lists them.

use super::runs_table::TABLE;
use crate::{
    layout::origin::time_sql,
    postgres::{CURRENT_DATABASE_OID, OwnQuery, Row, RowTag, Rows, run_lock::bastion_migrate_lock},
    run::{PastOutcome, PastRun},
};

/// Number of runs that are listed.
const MAX_RUNS: usize = 50;

/// Returns the query for the newest runs, the newest first.
#[must_use]
pub fn history_query() -> OwnQuery {
    let (class, object) = bastion_migrate_lock().pg_locks_key();
    let is_working = format!(
        "EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted \
         AND l.classid = '{class}' AND l.objid = '{object}' AND l.database = {CURRENT_DATABASE_OID})"
    );
    // A table of an earlier version has no reasons.
    let columns = "r.role, r.command, r.executor, r.environment, r.image, r.actor, r.triggering_actor, r.approved_by, \
        r.repository, r.commit, r.ref, r.workflow, r.run, r.attempt, r.plan_digest, r.planned, r.done, r.outcome, r.fault, \
        pg_catalog.to_jsonb(r) ->> 'reason'";
    let (started, ended) = (time_sql!("r.started_at"), time_sql!("r.ended_at"));
    OwnQuery::read_only(format!(
        "SELECT {}, {is_working}, {started}, {ended}, {columns} FROM {TABLE} r ORDER BY r.started_at DESC, r.id LIMIT {MAX_RUNS}",
        RowTag::PastRun
    ))
}

/// Reads the response to [`history_query`]. A run without an end is at work if it is the newest and a run holds the run
/// lock; otherwise nothing has recorded its end, and nothing will.
#[must_use]
pub fn parse_history(rows: &Rows) -> Vec<PastRun> {
    rows.tagged(RowTag::PastRun).enumerate().map(|(index, row)| past_run(row, index == 0)).collect()
}

fn past_run(row: Row<'_>, is_newest: bool) -> PastRun {
    let text = |index| row.text(index).filter(|text| !text.is_empty()).map(str::to_owned);
    let outcome = match text(20) {
        Some(outcome) => PastOutcome::Recorded(outcome),
        None if is_newest && row.text(0) == Some("t") => PastOutcome::Working,
        None => PastOutcome::EndUnknown,
    };
    PastRun {
        started_at: text(1).unwrap_or_default(),
        ended_at: text(2),
        outcome,
        fault: text(21),
        reason: text(22),
        command: text(4).unwrap_or_default(),
        executor: text(5).unwrap_or_default(),
        planned: row.parse(18),
        done: row.parse(19),
        plan_digest: text(17),
        environment: text(6),
        image: text(7),
        role: text(3).unwrap_or_default(),
        actor: text(8),
        triggering_actor: text(9),
        approved_by: text(10),
        repository: text(11),
        commit: text(12),
        git_ref: text(13),
        workflow: text(14),
        run: text(15),
        attempt: row.parse(16),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_run_without_an_end_may_be_at_work() {
        let row = |working: &str, outcome: &str| {
            let mut columns = vec![working, "2026-01-31T23:59:59Z", "", "app", "migrate", "sql"];
            columns.resize(20, "");
            columns.extend([outcome, "", ""]);
            RowTag::PastRun.row(&columns)
        };
        let outcomes = |rows: Vec<Vec<Option<String>>>| {
            let runs = parse_history(&rows.into_iter().collect());
            runs.into_iter().map(|run| run.outcome.name().to_owned()).collect::<Vec<_>>()
        };
        let lost = "end not recorded";
        assert_eq!(outcomes(vec![row("t", ""), row("t", ""), row("t", "failed")]), ["at work", lost, "failed"]);
        assert_eq!(outcomes(vec![row("f", ""), row("f", "success")]), [lost, "success"]);
        assert_eq!(outcomes(vec![row("t", "success"), row("t", "")]), ["success", lost]);
    }
}
