//! Files without a transaction: after an interruption at any point, the next run resumes there and repeats nothing.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        postgres::{PASSWORD, ROLE},
        session::Session,
    },
};
use std::{thread, time::Duration};

const PATIENCE: Duration = Duration::from_secs(10);
const RUN: &str = "bastion-migrate%";

fn one_file<'a>(lab: &'a Lab, body: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_alone.sql", body)
}

fn opted_out<'a>(lab: &'a Lab, statements: &str) -> Action<'a> {
    one_file(lab, &format!("-- no-transaction\n{statements}"))
}

/// Creates a table with three rows.
fn with_table() -> Lab {
    let lab = Lab::new();
    lab.database
        .sql("create table t (id int, n int); insert into t values (1, 0), (2, 0), (3, 0); alter table t owner to app");
    lab
}

/// Opens a session whose transaction blocks concurrent index builds on the table.
fn block_index_builds(lab: &Lab) -> Session {
    let holder = lab.database.session();
    holder.sql("begin; update t set n = n where id = 1");
    holder
}

fn wait_until_blocked(lab: &Lab) {
    let waiting = "select count(*) from pg_locks join pg_stat_activity using (pid) \
                   where not granted and datname = current_database() and application_name like 'bastion-migrate%'";
    lab.database.wait_for(waiting, "1");
}

/// Lists the table's indexes with their validity.
fn indexes(lab: &Lab) -> String {
    lab.database
        .sql("select indexrelid::regclass, indisvalid from pg_index where indrelid = 't'::regclass order by 1::text")
}

fn progress(lab: &Lab) -> String {
    lab.database.sql("select version, started, done from bastion_migrate.ledger_progress")
}

fn recorded(lab: &Lab) -> String {
    lab.database.sql("select version from bastion_migrate.ledger order by version")
}

/// Checks that the file is recorded and has no progress row left.
fn assert_recorded(lab: &Lab) {
    assert_eq!((recorded(lab).as_str(), progress(lab).as_str()), ("1", ""));
}

fn succeeds(finished: Finished) -> Finished {
    finished.succeeds().applied(["0001_alone"])
}

const BUILD: &str = "create index concurrently t_id on t (id);\n";

#[test]
fn an_index_that_is_built_concurrently_needs_no_opt_out() {
    let lab = with_table();
    succeeds(one_file(&lab, BUILD).run()).done();
    assert_eq!(indexes(&lab), "t_id|t");
    assert_recorded(&lab);
    one_file(&lab, BUILD).run().nothing_to_do().done();
}

#[test]
fn a_failed_statement_stops_the_file_and_the_next_run_resumes_with_it() {
    let lab = Lab::new();
    let four = |third: &str| {
        format!("create table a (id int);\ncreate table b (id int);\n{third}\ncreate table d (id int);\n")
    };
    opted_out(&lab, &four("create tabel c (id int);"))
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_alone"])
        .annotation("migrations/0001_alone.sql", 4, "tabel")
        .logs("statement 3 of 4 was rolled back; the 2 before it stay done")
        .logs("the run resumes with this statement")
        .never_logs("no transaction in progress")
        .done();
    assert_eq!(lab.database.sql("select relname from pg_class where relname in ('a', 'b', 'c', 'd')"), "a\nb");
    assert_eq!((recorded(&lab).as_str(), progress(&lab).as_str()), ("", "1|2|2"));
    succeeds(opted_out(&lab, &four("create table c (id int);")).run()).logs("2 of 4 statements").done();
    assert_recorded(&lab);
    assert_eq!(lab.database.sql("select count(*) from pg_class where relname in ('a', 'b', 'c', 'd')"), "4");
}

#[test]
fn statements_that_were_already_run_must_not_be_changed() {
    let lab = Lab::new();
    opted_out(&lab, "create table a (id int);\ncreate tabel b ();\n")
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_alone"])
        .done();
    opted_out(&lab, "create table a (id bigint);\ncreate table b ();\n")
        .run()
        .fails("file-changed", 5)
        .pending(["0001_alone"])
        .logs("restore the statements that were already run")
        .done();
    one_file(&lab, "create table a (id int);\ncreate table b ();\n")
        .run()
        .fails("file-changed", 5)
        .pending(["0001_alone"])
        .logs("-- no-transaction")
        .done();
    assert_eq!(progress(&lab), "1|1|1");
    succeeds(opted_out(&lab, "create table a (id int);\n-- better\ncreate table b ();\n").run())
        .logs("1 of 2 statements")
        .done();
    assert_recorded(&lab);
}

#[test]
fn a_statement_and_its_progress_are_one_transaction() {
    let lab = with_table();
    let running = opted_out(&lab, "update t set n = n + 1;\nselect pg_sleep(60);\n").start();
    lab.database.wait_for(
        "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()",
        "1",
    );
    assert_eq!(lab.database.terminate(RUN), 1);
    running.finish().fails("database-lost", 3).pending(["0001_alone"]).done();
    assert_eq!(progress(&lab), "1|1|1");
    succeeds(opted_out(&lab, "update t set n = n + 1;\nselect pg_sleep(0);\n").run()).logs("1 of 2 statements").done();
    assert_eq!(lab.database.sql("select distinct n from t"), "1");
    assert_recorded(&lab);
}

/// A lock on the progress table separates the statement from the record of its progress.
#[test]
fn a_statement_whose_progress_was_not_recorded_is_rolled_back() {
    let lab = with_table();
    opted_out(&lab, "select 1;\nselect 1/0;\n").run().fails("statement-failed", 6).pending(["0001_alone"]).done();
    let holder = lab.database.session();
    holder.sql("begin; lock table bastion_migrate.ledger_progress in exclusive mode");
    let running = opted_out(&lab, "select 1;\nupdate t set n = n + 1;\n").start();
    wait_until_blocked(&lab);
    assert_eq!(lab.database.terminate(RUN), 1);
    running.finish().fails("database-lost", 3).pending(["0001_alone"]).done();
    holder.sql("rollback");
    succeeds(opted_out(&lab, "select 1;\nupdate t set n = n + 1;\n").run()).logs("1 of 2 statements").done();
    assert_eq!(lab.database.sql("select distinct n from t"), "1");
}

#[test]
fn an_index_build_that_hit_a_lock_is_repeated_by_the_next_run() {
    for build in [BUILD, "create index concurrently if not exists t_id on public.t (id);\n"] {
        let lab = with_table();
        let holder = block_index_builds(&lab);
        let build = &format!("set lock_timeout = '300ms';\n{build}");
        one_file(&lab, build)
            .input("retries", "0")
            .run()
            .fails("lock-timeout", 6)
            .pending(["0001_alone"])
            .warning(INVALID_INDEX)
            .annotation("migrations/0001_alone.sql", 2, "lock timeout")
            .logs("raise `lock-timeout` or `retries`")
            .never_logs("correct the statement")
            .never_logs("no transaction in progress")
            .done();
        assert_eq!(indexes(&lab), "t_id|f");
        holder.sql("rollback");
        succeeds(one_file(&lab, build).run()).logs("dropped the INVALID index").done();
        assert_eq!(indexes(&lab), "t_id|t");
        assert_recorded(&lab);
    }
}

#[test]
fn an_index_build_that_hit_a_lock_is_repeated_by_the_same_run_and_nothing_else_is() {
    let lab = with_table();
    let holder = block_index_builds(&lab);
    let running = opted_out(
        &lab,
        &format!(
            "update t set n = 5 where id = 3;\ninsert into t values (4, 0);\nset lock_timeout = '300ms';\n{BUILD}"
        ),
    )
    .start();
    running.wait_for_line("another try of migrations/0001_alone.sql (1 of 3", PATIENCE);
    holder.sql("rollback");
    succeeds(running.finish()).logs("dropped the INVALID index \"t_id\"").done();
    assert_eq!(
        (indexes(&lab).as_str(), lab.database.sql("select count(*) from t where id = 4").as_str()),
        ("t_id|t", "1")
    );
    assert_recorded(&lab);
}

#[test]
fn an_index_build_that_was_killed_is_repeated() {
    let lab = with_table();
    let holder = block_index_builds(&lab);
    let running = one_file(&lab, BUILD).input("lock-timeout", "0").start();
    wait_until_blocked(&lab);
    running.kill();
    assert_eq!(lab.left_behind(), "");
    assert_eq!((indexes(&lab).as_str(), progress(&lab).as_str()), ("t_id|f", "1|1|0"));
    holder.sql("rollback");
    succeeds(one_file(&lab, BUILD).run()).done();
    assert_eq!(indexes(&lab), "t_id|t");
    assert_recorded(&lab);
}

#[test]
fn an_index_build_whose_session_was_terminated_is_repeated() {
    let lab = with_table();
    let holder = block_index_builds(&lab);
    let running = one_file(&lab, BUILD).input("lock-timeout", "0").start();
    wait_until_blocked(&lab);
    assert_eq!(lab.database.terminate(RUN), 1);
    running.finish().fails("database-lost", 3).pending(["0001_alone"]).warning(INVALID_INDEX).done();
    assert_eq!(indexes(&lab), "t_id|f");
    holder.sql("rollback");
    succeeds(one_file(&lab, BUILD).run()).done();
    assert_eq!(indexes(&lab), "t_id|t");
    assert_recorded(&lab);
}

/// The index is complete and valid; only the ledger's row is missing.
#[test]
fn an_index_that_was_finished_and_not_recorded_is_not_built_twice() {
    let lab = with_table();
    opted_out(&lab, &format!("select 1/0;\n{BUILD}")).run().fails("statement-failed", 6).pending(["0001_alone"]).done();
    succeeds(opted_out(&lab, &format!("select 1;\n{BUILD}")).run()).done();
    let built = lab.database.sql("select 't_id'::regclass::oid");
    let checksum = lab.database.sql(&format!(
        "select encode(sha256(convert_to('select 1;', 'UTF8') || '\\x00'::bytea || convert_to('{}', 'UTF8') || '\\x00'::bytea), 'hex')",
        BUILD.trim()
    ));
    lab.database.sql(&format!(
        "delete from bastion_migrate.ledger; insert into bastion_migrate.ledger_progress values (1, 2, 1, '{checksum}')"
    ));
    succeeds(opted_out(&lab, &format!("select 1;\n{BUILD}")).run()).done();
    assert_eq!(lab.database.sql("select 't_id'::regclass::oid"), built);
    assert_recorded(&lab);
}

#[test]
fn duplicate_rows_are_named_and_the_index_is_built_after_their_removal() {
    let lab = with_table();
    lab.database.sql("insert into t values (3, 0)");
    let build = "create unique index concurrently t_id on t (id);\n";
    one_file(&lab, build)
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_alone"])
        .annotation("migrations/0001_alone.sql", 1, "t_id")
        .logs("Key (id)=(3) is duplicated")
        .warning(INVALID_INDEX)
        .done();
    assert_eq!(indexes(&lab), "t_id|f");
    lab.database.sql("delete from t where ctid = (select max(ctid) from t)");
    succeeds(one_file(&lab, build).run()).done();
    assert_eq!(indexes(&lab), "t_id|t");
    assert_recorded(&lab);
}

#[test]
fn an_interrupted_removal_of_an_index_is_completed() {
    let lab = with_table();
    lab.database.sql("create index t_id on t (id)");
    let drop = "drop index concurrently t_id;\n";
    let holder = block_index_builds(&lab);
    let running = one_file(&lab, drop).input("lock-timeout", "0").start();
    wait_until_blocked(&lab);
    assert_eq!(lab.database.terminate(RUN), 1);
    running.finish().fails("database-lost", 3).pending(["0001_alone"]).warning(INVALID_INDEX).done();
    assert_eq!((indexes(&lab).as_str(), progress(&lab).as_str()), ("t_id|f", "1|1|0"));
    holder.sql("rollback");
    succeeds(one_file(&lab, drop).run()).done();
    assert_eq!(indexes(&lab), "");
    assert_recorded(&lab);
}

#[test]
fn maintenance_runs_without_an_opt_out() {
    let lab = with_table();
    let superuser = as_superuser(&lab);
    superuser(
        "create index concurrently t_id on t (id);\nvacuum (analyze) t;\nreindex index concurrently t_id;\n\
         reindex (concurrently) table t;\nalter system reset log_min_error_statement;\nanalyze;\n",
    )
    .run()
    .succeeds()
    .applied(["0001_alone"])
    .done();
    assert_eq!(indexes(&lab), "t_id|t");
    assert_eq!(lab.database.sql("select reltuples from pg_class where relname = 't'"), "3");
    assert_recorded(&lab);
}

/// Creates a superuser and returns a function for steps that log in as this role.
fn as_superuser<'a>(lab: &'a Lab) -> impl Fn(&str) -> Action<'a> {
    let superuser = format!("boss_{}", lab.database.name());
    let password = PASSWORD.replace('\'', "''");
    lab.database.sql(&format!("create role {superuser} superuser login password '{password}'"));
    let url = lab.database.url().replacen(&format!("//{ROLE}:"), &format!("//{superuser}:"), 1);
    move |body| one_file(lab, body).secret("database-url", url.clone())
}

/// Interrupts a procedure after its own commit, so that the next run can't know whether it took effect.
fn in_doubt() -> Lab {
    let lab = with_table();
    lab.database.sql(
        "create procedure p() language plpgsql as $$ begin update t set n = n + 1; commit; \
         if exists (select from t where n = 1) then perform pg_sleep(60); end if; end $$",
    );
    let running = opted_out(&lab, CALL).start();
    lab.database.wait_for(
        "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()",
        "1",
    );
    assert_eq!(lab.database.terminate(RUN), 1);
    running.finish().fails("database-lost", 3).pending(["0001_alone"]).done();
    lab
}

const CALL: &str = "call p();\ncreate table after as select sum(n) from t;\n";

/// Runs the SQL that the fault proposes after `which`.
fn run_proposed_sql(lab: &Lab, which: &str) {
    for _ in 0..2 {
        let doubtful = opted_out(lab, CALL).run();
        let log = doubtful.rendered_log();
        let (_, sql) = log.split_once(which).expect("the log proposes it");
        let sql = sql.lines().next().expect("the rest of the line").to_owned();
        doubtful
            .in_doubt("statement-in-doubt")
            .pending(["0001_alone"])
            .annotation("migrations/0001_alone.sql", 2, "cut off in statement 1")
            .done();
        assert_eq!(progress(lab), "1|1|0", "a run in doubt changes nothing");
        lab.database.sql(&format!("begin; {sql} rollback"));
    }
    let doubtful = opted_out(lab, CALL).run();
    let log = doubtful.rendered_log();
    let (_, sql) = log.split_once(which).expect("the log proposes it");
    lab.database.sql(sql.lines().next().expect("the rest of the line"));
    doubtful.in_doubt("statement-in-doubt").pending(["0001_alone"]).done();
}

#[test]
fn a_statement_in_doubt_that_took_effect_is_not_run_again() {
    let lab = in_doubt();
    run_proposed_sql(&lab, "if it did: ");
    succeeds(opted_out(&lab, CALL).run()).done();
    assert_eq!(lab.database.sql("select * from after"), "3");
    assert_recorded(&lab);
}

#[test]
fn a_statement_in_doubt_that_took_no_effect_is_run_again() {
    let lab = in_doubt();
    run_proposed_sql(&lab, "if it did not: ");
    succeeds(opted_out(&lab, CALL).run()).done();
    assert_eq!(lab.database.sql("select * from after"), "6");
    assert_recorded(&lab);
}

#[test]
fn a_procedure_that_fails_after_its_own_commit_is_not_reported_as_rolled_back() {
    let lab = with_table();
    lab.database
        .sql("create procedure p() language plpgsql as $$ begin update t set n = n + 1; commit; perform 1/0; end $$");
    opted_out(&lab, CALL)
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_alone"])
        .annotation("migrations/0001_alone.sql", 2, "division by zero")
        .logs("anything that statement 1 of 2 committed by itself stays")
        .done();
    assert_eq!(lab.database.sql("select sum(n) from t"), "3");
}

#[test]
fn settings_are_restored_when_a_file_is_resumed_and_are_gone_after_it() {
    let lab = Lab::new();
    lab.database.sql("create schema s; alter schema s owner to app");
    let body = |third: &str| format!("set search_path = s;\ncreate table a (id int);\n{third}\n");
    opted_out(&lab, &body("create tabel b ();")).run().fails("statement-failed", 6).pending(["0001_alone"]).done();
    opted_out(&lab, &body("create table b (id int);"))
        .file("migrations/0002_after.sql", "create table c (id int);\n")
        .run()
        .succeeds()
        .applied(["0001_alone", "0002_after"])
        .done();
    let places = "select relnamespace::regnamespace, relname from pg_class where relname in ('a', 'b', 'c') order by 2";
    assert_eq!(lab.database.sql(places), "s|a\ns|b\npublic|c");
}

/// Creates a table with a duplicate row, which prevents the unique index until it is removed.
fn with_duplicate() -> Lab {
    let lab = with_table();
    lab.database.sql("alter table t add done bool not null default false; insert into t values (1, 0, false)");
    lab
}

const INVALID_INDEX: &str = "t_id is INVALID since this run";
const BUILD_UNIQUE: &str = "create unique index concurrently t_id on t (id);\n";

/// Stops a file at its index, for a duplicate, and resumes it: what it made before the index has to be there again.
fn resumes_behind_the_index(make: &str, uses: &str) {
    let lab = with_duplicate();
    let body = format!("{make}{BUILD_UNIQUE}{uses}");
    opted_out(&lab, &body)
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_alone"])
        .logs("is duplicated")
        .warning(INVALID_INDEX)
        .done();
    lab.database.sql("delete from t where ctid = (select min(ctid) from t where id = 1)");
    succeeds(opted_out(&lab, &body).run()).done();
    assert_eq!(lab.database.sql("select bool_and(done) from t"), "t", "{make}");
    assert_recorded(&lab);
}

#[test]
fn a_temporary_table_is_recreated_when_a_file_is_resumed() {
    for (make, last) in [
        ("create temp table todo as select distinct id from t;\n", ""),
        ("select distinct id into temporary todo from t;\n", "drop table todo;\n"),
        ("create table pg_temp.\"todo\" as select 1 as id union select 2 union select 3;\n", ""),
        ("create temp view todo as select id from t;\ninsert into t values (9, 9);\n", ""),
    ] {
        resumes_behind_the_index(make, &format!("update t set done = true where id in (select id from todo);\n{last}"));
    }
}

#[test]
fn other_session_state_is_restored_when_a_file_is_resumed() {
    for (make, uses) in [
        ("prepare p as update t set done = true;\n", "execute p;\n"),
        ("set my.flag = 'true';\n", "update t set done = current_setting('my.flag')::bool;\n"),
        ("select set_config('my.flag', 'true', false);\n", "update t set done = current_setting('my.flag')::bool;\n"),
        (
            "select pg_advisory_lock(42);\n",
            "update t set done = exists (select from pg_locks where locktype = 'advisory' and objid = 42 and pid = pg_backend_pid());\n",
        ),
        (
            "create function pg_temp.f() returns bool language sql as 'select true';\n",
            "update t set done = pg_temp.f();\n",
        ),
        (
            "begin;\nset my.flag = 'true';\nselect 1;\ncommit;\n",
            "update t set done = current_setting('my.flag')::bool;\n",
        ),
    ] {
        resumes_behind_the_index(make, uses);
    }
}

#[test]
fn a_temporary_table_that_cannot_be_recreated_is_refused_with_working_advice() {
    let fill = "create temp table todo (id int);\ninsert into todo select id from t;\n";
    let uses = "update t set done = true where id in (select id from todo);\n";
    let lab = with_duplicate();
    opted_out(&lab, &format!("{fill}{BUILD}{uses}"))
        .run()
        .fails("statement-refused", 2)
        .pending(["0001_alone"])
        .annotation("migrations/0001_alone.sql", 2, "`todo`, created on line 2 of `migrations/0001_alone.sql`, ends with its session")
        .logs("fix: move the statements that create and use it into a file of their own without `-- no-transaction`; or create an ordinary table")
        .done();
    assert_eq!(lab.database.contents(), "t");
    opted_out(&lab, BUILD)
        .file("migrations/0002_todo.sql", format!("{fill}{uses}"))
        .run()
        .succeeds()
        .applied(["0001_alone", "0002_todo"])
        .done();
    let lab = with_duplicate();
    let ordinary = format!("{fill}{BUILD}{uses}drop table todo;\n").replace("temp table", "table");
    succeeds(opted_out(&lab, &ordinary).run()).done();
    assert_eq!(lab.database.sql("select bool_and(done) from t"), "t");
}

#[test]
fn an_applied_file_is_not_refused_because_it_could_not_be_resumed() {
    let lab = Lab::new();
    let body = "create table a (id int);\nselect 1;\ncreate table b (id int);\n";
    opted_out(&lab, body).run().succeeds().applied(["0001_alone"]).done();
    let file = format!("-- no-transaction\n{body}")
        .replace("create table a", "create temp table a")
        .replace("select 1", "select * from a")
        .replace("create table b (id int)", "select * from a");
    lab.database.sql(&format!(
        "update bastion_migrate.ledger set checksum = encode(sha256(convert_to($x${file}$x$, 'UTF8')), 'hex')"
    ));
    opted_out(&lab, file.trim_start_matches("-- no-transaction\n")).run().nothing_to_do().done();
}

#[test]
fn progress_is_recorded_even_if_a_file_changes_its_role() {
    let lab = with_table();
    let other = format!("other_{}", lab.database.name());
    lab.database.sql(&format!("create role {other}; grant {other} to app; grant create on schema public to {other}; alter table t owner to {other}"));
    let body = |last: &str| {
        format!("set role {other};\nset search_path = public;\n{BUILD}create table mine (id int);\nvacuum t;\n{last}\n")
    };
    opted_out(&lab, &body("create tabel yours ();")).run().fails("statement-failed", 6).pending(["0001_alone"]).done();
    assert_eq!(progress(&lab), "1|5|5");
    succeeds(opted_out(&lab, &body("create table yours (id int);")).run()).done();
    let owners = "select relname, relowner::regrole from pg_class where relname in ('mine', 'yours') order by 1";
    assert_eq!(lab.database.sql(owners), format!("mine|{other}\nyours|{other}"));
    assert_recorded(&lab);
}

fn create_invalid_index(name: &str) -> String {
    format!(
        "create index {name} on t (n); update pg_index set indisvalid = false where indexrelid = '{name}'::regclass;\n"
    )
}

#[test]
fn an_index_that_was_invalid_before_is_a_warning_and_fails_verify() {
    let lab = with_table();
    lab.database.sql(&create_invalid_index("t_old"));
    succeeds(one_file(&lab, "create table a (id int);\n").run())
        .warning("t_old is INVALID since before this run")
        .done();
    one_file(&lab, "create table a (id int);\n")
        .input("command", "verify")
        .run()
        .fails("verify-index", 7)
        .logs("t_old is INVALID")
        .done();
}

#[test]
fn an_index_that_a_file_invalidates_fails_the_run() {
    let lab = with_table();
    let superuser = as_superuser(&lab);
    superuser(&create_invalid_index("t_new"))
        .run()
        .fails("verify-index", 7)
        .applied(["0001_alone"])
        .logs("t_new is INVALID")
        .done();
}

/// Another session builds the same index and is blocked by a third one.
#[test]
fn an_index_that_another_session_is_building_is_left_alone() {
    let over_tcp = |lab: &Lab| Session::open(&lab.database.url().parse().expect("a URL")).expect("a session");
    for builder in [over_tcp, |lab: &Lab| lab.database.session()] {
        let lab = with_table();
        let (holder, builder) = (block_index_builds(&lab), builder(&lab));
        thread::scope(|scope| {
            // Dropped with this closure even after a panic, which unblocks the other session.
            let holder = holder;
            let building = scope.spawn(|| builder.sql(BUILD));
            lab.database.wait_for(
                "select count(*) from pg_stat_progress_create_index where index_relid = to_regclass('t_id')",
                "1",
            );
            one_file(&lab, "create table other (id int);\n").run().succeeds().applied(["0001_alone"]).done();
            Action::new(&lab)
                .file("migrations/0001_alone.sql", "create table other (id int);\n")
                .file("migrations/0002_index.sql", BUILD)
                .run()
                .fails("statement-failed", 6)
                .pending(["0002_index"])
                .annotation("migrations/0002_index.sql", 1, "another session is building the index \"t_id\"")
                .done();
            holder.sql("rollback");
            building.join().expect("the other session builds its index");
        });
        Action::new(&lab)
            .file("migrations/0001_alone.sql", "create table other (id int);\n")
            .file("migrations/0002_index.sql", BUILD)
            .run()
            .succeeds()
            .applied(["0002_index"])
            .done();
        assert_eq!(indexes(&lab), "t_id|t");
    }
}
