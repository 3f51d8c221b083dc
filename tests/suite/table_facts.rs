//! The question about the tables of a plan, against a real PostgreSQL: it waits for nobody, changes nothing, and means
//! by each name what the plan means.

use crate::lab::{
    Lab,
    postgres::{Database, Options, Postgres, ROLE},
    session::Session,
};
use bastion_migrate::{
    review::{
        Certainty, Destruction, FactsQuestion, LockDuration, LockMode, LockedRelation, PlanNames, PlanPath, Probe,
        RelationFacts, RelationKind, RelationLock, SessionKind, SessionVisibility, StatementEffect, TableFacts,
        TableWork, read_table_facts,
    },
    settings::QueryDisplay,
    sql::{QualifiedName, Span},
};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio_postgres::{Config, NoTls};

/// The longest time for a question about a large database, and for one that has to give up waiting. Both take a tenth
/// of it on an idle machine.
const SOON: Duration = Duration::from_secs(3);

fn name(name: &str) -> QualifiedName {
    match name.split_once('.') {
        Some((schema, name)) => QualifiedName { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => QualifiedName { schema: None, name: name.to_owned() },
    }
}

/// Returns a statement that locks and scans these tables, and destroys the last one.
fn working_on(tables: &[&str]) -> StatementEffect {
    let locked = |table: &&str| RelationLock {
        mode: LockMode::AccessExclusive,
        relation: LockedRelation::Named(name(table)),
        duration: LockDuration::Transaction,
    };
    StatementEffect {
        span: Span { start: 0, end: 0 },
        summary: String::new(),
        locks: tables.iter().map(locked).collect(),
        work: tables.iter().map(|table| TableWork::Scan(name(table))).collect(),
        destroys: tables.last().map(|table| Destruction::Table(name(table))).into_iter().collect(),
        creates: Vec::new(),
        certainty: Certainty::Known,
    }
}

fn question(tables: &[&str]) -> FactsQuestion {
    FactsQuestion {
        names: PlanNames::of(&[working_on(tables)]),
        path: PlanPath::Session,
        queries: QueryDisplay::Whole,
        small_table: 100,
    }
}

/// Asks in a session of this role.
fn ask_as(database: &Database, role: &str, question: &FactsQuestion) -> TableFacts {
    ask_with(&config_for(database, role), question)
}

fn config_for(database: &Database, role: &str) -> Config {
    let url = database.url().replacen(&format!("//{ROLE}:"), &format!("//{role}:"), 1);
    url.parse().expect("the lab's URL is one")
}

fn ask_with(config: &Config, question: &FactsQuestion) -> TableFacts {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (client, connection) = runtime.block_on(config.connect(NoTls)).expect("the database accepts the login");
    let driver = runtime.spawn(connection);
    let facts = runtime.block_on(read_table_facts(&client, question)).expect("the facts can be read");
    driver.abort();
    facts
}

fn ask(database: &Database, tables: &[&str]) -> TableFacts {
    ask_as(database, ROLE, &question(tables))
}

fn found<'f>(facts: &'f TableFacts, table: &str) -> &'f RelationFacts {
    facts.find(&name(table)).unwrap_or_else(|| panic!("{table} is not among {:?}", facts.names))
}

/// Runs statements as the migrating role.
fn as_app(lab: &Lab, statements: &str) {
    lab.database.sql(&format!("set role {ROLE}; {statements}"));
}

fn opened(lab: &Lab, statements: &str) -> Session {
    let session = lab.database.session();
    session.sql(statements);
    session
}

#[test]
fn a_table_has_its_size_its_dependants_and_its_keys() {
    let lab = Lab::new();
    as_app(
        &lab,
        "create table customers (id int primary key, name text); \
         create table orders (id int primary key, customer int references customers, note text); \
         create index orders_customer on orders (customer); \
         create view open_orders as select * from orders; \
         create function noop() returns trigger language plpgsql as 'begin return new; end'; \
         create trigger t before insert on orders for each row execute function noop(); \
         insert into customers select i, repeat('x', 100) from generate_series(1, 1000) i; \
         insert into orders select i, i, 'x' from generate_series(1, 1000) i; analyze",
    );
    let facts = ask(&lab.database, &["orders", "orders_customer", "customers"]);
    let orders = found(&facts, "orders");
    assert_eq!((orders.schema.as_str(), orders.kind, orders.size.rows), ("public", RelationKind::Table, Some(1000)));
    assert_eq!((orders.size.indexes, orders.triggers, orders.views), (2, 1, 1));
    let pages = lab.database.sql("select pg_relation_size('orders'), pg_indexes_size('orders')");
    let expected = format!("{}|{}", orders.size.heap_bytes.unwrap(), orders.size.index_bytes);
    assert_eq!(pages, expected, "both sizes are those of the files after an ANALYZE");
    assert!(orders.analyzed_ago.is_some_and(|ago| ago < Duration::from_secs(60)));
    let customers = found(&facts, "customers");
    assert_eq!(
        facts.foreign_keys.iter().map(|key| (key.from, key.to)).collect::<Vec<_>>(),
        [(orders.oid, customers.oid)]
    );
    assert_eq!(facts.indexes[0].only_one_for, ["orders_customer_fkey"]);
    assert_eq!(facts.probes[&customers.oid], Probe::MoreThan(100));
    as_app(&lab, "create index again on orders (customer, note)");
    let facts = ask(&lab.database, &["orders_customer"]);
    assert_eq!(facts.indexes[0].only_one_for, [""; 0], "another index serves the key");
    assert!(facts.relations.contains_key(&orders.oid), "the table of an index is known");
}

#[test]
fn open_transactions_in_every_table_delay_nothing_and_nothing_changes() {
    // On a server of its own, where nobody else takes a transaction ID.
    let lab = Lab::on(&Postgres::start(&Options { settings: &["autovacuum = off"], ..Options::default() }));
    as_app(&lab, "create table a (id int); create table b (id int); insert into a values (1); analyze");
    let writer = opened(&lab, "begin; insert into a values (2); update a set id = 3; insert into b values (1)");
    let state = "select pg_snapshot_xmax(pg_current_snapshot())";
    let before = lab.database.sql(state);
    let start = Instant::now();
    let facts = ask(&lab.database, &["a", "b"]);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(lab.database.sql(state), before, "no transaction has written anything");
    let b = found(&facts, "b");
    assert_eq!(facts.probes[&b.oid], Probe::Rows(0), "an uncommitted row is none yet");
    let holder = facts.sessions.iter().find(|session| !session.locks.is_empty()).unwrap();
    assert_eq!(
        (holder.application.as_str(), holder.state.as_str()),
        (Session::NAME, ""),
        "another role's state is hidden"
    );
    assert!(holder.locks.iter().any(|lock| lock.relation == b.oid && lock.mode == LockMode::RowExclusive));
    writer.sql("commit");
}

#[test]
fn a_table_that_another_session_has_locked_is_not_waited_for() {
    let lab = Lab::new();
    as_app(&lab, "create table locked (id int); insert into locked values (1); analyze locked");
    let holder = opened(&lab, "begin; lock table locked in access exclusive mode");
    let start = Instant::now();
    let facts = ask(&lab.database, &["locked"]);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    let locked = found(&facts, "locked");
    assert_eq!(locked.size.rows, Some(1), "its size needs no lock");
    assert!(matches!(facts.probes[&locked.oid], Probe::Unreadable(_)), "{:?}", facts.probes);
    let mode = |mode| facts.sessions.iter().flat_map(|session| &session.locks).any(|lock| lock.mode == mode);
    assert!(mode(LockMode::AccessExclusive));
    holder.sql("rollback");
}

#[test]
fn a_role_without_rights_gets_the_sizes_and_not_the_queries() {
    let lab = Lab::new();
    let role = format!("nobody_{}", lab.database.name());
    as_app(
        &lab,
        "create schema closed; create table closed.a (id int); insert into closed.a values (1); analyze closed.a",
    );
    lab.database.sql(&format!("create role {role} login password '{}'", password_literal()));
    let owner = opened(&lab, &format!("set role {ROLE}; begin; update closed.a set id = 2"));
    let facts = ask_as(&lab.database, &role, &question(&["closed.a"]));
    let a = found(&facts, "closed.a");
    assert_eq!(a.size.rows, Some(1));
    assert!(matches!(facts.probes[&a.oid], Probe::Unreadable(_)), "{:?}", facts.probes);
    assert_eq!(facts.server.visibility, SessionVisibility::OwnRoles);
    let holder = facts.sessions.iter().find(|session| !session.locks.is_empty()).unwrap();
    assert_eq!((holder.query.as_str(), holder.transaction_age, holder.kind), ("", None, SessionKind::Client));
    lab.database.sql(&format!("grant pg_read_all_stats to {role}"));
    let facts = ask_as(&lab.database, &role, &question(&["closed.a"]));
    let holder = facts.sessions.iter().find(|session| !session.locks.is_empty()).unwrap();
    assert!(holder.query.ends_with("update closed.a set id = 2") && holder.transaction_age.is_some(), "{holder:?}");
    owner.sql("rollback");
    lab.database.sql(&format!("drop role {role}"));
}

fn password_literal() -> String {
    crate::lab::postgres::PASSWORD.replace('\'', "''")
}

#[test]
fn a_name_means_what_it_means_in_the_plan() {
    let lab = Lab::new();
    as_app(
        &lab,
        "create schema app; create table app.orders (id int); create table public.orders (id int, note text); \
         create table app.\"Odd \"\"name\"\"\" (id int); create table app.\"a\\b'c,{}\" (id int); \
         create table app.only_here (id int); create schema other; create table other.hidden (id int)",
    );
    let odd = ["app.Odd \"name\"", "app.a\\b'c,{}", "orders", "only_here", "hidden", "public.orders", "pg_class"];
    let ask_in = |path: &[&str]| {
        let path = PlanPath::Schemas(path.iter().map(|&schema| schema.to_owned()).collect());
        ask_as(&lab.database, ROLE, &FactsQuestion { path, ..question(&odd) })
    };
    let facts = ask_in(&["app", "public"]);
    assert_eq!(found(&facts, "orders").schema, "app");
    assert_eq!(found(&facts, "only_here").schema, "app");
    assert_eq!(found(&facts, "pg_class").schema, "pg_catalog");
    assert_eq!(found(&facts, "public.orders").schema, "public");
    assert_eq!(found(&facts, "app.Odd \"name\"").name, "Odd \"name\"");
    assert_eq!(found(&facts, "app.a\\b'c,{}").name, "a\\b'c,{}");
    assert_eq!(facts.find(&name("hidden")), None, "its schema is not on the path");
    assert_eq!(found(&ask_in(&["public", "app"]), "orders").schema, "public");
    let mut session = config_for(&lab.database, ROLE);
    session.options("-c search_path=nowhere,app,public");
    assert_eq!(found(&ask_with(&session, &question(&odd)), "orders").schema, "app", "the path of the session counts");
}

#[test]
fn the_temporary_table_of_another_session_is_none_of_the_plans() {
    let lab = Lab::new();
    as_app(&lab, "create table orders (id int)");
    let other = opened(&lab, "create temp table orders (id int, note text); create temp table draft (id int)");
    let facts = ask(&lab.database, &["orders", "draft"]);
    assert_eq!(found(&facts, "orders").schema, "public");
    assert_eq!(facts.find(&name("draft")), None);
    drop(other);
}

#[test]
fn a_partitioned_table_counts_with_its_thousand_partitions() {
    let lab = Lab::new();
    as_app(
        &lab,
        "create table events (id int, at date) partition by range (id); create index on events (at); \
         do $$ begin for i in 1..1000 loop execute format('create table events_%s partition of events \
         for values from (%s) to (%s)', i, i * 10, i * 10 + 10); end loop; end $$; \
         insert into events select i, now() from generate_series(10, 9999) i; analyze events",
    );
    let start = Instant::now();
    let facts = ask(&lab.database, &["events_7", "events"]);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    let (events, seventh) = (found(&facts, "events"), found(&facts, "events_7"));
    let descendants = events.descendants.unwrap();
    assert_eq!((events.kind, descendants.count, descendants.size.indexes), (RelationKind::Partitioned, 1000, 1000));
    assert_eq!((seventh.parent, seventh.partition, seventh.size.rows), (Some(events.oid), true, Some(10)));
    assert_eq!(facts.rows(events), Some(9990));
    assert_eq!(facts.probes[&events.oid], Probe::MoreThan(100));
    let reader = opened(&lab, "begin; select from events");
    let facts = ask(&lab.database, &["events"]);
    let locks: Vec<_> = facts.sessions.iter().flat_map(|session| &session.locks).collect();
    assert_eq!(locks.len(), 1, "the locks of the partitions count as one: {locks:?}");
    drop(reader);
}

#[test]
fn ten_thousand_tables_and_two_thousand_names_are_no_matter() {
    let lab =
        Lab::on(&Postgres::start(&Options { settings: &["max_locks_per_transaction = 1024"], ..Options::default() }));
    as_app(
        &lab,
        "do $$ begin for i in 1..10000 loop execute format('create table t_%s (id int)', i); \
         end loop; end $$; analyze t_1",
    );
    let names: Vec<String> = (1..=2_000).map(|number| format!("t_{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let start = Instant::now();
    let facts = ask(&lab.database, &names);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!((facts.names.len(), facts.relations.len()), (2_000, 2_000));
}

#[test]
fn the_statistics_of_statements_are_read_where_they_are() {
    let settings = &["shared_preload_libraries = 'pg_stat_statements'"];
    let lab = Lab::on(&Postgres::start(&Options { settings, ..Options::default() }));
    as_app(&lab, "create table \"Orders\" (id int); create table orders_old (id int)");
    assert_eq!(ask(&lab.database, &["Orders"]).families, [], "the extension is not there");
    lab.database.sql("create schema stats; create extension pg_stat_statements schema stats");
    as_app(&lab, "select * from \"Orders\" where id = 7");
    let other = lab.database.session();
    (0..50).for_each(|_| drop(other.sql("select count(*) from orders_old")));
    let unreadable = ask(&lab.database, &["Orders"]);
    assert_eq!(unreadable.families, [], "the role may not use its schema");
    lab.database.sql(&format!("grant usage on schema stats to {ROLE}; grant pg_read_all_stats to {ROLE}"));
    let facts = ask(&lab.database, &["Orders"]);
    let [families] = facts.families.as_slice() else { panic!("{:?}", facts.families) };
    assert_eq!(families.table, found(&facts, "Orders").oid);
    assert!(families.calls >= 1 && families.counted_for.is_some(), "{families:?}");
    assert!(families.calls < 50, "the queries of orders_old are not among them: {families:?}");
}

/// Objects of a hostile role with the names that the question uses.
const TRAPS: &str = "create schema evil authorization {evil}; grant usage on schema evil to public; set role {evil}; \
    create table evil.caught (who text); grant insert on evil.caught to public; \
    create function evil.spring() returns int language plpgsql as $$ begin \
        insert into evil.caught values (current_user); return 1; end $$; \
    create function evil.count(bigint) returns int language sql as 'select evil.spring()'; \
    create function evil.unnest(anyarray) returns setof int language sql as 'select evil.spring()'; \
    create function evil.equal(name, name) returns boolean language sql as 'select evil.spring() = 1'; \
    create operator evil.= (leftarg = name, rightarg = name, function = evil.equal); \
    create view evil.pg_class as select evil.spring() as oid; \
    create view evil.victim as select evil.spring() as id; grant select on all tables in schema evil to public; \
    create table evil.hidden (id int); insert into evil.hidden values (1); \
    alter table evil.hidden enable row level security; \
    create policy p on evil.hidden using (evil.spring() = 1); grant select on evil.hidden to public; reset role";

#[test]
fn the_objects_of_a_hostile_role_are_not_run() {
    let lab = Lab::new();
    let evil = format!("evil_{}", lab.database.name());
    lab.database.sql(&format!("create role {evil}"));
    lab.database.sql(&TRAPS.replace("{evil}", &evil));
    let mut session = config_for(&lab.database, ROLE);
    session.options("-c search_path=evil,pg_catalog,public");
    let facts = ask_with(&session, &question(&["hidden", "evil.hidden", "victim"]));
    assert_eq!(found(&facts, "victim").kind, RelationKind::View);
    let hidden = found(&facts, "hidden");
    let looked = ask_with(&session, &question(&["hidden"]));
    assert!(matches!(looked.probes[&hidden.oid], Probe::Unreadable(_)), "hidden rows are no missing rows: {looked:?}");
    assert!(!facts.probes.contains_key(&found(&facts, "victim").oid), "a view is not looked into");
    assert_eq!(lab.database.sql("select count(*) from evil.caught"), "0");
    lab.database.sql(&format!("drop schema evil cascade; drop role {evil}"));
}

#[test]
fn schemas_and_types_are_known_by_what_is_in_them() {
    let lab = Lab::new();
    as_app(
        &lab,
        "create schema old; create table old.a (id int primary key); insert into old.a values (1), (2); \
         create table old.b (id int); insert into old.b values (1); analyze; create schema empty; \
         create type mood as enum ('good', 'bad'); create table moods (one mood, many mood[], note text)",
    );
    let mut effect = working_on(&[]);
    effect.destroys = vec![
        Destruction::Schema("old".to_owned()),
        Destruction::Schema("empty".to_owned()),
        Destruction::Schema("nowhere".to_owned()),
        Destruction::Type(name("mood")),
        Destruction::Type(name("nothing")),
    ];
    let names = PlanNames::of(&[effect]);
    let facts = ask_as(&lab.database, ROLE, &FactsQuestion { names, ..question(&[]) });
    let schemas: Vec<_> =
        facts.schemas.iter().map(|schema| (schema.name.as_str(), schema.tables, schema.size.rows)).collect();
    assert_eq!(schemas.len(), 2, "{schemas:?}");
    assert!(schemas.contains(&("old", 2, Some(3))) && schemas.contains(&("empty", 0, Some(0))), "{schemas:?}");
    assert_eq!(
        facts.types.iter().map(|kind| (kind.name.name.as_str(), kind.columns)).collect::<Vec<_>>(),
        [("mood", 2)]
    );
}
