//! The estimate of a plan, beside the time that the statement then takes, on a table of five million rows.

use crate::{
    table::{Table, heading},
    world::{World, runtime},
};
use bastion_migrate::{
    review::{
        FactsQuestion, MigrationScript, PlanNames, PlanPath, Scales, ScriptEffects, ScriptTransaction, WorkRates,
        read_table_facts, statement_effects, weigh_plan,
    },
    run::{Estimate, MigrationId},
    settings::{QueryDisplay, RiskSettings},
};
use futures_util::future::{Either, select};
use std::{
    pin::pin,
    time::{Duration, Instant},
};
use tokio_postgres::{Config, NoTls};

const ROWS: u32 = 5_000_000;

/// The forms: a name, the statement that prepares it, and the statement itself.
const FORMS: [(&str, &str, &str); 5] = [
    ("scan", "SELECT 1", "ALTER TABLE big ADD CONSTRAINT big_positive CHECK (id > 0)"),
    (
        "validate",
        "ALTER TABLE big ADD CONSTRAINT big_small CHECK (n < 1000) NOT VALID",
        "ALTER TABLE big VALIDATE CONSTRAINT big_small",
    ),
    ("not null", "SELECT 1", "ALTER TABLE big ALTER COLUMN n SET NOT NULL"),
    ("index", "SELECT 1", "CREATE INDEX big_n ON big (n)"),
    ("rewrite", "SELECT 1", "ALTER TABLE big ALTER COLUMN n TYPE bigint"),
];

/// Prints the table.
pub(crate) fn run() {
    heading(
        "Estimates",
        "The estimate of the plan for a table of five million rows (id, a number, a text of 60 characters; one index), and the \
         time that the statement then took, in seconds. An estimate is a range, because it knows the table and not the disk; \
         *error* is how far the time lies outside of it.",
    );
    let world = World::durable();
    let database = &world.lab.database;
    database.sql(&format!(
        "CREATE TABLE big AS SELECT id, id % 1000 AS n, repeat('x', 60) AS text FROM generate_series(1, {ROWS}) id; \
         ALTER TABLE big ADD PRIMARY KEY (id); ANALYZE big"
    ));
    let mut table = Table::new(["form", "forecast, s", "took, s", "error", "confidence"]);
    for (form, preparation, statement) in FORMS {
        database.sql(preparation);
        let estimate = forecast(&world, statement);
        let start = Instant::now();
        database.sql(statement);
        let took = start.elapsed();
        let seconds = |millis: u64| Duration::from_millis(millis).as_secs_f64();
        let range = estimate.as_ref().map(|found| (seconds(found.from_ms), seconds(found.to_ms)));
        table.row([
            form.to_owned(),
            range.map_or_else(|| "none".to_owned(), |(from, to)| format!("{from:.2} to {to:.2}")),
            format!("{:.2}", took.as_secs_f64()),
            range.map_or_else(|| "–".to_owned(), |range| describe_error(range, took.as_secs_f64())),
            estimate.map_or_else(|| "–".to_owned(), |found| found.confidence.name().to_owned()),
        ]);
    }
    table.print();
}

fn describe_error((from, to): (f64, f64), took: f64) -> String {
    if took < from {
        return format!("{:.1}× quicker", from / took);
    }
    if took > to {
        return format!("{:.1}× slower", took / to);
    }
    "inside".to_owned()
}

/// Returns the estimate of the plan with this statement alone.
fn forecast(world: &World, statement: &str) -> Option<Estimate> {
    let script = MigrationScript {
        id: MigrationId::default(),
        sql: format!("{statement};"),
        transaction: ScriptTransaction::Whole,
        hidden: Vec::new(),
    };
    let effects = statement_effects(&script, 150_000);
    let question = FactsQuestion {
        names: PlanNames::of(&effects),
        path: PlanPath::Session,
        queries: QueryDisplay::FirstWords,
        small_table: RiskSettings::default().small_table,
    };
    let facts = runtime().block_on(async {
        let config: Config = world.url(&world.lab.database, world.database_port()).parse().expect("it is a URL");
        let (client, connection) = config.connect(NoTls).await.expect("the database accepts the login");
        let (connection, reading) = (pin!(connection), pin!(read_table_facts(&client, &question)));
        match select(reading, connection).await {
            Either::Left((facts, _)) => facts.expect("the facts can be read"),
            Either::Right(_) => panic!("the connection has ended"),
        }
    });
    let scales = Scales { facts: &facts, settings: &RiskSettings::default(), rates: &WorkRates::TYPICAL, allowed: &[] };
    let scripts = [ScriptEffects { migration: &script.id, transaction: script.transaction, effects: &effects }];
    weigh_plan(&scripts, &scales).statements.into_iter().find_map(|statement| statement.estimate)
}
