//! A backup of 5 GB, which takes minutes and 20 GB of disk: `make backup-size` runs it.

use crate::{
    answers::peak_memory_within,
    backup::{backed_up, backup_in_report, comparable, finish_and_keep, restored},
    lab::{
        Lab,
        postgres::{Database, Options, Postgres},
        server::Server,
    },
};
use std::time::{Duration, Instant};

/// Time limit for the run.
const LIMIT: Duration = Duration::from_secs(3600);

/// Length of the dump, at least.
const BYTES: u64 = 5_000_000_000;

/// Memory limit for the action, with its code.
const MEMORY_LIMIT: u64 = 60 << 20;

/// Fills a table with base64 of random bytes: a quarter less is the best that a compression can do.
fn fill(database: &Database) {
    let random = BYTES + BYTES / 50;
    database.sql(&format!(
        "create unlogged table big (id int generated always as identity primary key, note text not null); \
         copy big (note) from program 'head -c {random} /dev/urandom | base64 --wrap=1000'; \
         create table small (id int primary key, big int references small); insert into small values (1, 1), (2, 1); \
         alter table big owner to app; alter table small owner to app"
    ));
}

/// Returns the rows of each table, and a digest of them.
fn content(database: &Database) -> String {
    database.sql("select 'big', count(*), sum(hashtextextended(note, id)) from big union all select 'small', count(*), sum(id) from small")
}

#[test]
#[ignore = "takes minutes and 20 GB of disk: `make backup-size`"]
fn five_gigabytes_stream_with_little_memory_and_are_restored_by_the_command_of_the_summary() {
    let (lab, server) = (Lab::on(&Postgres::start(&Options::default())), Server::start());
    fill(&lab.database);
    let before = (content(&lab.database), comparable(&lab.database.dump_schema()));
    let step = backed_up(&lab, &server, "data").input("run", "true").input("timeout", "60m");
    let workspace = step.workspace();
    let (running, began) = (step.start(), Instant::now());
    let peak = peak_memory_within(&running, LIMIT);
    let took = began.elapsed();
    let (finished, kept) = finish_and_keep(running, &workspace);
    let made = backup_in_report(&finished)["made"].clone();
    let (bytes, restore) = (made["bytes"].as_u64().unwrap(), made["restore"].as_str().unwrap());
    let megabytes = bytes as f64 / 1e6;
    eprintln!(
        "{megabytes:.0} MB in {took:?}, {:.1} MB/s, {} KiB of memory",
        megabytes / took.as_secs_f64(),
        peak >> 10
    );
    finished.succeeds().summary(restore).warning("no ledger was found in the database").done();
    assert!(bytes > BYTES, "{bytes}");
    assert!(peak < MEMORY_LIMIT, "{peak}");
    let began = Instant::now();
    let copy = restored(restore, kept.path());
    eprintln!("restored in {:?}", began.elapsed());
    assert_eq!((content(&copy), comparable(&copy.dump_schema())), before);
}
