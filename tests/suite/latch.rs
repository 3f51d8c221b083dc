//! Many files in flight at once: after a failed file none takes effect, and no file sees the settings of another.

use crate::{action::Action, lab::Lab};

fn name(number: usize) -> String {
    format!("{number:04}_t{number}")
}

fn names(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(name).collect()
}

fn as_strs(names: &[String]) -> impl Iterator<Item = &str> {
    names.iter().map(String::as_str)
}

/// Creates a hundred files with a table each, except the fiftieth.
fn hundred_files<'a>(lab: &'a Lab, fiftieth: &str) -> Action<'a> {
    (1..=100).fold(Action::new(lab), |action, number| {
        let table = format!("create table t{number} (id int);\n");
        let body = if number == 50 { fiftieth } else { &table };
        action.file(&format!("migrations/{}.sql", name(number)), body)
    })
}

/// Returns the number of recorded migrations and the last one, and the same for the tables.
fn recorded_and_existing(lab: &Lab) -> String {
    lab.database.sql(
        "select count(*), max(version) from bastion_migrate.ledger; \
         select count(*), max(substr(relname, 2)::int) from pg_class where relname ~ '^t[0-9]+$'",
    )
}

const FAILED_AT_50: &str = "49|49\n49|49";

/// Expects the fiftieth file to fail at this line, no effect of it or of later ones, and the next run to finish.
fn applies_only_the_first_49(fiftieth: &str, line: usize, message: &str) {
    let lab = Lab::new();
    let (before, after) = (names(1..=49), names(50..=100));
    hundred_files(&lab, fiftieth)
        .run()
        .fails("statement-failed", 6)
        .applied(as_strs(&before))
        .pending(as_strs(&after))
        .annotation("migrations/0050_t50.sql", line, message)
        .logs("failed 0050_t50")
        .never_logs("applying 0051")
        .done();
    assert_eq!(recorded_and_existing(&lab), FAILED_AT_50);
    hundred_files(&lab, "create table t50 (id int);\n").run().succeeds().applied(as_strs(&after)).done();
    assert_eq!(recorded_and_existing(&lab), "100|100\n100|100");
}

#[test]
fn a_syntax_error_stops_all_later_files() {
    applies_only_the_first_49("create table t50 (id int);\n\ncreate tabel t50b ();\n", 3, "tabel");
}

#[test]
fn an_error_at_run_time_stops_all_later_files() {
    applies_only_the_first_49("create table t50 (id int);\n\nselect 1;\nselect 1/0;\n", 4, "division by zero");
}

#[test]
fn a_deferred_constraint_stops_all_later_files() {
    let lab = Lab::new();
    let (before, after) = (names(1..=49), names(50..=100));
    hundred_files(
        &lab,
        "create table t50 (id int unique deferrable initially deferred);\ninsert into t50 values (7), (7);\n",
    )
    .run()
    .fails("statement-failed", 6)
    .applied(as_strs(&before))
    .pending(as_strs(&after))
    .logs("--> migrations/0050_t50.sql")
    .logs("Key (id)=(7)")
    .logs("when deferred constraints were checked")
    .done();
    assert_eq!(recorded_and_existing(&lab), FAILED_AT_50);
    hundred_files(&lab, "create table t50 (id int);\n").run().succeeds().applied(as_strs(&after)).done();
}

/// Creates a hundred files, the fiftieth with a COMMIT that only the server sees. Without `standard_conforming_strings`
/// the server reads `\'` as a quote inside the string, so the COMMIT is outside. We assume the setting of our own
/// start-up message, by which the COMMIT is inside, but the user's `options` take precedence over it.
fn with_a_hidden_commit<'a>(lab: &'a Lab, then: &str) -> Action<'a> {
    let body = format!("create table t50 (id int);\nselect 'a\\', ' b; commit; {then} -- ';\n");
    hundred_files(lab, &body)
        .secret("database-url", lab.database.url() + "?options=-c%20standard_conforming_strings%3Doff")
}

#[test]
fn a_file_that_ends_its_own_transaction_is_not_recorded_and_stops_all_later_files() {
    for then in ["", "begin; select 1;", "reset all;"] {
        let lab = Lab::new();
        let (before, after) = (names(1..=49), names(50..=100));
        with_a_hidden_commit(&lab, then)
            .run()
            .fails("transaction-ended", 6)
            .applied(as_strs(&before))
            .pending(as_strs(&after))
            .logs("--> migrations/0050_t50.sql")
            .logs("part of the file may be committed")
            .done();
        // The file's own commit has taken effect.
        assert_eq!(recorded_and_existing(&lab), "49|49\n50|50", "{then}");
    }
}

#[test]
fn a_file_that_ends_its_transaction_and_then_fails_is_reported_as_both() {
    let lab = Lab::new();
    let (before, after) = (names(1..=49), names(50..=100));
    with_a_hidden_commit(&lab, "select 1/0;")
        .run()
        .fails("transaction-ended", 6)
        .applied(as_strs(&before))
        .pending(as_strs(&after))
        .logs("--> migrations/0050_t50.sql")
        .logs("division by zero")
        .logs("part of the file may be committed")
        .done();
    assert_eq!(recorded_and_existing(&lab), "49|49\n50|50");
    hundred_files(&lab, "create table if not exists t50 (id int);\n").run().succeeds().applied(as_strs(&after)).done();
}

#[test]
fn deferred_triggers_run_with_the_settings_of_their_file() {
    let lab = Lab::new();
    Action::new(&lab)
        .file(
            "migrations/0001_trigger.sql",
            "create schema s;\n\
             create table s.seen (id int);\n\
             create table t (id int);\n\
             create function f() returns trigger language plpgsql as 'begin insert into seen values (new.id); return null; end';\n\
             create constraint trigger c after insert on t deferrable initially deferred for each row execute function f();\n",
        )
        .file("migrations/0002_row.sql", "set search_path = public, s;\ninsert into t values (1);\n")
        .run()
        .succeeds()
        .applied(["0001_trigger", "0002_row"])
        .done();
    assert_eq!(lab.database.sql("select id from s.seen"), "1");
}

#[test]
fn settings_of_a_file_do_not_affect_the_next_one() {
    let lab = Lab::new();
    let other = format!("other_{}", lab.database.name());
    lab.database.sql(&format!("create role {other}; grant {other} to app"));
    let show = |number: usize| {
        format!(
            "create table seen_{number} as select current_user::text, session_user::text as login, current_setting('search_path') as path, \
             current_setting('lock_timeout') as lock_timeout, current_setting('statement_timeout') as statement_timeout;\n"
        )
    };
    let sets = [
        "set search_path = pg_catalog;".to_owned(),
        "set search_path = '';".to_owned(),
        format!("set role {other};"),
        "set lock_timeout = '1h'; set statement_timeout = '1h';".to_owned(),
        "set local search_path = pg_catalog; set local lock_timeout = 0;".to_owned(),
        "select set_config('search_path', '', false);".to_owned(),
        "set session authorization default; reset role;".to_owned(),
        "set standard_conforming_strings = on; set client_min_messages = error;".to_owned(),
        "reset all;".to_owned(),
        "set client_encoding = 'LATIN1'; set datestyle = 'SQL, DMY'; set check_function_bodies = off;".to_owned(),
    ];
    let mut action = Action::new(&lab).input("statement-timeout", "90s");
    let mut applied = Vec::new();
    for (index, set) in sets.iter().enumerate() {
        let (file, after) = (format!("{:04}_set", 2 * index + 1), format!("{:04}_see", 2 * index + 2));
        action =
            action.file(&format!("migrations/{file}.sql"), set).file(&format!("migrations/{after}.sql"), show(index));
        applied.extend([file, after]);
    }
    action.run().succeeds().applied(as_strs(&applied)).done();
    for (index, set) in sets.iter().enumerate() {
        let seen = lab.database.sql(&format!("select * from public.seen_{index}"));
        assert_eq!(seen, "app|app|\"$user\", public|100ms|90s", "after {set}");
    }
}

#[test]
fn every_file_starts_with_the_role_of_the_login() {
    let lab = Lab::new();
    let owner = format!("owner_{}", lab.database.name());
    lab.database.sql(&format!(
        "create role {owner}; grant {owner} to app; alter database {name} owner to {owner}; \
         alter role app in database {name} set role = {owner}",
        name = lab.database.name()
    ));
    let table = |number: usize| format!("create table t{number} (id int);\nset role app;\n");
    Action::new(&lab)
        .file("migrations/0001_a.sql", table(1))
        .file("migrations/0002_b.sql", format!("-- no-transaction\n{}", table(2)))
        .file("migrations/0003_c.sql", table(3))
        .run()
        .succeeds()
        .applied(["0001_a", "0002_b", "0003_c"])
        .done();
    let owners = "select distinct relowner::regrole from pg_class where relname in ('t1', 't2', 't3', 'ledger')";
    assert_eq!(lab.database.sql(owners), owner);
}

#[test]
fn session_objects_of_a_file_are_gone_in_the_next_one() {
    let lab = Lab::new();
    let body = "create temp table t (id int);\nlisten news;\nprepare p as select 1;\ncreate temp sequence s;\n\
                declare c cursor with hold for select 1;\n";
    let without = format!("-- no-transaction\n{body}");
    Action::new(&lab)
        .file("migrations/0001_a.sql", body)
        .file("migrations/0002_b.sql", body)
        .file("migrations/0003_c.sql", &without)
        .file("migrations/0004_d.sql", without)
        .file(
            "migrations/0005_e.sql",
            format!("{body}create table channels_same_file as select pg_listening_channels() as channel;\n"),
        )
        .file(
            "migrations/0006_f.sql",
            "create table channels_next_file as select pg_listening_channels() as channel;\n",
        )
        .run()
        .succeeds()
        .applied(["0001_a", "0002_b", "0003_c", "0004_d", "0005_e", "0006_f"])
        .done();
    assert_eq!(
        lab.database.sql("select count(*) from channels_same_file; select count(*) from channels_next_file"),
        "0\n0"
    );
}

#[test]
fn notices_and_warnings_of_the_server_are_logged() {
    let lab = Lab::new();
    Action::new(&lab)
        .file("migrations/0001_a.sql", "select 1;\n")
        .file("migrations/0002_b.sql", "do $$ begin raise notice 'half of it'; raise warning 'mind the gap'; end $$;\n")
        .run()
        .succeeds()
        .applied(["0001_a", "0002_b"])
        .logs("notice: half of it")
        .logs("warning: mind the gap")
        .done();
}

#[test]
fn files_without_a_statement_are_recorded() {
    let lab = Lab::new();
    Action::new(&lab)
        .file("migrations/0001_empty.sql", "")
        .file("migrations/0002_comment.sql", "-- nothing to do\n/* nor here */\n")
        .file("migrations/0003_semicolons.sql", ";;\n;\n")
        .file("migrations/0004_opted_out.sql", "-- no-transaction\n")
        .run()
        .succeeds()
        .applied(["0001_empty", "0002_comment", "0003_semicolons", "0004_opted_out"])
        .done();
    assert_eq!(lab.database.sql("select count(*) from bastion_migrate.ledger"), "4");
}

#[test]
fn more_files_than_fit_into_the_window_are_applied() {
    let lab = Lab::new();
    let names: Vec<String> = (1..=600).map(|number| format!("{number:04}_row")).collect();
    lab.database.sql("create table rows (id int); alter table rows owner to app");
    let mut action = Action::new(&lab);
    for (name, number) in names.iter().zip(1..) {
        action = action.file(&format!("migrations/{name}.sql"), format!("insert into rows values ({number});\n"));
    }
    action.run().succeeds().applied(as_strs(&names)).done();
    let sum = "select count(*), sum(id), bool_and(id = nth) from (select id, row_number() over (order by ctid) nth from rows) r";
    assert_eq!(lab.database.sql(sum), "600|180300|t");
}

#[test]
fn more_bytes_than_fit_into_the_window_are_applied() {
    let lab = Lab::new();
    let huge = format!("create table huge as select '{}' as text;\n", "x".repeat(8 << 20));
    let large = |number: usize| format!("create table large_{number} as select '{}' as text;\n", "y".repeat(3 << 20));
    Action::new(&lab)
        .file("migrations/0001_large.sql", large(1))
        .file("migrations/0002_large.sql", large(2))
        .file("migrations/0003_huge.sql", huge)
        .file("migrations/0004_large.sql", large(4))
        .run()
        .succeeds()
        .applied(["0001_large", "0002_large", "0003_huge", "0004_large"])
        .done();
    let lengths = "select length(text) from huge union all select length(text) from large_4";
    assert_eq!(lab.database.sql(lengths), format!("{}\n{}", 8 << 20, 3 << 20));
}

/// Selects a hundred megabytes of rows; the next file waits, so that the test can measure the memory.
#[test]
fn rows_that_a_file_selects_are_neither_kept_nor_read_as_our_own_results() {
    let lab = Lab::new();
    let holder = lab.database.session();
    holder.sql("select pg_advisory_lock(42)");
    let running = Action::new(&lab)
        .input("database-sslmode", "disable")
        .input("lock-timeout", "0")
        .file(
            "migrations/0001_rows.sql",
            "select 999999999999; select repeat('x', 1000) from generate_series(1, 100000);\n",
        )
        .file("migrations/0002_wait.sql", "select pg_advisory_xact_lock(42);\n")
        .start();
    lab.database.wait_for("select count(*) from pg_locks where locktype = 'advisory' and not granted", "1");
    running.wait_for_line("applied 0001_rows", std::time::Duration::from_secs(20));
    let peak = running.peak_memory();
    holder.sql("select pg_advisory_unlock(42)");
    running.finish().succeeds().applied(["0001_rows", "0002_wait"]).never_logs("999999999999").done();
    assert!(peak < 60 << 20, "{} MB", peak >> 20);
    assert_eq!(lab.database.sql("select bool_and(duration_ms < 60000) from bastion_migrate.ledger"), "t");
}

#[test]
fn the_ledger_records_each_migration_with_its_role_and_run() {
    let lab = Lab::new();
    Action::new(&lab)
        .file("migrations/0007_it_s_here.sql", "create table t (id int);\nselect pg_sleep(0.05);\n")
        .file("migrations/0008_alone.sql", "-- no-transaction\nselect pg_sleep(0.05);\nselect 1;\n")
        .run()
        .succeeds()
        .applied(["0007_it_s_here", "0008_alone"])
        .done();
    let rows = "select version, name, checksum ~ '^[0-9a-f]{64}$', applied_at between now() - interval '1 minute' and now(), \
                duration_ms between 50 and 60000, applied_by, run from bastion_migrate.ledger order by version";
    let run = "app|https://github.com/octo/app/actions/runs/4711/attempts/1";
    assert_eq!(lab.database.sql(rows), format!("7|it_s_here|t|t|t|{run}\n8|alone|t|t|t|{run}"));
}
