//! What is left after a failure and how to go on, as the log and `docs/recovery.md` have it. Most of its rows are tests of
//! other files, which are named in the page.
#![expect(clippy::disallowed_methods, reason = "mounts a disk")]

use crate::{
    action::Action,
    lab::{
        Lab,
        postgres::{Options, Postgres},
        process::{chown_to_unprivileged, directory, run_checked},
    },
};
use std::{collections::BTreeSet, fs, path::Path, process::Command};
use tempfile::TempDir;

const FIRST: &str = "create table a (id int);\n";
const SECOND: &str = "create table b (id int);\n";

fn two_files(lab: &Lab) -> Action<'_> {
    Action::new(lab).file("migrations/0001_a.sql", FIRST).file("migrations/0002_b.sql", SECOND)
}

#[test]
fn a_restored_backup_is_migrated_from_where_it_was() {
    let (old, new) = (Lab::new(), Lab::new());
    Action::new(&old).file("migrations/0001_a.sql", FIRST).run().succeeds().applied(["0001_a"]).done();
    let backup = old.database.dump();
    two_files(&old).run().succeeds().applied(["0002_b"]).done();
    let lines = backup.lines().filter(|line| !line.starts_with('\\') || *line == "\\.");
    new.database.restore(&lines.collect::<Vec<_>>().join("\n"));
    two_files(&new).run().succeeds().applied(["0002_b"]).done();
    assert_eq!(new.database.contents(), old.database.contents());
}

#[test]
fn a_row_that_was_deleted_by_hand_is_recorded_by_a_baseline() {
    let lab = Lab::new();
    two_files(&lab).run().succeeds().applied(["0001_a", "0002_b"]).done();
    lab.database.sql("delete from bastion_migrate.ledger where version = 2");
    let failed = two_files(&lab).run().fails("statement-failed", 6).pending(["0002_b"]);
    let failed = failed.logs("now     this run has changed nothing in the database");
    failed.annotation("migrations/0002_b.sql", 1, "relation \"b\" already exists").done();
    let baseline = two_files(&lab).input("command", "baseline").input("target", "2");
    baseline.run().succeeds().applied(["0002_b"]).done();
    two_files(&lab).run().nothing_to_do().done();
}

#[test]
fn a_clock_that_jumps_changes_no_plan() {
    let lab = Lab::new();
    Action::new(&lab).file("migrations/0001_a.sql", FIRST).run().succeeds().applied(["0001_a"]).done();
    lab.database.sql("update bastion_migrate.ledger set applied_at = now() + interval '1 year'");
    two_files(&lab).run().succeeds().applied(["0002_b"]).done();
    two_files(&lab).run().nothing_to_do().done();
}

/// A small disk.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let disk = Self(directory());
        run_checked(Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(disk.0.path()));
        disk
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run_checked(Command::new("umount").arg("--lazy").arg(self.0.path()));
    }
}

#[test]
fn a_full_disk_rolls_the_file_back_and_the_next_run_applies_it() {
    let disk = SmallDisk::mount();
    let lab = Lab::on(&Postgres::start(&Options::default()));
    let place = disk.0.path().join("data");
    fs::create_dir(&place).expect("there is room");
    chown_to_unprivileged(&place);
    lab.database.sql(&format!("create tablespace small location '{}'", place.display()));
    lab.database.sql("grant create on tablespace small to app");
    let fill = |rows: u32| {
        let text = format!(
            "create table full_one tablespace small as select n, repeat('x', 1000) from generate_series(1, {rows}) n;\n"
        );
        Action::new(&lab).file("migrations/0001_a.sql", FIRST).file("migrations/0002_full.sql", text)
    };
    let failed = fill(100_000).run().fails("statement-failed", 6).applied(["0001_a"]).pending(["0002_full"]);
    failed.logs("now     1 of 2 migrations are applied and stay so; `migrations/0002_full.sql` is not applied").done();
    fill(100).run().succeeds().applied(["0002_full"]).done();
    lab.database.sql("drop table full_one");
    lab.database.sql("drop tablespace small");
}

#[test]
fn every_case_in_the_page_is_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/recovery.md")).expect("the page is there");
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what happened")).collect();
    assert!(rows.len() >= 40, "{} rows", rows.len());
    let mut named = BTreeSet::new();
    for row in rows {
        let test = row.split("<!-- ").nth(1).and_then(|rest| rest.split(" -->").next());
        let (file, name) = test.and_then(|test| test.split_once("::")).unwrap_or_else(|| panic!("no test: {row}"));
        let found = ["suite", "container"].iter().any(|tests| {
            let text = fs::read_to_string(root.join(format!("tests/{tests}/{file}.rs"))).unwrap_or_default();
            text.contains(&format!("fn {name}("))
        });
        assert!(found, "{file}::{name} does not exist");
        assert!(named.insert((file, name)), "{file}::{name} is named twice");
    }
}
