//! Migrations that leave traces: of every statement it can be told afterwards how often it took effect.

use crate::agreement::Way;
use proptest::{
    collection::vec,
    prelude::{Just, Strategy},
    prop_oneof,
};
use std::{fmt::Write as _, time::Duration};

/// One statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statement {
    /// Makes a table of its own.
    Table,
    /// Inserts one row.
    Row,
    /// Inserts so many rows by COPY.
    Rows(u64),
    /// Builds an index concurrently.
    Index,
    /// Runs as often as one likes, and not in a transaction.
    Vacuum,
    /// Takes so many milliseconds and leaves nothing.
    Sleep(u64),
    /// Says so many messages and leaves nothing.
    Flood(u64),
    /// Returns so many rows and leaves nothing.
    Returned(u64),
}

use Statement::{Flood, Index, Returned, Row, Rows, Sleep, Table, Vacuum};

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) way: Way,
    pub(crate) statements: Vec<Statement>,
}

/// What the files write to; made before the first run.
pub(crate) const GROUND: &str = "create table marks (version int, statement int); alter table marks owner to app; \
    insert into marks select 0, generate_series(1, 2000)";

impl File {
    /// Its name without directory and ending.
    pub(crate) fn name(version: usize) -> String {
        format!("{version:04}_m")
    }

    /// Its text.
    pub(crate) fn sql(&self, version: usize) -> String {
        let plain = |statement: &Statement| !matches!(statement, Index | Vacuum);
        let opts_out = self.way == Way::Statements && self.statements.iter().any(plain);
        let mut text = if opts_out { "-- no-transaction\n".to_owned() } else { String::new() };
        for (index, statement) in self.statements.iter().enumerate() {
            text.push_str(&statement.sql(version, index + 1));
        }
        text
    }
}

impl File {
    /// How long it takes, about: what it sleeps, and a little for each round trip.
    pub(crate) fn duration(&self) -> Duration {
        let statement = |statement: &Statement| match statement {
            Sleep(time) => *time,
            Index | Vacuum => 12,
            Table | Row | Rows(_) => 2,
            Flood(messages) => messages / 10,
            Returned(rows) => rows / 200,
        };
        Duration::from_millis(self.statements.iter().map(statement).sum())
    }

    /// How many lines it adds to the log.
    pub(crate) fn lines(&self) -> usize {
        let said = |statement: &Statement| match statement {
            Flood(messages) => usize::try_from(*messages).expect("they are few"),
            _ => 0,
        };
        3 + self.statements.iter().map(said).sum::<usize>()
    }
}

impl Statement {
    fn sql(self, version: usize, number: usize) -> String {
        match self {
            Table => format!("create table t{version}_{number} (id int);\n"),
            Row => format!("insert into marks values ({version}, {number});\n"),
            Rows(count) => {
                let mut sql = "copy marks from stdin;\n".to_owned();
                for _ in 0..count {
                    writeln!(sql, "{version}\t{number}").expect("a string takes everything");
                }
                sql + "\\.\n"
            }
            Index => format!("create index concurrently i{version}_{number} on marks (statement);\n"),
            Vacuum => "vacuum marks;\n".to_owned(),
            Flood(messages) => format!(
                "do $$ begin for i in 1..{messages} loop raise notice '% of {version} %', i, repeat('x', 40); end loop; end $$;\n"
            ),
            Returned(rows) => format!("select number, repeat('y', 60) from generate_series(1, {rows}) number;\n"),
            Sleep(time) => format!("select pg_sleep({}.{:03});\n", time / 1000, time % 1000),
        }
    }
}

/// A mixed set of migrations.
pub(crate) fn files() -> impl Strategy<Value = Vec<File>> {
    prop_oneof![
        4 => vec(file(), 1..9),
        // Many in flight at once.
        1 => vec(vec(plain(), 1..3).prop_map(whole), 20..60),
    ]
}

fn file() -> impl Strategy<Value = File> {
    let pause = || (5..250_u64).prop_map(Sleep);
    let copied = (2..400_u64).prop_map(Rows);
    let flood = || prop_oneof![(100..20_000_u64).prop_map(Flood), (1_000..200_000_u64).prop_map(Returned)];
    let alone = || prop_oneof![3 => Just(Index), 1 => Just(Vacuum)];
    let any = prop_oneof![3 => plain(), 1 => pause(), 2 => alone()];
    prop_oneof![
        3 => vec(plain(), 1..6).prop_map(whole),
        2 => (vec(plain(), 0..3), copied, vec(plain(), 0..3))
            .prop_map(|(before, copy, after)| whole([before, vec![copy], after].concat())),
        2 => (vec(plain(), 1..3), pause(), vec(plain(), 0..3))
            .prop_map(|(before, pause, after)| whole([before, vec![pause], after].concat())),
        2 => (vec(plain(), 0..3), vec(flood(), 1..3), vec(plain(), 0..3))
            .prop_map(|(before, flood, after)| whole([before, flood, after].concat())),
        2 => vec(alone(), 1..3).prop_map(alone_all),
        2 => vec(any, 1..6).prop_map(alone_all),
    ]
}

fn plain() -> impl Strategy<Value = Statement> {
    prop_oneof![Just(Table), Just(Row)]
}

fn whole(statements: Vec<Statement>) -> File {
    File { way: Way::Whole, statements }
}

/// Without a transaction only if there is a reason to.
fn alone_all(mut statements: Vec<Statement>) -> File {
    if !statements.iter().any(|statement| matches!(statement, Index | Vacuum)) {
        statements.push(Index);
    }
    File { way: Way::Statements, statements }
}
