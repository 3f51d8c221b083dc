//! Two files have the same effect in one run and in two runs, whatever the first leaves in its session or in the
//! session defaults.

use crate::{
    action::{Action, Running},
    lab::{Lab, postgres::PASSWORD, postgres::ROLE},
};
use bastion_migrate::postgres::{bastion_migrate_key, run_lock};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Two files. `{database}` and `{role}` in them stand for the test's database and role.
struct TwoFiles<'t> {
    first: &'t str,
    second: &'t str,
}

impl TwoFiles<'_> {
    fn step<'a>(&self, lab: &'a Lab) -> Action<'a> {
        self.step_with(lab, Action::new(lab), &[self.first, self.second])
    }

    fn step_with<'a>(&self, lab: &Lab, step: Action<'a>, files: &[&str]) -> Action<'a> {
        let name = lab.database.name();
        let role = format!("migrates_{name}");
        lab.database.sql(&format!(
            "do $$ begin if to_regrole('{role}') is null then create role {role} login createrole password '{}'; \
             grant {ROLE} to {role}; alter database {name} owner to {role}; end if; end $$",
            PASSWORD.replace('\'', "''")
        ));
        let url = lab.database.url().replacen(&format!("//{ROLE}:"), &format!("//{role}:"), 1);
        let step = step.secret("database-url", url);
        (1..).zip(files).fold(step, |step, (number, file)| {
            let file = file.replace("{database}", name).replace("{role}", &role);
            step.file(&format!("migrations/{number:04}_file.sql"), file)
        })
    }

    /// Runs both files in one run, and in two runs with another database; the query must return this result both times.
    fn assert_same_result(&self, query: &str, expected: &str) {
        let lab = Lab::new();
        self.step(&lab).run().succeeds().applied(["0001_file", "0002_file"]).done();
        assert_eq!(lab.database.sql(query), expected, "in one run: {}", self.first);

        let lab = Lab::new();
        self.step_with(&lab, Action::new(&lab), &[self.first]).run().succeeds().applied(["0001_file"]).done();
        self.step(&lab).run().succeeds().applied(["0002_file"]).done();
        assert_eq!(lab.database.sql(query), expected, "in two runs: {}", self.first);
    }
}

const INSERT_LOCAL_TIME: &str = "create table ev (at timestamptz);\ninsert into ev values ('2026-01-01 00:00');\n";
const SELECT_IN_UTC: &str = "set timezone = 'UTC'; select at from ev";

#[test]
fn a_session_default_set_by_a_file_applies_to_the_next_file() {
    for first in [
        "alter database {database} set timezone = 'Asia/Tokyo';\n",
        "alter role {role} in database {database} set timezone = 'Asia/Tokyo';\n",
        "alter role {role} set timezone = 'Asia/Tokyo';\n",
        "alter user current_user set timezone to 'Asia/Tokyo';\n",
        "-- no-transaction\nalter database {database} set timezone = 'Asia/Tokyo';\n",
        "do $$ begin execute format('alter database %I set timezone = %L', current_database(), 'Asia/Tokyo'); end $$;\n",
        "create table rows (id int);\ncopy rows from stdin;\n1\n\\.\nalter database {database} set timezone = 'Asia/Tokyo';\n",
        "begin;\nalter database {database} set timezone = 'Asia/Tokyo';\ncommit;\n",
    ] {
        TwoFiles { first, second: INSERT_LOCAL_TIME }.assert_same_result(SELECT_IN_UTC, "2025-12-31 15:00:00+00");
    }
}

#[test]
fn a_session_default_reset_by_a_file_is_gone_in_the_next_file() {
    for reset in [
        "alter database {database} reset timezone;\n",
        "alter database {database} reset all;\n",
        "alter database {database} set timezone from current;\nalter database {database} set timezone to default;\n",
    ] {
        let lab = Lab::new();
        let set = "alter database {database} set timezone = 'Asia/Tokyo';\n";
        let files = TwoFiles { first: set, second: reset };
        files
            .step_with(&lab, Action::new(&lab), &[set, reset, INSERT_LOCAL_TIME])
            .run()
            .succeeds()
            .applied(["0001_file", "0002_file", "0003_file"])
            .done();
        let utc = lab.database.sql("select setting = 'Asia/Tokyo' from pg_settings where name = 'TimeZone'");
        assert_eq!(
            (lab.database.sql(SELECT_IN_UTC).as_str(), utc.as_str()),
            ("2026-01-01 00:00:00+00", "f"),
            "{reset}"
        );
    }
}

#[test]
fn a_search_path_set_on_the_database_applies_to_the_next_file() {
    TwoFiles {
        first: "create schema app;\nalter database {database} set search_path to app, public;\n",
        second: "create table orders (id int);\n",
    }
    .assert_same_result("select relnamespace::regnamespace from pg_class where relname = 'orders'", "app");
}

#[test]
fn a_custom_setting_is_unknown_to_the_next_file() {
    for first in [
        "set my.tenant = '7';\n",
        "set local my.tenant = '7';\n",
        "select set_config('my.tenant', '7', true);\n",
        "do $$ begin perform set_config('my.tenant', '7', false); end $$;\n",
        "-- no-transaction\nset my.tenant = '7';\nselect 1;\n",
    ] {
        TwoFiles { first, second: "create table seen as select current_setting('my.tenant', true) as tenant;\n" }
            .assert_same_result("select tenant is null from seen", "t");
    }
}

#[test]
fn an_advisory_lock_is_released_at_the_end_of_its_file() {
    for first in [
        "select pg_advisory_lock(42);\n",
        "select pg_advisory_lock(42), pg_advisory_lock_shared(4, 2);\n",
        "do $$ begin perform pg_advisory_lock(42); end $$;\n",
        "-- no-transaction\nselect pg_advisory_lock(42);\nselect 1;\n",
    ] {
        let second = "create table seen as select count(*) as locks from pg_locks \
                      where locktype = 'advisory' and pid = pg_backend_pid();\n";
        // The run lock.
        TwoFiles { first, second }.assert_same_result("select locks from seen", "1");
    }
}

#[test]
fn other_session_state_of_a_file_is_gone_in_the_next_file() {
    let record_result = |query: &str| format!("create table seen as select ({query})::text as seen;\n");
    for (first, query, expected) in [
        (
            "set session characteristics as transaction isolation level serializable;\n",
            "current_setting('transaction_isolation')",
            "read committed",
        ),
        ("listen news;\n", "select count(*) from pg_listening_channels()", "0"),
        ("create temp table t (id int);\n", "to_regclass('t') is null", "true"),
        ("prepare p as select 1;\n", "select count(*) from pg_prepared_statements", "0"),
        ("declare c cursor with hold for select 1;\n", "select count(*) from pg_cursors", "0"),
        ("create sequence s; select nextval('s');\n", "select currval_is_unknown()", "t"),
        ("set session authorization {role};\nset role {role};\n", "session_user = current_user", "true"),
    ] {
        let second = match query {
            "select currval_is_unknown()" => {
                "create table seen (seen text);\ndo $$ begin perform lastval(); exception when others then \
                 insert into seen values ('t'); end $$;\n"
                    .to_owned()
            }
            query => record_result(query),
        };
        TwoFiles { first, second: &second }.assert_same_result("select seen from seen", expected);
    }
}

#[test]
fn a_session_default_set_by_an_earlier_step_applies_to_the_files() {
    let lab = Lab::new();
    let steps = "before: [{ sql: db/zone.sql }]\n";
    Action::new(&lab)
        .file(".github/bastion-migrate.yml", steps)
        .file("db/zone.sql", format!("alter database {} set timezone = 'Asia/Tokyo'", lab.database.name()))
        .file("migrations/0001_ev.sql", INSERT_LOCAL_TIME)
        .run()
        .succeeds()
        .applied(["0001_ev"])
        .done();
    assert_eq!(lab.database.sql(SELECT_IN_UTC), "2025-12-31 15:00:00+00");
}

/// A waiting run gets the lock when the first run ends, not when the first run starts a new session.
#[test]
fn a_new_session_does_not_lose_the_run_lock_to_a_waiting_run() {
    let lab = Lab::new();
    let holder = lab.database.session();
    holder.sql("select pg_advisory_lock(42)");
    let change = |number: usize| format!("alter database {} set work_mem = '{number}MB';\n", lab.database.name());
    let all_files = || {
        let step = (1..=3).fold(Action::new(&lab), |step, n| step.file(&format!("migrations/000{n}_n.sql"), change(n)));
        step.file("migrations/0004_wait.sql", "select pg_advisory_xact_lock(42);\n")
    };
    let first = all_files().start();
    first.wait_for_line("applied 0003_n", PATIENCE);
    lab.database
        .wait_for("select count(*) from pg_locks where locktype = 'advisory' and objid = 42 and not granted", "1");
    let second = all_files().start();
    wait_for_lock_message(&second);
    // No other session could take the lock in the meantime.
    assert_eq!(holder.sql(&run_lock::try_lock_sql(bastion_migrate_key())), "f");
    holder.sql("select pg_advisory_unlock(42)");
    let all = ["0001_n", "0002_n", "0003_n", "0004_wait"];
    first.finish().succeeds().applied(all).logs("starts a new session").done();
    second.finish().nothing_to_do().done();
    assert_eq!(lab.database.sql("select count(*) from bastion_migrate.ledger"), "4");
}

fn wait_for_lock_message(step: &Running<'_>) {
    step.wait_for_line("waiting for the run lock", PATIENCE);
}

#[test]
fn a_role_limited_to_one_session_can_start_a_new_one() {
    let lab = Lab::new();
    let files = TwoFiles {
        first: "alter role {role} in database {database} set timezone = 'Asia/Tokyo';\n",
        second: INSERT_LOCAL_TIME,
    };
    let step = files.step(&lab);
    lab.database.sql(&format!("alter role migrates_{} connection limit 1", lab.database.name()));
    step.run().succeeds().applied(["0001_file", "0002_file"]).done();
    assert_eq!(lab.database.sql(SELECT_IN_UTC), "2025-12-31 15:00:00+00");
}

#[test]
fn a_new_session_takes_the_lock_of_sqlx_as_well() {
    let lab = Lab::new();
    let file = format!("alter database {} set timezone = 'Asia/Tokyo';\n", lab.database.name());
    let locks = "create table seen as select count(*) as locks from pg_locks where locktype = 'advisory' and pid = pg_backend_pid();\n";
    Action::new(&lab)
        .input("layout", "sqlx")
        .file("migrations/0001_zone.sql", file)
        .file("migrations/0002_seen.sql", locks)
        .run()
        .succeeds()
        .applied(["0001_zone", "0002_seen"])
        .logs("migrations/0002_seen.sql starts a new session")
        .done();
    assert_eq!(lab.database.sql("select locks from seen"), "2");
}

#[test]
fn sessions_survive_a_short_idle_session_timeout_during_steps() {
    let lab = Lab::new();
    lab.database.sql(&format!("alter database {} set idle_session_timeout = '300ms'", lab.database.name()));
    Action::new(&lab)
        .file(".github/bastion-migrate.yml", "before: [{ sql: db/wait.sql }]\n")
        .file("db/wait.sql", "select pg_sleep(1.5)")
        .file("migrations/0001_a.sql", "create table a (id int);\n")
        .run()
        .succeeds()
        .applied(["0001_a"])
        .done();
}
