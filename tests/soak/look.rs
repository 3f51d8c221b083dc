//! Reads the migrations' traces from a database.

use crate::{
    agreement::{Progress, Trace},
    files::{File, Statement},
    lab::postgres::Database,
};
use std::collections::BTreeMap;

/// Query for every statement's effect and its count. An invalid index does not count.
const EFFECTS: &str = "select version || '_' || statement, count(*) from marks where version > 0 group by 1 \
    union all select substr(relname, 2), 1 from pg_class left join pg_index on indexrelid = pg_class.oid \
    where relname ~ '^[ti][0-9]+_[0-9]+$' and coalesce(indisvalid, true)";

/// Returns the traces of the files, and a violation for each trace that belongs to none of them.
pub(crate) fn read_traces(database: &Database, files: &[File]) -> (Vec<Trace>, Vec<String>) {
    let session = database.session();
    let rows = |table: &str, sql: &str| {
        let exists = session.sql(&format!("select to_regclass('{table}') is not null")) == "t";
        if exists { session.sql(sql) } else { String::new() }
    };
    let mut effects = pairs(&session.sql(EFFECTS));
    let mut ledger = pairs(&rows("bastion_migrate.ledger", "select version, name from bastion_migrate.ledger"));
    let mut progresses = pairs(&rows(
        "bastion_migrate.ledger_progress",
        "select version, started || ' ' || done from bastion_migrate.ledger_progress",
    ));
    let mut traces = Vec::new();
    for (version, file) in (1..).zip(files) {
        let mut effect = |(number, statement): (usize, &Statement)| {
            let seen = effects.remove(&format!("{version}_{number}"));
            times(*statement, seen.map_or(0, |seen| seen.parse().expect("a count is a number")))
        };
        traces.push(Trace {
            name: File::name(version),
            mode: file.mode,
            effects: (1..).zip(&file.statements).map(&mut effect).collect(),
            recorded: ledger.remove(&version.to_string()).is_some(),
            progress: progresses.remove(&version.to_string()).map(|progress| parse_progress(&progress)),
        });
    }
    let unowned = [("effect", effects), ("row in the ledger", ledger), ("place", progresses)];
    let unowned = unowned.into_iter().flat_map(|(what, rest)| {
        rest.into_iter().map(move |(name, value)| format!("there is an {what} of no migration: {name} {value}"))
    });
    (traces, unowned.collect())
}

/// Returns how often the statement took effect. A part of its rows counts as twice, which is never allowed.
fn times(statement: Statement, seen: u64) -> Option<u64> {
    match statement {
        Statement::Sleep(_) | Statement::Vacuum | Statement::Notices(_) | Statement::ReturnedRows(_) => None,
        Statement::CopyRows(all) if seen == all => Some(1),
        Statement::CopyRows(_) if seen > 0 => Some(2),
        _ => Some(seen),
    }
}

fn pairs(rows: &str) -> BTreeMap<String, String> {
    rows.lines().filter_map(|row| row.split_once('|')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn parse_progress(progress: &str) -> Progress {
    let (started, done) = progress.split_once(' ').expect("two numbers");
    let number = |text: &str| text.parse().expect("a number");
    Progress { started: number(started), done: number(done) }
}
