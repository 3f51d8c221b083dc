//! Planted faults in the database.

use super::{Expected, doctor, examining, fault, finds, finds_among, is_healthy, text, warning};
use crate::{
    action::Action,
    lab::{
        Lab,
        certificate::Expired,
        pgbouncer::{PgBouncer, Pool},
        poll,
        postgres::{Options, Postgres, Tls},
        session::Session,
    },
    own_tool,
};
use bastion_migrate::postgres::bastion_migrate_key;
use std::time::Duration;

/// Plants of a few statements, which run as a superuser; `{database}` is the name of the database.
fn by_sql() -> Vec<(&'static str, Expected)> {
    vec![
        (
            "create table t (id int); create index broken on t (id); \
             update pg_index set indisvalid = false where indexrelid = 'broken'::regclass; alter table t owner to app",
            Expected { code: "verify-index", ..warning("indexes", "public.broken", "DROP INDEX CONCURRENTLY") },
        ),
        (
            "set role app; create table t (id int); alter table t add constraint late check (id > 0) not valid",
            warning("constraints", "late on public.t", "ALTER TABLE public.t VALIDATE CONSTRAINT late"),
        ),
        (
            "set role app; create sequence s maxvalue 100; select setval('s', 81)",
            warning("sequences", "public.s (81 %)", "ALTER SEQUENCE public.s AS bigint NO MAXVALUE"),
        ),
        (
            "set role app; create table t (id int); create sequence s owned by t.id; select setval('s', 2000000000)",
            warning("sequences", "public.s (93 %)", "make `public.t.id` and the columns that refer to it bigint"),
        ),
        (
            "create function watch() returns event_trigger language plpgsql as 'begin end'; \
             create event trigger watcher on ddl_command_end execute function watch(); \
             alter function watch() owner to app",
            warning("event triggers", "watcher (public.watch at ddl_command_end)", "ALTER EVENT TRIGGER"),
        ),
        (
            "set role app; create table django_migrations (id bigint, app text, name text, applied timestamptz)",
            warning("other ledgers", "public.django_migrations (django)", "one tool alone"),
        ),
        (
            "create table theirs (id int)",
            warning(
                "owners",
                "1 relation of `postgres`, the first is `public.theirs`",
                "GRANT \"postgres\" TO \"app\"",
            ),
        ),
        (
            "alter database {database} connection limit 4",
            warning(
                "connections",
                "of 4 connections in use, and a run may need 5",
                "ALTER DATABASE … CONNECTION LIMIT",
            ),
        ),
        (
            "alter database {database} owner to postgres; grant create on schema public to app",
            fault(
                "permission-denied",
                6,
                "rights",
                "may not create the schema `bastion_migrate`",
                "GRANT CREATE ON DATABASE",
            ),
        ),
        (
            "create schema bastion_migrate authorization app; set role app; create table bastion_migrate.runs (id int); \
             revoke insert on bastion_migrate.runs from app",
            Expected { code: "audit-unwritten", ..warning("rights", "may not record the run", "set `audit: false`") },
        ),
        (
            "alter schema public owner to postgres; grant usage on schema public to public",
            fault(
                "permission-denied",
                6,
                "rights",
                "in the schema `public`",
                "GRANT USAGE, CREATE ON SCHEMA \"public\" TO \"app\"",
            ),
        ),
        (
            "alter database {database} set search_path = nowhere",
            fault("statement-failed", 6, "rights", "no schema on the search path exists", "create the schema"),
        ),
    ]
}

#[test]
fn faults_that_sql_can_plant_are_found() {
    for (sql, expected) in by_sql() {
        let lab = Lab::new();
        lab.database.sql(&sql.replace("{database}", lab.database.name()));
        finds(sql, doctor(&lab), expected);
    }
}

/// A ledger of ours, as a first run creates it.
fn with_ledger(lab: &Lab) -> &Lab {
    let first = Action::new(lab).file("migrations/0001_a.sql", "create table a (id int);");
    first.run().succeeds().applied(["0001_a"]).done();
    lab
}

#[test]
fn a_ledger_that_can_not_be_used_is_found() {
    for (sql, expected) in [
        (
            "alter table bastion_migrate.ledger enable row level security; alter table bastion_migrate.ledger force row level security",
            fault("ledger-hidden", 5, "ledger", "", "DISABLE ROW LEVEL SECURITY"),
        ),
        (
            "alter table bastion_migrate.ledger drop column checksum",
            fault("ledger-shape", 5, "ledger", "", "ledger-table"),
        ),
    ] {
        let lab = Lab::new();
        with_ledger(&lab);
        lab.database.sql(sql);
        // The plan meets the same fault.
        finds_among(sql, doctor(&lab), &[expected]);
    }
}

#[test]
fn a_foreign_ledger_with_rows_is_found() {
    let lab = Lab::new();
    lab.database.sql(
        "set role app; create table schema_migrations (version bigint primary key, dirty boolean not null); \
         insert into schema_migrations values (1, false)",
    );
    let plan = fault("ledger-foreign", 5, "plan", "", "ledger-table");
    let other = warning("other ledgers", "public.schema_migrations (golang-migrate)", "one tool alone");
    finds_among("foreign", doctor(&lab).input("layout", "plain"), &[plan, other]);
}

#[test]
fn the_holder_of_the_run_lock_is_named() {
    let lab = Lab::new();
    let holder = lab.database.session();
    let key = bastion_migrate_key();
    holder.sql(&format!("set application_name = 'lab'; select pg_advisory_lock({key})"));
    let expected = warning("run lock", "the run lock is held by `lab`", "wait for the other run");
    finds("lock", doctor(&lab), Expected { code: "lock-held", ..expected });
}

#[test]
fn a_locked_sequence_holds_up_no_other_check() {
    let lab = Lab::new();
    let session = lab.database.session();
    session.sql("create sequence s; alter sequence s owner to app");
    session.sql("begin; alter sequence s maxvalue 7");
    is_healthy(doctor(&lab), &["sequences"]);
}

#[test]
fn a_log_in_that_fails_is_found() {
    let lab = Lab::new();
    let step = |name: &str, value: &str| doctor(&lab).input("database-url", lab.database.url().replace(name, value));
    finds("user", step("://app:", "://nobody:"), fault("database-login", 3, "session", "", "check user and password"));
    finds(
        "database",
        step(lab.database.name(), "test_nothing"),
        fault("database-missing", 3, "session", "test_nothing", "create the database first"),
    );
    finds(
        "role",
        doctor(&lab).input("database-role", "postgres"),
        fault("database-role", 3, "role", "can't take the role `postgres`", "GRANT \"postgres\" TO \"app\""),
    );
}

#[test]
fn what_is_not_this_database_is_found() {
    let lab = Lab::new();
    let at = |host: &str, port: u16| doctor(&lab).input("database-url", lab.database.url_at(host, port));
    finds(
        "refused",
        at("localhost", 9),
        fault("database-refused", 3, "forwarding localhost:9", "can't connect", "database's host"),
    );
    finds(
        "unknown",
        at("nowhere.invalid", 5432).input("database-sslmode", "disable"),
        fault("database-unknown", 3, "forwarding nowhere.invalid:5432", "can't resolve", "resolved on the bastion"),
    );
    finds(
        "an sshd",
        at("localhost", lab.bastion.port),
        fault("database-not-postgres", 3, "session", "not a PostgreSQL server", "database-port"),
    );
    let pooler = PgBouncer::start(&lab.database, Pool::Transaction);
    let pooled = at("localhost", pooler.port()).input("database-sslmode", "disable");
    finds("pooler", pooled, fault("database-pooler", 3, "pooler", "", "direct port"));
    let pooler = PgBouncer::start(&lab.database, Pool::Session);
    let pooled = at("localhost", pooler.port()).input("database-sslmode", "disable");
    let found = is_healthy(pooled, &[]);
    let row = found.iter().find(|finding| text(finding, "subject") == "pooler").expect("a row");
    assert_eq!(text(row, "detail"), "in session mode, which keeps the run lock");
}

#[test]
fn a_standby_is_found_and_examined_all_the_same() {
    let primary = Postgres::start(&Options::default());
    let lab = Lab::on(&primary);
    let standby = primary.standby();
    let url = lab.database.url_at("localhost", standby.port());
    let follows = || Session::open(&url.parse().expect("a URL")).ok();
    drop(poll(Duration::from_secs(10), follows).expect("the standby has the database"));
    let expected = fault("database-standby", 3, "primary", "read-only standby", "use the primary's host name");
    finds("standby", doctor(&lab).input("database-url", url), expected);
}

#[test]
fn tls_that_is_not_as_asked_is_found() {
    let lab = Lab::new();
    let mode = |mode: &str| doctor(&lab).input("database-sslmode", mode);
    finds("no CA", mode("verify-full"), fault("tls-untrusted", 3, "TLS", "can't be trusted", "database-ca"));
    let named = Postgres::start(&Options { tls: Tls::Named("db.example"), ..Options::default() });
    let other = Lab::on(&named);
    let step = doctor(&other).input("database-sslmode", "verify-full").input("database-ca", named.ca().to_owned());
    finds("name", step, fault("tls-wrong-name", 3, "TLS", "is not for `localhost`", "the name in the certificate"));
    let plain = Postgres::start(&Options { tls: Tls::Off, ..Options::default() });
    let plain = Lab::on(&plain);
    let step = doctor(&plain).input("database-sslmode", "require");
    finds("off", step, fault("tls-unavailable", 3, "TLS", "offers no TLS", "turn on TLS"));
}

#[test]
fn a_certificate_that_has_expired_is_found_though_nothing_checks_it() {
    let expired = Postgres::start(&Options { tls: Tls::Expired(Expired::Certificate), ..Options::default() });
    let lab = Lab::on(&expired);
    let expected = warning("certificate", "valid until 2020-01-01", "renew the certificate");
    let step = doctor(&lab).input("database-sslmode", "require");
    finds("expired", step, Expected { code: "tls-expired", ..expected });
    let verified = doctor(&lab).input("database-sslmode", "verify-full").input("database-ca", expired.ca().to_owned());
    let failed = fault("tls-expired", 3, "TLS", "has expired", "renew the certificate");
    finds_among("verified", verified, &[failed, expected]);
}

#[test]
fn plain_text_is_good_to_a_loopback_address() {
    let lab = Lab::new();
    let found = is_healthy(examining(Action::direct(&lab)).input("database-sslmode", "disable"), &[]);
    let row = found.iter().find(|finding| text(finding, "subject") == "TLS").expect("a row");
    assert_eq!(text(row, "detail"), "off");
}

#[test]
fn a_slot_without_a_reader_is_found() {
    let postgres = Postgres::start(&Options { settings: &["wal_level = logical"], ..Options::default() });
    let lab = Lab::on(&postgres);
    lab.database.sql("select pg_create_physical_replication_slot('gone', true)");
    let expected = warning("replication slots", "gone (", "pg_drop_replication_slot('gone')");
    finds("slot", doctor(&lab), expected);
}

#[test]
fn a_time_limit_that_ends_a_tools_session_is_found() {
    let lab = Lab::new();
    lab.database.sql(&format!("alter database {} set idle_session_timeout = '1min'", lab.database.name()));
    let found = is_healthy(doctor(&lab), &[]);
    let row = found.iter().find(|finding| text(finding, "subject") == "timeouts").expect("a row");
    assert_eq!(text(row, "detail"), "idle_session_timeout = 60000 ms; the run's own replace them");
    let server = own_tool::server(&lab);
    let step = own_tool::shop(&lab, &server).input("command", "doctor");
    finds("timeout", step, warning("timeouts", "idle_session_timeout = 60000 ms", "SET idle_session_timeout = 0"));
}
