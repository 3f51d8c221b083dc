//! The backup before a migration: what it contains, that it can be restored, and that nothing less than a whole one lets a
//! migration begin. `pg_dump` runs on the deployment server here; `tests/container/backup.rs` has its containers,
//! `backup_cuts.rs` the disruptions at random moments, and `large_backup.rs` a backup of 5 GB.
#![expect(clippy::disallowed_methods, reason = "restores backups with the programs that people use")]

use crate::{
    action::{Action, Running},
    answers::peak_memory_until_end,
    backup_cuts::{Cut, cut_connection, ended_by},
    judge::Finished,
    lab::{
        Lab, poll,
        postgres::{Database, Options, PASSWORD, Postgres},
        process::directory,
        server::{Server, from_the_server},
        venv::postgresql_17,
    },
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const SOON: Duration = Duration::from_secs(60);

/// A step on the server with a table to migrate, and this backup.
pub(crate) fn backed_up<'a>(lab: &'a Lab, server: &'a Server, backup: &str) -> Action<'a> {
    let command = format!("psql -Xq '{}' -c 'create table migrated ()'", from_the_server(&lab.database));
    Action::on_server(lab, server)
        .secret("database-url", lab.database.url())
        .input("run", command)
        .input("backup", backup)
}

/// Creates tables whose names, owners and columns have to survive.
fn shop(database: &Database) {
    database.sql(
        "set role app; create type mood as enum ('sad', 'ok'); create schema \"Odd.Name\"; \
         create table orders (id bigint generated always as identity primary key, note text not null, mood mood); \
         insert into orders (note, mood) select repeat('x', n % 50), 'ok' from generate_series(1, 5000) n; \
         create table \"Odd.Name\".\"it's \"\"x\"\"*\" (id int references orders); \
         create view sad as select * from orders where mood = 'sad'; \
         create materialized view counts as select count(*) from orders; \
         create table events (at date) partition by range (at); \
         create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01'); \
         insert into events values ('2026-05-01')",
    );
}

/// Fills a table with text that can hardly be compressed.
pub(crate) fn fill(database: &Database, megabytes: u32) {
    database.sql(&format!(
        "set role app; create table big (id int, note text); insert into big select n, (select string_agg(md5(random()::text || m || n), '') \
         from generate_series(1, 32) m) from generate_series(1, {}) n",
        megabytes * 900
    ));
}

/// The files in the workspace's directory of backups, without the directory.
pub(crate) fn backups(workspace: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(workspace.join("backups")) else { return Vec::new() };
    entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect()
}

/// Waits for the end of the step, and keeps its backups.
pub(crate) fn finish_and_keep(mut running: Running<'_>, workspace: &Path) -> (Finished, tempfile::TempDir) {
    running.wait();
    let kept = directory();
    let backups = workspace.join("backups");
    if backups.exists() {
        fs::rename(backups, kept.path().join("backups")).expect("both are on one disk");
    }
    (running.finish(), kept)
}

pub(crate) fn backup_in_report(finished: &Finished) -> Value {
    let report: Value = serde_json::from_str(&finished.outputs["report"]).expect("the report is JSON");
    report["backup"].clone()
}

/// Runs the command of a summary in this directory, and returns a new server with what it has restored.
pub(crate) fn restored(command: &str, workspace: &Path) -> Database {
    let database = Postgres::start(&Options::default()).database();
    let url = from_the_server(&database);
    let output = Command::new("sh").args(["-c", command]).env("RESTORE_URL", url).current_dir(workspace).output();
    let output = output.expect("there is a shell");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    database
}

/// The text of a dump without the words that differ in each: they guard psql while it reads the text.
pub(crate) fn comparable(dump: &str) -> String {
    let is_guard = |line: &&str| line.starts_with("\\restrict ") || line.starts_with("\\unrestrict ");
    dump.lines().filter(|line| !is_guard(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_proven_backup_is_made_before_the_migration_and_its_command_restores_it() {
    let (lab, server) = (Lab::new(), Server::start());
    shop(&lab.database);
    let before = comparable(&lab.database.dump());
    let step = backed_up(&lab, &server, "data").input("environment", "prod");
    let workspace = step.workspace();
    let (finished, kept) = finish_and_keep(step.start(), &workspace);
    let backup = backup_in_report(&finished);
    let path = finished.outputs["backup"].clone();
    let name = format!("backups/prod-{}-", lab.database.name());
    assert!(path.starts_with(&name) && path.ends_with(".dump"), "{path}");
    assert_eq!(backups(kept.path()), [path.trim_start_matches("backups/")]);
    let made = &backup["made"];
    let bytes = fs::metadata(kept.path().join(&path)).unwrap().len();
    assert_eq!((made["bytes"].as_u64(), made["path"].as_str()), (Some(bytes), Some(path.as_str())));
    assert!(made["proof"].as_str().unwrap().contains("with the rows of 3 tables"), "{made}");
    let restore = made["restore"].as_str().unwrap().to_owned();
    finished
        .succeeds()
        .summary("### Backup")
        .summary(&restore)
        .logs("restore   pg_restore")
        .warning("no ledger was found in the database")
        .done();
    assert_eq!(comparable(&restored(&restore, kept.path()).dump()), before);
    assert_eq!(lab.database.sql("select to_regclass('migrated')"), "migrated");
}

#[test]
fn an_encrypted_backup_is_restored_with_the_key_alone() {
    let (lab, server) = (Lab::new(), Server::start());
    shop(&lab.database);
    let before = comparable(&lab.database.dump());
    let key = directory();
    let keygen = Command::new("age-keygen").arg("-o").arg(key.path().join("key.txt")).output();
    assert!(keygen.expect("age is installed: run `make setup`").status.success());
    let text = fs::read_to_string(key.path().join("key.txt")).unwrap();
    let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let step = backed_up(&lab, &server, &format!("{{ what: data, encrypt-to: {recipient} }}"));
    let workspace = step.workspace();
    let (finished, kept) = finish_and_keep(step.start(), &workspace);
    let path = finished.outputs["backup"].clone();
    assert!(path.ends_with(".dump.age"), "{path}");
    let file = fs::read(kept.path().join(&path)).unwrap();
    assert!(file.starts_with(b"age-encryption.org/v1\n") && !file.windows(5).any(|part| part == b"PGDMP"));
    let restore = backup_in_report(&finished)["made"]["restore"].as_str().unwrap().to_owned();
    finished.succeeds().warning("no ledger was found in the database").done();
    fs::copy(key.path().join("key.txt"), kept.path().join("key.txt")).unwrap();
    assert_eq!(comparable(&restored(&restore, kept.path()).dump()), before);
}

/// Debian's `pg_dump` is older than the first one that knows zstd; `PyPI` has a newer one. The command is that of
/// `docs/backup.md` for a server that is older than `pg_restore`.
#[test]
fn a_newer_pg_dump_compresses_with_zstd_and_its_backup_is_restored_as_the_documents_show() {
    let (lab, server) = (Lab::new(), Server::start());
    shop(&lab.database);
    let before = comparable(&lab.database.dump());
    let programs = postgresql_17();
    let programs = programs.display();
    let step = backed_up(&lab, &server, "data").input("setup", format!("PATH={programs}:$PATH"));
    let workspace = step.workspace();
    let (finished, kept) = finish_and_keep(step.start(), &workspace);
    let path = finished.outputs["backup"].clone();
    let finished = finished.succeeds().logs("made by pg_dump (PostgreSQL) 17");
    finished.warning("no ledger was found in the database").done();
    let listed = Command::new(format!("{programs}/pg_restore")).arg("--list").arg(kept.path().join(&path)).output();
    let listed = String::from_utf8_lossy(&listed.expect("there is pg_restore").stdout).into_owned();
    assert!(listed.contains("Compression: zstd"), "{listed}");
    let by_sql = "sed '1,20{/^SET transaction_timeout/d;}' | psql --no-psqlrc --set=ON_ERROR_STOP=1 \"$RESTORE_URL\"";
    let restore = format!("PATH={programs}:$PATH; pg_restore --file=- {path} | {by_sql}");
    assert_eq!(comparable(&restored(&restore, kept.path()).dump()), before);
}

#[test]
fn a_backup_of_the_schema_has_no_rows_and_goes_where_it_is_told() {
    let (lab, server) = (Lab::new(), Server::start());
    shop(&lab.database);
    let step = backed_up(&lab, &server, "{ what: schema, to: backups/deep/before.dump }");
    let workspace = step.workspace();
    let (finished, kept) = finish_and_keep(step.start(), &workspace);
    let restore = backup_in_report(&finished)["made"]["restore"].as_str().unwrap().to_owned();
    finished
        .succeeds()
        .output("backup", "backups/deep/before.dump")
        .warning("no ledger was found in the database")
        .done();
    let copy = restored(&restore, kept.path());
    assert_eq!(copy.sql("select count(*) from orders"), "0");
    assert_eq!(copy.sql("select count(*) from events_2026"), "0");
}

#[test]
fn a_large_table_streams_with_little_memory_and_no_copy_on_the_server() {
    let (lab, server) = (Lab::new(), Server::start());
    fill(&lab.database, 100);
    let command = format!("sleep 2; psql -Xq '{}' -c 'create table migrated ()'", from_the_server(&lab.database));
    let running = backed_up(&lab, &server, "data").input("run", command).start();
    let peak = peak_memory_until_end(&running);
    let finished = running.finish();
    let bytes = backup_in_report(&finished)["made"]["bytes"].as_u64().unwrap();
    assert!(bytes > 40 << 20, "{bytes}");
    assert!(peak < 60 << 20, "{peak}");
    finished.succeeds().warning("no ledger was found in the database").done();
}

/// Waits until the backup is being written, and returns the process of `pg_dump`.
pub(crate) fn pg_dump_of(running: &Running<'_>, server: &Server, workspace: &Path) -> u32 {
    running.wait_for_line("$ pg_dump", SOON);
    let grows = || {
        let incomplete = backups(workspace).into_iter().find(|name| name.ends_with(".incomplete"))?;
        let length = fs::metadata(workspace.join("backups").join(incomplete)).ok()?.len();
        (length > 0).then_some(())
    };
    poll(SOON, grows).expect("the backup grows");
    let processes = server.login().processes();
    let is_dump = |line: &str| line.contains("--format=custom") && line.contains("pg_dump");
    *processes.iter().find(|(_, line)| is_dump(line)).unwrap_or_else(|| panic!("{processes:?}")).0
}

/// Fails unless nothing that passes for a backup is there, and nothing was migrated.
pub(crate) fn nothing_passes(lab: &Lab, workspace: &Path) {
    assert_eq!(backups(workspace), [""; 0]);
    assert_eq!(lab.database.sql("select to_regclass('migrated')"), "");
}

#[test]
fn a_cancelled_backup_leaves_nothing() {
    let (lab, server) = (Lab::new(), Server::start());
    fill(&lab.database, 60);
    let step = backed_up(&lab, &server, "data");
    let workspace = step.workspace();
    let mut running = step.start();
    pg_dump_of(&running, &server, &workspace);
    running.signal(Signal::INT);
    running.wait();
    nothing_passes(&lab, &workspace);
    running.finish().cleans_up().fails("cancelled", 130).error("in backup").done();
}

#[test]
fn no_secret_is_in_a_process_list() {
    let (lab, server) = (Lab::new(), Server::start());
    fill(&lab.database, 30);
    let step = backed_up(&lab, &server, "data");
    let workspace = step.workspace();
    let running = step.start();
    pg_dump_of(&running, &server, &workspace);
    let lines: Vec<String> = server.login().processes().into_values().collect();
    assert!(lines.iter().all(|line| !line.contains(PASSWORD) && !line.contains("pa55")), "{lines:#?}");
    running.finish().succeeds().warning("no ledger was found in the database").done();
}

#[test]
fn a_full_disk_leaves_no_backup_and_no_migration() {
    let (lab, server) = (Lab::new(), Server::start());
    fill(&lab.database, 10);
    let step = backed_up(&lab, &server, "data");
    let workspace = step.workspace();
    let disk = workspace.join("backups");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&disk).status();
    assert!(mounted.expect("there is a mount").success());
    let mut running = step.start();
    running.wait();
    nothing_passes(&lab, &workspace);
    assert!(Command::new("umount").arg(&disk).status().expect("there is an umount").success());
    running.finish().fails("backup-failed", 5).error("there is no room for the file `backups/").done();
}

#[test]
fn a_backup_that_is_too_large_or_whose_file_exists_is_refused_before_the_dump() {
    let (lab, server) = (Lab::new(), Server::start());
    fill(&lab.database, 1);
    let large = |step: Action<'_>| {
        let refused = step.input("backup", "{ what: data, max: 500kB }").run().fails("backup-refused", 5);
        refused.error("and `max` of `backup` is 488 kB").never_logs("$ pg_dump")
    };
    large(backed_up(&lab, &server, "data")).done();
    let plan = Action::new(&lab).file("migrations/0001_a.sql", "create table a ();").input("command", "plan");
    large(plan).pending(["0001_a"]).done();
    let there = backed_up(&lab, &server, "{ to: backups/a.dump }").file("backups/a.dump", "precious").run();
    there.fails("backup-refused", 5).error("there is a file `backups/a.dump` already").done();
    let missing = backed_up(&lab, &server, "{ tables: [big, orders] }").run();
    missing.fails("backup-refused", 5).error("there is no table `orders` to back up").done();
    assert_eq!(lab.database.sql("select to_regclass('migrated')"), "");
}

#[test]
fn a_dump_that_grows_beyond_its_limit_is_broken_off() {
    let (lab, server) = (Lab::new(), Server::start());
    // As large as allowed at the first look; its text is longer than its estimate, as it is stored compressed.
    lab.database.sql("set role app; create table big (note text); insert into big select 'x'");
    let step = backed_up(&lab, &server, "{ what: schema, max: 1kB }");
    let workspace = step.workspace();
    let mut running = step.start();
    running.wait();
    nothing_passes(&lab, &workspace);
    running.finish().fails("backup-failed", 5).error("the dump is larger than `max` of `backup`").done();
}

#[test]
fn a_server_without_a_fitting_pg_dump_is_named_with_the_remedy() {
    let (lab, server) = (Lab::new(), Server::start());
    let server = server.file("bin/x", "");
    let program = |text: &str| {
        let path = server.programs().join("pg_dump");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    program("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n");
    let old = backed_up(&lab, &server, "data").run().fails("backup-refused", 5);
    old.error("pg_dump 9 on the server is older than the server, which is PostgreSQL 15").done();
    program(
        "#!/bin/sh\ncase $1 in --version) echo 'pg_dump (PostgreSQL) 15.3';; *) echo 'pg_dump: error: no' >&2; exit 1;; esac\n",
    );
    let failed = backed_up(&lab, &server, "data").run().fails("backup-failed", 5);
    failed.error("pg_dump ended with code 1: no").done();
    let without = backed_up(&lab, &server, "data").input("setup", "PATH=/nowhere").run();
    without.fails("backup-refused", 5).error("there is no `pg_dump` on the server").done();
    // A dump that lacks the rows of a table is none, even if every program is content with it.
    fill(&lab.database, 1);
    program(
        "#!/bin/sh\n[ \"$1\" = --version ] || set -- \"$@\" --exclude-table-data=big\nexec /usr/bin/pg_dump \"$@\"\n",
    );
    let partial = backed_up(&lab, &server, "data").run().fails("backup-failed", 5);
    partial.error("the dump does not contain the rows of public.big").done();
    assert_eq!(lab.database.sql("select to_regclass('migrated')"), "");
}

#[test]
fn a_command_reads_the_dump_and_a_broken_one_is_not_kept() {
    let (lab, server) = (Lab::new(), Server::start());
    shop(&lab.database);
    let keep = "cat >kept.part && mv kept.part kept.dump && echo kept";
    let backup = format!("{{ what: data, to: {{ command: '{keep}' }} }}");
    let step = backed_up(&lab, &server, &backup).leaves_on_server("kept.dump").run();
    step.succeeds().output("backup", "").logs("| kept").warning("no ledger was found in the database").done();
    let stored: PathBuf = server.path("kept.dump");
    let listed = Command::new("pg_restore").arg("--list").arg(&stored).output().expect("there is pg_restore");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("TABLE DATA public orders"));
    lab.database.sql("drop table migrated");
    let server = server.without("kept.dump");
    let refuse = "{ what: data, to: { command: 'exit 7' } }";
    let refused = backed_up(&lab, &server, refuse).run().fails("backup-failed", 5);
    refused.error("the command in `to` ended with code 7").done();
    fill(&lab.database, 60);
    let running = backed_up(&lab, &server, &backup).start();
    running.wait_for_line("$ pg_dump", SOON);
    poll(SOON, || fs::metadata(server.path("kept.part")).is_ok_and(|file| file.len() > 0).then_some(()));
    cut_connection(&server);
    ended_by(running.finish(), Cut::Connection, &server);
    assert!(!server.path("kept.dump").exists());
    assert_eq!(lab.database.sql("select to_regclass('migrated')"), "");
}

#[test]
fn a_snapshot_by_a_command_has_to_succeed_and_runs_only_if_something_is_pending() {
    let (lab, server) = (Lab::new(), Server::start());
    let step = |command: &str| {
        Action::on_server(&lab, &server)
            .input("executor", "sql")
            .secret("database-url", lab.database.url())
            .file("migrations/0001_a.sql", "create table a ();")
            .input("backup", format!("{{ executor: server, command: {command} }}"))
    };
    let failed = step("echo taking; exit 3").run().fails("backup-failed", 5).pending(["0001_a"]);
    failed.logs("| taking").error("the backup was broken off: taking").done();
    assert_eq!(lab.database.sql("select to_regclass('a')"), "");
    let made = step("echo taking").run().succeeds().applied(["0001_a"]).logs("the command ended with code 0");
    made.output("backup", "").done();
    step("echo taking").run().nothing_to_do().never_logs("taking").done();
}

#[test]
fn a_rollback_is_backed_up_as_well() {
    let (lab, server) = (Lab::new(), Server::start());
    let step = |command: &str| {
        Action::on_server(&lab, &server)
            .input("executor", "sql")
            .secret("database-url", lab.database.url())
            .input("layout", "golang-migrate")
            .file("migrations/0001_a.up.sql", "create table a ();")
            .file("migrations/0001_a.down.sql", "drop table a;")
            .input("backup", format!("{{ executor: server, command: {command} }}"))
    };
    step("true").run().succeeds().applied(["0001_a.up"]).done();
    let back = |command: &str| step(command).input("command", "rollback").input("target", "0");
    back("exit 3").run().fails("backup-failed", 5).logs("$ exit 3").error("the backup was broken off").done();
    assert_eq!(lab.database.sql("select to_regclass('a')"), "a");
    back("echo taking").run().succeeds().pending(["0001_a.up"]).logs("| taking").done();
    assert_eq!(lab.database.sql("select to_regclass('a')"), "");
}

#[test]
fn a_plan_shows_the_backup_of_the_tables_that_it_changes() {
    let lab = Lab::new();
    lab.database.sql(
        "set role app; create table orders (id int primary key, at date); create table lines (id int references orders on delete cascade); \
         create table other (id int references orders); create index lines_id on lines (id); \
         create table events (at date) partition by range (at); create table events_1 partition of events default",
    );
    for (sql, relations) in [
        ("alter table orders add note text", "2 relations"),
        ("drop index lines_id", "1 relation"),
        ("alter table events add note text", "2 relations"),
        ("update other set id = 1; create table fresh ()", "1 relation"),
    ] {
        let plan = Action::new(&lab).file("migrations/0001_a.sql", sql).input("command", "plan");
        let plan = plan.input("backup", "{ tables: plan }").input("risk", "high").run();
        let content = format!("schema and data of {relations}");
        plan.has_pending().pending(["0001_a"]).logs(&content).summary(&content).done();
    }
    let fresh = Action::new(&lab).file("migrations/0001_a.sql", "create table fresh ()").input("command", "plan");
    let fresh = fresh.input("backup", "{ tables: plan }").run().has_pending().pending(["0001_a"]);
    fresh.logs("there is nothing to back up: the plan changes no table that exists").done();
    let code = "do $$ begin delete from orders; end $$";
    let plan = |backup: &str| {
        let plan = Action::new(&lab).file("migrations/0001_a.sql", code).input("command", "plan");
        plan.input("backup", backup).input("risk", "high").run()
    };
    let unknown = plan("{ tables: plan }").fails("backup-refused", 5).pending(["0001_a"]);
    unknown.error("the tables of the plan are not known").done();
    plan("{ tables: [orders, lines] }").has_pending().pending(["0001_a"]).logs("schema and data of 2 relations").done();
    plan("schema").has_pending().pending(["0001_a"]).logs("the schema of the whole database").done();
}

#[test]
fn with_tenants_the_tables_of_a_plan_are_those_of_each_tenant() {
    let lab = Lab::new();
    lab.database.sql(
        "set role app; create schema t1; create schema t2; create table t1.orders (); create table t2.orders (); create table orders ()",
    );
    let plan = Action::new(&lab)
        .file("migrations/0001_a.sql", "alter table orders add note text")
        .input("tenants", "[t1, t2]")
        .input("command", "plan")
        .input("backup", "{ tables: plan }")
        .run();
    plan.has_pending().pending(["t1: 0001_a", "t2: 0001_a"]).logs("schema and data of 2 relations").done();
}

#[test]
fn a_backup_where_none_is_made_is_refused() {
    let lab = Lab::new();
    for command in ["status", "verify", "baseline"] {
        let idle = Action::new(&lab).file("migrations/0001_a.sql", "create table a ();").input("command", command);
        let idle = idle.input("backup", "data").run().fails("input-invalid", 2);
        idle.error("`backup`").done();
    }
    let rollback = Action::new(&lab).input("command", "rollback").input("target", "0");
    let rollback = rollback.input("backup", "{ tables: plan }").run().fails("input-invalid", 2);
    rollback.error("the SQL of a rollback is not reviewed").done();
    let server = Server::start();
    let without = Action::on_server(&lab, &server).input("run", "true").input("backup", "data");
    without.run().fails("input-missing", 2).error("dumps the database, and no database is given").done();
    for to in ["../out.dump", "/etc/out.dump", "backups/"] {
        let outside = backed_up(&lab, &server, &format!("{{ to: {to} }}")).run().fails("input-invalid", 2);
        outside.error("`to` is").done();
    }
}
