//! How a database is seen.

use crate::{
    agreement::{Place, Trace},
    files::{File, Statement},
    lab::postgres::Database,
};
use std::collections::BTreeMap;

/// Every effect of every statement and how often it is there, then every recorded version and every place. An index that is
/// not whole is not there.
const EFFECTS: &str = "select version || '_' || statement, count(*) from marks where version > 0 group by 1 \
    union all select substr(relname, 2), 1 from pg_class left join pg_index on indexrelid = pg_class.oid \
    where relname ~ '^[ti][0-9]+_[0-9]+$' and coalesce(indisvalid, true)";

/// The traces of the files, and what is there and belongs to none of them.
pub(crate) fn look(database: &Database, files: &[File]) -> (Vec<Trace>, Vec<String>) {
    let session = database.session();
    let rows = |table: &str, sql: &str| {
        let there = session.sql(&format!("select to_regclass('{table}') is not null")) == "t";
        if there { session.sql(sql) } else { String::new() }
    };
    let mut effects = pairs(&session.sql(EFFECTS));
    let mut ledger = pairs(&rows("bastion_migrate.ledger", "select version, name from bastion_migrate.ledger"));
    let mut places = pairs(&rows(
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
            way: file.way,
            effects: (1..).zip(&file.statements).map(&mut effect).collect(),
            recorded: ledger.remove(&version.to_string()).is_some(),
            place: places.remove(&version.to_string()).map(|place| read_place(&place)),
        });
    }
    let strange = [("effect", effects), ("row in the ledger", ledger), ("place", places)];
    let strange = strange.into_iter().flat_map(|(what, rest)| {
        rest.into_iter().map(move |(name, value)| format!("there is an {what} of nobody's: {name} {value}"))
    });
    (traces, strange.collect())
}

/// How often the statement took effect; rows that are neither none nor all are two times.
fn times(statement: Statement, seen: u64) -> Option<u64> {
    match statement {
        Statement::Sleep(_) | Statement::Vacuum | Statement::Flood(_) | Statement::Returned(_) => None,
        Statement::Rows(all) if seen == all => Some(1),
        Statement::Rows(_) if seen > 0 => Some(2),
        _ => Some(seen),
    }
}

fn pairs(rows: &str) -> BTreeMap<String, String> {
    rows.lines().filter_map(|row| row.split_once('|')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn read_place(place: &str) -> Place {
    let (started, done) = place.split_once(' ').expect("two numbers");
    let number = |text: &str| text.parse().expect("a number");
    Place { started: number(started), done: number(done) }
}
