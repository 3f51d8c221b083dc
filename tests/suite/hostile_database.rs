//! A hostile role in the database: it owns a schema, may create some objects, and waits for a session with more rights
//! to use them. Its code gains nothing, read-only commands change nothing, and the run keeps its lock.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        server::{Server, from_the_server},
    },
};

/// Creates the role's functions: when another role runs them, they record it, take rights, release locks and allow the
/// session to write.
const TRAP: &str = "
    create schema evil authorization {evil};
    grant usage on schema evil to public;
    set role {evil};
    create table evil.caught (who text);
    grant insert on evil.caught to public;
    create function evil.spring() returns boolean language plpgsql volatile as $$
    begin
        if current_user in ('{evil}', 'postgres') then return true; end if;
        perform pg_advisory_unlock_all();
        perform set_config('default_transaction_read_only', 'off', false);
        begin insert into evil.caught values (current_user); exception when others then null; end;
        begin execute 'alter role {evil} superuser'; exception when others then null; end;
        begin execute 'grant app to {evil}'; exception when others then null; end;
        return true;
    end $$;
    create function evil.as_trigger() returns trigger language plpgsql as 'begin perform evil.spring(); return new; end';
    reset role;";

/// Columns of our own ledger, for a table that looks like it.
const OURS: &str = "version bigint primary key, name text, checksum text, applied_at timestamptz default now(), \
    duration_ms bigint, applied_by text default session_user, run text";

/// Attacks: a name, the SQL that prepares it, and the fault code of a run (`None` if it succeeds).
const ATTACKS: &[(&str, &str, Option<&str>)] = &[
    (
        "a policy on a table that looks like a tool's ledger",
        "set role {evil}; create table evil.django_migrations (id int, app varchar, name varchar, applied timestamptz); \
         alter table evil.django_migrations enable row level security; \
         create policy p on evil.django_migrations using (evil.spring()); grant select on evil.django_migrations to public",
        None,
    ),
    (
        "a policy on a table that looks like the ledger of sqlx",
        "set role {evil}; create table evil._sqlx_migrations (version bigint primary key, description text, \
         installed_on timestamptz, success boolean, checksum bytea, execution_time bigint); \
         alter table evil._sqlx_migrations enable row level security; \
         create policy p on evil._sqlx_migrations using (evil.spring()); grant select on evil._sqlx_migrations to public",
        None,
    ),
    (
        "a view that looks like a tool's ledger",
        "set role {evil}; create view evil.schema_migrations as select 1::bigint as version, evil.spring() as dirty; \
         grant select on evil.schema_migrations to public",
        None,
    ),
    (
        "a type whose cast is a function, in a table that looks like a ledger",
        "set role {evil}; create type evil.t as (x int); \
         create function evil.f(evil.t) returns text language sql as 'select evil.spring()::text'; \
         create cast (evil.t as text) with function evil.f(evil.t) as implicit; \
         create table evil.schema_migrations (version evil.t, dirty boolean); insert into evil.schema_migrations values (row(1), false); \
         grant select on evil.schema_migrations to public",
        None,
    ),
    (
        "a partitioned table that looks like a ledger",
        "set role {evil}; create table evil.goose_db_version (id int, version_id bigint, is_applied boolean, tstamp timestamp) \
         partition by list (version_id); grant select on evil.goose_db_version to public",
        None,
    ),
    (
        "a ledger without the right to read it",
        "set role {evil}; create table evil.alembic_version (version_num varchar(32) primary key)",
        None,
    ),
    (
        "a ledger in a schema without the right to use it",
        "create schema closed authorization {evil}; set role {evil}; create table closed.alembic_version (version_num varchar(32)); \
         insert into closed.alembic_version values ('x'); grant select on closed.alembic_version to public",
        None,
    ),
    (
        "our ledger with a policy, created before the first run",
        "grant create on database {db} to {evil}; set role {evil}; create schema bastion_migrate; \
         create table bastion_migrate.ledger ({ours}); grant all on schema bastion_migrate to public; \
         alter table bastion_migrate.ledger enable row level security; \
         create policy p on bastion_migrate.ledger using (evil.spring()) with check (evil.spring()); \
         grant all on bastion_migrate.ledger to public",
        Some("ledger-hidden"),
    ),
    (
        "our ledger with a trigger, created before the first run",
        "grant create on database {db} to {evil}; set role {evil}; create schema bastion_migrate; \
         create table bastion_migrate.ledger ({ours}); grant all on schema bastion_migrate to public; \
         create trigger t before insert on bastion_migrate.ledger for each row execute function evil.as_trigger(); \
         grant all on bastion_migrate.ledger to public",
        Some("ledger-untrusted"),
    ),
    (
        "our ledger with a rule, created before the first run",
        "grant create on database {db} to {evil}; set role {evil}; create schema bastion_migrate; \
         create table bastion_migrate.ledger ({ours}); grant all on schema bastion_migrate to public; \
         create rule r as on insert to bastion_migrate.ledger do also select evil.spring(); \
         grant all on bastion_migrate.ledger to public",
        Some("ledger-untrusted"),
    ),
    (
        "our ledger with a default, created before the first run",
        "grant create on database {db} to {evil}; set role {evil}; create schema bastion_migrate; \
         create table bastion_migrate.ledger ({ours}, x boolean default evil.spring()); grant all on schema bastion_migrate to public; \
         grant all on bastion_migrate.ledger to public",
        Some("ledger-untrusted"),
    ),
    (
        "our ledger with a constraint, created before the first run",
        "grant create on database {db} to {evil}; set role {evil}; create schema bastion_migrate; \
         create table bastion_migrate.ledger ({ours}, check (evil.spring())); grant all on schema bastion_migrate to public; \
         grant all on bastion_migrate.ledger to public",
        Some("ledger-untrusted"),
    ),
    (
        "our ledger as a view, created before the first run",
        "grant create on database {db} to {evil}; set role {evil}; create schema bastion_migrate; \
         create view bastion_migrate.ledger as select 1::bigint as version, evil.spring()::text as name, ''::text as checksum, \
         now() as applied_at, 1::bigint as duration_ms, ''::text as applied_by, ''::text as run; \
         grant all on schema bastion_migrate to public; grant all on bastion_migrate.ledger to public",
        Some("ledger-untrusted"),
    ),
    (
        "the schema of our ledger, created before the first run",
        "grant create on database {db} to {evil}; set role {evil}; create schema bastion_migrate; \
         grant all on schema bastion_migrate to public",
        Some("ledger-untrusted"),
    ),
    (
        "the progress table, created beside our ledger",
        "set role app; create schema bastion_migrate; create table bastion_migrate.ledger ({ours}); \
         grant all on schema bastion_migrate to {evil}; set role {evil}; \
         create table bastion_migrate.ledger_progress (version bigint primary key, started int, done int, checksum text default evil.spring()::text); \
         grant all on bastion_migrate.ledger_progress to public",
        Some("ledger-untrusted"),
    ),
    (
        "a trigger on our own ledger, with a granted right",
        "set role app; create schema bastion_migrate; create table bastion_migrate.ledger ({ours}); \
         grant usage on schema bastion_migrate to {evil}; grant trigger on bastion_migrate.ledger to {evil}; set role {evil}; \
         create trigger t after insert on bastion_migrate.ledger for each row execute function evil.as_trigger()",
        Some("ledger-untrusted"),
    ),
    (
        "operators on the search path",
        "grant create on schema public to {evil}; set role {evil}; \
         create function public.glue(varchar, varchar) returns text language sql as 'select evil.spring()::text'; \
         create operator public.|| (leftarg = varchar, rightarg = varchar, function = public.glue); \
         create function public.same(bigint, integer) returns boolean language sql as 'select evil.spring()'; \
         create operator public.= (leftarg = bigint, rightarg = integer, function = public.same); \
         create function public.unlike(name, text) returns boolean language sql as 'select evil.spring()'; \
         create operator public.!~ (leftarg = name, rightarg = text, function = public.unlike); \
         reset role; alter database {db} set search_path = public, pg_catalog",
        None,
    ),
    (
        "functions on the search path",
        "grant create on schema public to {evil}; set role {evil}; \
         create function public.now() returns timestamptz language sql as 'select case when evil.spring() then pg_catalog.clock_timestamp() end'; \
         create function public.current_setting(text) returns text language sql as 'select case when evil.spring() then pg_catalog.current_setting($1) end'; \
         create function public.pg_backend_pid() returns integer language sql as 'select case when evil.spring() then pg_catalog.pg_backend_pid() end'; \
         create function public.to_regclass(text) returns regclass language sql as 'select case when evil.spring() then pg_catalog.to_regclass($1) end'; \
         create function public.round(numeric) returns numeric language sql as 'select case when evil.spring() then pg_catalog.round($1) end'; \
         reset role; alter database {db} set search_path = public, pg_catalog",
        None,
    ),
    (
        "an aggregate on the search path",
        "grant create on schema public to {evil}; set role {evil}; \
         create function public.step(text, name, text) returns text language sql as 'select evil.spring()::text'; \
         create aggregate public.string_agg(name, text) (sfunc = public.step, stype = text); \
         reset role; alter database {db} set search_path = public, pg_catalog",
        None,
    ),
    (
        "types on the search path",
        "grant create on schema public to {evil}; set role {evil}; \
         create domain public.text as pg_catalog.text check (evil.spring()); \
         create domain public.timestamptz as pg_catalog.timestamptz check (evil.spring()); \
         reset role; alter database {db} set search_path = public, pg_catalog",
        None,
    ),
    (
        "tables of the catalog on the search path",
        "grant create on schema public to {evil}; set role {evil}; \
         create view public.pg_class as select c.* from pg_catalog.pg_class c where evil.spring(); \
         create view public.pg_locks as select l.* from pg_catalog.pg_locks l where evil.spring(); \
         create view public.pg_roles as select r.* from pg_catalog.pg_roles r where evil.spring(); \
         grant select on public.pg_class, public.pg_locks, public.pg_roles to public; \
         reset role; alter database {db} set search_path = public, pg_catalog",
        None,
    ),
    (
        "the role's own schema first on the search path",
        "grant create on database {db} to {evil}; set role {evil}; \
         create function evil.pg_try_advisory_lock(bigint) returns boolean language sql as 'select evil.spring()'; \
         create function evil.pg_current_xact_id() returns xid8 language sql as 'select null::xid8 where evil.spring()'; \
         reset role; alter role app in database {db} set search_path = evil, public, pg_catalog",
        None,
    ),
    (
        "a publication and statistics of the role's own",
        "grant create on database {db} to {evil}; set role {evil}; create table evil.mine (a int, b int); \
         create statistics evil.s on a, b from evil.mine; create publication {evil}_p for table evil.mine; reset role",
        None,
    ),
    (
        "a table that claims to be our ledger under another name",
        "set role {evil}; create table evil.mine ({ours}); insert into evil.mine (version, name) values (1, 'users'); \
         grant select on evil.mine to public",
        None,
    ),
];

/// Statements that PostgreSQL denies the role; tested because the program relies on it.
const FORBIDDEN: &[&str] = &[
    "create event trigger e on ddl_command_end execute function evil.on_ddl()",
    "create table evil.child () inherits (bastion_migrate.ledger)",
    "create policy p on bastion_migrate.ledger using (true)",
    "create rule r as on select to bastion_migrate.ledger do instead select 1",
    "create publication everything for all tables",
];

/// A hostile role of the test's own, and the database in which it has prepared an attack.
struct Hostile {
    lab: Lab,
    role: String,
}

impl Hostile {
    fn new(attack: &str) -> Self {
        let lab = Lab::new();
        let hostile = Self { role: format!("evil_{}", lab.database.name()), lab };
        hostile.lab.database.sql(&format!("create role {}", hostile.role));
        hostile.run(TRAP);
        hostile.run(attack);
        hostile
    }

    fn run(&self, text: &str) {
        let text = text.replace("{evil}", &self.role).replace("{db}", self.lab.database.name()).replace("{ours}", OURS);
        self.lab.database.sql(&text);
    }

    /// Returns everything that the role has gained.
    fn gained(&self) -> String {
        self.lab.database.sql(&format!(
            "set search_path = pg_catalog; select 'caught ' || who from evil.caught \
             union all select 'superuser' from pg_roles where rolname = '{0}' and rolsuper \
             union all select 'member' from pg_auth_members where member = '{0}'::regrole and roleid = 'app'::regrole",
            self.role
        ))
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let role = &self.role;
        self.lab.database.sql(&format!("drop owned by {role} cascade; drop role {role}"));
    }
}

/// Fails if the session does not hold the run lock.
const LOCKED: &str = "do $$ begin if not exists (select from pg_catalog.pg_locks l where l.locktype = 'advisory' \
    and l.pid = pg_catalog.pg_backend_pid()) then raise exception 'the run lock is not held'; end if; end $$;";

fn files<'l>(lab: &'l Lab, command: &str) -> Action<'l> {
    Action::new(lab)
        .input("command", command)
        .file("migrations/0001_users.sql", format!("create table public.app_users (id int);\n{LOCKED}"))
        .file("migrations/0002_index.sql", "create index concurrently app_users_id on public.app_users (id);\n")
        .file("migrations/0003_check.sql", LOCKED)
}

fn with_fault(done: Finished, fault: Option<&'static str>) -> Finished {
    match fault {
        Some(fault) => done.fails(fault, 5),
        None => done,
    }
}

#[test]
fn no_prepared_attack_runs_in_a_session_of_sql_files() {
    for (attack, sql, fault) in ATTACKS {
        println!("{attack}");
        let hostile = Hostile::new(sql);
        hostile.lab.database.sql("grant create on schema public to app");
        let before = hostile.lab.database.contents();
        let plan = with_fault(files(&hostile.lab, "plan").run(), *fault);
        if fault.is_some() {
            plan.done();
        } else {
            plan.has_pending().pending(["0001_users", "0002_index", "0003_check"]).done();
        }
        assert_eq!(hostile.lab.database.contents(), before, "{attack}: a plan wrote something");
        let run = with_fault(files(&hostile.lab, "migrate").run(), *fault);
        if fault.is_some() {
            run.done();
        } else {
            run.succeeds().applied(["0001_users", "0002_index", "0003_check"]).done();
            files(&hostile.lab, "verify").run().succeeds().done();
        }
        assert_eq!(hostile.gained(), "", "{attack}");
    }
}

/// Uses the database as an app does, and fails if no session holds the run lock.
const TOOL: &str = "set -eu; psql -XAtq -v ON_ERROR_STOP=1 \"$DATABASE_URL\" <<'END'\n\
    create table if not exists public.app_users (id int);\n\
    do $$ begin if not exists (select from pg_catalog.pg_locks l where l.locktype = 'advisory') \
    then raise exception 'the run lock is not held'; end if; end $$;\nEND";

#[test]
fn no_prepared_attack_runs_in_the_session_that_monitors_a_tool() {
    let server = Server::start();
    for (attack, sql, _) in ATTACKS {
        println!("{attack}");
        let hostile = Hostile::new(sql);
        let lab = &hostile.lab;
        lab.database.sql("grant create on schema public to app");
        let url = from_the_server(&lab.database);
        let step = Action::on_server(lab, &server).secret("database-url", lab.database.url());
        let step = step.input("tool", "custom").input("setup", format!("export DATABASE_URL='{url}'"));
        step.input("run", TOOL).run().succeeds().warning("only the tool itself reports that").done();
        assert_eq!(hostile.gained(), "", "{attack}");
    }
}

#[test]
fn no_prepared_attack_gains_anything_from_a_superuser_who_migrates() {
    for (attack, sql, _) in ATTACKS.iter().filter(|(.., fault)| fault.is_none()) {
        println!("{attack}");
        let hostile = Hostile::new(sql);
        let lab = &hostile.lab;
        let root = format!("root_{}", lab.database.name());
        lab.database.sql(&format!("create role {root} superuser login password 'a superuser''s own'"));
        let url = format!(
            "postgres://{root}:a%20superuser%27s%20own@localhost:{}/{}",
            lab.database.server().port(),
            lab.database.name()
        );
        let done = files(lab, "migrate").secret("database-url", url).hides("a superuser's own").run();
        done.succeeds().applied(["0001_users", "0002_index", "0003_check"]).done();
        assert_eq!(hostile.gained(), "", "{attack}");
        lab.database.sql(&format!("drop owned by {root} cascade; drop role {root}"));
    }
}

#[test]
fn postgresql_denies_the_other_attacks() {
    let hostile = Hostile::new(
        "set role {evil}; create function evil.on_ddl() returns event_trigger language plpgsql as 'begin end'",
    );
    let lab = &hostile.lab;
    files(lab, "migrate").run().succeeds().applied(["0001_users", "0002_index", "0003_check"]).done();
    for statement in FORBIDDEN {
        let session = lab.database.session();
        session.sql(&format!("set role {}", hostile.role));
        assert!(session.try_sql(statement).is_err(), "{statement}");
    }
}

#[test]
fn two_apps_with_two_roles_in_one_database_do_not_disturb_each_other() {
    let hostile = Hostile::new(
        "create schema other authorization {evil}; set role {evil}; \
         create table other.alembic_version (version_num varchar(32) primary key); insert into other.alembic_version values ('x')",
    );
    let lab = &hostile.lab;
    files(lab, "migrate")
        .run()
        .succeeds()
        .applied(["0001_users", "0002_index", "0003_check"])
        .logs("ignored: `other.alembic_version`")
        .done();
    files(lab, "verify").run().succeeds().done();
}
