//! Copies the rows of a sample from the original into a copy: first those of each table, then, until none is missing, those
//! that they refer to. The original is read by one read-only transaction, which sees one state of it.

use super::{
    row_loading::{LoadedRows, RowLoading},
    sample_catalog::read_sample_catalog,
    sample_plan::{PlannedTable, SamplePlan, plan_sample, without_rows},
};
use crate::{
    fault::{Code, Fault},
    layout::Table,
    postgres::{Session, fault::query_fault, quote_identifier},
    random::random_token,
    settings::SampleSettings,
};
use futures_util::StreamExt as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::Duration,
};
use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, SimpleQueryMessage};

/// The most bytes of rows that are copied.
const MAX_BYTES: u64 = 512 << 20;

/// The longest time for reading rows.
const MAX_TIME: Duration = Duration::from_secs(300);

/// Number of tables that one message reads.
const TABLES_AT_ONCE: usize = 50;

/// Number of keys that one message looks for.
const KEYS_AT_ONCE: usize = 500;

/// The most missing keys that are taken from one foreign key at once.
const MAX_KEYS: usize = 20_000;

/// The longest chain of rows that refer to each other.
const MAX_ROUNDS: usize = 50;

/// The transaction that reads: nothing waits for it, and it waits for nobody for long. With `row_security` off the server
/// fails rather than hide rows; the search path has only the catalog, so that no code of others runs.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO pg_catalog, pg_temp; \
     SET LOCAL row_security TO off; SET LOCAL lock_timeout TO '2s'; SET LOCAL statement_timeout TO '60s'";

/// Time limit for one answer of the original: longer than its own limit for a statement.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// Foreign keys and triggers of the app are no concern of rows that were valid before.
const FILLING: &str = "SET session_replication_role TO replica; SET search_path TO pg_catalog, pg_temp";

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampledRows {
    /// Number of tables that have rows.
    pub tables: usize,
    /// Number of rows.
    pub rows: u64,
    /// Number of them that are there because others refer to them.
    pub referenced: u64,
    /// Bytes of the rows as text.
    pub bytes: u64,
}

/// The state of the copying.
struct Sampling<'s> {
    original: &'s Client,
    copy: &'s Client,
    plan: &'s SamplePlan,
    copied: BTreeMap<u32, LoadedRows>,
    bytes_left: u64,
    deadline: Instant,
    /// Tables that could not be read or filled, and the reasons.
    lacks: Vec<String>,
    late: Vec<String>,
}

/// Copies a sample into a copy that has the schema. `without` are the tables whose rows it has; `lacks` gets what is missing.
///
/// # Errors
/// `rehearsal-copy` if a setting names nothing that is there, or if the server of the copy accepts no rows; the lost
/// connection.
pub async fn copy_sample(
    (original, copy): (&Client, &Session),
    settings: &SampleSettings,
    without: &[Table],
    lacks: &mut Vec<String>,
) -> Result<SampledRows, Fault> {
    let catalog = read_sample_catalog(original, without).await?;
    let plan = plan_sample(&catalog, settings, &random_token())?;
    lacks.extend(plan.lacks.iter().cloned());
    copy_rows(original, copy, &plan, lacks).await
}

/// Copies the rows. `lacks` gets what is missing.
///
/// # Errors
/// `rehearsal-copy`, or the lost connection.
async fn copy_rows(
    original: &Client,
    copy: &Session,
    plan: &SamplePlan,
    lacks: &mut Vec<String>,
) -> Result<SampledRows, Fault> {
    copy.client.batch_execute(FILLING).await.map_err(|error| no_right_fault(&query_fault(&error)))?;
    original.batch_execute(BEGIN).await.map_err(|error| query_fault(&error))?;
    let mut sampling = Sampling {
        original,
        copy: &copy.client,
        plan,
        copied: BTreeMap::new(),
        bytes_left: MAX_BYTES,
        deadline: Instant::now() + MAX_TIME,
        lacks: Vec::new(),
        late: Vec::new(),
    };
    let done = match sampling.copy_samples().await {
        Ok(()) => sampling.copy_references().await,
        Err(fault) => Err(fault),
    };
    original.batch_execute("ROLLBACK").await.map_err(|error| query_fault(&error))?;
    let referenced = done?;
    let late = without_rows(
        &sampling.late,
        &format!("the sample has reached {} MiB or {} s", MAX_BYTES >> 20, MAX_TIME.as_secs()),
    );
    lacks.extend(sampling.lacks.into_iter().chain(late));
    let loaded = sampling.copied.values().filter(|loaded| loaded.rows > 0);
    Ok(SampledRows {
        tables: loaded.clone().count(),
        rows: loaded.map(|loaded| loaded.rows).sum(),
        referenced,
        bytes: MAX_BYTES - sampling.bytes_left,
    })
}

fn no_right_fault(fault: &Fault) -> Fault {
    let cause = format!("rows can't be copied into the server in `rehearse`: {}", fault.cause);
    let fix = "let `url` of `rehearse` name a superuser there, or a role with `GRANT SET ON PARAMETER session_replication_role` (PostgreSQL 15); \
               or remove `data`";
    Fault::new(Code::RehearsalCopy, cause).fix(fix)
}

impl Sampling<'_> {
    fn is_over(&self) -> bool {
        self.bytes_left == 0 || Instant::now() >= self.deadline
    }

    async fn copy_samples(&mut self) -> Result<(), Fault> {
        let plan = self.plan;
        let tables: Vec<(u32, &PlannedTable)> =
            plan.sampled.iter().filter_map(|oid| Some((*oid, plan.tables.get(oid)?))).collect();
        for group in tables.chunks(TABLES_AT_ONCE) {
            let mut rest = group;
            while !rest.is_empty() {
                if self.is_over() {
                    self.late.extend(rest.iter().map(|(_, table)| table.shown.clone()));
                    break;
                }
                let queries: Vec<String> = rest.iter().map(|(_, table)| table.sample_query()).collect();
                let read = self.read_into(&queries.join("; "), rest).await?;
                rest = rest.get(read..).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Copies rows that are referred to and not there, until none is missing. Returns their number.
    async fn copy_references(&mut self) -> Result<u64, Fault> {
        let plan = self.plan;
        let mut referenced = 0;
        let mut fresh: BTreeSet<u32> = self.copied.keys().copied().collect();
        for _ in 0..MAX_ROUNDS {
            let mut added = BTreeSet::new();
            for child in fresh.iter().filter_map(|oid| plan.tables.get(oid)) {
                for reference in &child.references {
                    let Some(parent) = plan.tables.get(&reference.table) else { continue };
                    let missing = self.missing_keys(child, parent, (&reference.columns, &reference.keys)).await?;
                    for keys in missing.chunks(KEYS_AT_ONCE) {
                        if self.is_over() {
                            self.late.push(parent.shown.clone());
                            break;
                        }
                        let before = self.rows_of(reference.table);
                        let query = parent.key_query(&reference.keys, keys);
                        self.read_into(&query, &[(reference.table, parent)]).await?;
                        let more = self.rows_of(reference.table) - before;
                        referenced += more;
                        added.extend((more > 0).then_some(reference.table));
                    }
                }
            }
            if added.is_empty() {
                break;
            }
            fresh = added;
        }
        self.late.sort();
        self.late.dedup();
        Ok(referenced)
    }

    fn rows_of(&self, oid: u32) -> u64 {
        self.copied.get(&oid).map_or(0, |loaded| loaded.rows)
    }

    /// Returns the keys that rows of the copy refer to and that are not there.
    async fn missing_keys(
        &self,
        child: &PlannedTable,
        parent: &PlannedTable,
        (columns, keys): (&[String], &[String]),
    ) -> Result<Vec<Vec<String>>, Fault> {
        let of_child: Vec<String> = columns.iter().map(|column| format!("c.{}", quote_identifier(column))).collect();
        let texts: Vec<String> = of_child.iter().map(|column| format!("{column}::pg_catalog.text")).collect();
        let given = of_child.iter().map(|column| format!("{column} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        let pairs = keys.iter().zip(&of_child).map(|(key, column)| format!("p.{} = {column}", quote_identifier(key)));
        let sql = format!(
            "SELECT DISTINCT {} FROM {} c WHERE {given} AND NOT EXISTS (SELECT FROM {} p WHERE {}) LIMIT {MAX_KEYS}",
            texts.join(", "),
            child.name,
            parent.name,
            pairs.collect::<Vec<_>>().join(" AND ")
        );
        let messages = self.copy.simple_query(&sql).await.map_err(|error| query_fault(&error))?;
        let key = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                (0..row.len()).map(|at| row.try_get(at).ok().flatten().map(str::to_owned)).collect()
            }
            _ => None,
        };
        Ok(messages.iter().filter_map(key).collect())
    }

    /// Reads the rows of these tables, which one message asks for, and adds them to the copy. Returns the number of tables
    /// that are done: all, or those up to one that can't be read.
    async fn read_into(&mut self, sql: &str, tables: &[(u32, &PlannedTable)]) -> Result<usize, Fault> {
        self.original.batch_execute("SAVEPOINT sample").await.map_err(|error| query_fault(&error))?;
        let mut at = 0;
        let mut loading: Option<RowLoading<'_>> = None;
        let failed = {
            let stream = self.original.simple_query_raw(sql).await.map_err(|error| query_fault(&error))?;
            let mut stream = pin!(stream);
            loop {
                let Ok(message) = timeout(ANSWER_LIMIT, stream.next()).await else { return Err(silence_fault()) };
                match message {
                    None => break None,
                    Some(Err(error)) => break Some(query_fault(&error)),
                    Some(Ok(SimpleQueryMessage::Row(row))) => {
                        let Some((_, table)) = tables.get(at) else { continue };
                        if self.bytes_left == 0 {
                            continue;
                        }
                        let current = match &mut loading {
                            Some(current) => current,
                            None => loading.insert(RowLoading::begin(self.copy, table).await?),
                        };
                        let bytes = current.add(&row).await;
                        self.bytes_left = self.bytes_left.saturating_sub(bytes);
                    }
                    Some(Ok(SimpleQueryMessage::CommandComplete(_))) => {
                        if let (Some(loading), Some((oid, _))) = (loading.take(), tables.get(at)) {
                            self.end_table(*oid, loading).await?;
                        }
                        at += 1;
                    }
                    Some(Ok(_)) => {}
                }
            }
        };
        let Some(fault) = failed else { return Ok(tables.len()) };
        if let Some(loading) = loading {
            loading.abandon().await?;
        }
        if fault.code.ends_session() {
            return Err(fault);
        }
        self.original.batch_execute("ROLLBACK TO SAVEPOINT sample").await.map_err(|error| query_fault(&error))?;
        if let Some((_, table)) = tables.get(at) {
            self.lacks.extend(without_rows(std::slice::from_ref(&table.shown), &reason_of(&fault)));
        }
        Ok(at + 1)
    }

    async fn end_table(&mut self, oid: u32, loading: RowLoading<'_>) -> Result<(), Fault> {
        let name = loading.table().shown.clone();
        let loaded = loading.end().await?;
        self.lacks.extend(loaded.problem.clone().map(|problem| format!("it lacks rows of `{name}`: {problem}")));
        let total = self.copied.entry(oid).or_default();
        total.rows += loaded.rows;
        Ok(())
    }
}

/// Returns the reason why a table can't be read, without the server's message: it could show a row.
fn reason_of(fault: &Fault) -> String {
    match fault.sqlstate.as_deref() {
        Some("57014") => "reading them took too long".to_owned(),
        Some("55P03") => "another session has locked it".to_owned(),
        Some("42501") => "the role may not read them".to_owned(),
        Some(state) => format!("the server refuses to read them (SQLSTATE {state})"),
        None => "the server refuses to read them".to_owned(),
    }
}

fn silence_fault() -> Fault {
    let cause = format!("the database has not answered for {} s while rows were read", ANSWER_LIMIT.as_secs());
    Fault::new(Code::DatabaseTimeout, cause)
}
