//! Reads the migrations' traces from a database.

use crate::{
    agreement::{Progress, Trace},
    files::{File, NAME, PLAIN, Statement},
    layout_forms::{Form, Reach},
    recorded_run::{RecordedEnd, RecordedRun},
};
use std::{collections::BTreeMap, ops::Not as _};

/// Query for every statement's effect in the current schema and its count. An invalid index does not count.
const EFFECTS: &str = "select version || '_' || statement, count(*) from marks where version > 0 group by 1 \
    union all select substr(relname, 2), 1 from pg_class left join pg_index on indexrelid = pg_class.oid \
    where relname ~ '^[ti][0-9]+_[0-9]+$' and relnamespace = current_schema()::regnamespace and coalesce(indisvalid, true)";

/// Query for the record of runs, the oldest first.
const RUNS: &str = "select id, command, plan_digest, outcome, split_part(fault, ':', 1), planned, done, ended_at >= started_at \
    from bastion_migrate.runs order by started_at";

/// Runs a query as a superuser. Rows are returned as lines, columns separated by `|`.
pub(crate) type Sql<'q> = &'q dyn Fn(&str) -> String;

/// What a database has of the migrations. Each entry is removed when its migration is found.
struct Remains {
    effects: BTreeMap<String, String>,
    /// Versions and whether their migrations are complete.
    ledger: BTreeMap<String, String>,
    progresses: BTreeMap<String, String>,
}

/// Returns the traces of the files, and the violations that belong to none of them.
pub(crate) fn read_traces(sql: Sql<'_>, form: &Form, files: &[File]) -> (Vec<Trace>, Vec<String>) {
    let (mut remains, mut wrong) = read_remains(sql, form);
    let numbered = (1..).zip(files);
    let mut traces: Vec<Trace> = numbered.map(|(number, file)| remains.take_trace(form, number, file)).collect();
    if form.reach == Reach::UpTo {
        let newest = traces.iter().rposition(|trace| trace.recorded).map_or(0, |newest| newest + 1);
        traces.iter_mut().take(newest).for_each(|trace| trace.recorded = true);
    }
    wrong.extend(remains.unowned());
    (traces, wrong)
}

/// Returns the record of runs, the oldest first; nothing if no run was ever recorded.
pub(crate) fn read_runs(sql: Sql<'_>) -> Vec<RecordedRun> {
    if sql("select to_regclass('bastion_migrate.runs')").is_empty() {
        return Vec::new();
    }
    sql(RUNS).lines().map(parse_run).collect()
}

fn parse_run(row: &str) -> RecordedRun {
    let columns: Vec<&str> = row.split('|').collect();
    let [id, command, plan_digest, outcome, fault_code, planned, done, is_after_start] = columns[..] else {
        panic!("the row has other columns: {row}");
    };
    let count = |text: &str| text.parse().expect("an end has its counts");
    let end = || RecordedEnd {
        outcome: outcome.to_owned(),
        fault_code: fault_code.to_owned(),
        planned: count(planned),
        done: count(done),
        is_after_start: is_after_start == "t",
    };
    // A part of an end is none.
    let end = [outcome, fault_code, planned, done, is_after_start].concat().is_empty().not().then(end);
    RecordedRun { id: id.to_owned(), command: command.to_owned(), plan_digest: plan_digest.to_owned(), end }
}

fn read_remains(sql: Sql<'_>, form: &Form) -> (Remains, Vec<String>) {
    let rows = |table: &str, query: &str| {
        let exists = sql(&format!("select to_regclass('{table}') is not null")) == "t";
        if exists { sql(query) } else { String::new() }
    };
    let ledger = rows(form.table, form.versions);
    let progress = progress_table(form);
    let progresses = rows(&progress, &format!("select version, started || ' ' || done from {progress}"));
    let (effects, by_version) = (pairs(&sql(EFFECTS)), pairs(&ledger));
    let mut wrong = Vec::new();
    let count = ledger.lines().count();
    if count != by_version.len() || (form.reach == Reach::UpTo && count > 1) {
        wrong.push(format!("the ledger has too many rows: {ledger}"));
    }
    let dirty = by_version.iter().filter(|(_, complete)| *complete != "t");
    wrong.extend(dirty.map(|(version, _)| format!("the ledger's row of {version} is not complete")));
    (Remains { effects, ledger: by_version, progresses: pairs(&progresses) }, wrong)
}

/// Returns the table with the progress of migrations without a transaction; that of another tool's ledger is in our
/// own schema.
fn progress_table(form: &Form) -> String {
    if form.layout == PLAIN {
        return format!("{}_progress", form.table);
    }
    let schema = if form.table.contains('.') { "" } else { "public." };
    format!("bastion_migrate.\"{schema}{}_progress\"", form.table)
}

impl Remains {
    fn take_trace(&mut self, form: &Form, number: u32, file: &File) -> Trace {
        let version = form.recorded_version(number, NAME);
        let mut effect = |(statement_number, statement): (usize, &Statement)| {
            let seen = self.effects.remove(&format!("{number}_{statement_number}"));
            times(*statement, seen.map_or(0, |seen| seen.parse().expect("a count is a number")))
        };
        Trace {
            name: form.label(number, NAME),
            mode: file.mode,
            effects: (1..).zip(&file.statements).map(&mut effect).collect(),
            recorded: self.ledger.remove(&version).is_some(),
            progress: self.progresses.remove(&version).map(|progress| parse_progress(&progress)),
        }
    }

    fn unowned(self) -> impl Iterator<Item = String> {
        let all = [("effect", self.effects), ("row in the ledger", self.ledger), ("place", self.progresses)];
        all.into_iter().flat_map(|(what, rest)| {
            rest.into_iter().map(move |(name, value)| format!("there is an {what} of no migration: {name} {value}"))
        })
    }
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
