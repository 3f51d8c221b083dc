//! The database's share of a run's time.
#![expect(clippy::print_stdout, reason = "prints its results")]
#![expect(clippy::disallowed_methods, reason = "starts psql")]

use super::{
    expect_tables, files, finish,
    tool::{Tool, statement},
};
use crate::{
    lab::postgres::Database,
    sample::{Target, in_turns},
    table::{Table, heading},
    world::{DISTANCES, World},
};
use std::{
    fmt::Write as _,
    fs,
    process::Command,
    time::{Duration, Instant},
};

const FILES: usize = 1000;

const RUNS: usize = 3;

/// The target: the server's share of the total time.
const SHARE: Target = Target::AtLeast(0.8);

#[derive(Debug, Clone, Copy)]
enum Feeder {
    Program(Duration),
    /// `psql` without a bastion and without a distance.
    Psql,
}

/// Prints the table.
pub(super) fn run(world: &World) {
    heading(
        "The server's part",
        "A run of a thousand files, again from the program's start to its end. *Server* is PostgreSQL's own figure \
         for this database: `active_time` of `pg_stat_database`, the time in which a session was executing something. It \
         includes the commits' writes to disk and, on a machine with too few cores, the time of waiting for a core. \
         For comparison, `psql` runs locally with the same statements and a ledger row in the same transactions.",
    );
    Tool::Ours.lay_out(&files(world, Tool::Ours, FILES), FILES);
    fs::write(world.home().join("all.sql"), script()).expect("there is room");
    let mut table = Table::new(["who", "RTT", "in all, s", "server, s", "server / in all"]);
    let [near, middle, far] = DISTANCES.map(Feeder::Program);
    let feeders = [near, middle, far, Feeder::Psql];
    for (feeder, [all, server]) in feeders.into_iter().zip(in_turns(RUNS, feeders, |feeder| measure(world, feeder))) {
        let share = server.over(&all);
        let (who, rtt, verdict) = match feeder {
            Feeder::Program(distance) => {
                ("bastion-migrate", format!("{} ms", distance.as_millis()), SHARE.judge(share))
            }
            Feeder::Psql => ("psql, local", "–".to_owned(), format!("{share:.2}×")),
        };
        table.row([who.to_owned(), rtt, all.to_string(), server.to_string(), verdict]);
    }
    println!("{RUNS} runs of each:\n");
    table.print();
}

/// Returns a script with the same transactions and a comparable ledger.
fn script() -> String {
    let mut script = "create table ledger (version bigint primary key, name text, checksum text, applied_by text, \
                      applied_at timestamptz not null default now());\n"
        .to_owned();
    for number in 1..=FILES {
        writeln!(
            script,
            "begin; {} insert into ledger (version, name, checksum, applied_by) \
             values ({number}, 't', md5('{number}'), 'psql'); commit;",
            statement(number).trim_end()
        )
        .expect("writing to a string succeeds");
    }
    script
}

fn measure(world: &World, feeder: Feeder) -> [f64; 2] {
    let database = world.lab.database.server().database();
    let began = Instant::now();
    match feeder {
        Feeder::Program(distance) => {
            let network = world.network(distance);
            let files = files(world, Tool::Ours, FILES);
            finish(&mut Tool::Ours.command(world, &database, &files, network.port()));
        }
        Feeder::Psql => {
            let mut psql = Command::new("psql");
            psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(world.home().join("all.sql"));
            finish(psql.arg(world.url(&database, world.database_port()) + "?sslmode=disable"));
        }
    }
    let took = began.elapsed();
    expect_tables(&database, FILES);
    [took.as_secs_f64(), active(&database)]
}

/// Returns the active time in seconds. A session adds its own when it ends, before it leaves `pg_stat_activity`.
fn active(database: &Database) -> f64 {
    database.wait_for(
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        "0",
    );
    let milliseconds = database.sql("select active_time from pg_stat_database where datname = current_database()");
    milliseconds.parse::<f64>().expect("PostgreSQL counts since version 14") / 1e3
}
