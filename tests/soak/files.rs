//! Migrations whose statements leave traces that show how often each took effect.

use crate::{
    agreement::TransactionMode,
    layout_forms::{Form, TextFile},
};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy},
    prop_oneof,
};
use std::{fmt::Write as _, time::Duration};

/// A statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statement {
    /// Creates a table of its own.
    Table,
    /// Inserts one row.
    InsertRow,
    /// Inserts this many rows by COPY.
    CopyRows(u64),
    /// Builds an index concurrently.
    Index,
    /// Vacuums: idempotent, and not allowed in a transaction.
    Vacuum,
    /// Sleeps for this many milliseconds and leaves no trace.
    Sleep(u64),
    /// Raises this many notices and leaves no trace.
    Notices(u64),
    /// Returns this many rows and leaves no trace.
    ReturnedRows(u64),
}

use Statement::{CopyRows, Index, InsertRow, Notices, ReturnedRows, Sleep, Table, Vacuum};

/// A migration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) mode: TransactionMode,
    pub(crate) statements: Vec<Statement>,
}

/// The layout of a soak that is given none.
pub(crate) const PLAIN: &str = "plain";

/// The name of every migration; their numbers tell them apart.
pub(crate) const NAME: &str = "m";

/// Creates the table that the files write to; run before the first migration.
pub(crate) const SETUP: &str = "create table marks (version int, statement int); alter table marks owner to app; \
    insert into marks select 0, generate_series(1, 2000)";

impl File {
    /// Returns the files of the migration, as the layout has them.
    pub(crate) fn texts(&self, form: &Form, number: u32) -> Vec<TextFile> {
        let (name, sql) = (NAME, self.sql(number));
        if self.opts_out() {
            form.texts_without_transaction(number, name, &sql)
        } else {
            form.texts(number, name, &sql)
        }
    }

    /// Reports whether the file has to opt out: its statements alone do not require its mode.
    fn opts_out(&self) -> bool {
        let plain = |statement: &Statement| !matches!(statement, Index | Vacuum);
        self.mode == TransactionMode::PerStatement && self.statements.iter().any(plain)
    }

    fn sql(&self, version: u32) -> String {
        (1..).zip(&self.statements).map(|(number, statement)| statement.sql(version, number)).collect()
    }
}

impl File {
    /// Estimates the duration: the sleeps, and a little for each round trip.
    pub(crate) fn duration(&self) -> Duration {
        let statement = |statement: &Statement| match statement {
            Sleep(time) => *time,
            Index | Vacuum => 12,
            Table | InsertRow | CopyRows(_) => 2,
            Notices(messages) => messages / 10,
            ReturnedRows(rows) => rows / 200,
        };
        Duration::from_millis(self.statements.iter().map(statement).sum())
    }

    /// Returns how many lines the file adds to the log.
    pub(crate) fn lines(&self) -> usize {
        let notices = |statement: &Statement| match statement {
            Notices(messages) => usize::try_from(*messages).expect("they are few"),
            _ => 0,
        };
        3 + self.statements.iter().map(notices).sum::<usize>()
    }
}

impl Statement {
    fn sql(self, version: u32, number: usize) -> String {
        match self {
            Table => format!("create table t{version}_{number} (id int);\n"),
            InsertRow => format!("insert into marks values ({version}, {number});\n"),
            CopyRows(count) => {
                let mut sql = "copy marks from stdin;\n".to_owned();
                for _ in 0..count {
                    writeln!(sql, "{version}\t{number}").expect("writing to a string succeeds");
                }
                sql + "\\.\n"
            }
            Index => format!("create index concurrently i{version}_{number} on marks (statement);\n"),
            Vacuum => "vacuum marks;\n".to_owned(),
            Notices(messages) => format!(
                "do $$ begin for i in 1..{messages} loop raise notice '% of {version} %', i, repeat('x', 40); end loop; end $$;\n"
            ),
            ReturnedRows(rows) => format!("select number, repeat('y', 60) from generate_series(1, {rows}) number;\n"),
            Sleep(time) => format!("select pg_sleep({}.{:03});\n", time / 1000, time % 1000),
        }
    }
}

/// Generates a mixed set of migrations.
pub(crate) fn files() -> impl Strategy<Value = Vec<File>> {
    prop_oneof![
        4 => vec(file(), 1..9),
        // Many files that are pipelined.
        1 => vec(vec(plain(), 1..3).prop_map(single_transaction), 20..60),
    ]
}

fn file() -> impl Strategy<Value = File> {
    let pause = || (5..250_u64).prop_map(Sleep);
    let copied = (2..400_u64).prop_map(CopyRows);
    let flood = || prop_oneof![(100..20_000_u64).prop_map(Notices), (1_000..200_000_u64).prop_map(ReturnedRows)];
    let non_transactional = || prop_oneof![3 => Just(Index), 1 => Just(Vacuum)];
    let any = prop_oneof![3 => plain(), 1 => pause(), 2 => non_transactional()];
    prop_oneof![
        3 => vec(plain(), 1..6).prop_map(single_transaction),
        2 => (vec(plain(), 0..3), copied, vec(plain(), 0..3))
            .prop_map(|(before, copy, after)| single_transaction([before, vec![copy], after].concat())),
        2 => (vec(plain(), 1..3), pause(), vec(plain(), 0..3))
            .prop_map(|(before, pause, after)| single_transaction([before, vec![pause], after].concat())),
        2 => (vec(plain(), 0..3), vec(flood(), 1..3), vec(plain(), 0..3))
            .prop_map(|(before, flood, after)| single_transaction([before, flood, after].concat())),
        2 => vec(non_transactional(), 1..3).prop_map(per_statement),
        2 => vec(any, 1..6).prop_map(per_statement),
    ]
}

fn plain() -> impl Strategy<Value = Statement> {
    prop_oneof![Just(Table), Just(InsertRow)]
}

fn single_transaction(statements: Vec<Statement>) -> File {
    File { mode: TransactionMode::SingleTransaction, statements }
}

/// Returns a file without a transaction, with an index if nothing else requires that mode.
fn per_statement(mut statements: Vec<Statement>) -> File {
    if !statements.iter().any(|statement| matches!(statement, Index | Vacuum)) {
        statements.push(Index);
    }
    File { mode: TransactionMode::PerStatement, statements }
}
