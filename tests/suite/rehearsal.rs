//! `command: rehearse`: the migrations run on a copy of the schema in another server, are watched there, and `migrate` can be
//! bound to what was seen.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        postgres::{Database, Options, Postgres},
        ways::WayServer,
    },
    layout_forms::{FORMS, ONE, TWO, UNDO_ONE, UNDO_TWO, WITH_WAY_BACK},
};
use rustix::process::Signal;
use serde_json::Value;
const MAKER_PASSWORD: &str = "copies-pa55word-canary";

/// A row that is in production alone.
const CANARY: &str = "canary-row-of-production-4711";

/// Starts a server for copies, with a role of these options that makes them. Returns a database there, and the server's URL.
fn copies(options: &str) -> (Database, String) {
    let database = Postgres::start(&Options::default()).database();
    database.sql(&format!("create role maker login {options} password '{MAKER_PASSWORD}'"));
    let url = format!("postgres://maker:{MAKER_PASSWORD}@127.0.0.1:{}/{}", database.server().port(), database.name());
    (database, url)
}

/// A step that rehearses on the server of the copies.
fn rehearse<'a>(lab: &'a Lab, url: &str) -> Action<'a> {
    Action::new(lab).input("command", "rehearse").secret("rehearse", url)
}

/// Returns the rehearsal in the output `report`.
fn rehearsal(finished: &Finished) -> Value {
    let report: Value = serde_json::from_str(&finished.outputs["report"]).expect("the report is JSON");
    report["rehearsal"].clone()
}

/// Returns a statement of the rehearsal that begins with these words.
fn statement<'r>(rehearsal: &'r Value, words: &str) -> &'r Value {
    let statements = rehearsal["statements"].as_array().expect("there are statements");
    let found = statements.iter().find(|found| found["summary"].as_str().is_some_and(|text| text.starts_with(words)));
    found.unwrap_or_else(|| panic!("{words}: {statements:#?}"))
}

/// Returns what rehearsals have left in the server: databases, and roles of their own.
fn left_in(database: &Database) -> String {
    database.sql(
        "select string_agg(name, ' ') from (select datname::text as name from pg_database where datname like 'bastion%' \
         union all select rolname::text from pg_roles r join pg_shdescription d on d.objoid = r.oid) x",
    )
}

/// Creates tables with many rows, as the role that migrates.
fn shop(lab: &Lab) {
    lab.database.sql(&format!(
        "set role app; create table customers (id int primary key); insert into customers select generate_series(1, 50000); \
         create table orders (id serial primary key, customer int not null, note varchar(20), total numeric); \
         insert into orders (customer, note) select n, 'note' from generate_series(1, 50000) n; \
         create table secrets (line text); insert into secrets values ('{CANARY}'); \
         create function double(x int) returns int language sql as 'select 2 * x'; \
         create view listed as select id from customers"
    ));
    lab.database.sql("set client_min_messages = error; analyze");
}

const CHANGES: &str = "alter table orders alter column customer type bigint;\n\
    create index orders_note on orders (note);\n\
    do $$ begin execute 'alter table customers add column vip bool default random() > 0.5'; raise notice 'told'; end $$;\n\
    alter table orders add foreign key (customer) references customers;\n\
    update orders set note = 'x' where id < 10;";

#[test]
fn each_statement_is_watched_on_a_copy_and_weighed_by_the_tables_of_the_database() {
    let (lab, (server, url)) = (Lab::new(), copies("superuser"));
    shop(&lab);
    let step = rehearse(&lab, &url)
        .hides(CANARY)
        .input("lint", "off")
        .file("migrations/0001_first.sql", "create table first (id int)")
        .file("migrations/0002_orders.sql", CHANGES)
        .file("migrations/0003_index.sql", "create index concurrently orders_total on orders (total);");
    let before = lab.database.sql("select count(*) from pg_class");
    let finished = step.run();
    let seen = rehearsal(&finished);
    let type_change = statement(&seen, "alter table orders alter column customer");
    assert_eq!(
        (type_change["verdict"].as_str(), type_change["blocks"].as_str()),
        (Some("confirmed"), Some("reads-and-writes"))
    );
    assert!(type_change["work"].to_string().contains("rewrites orders (50,000 rows"), "{type_change:#}");
    let index = statement(&seen, "create index orders_note");
    assert_eq!((index["verdict"].as_str(), index["blocks"].as_str()), (Some("confirmed"), Some("writes")), "{index:#}");
    let block = statement(&seen, "do ");
    assert_eq!((block["verdict"].as_str(), block["blocks"].as_str()), (Some("contradicted"), Some("reads-and-writes")));
    assert!(block["differences"].to_string().contains("all rows of public.customers anew"), "{block:#}");
    assert!(block["locks"].to_string().contains("customers (50,000 rows"), "{block:#}");
    assert_eq!(block["notices"].as_array().map(Vec::len), Some(1), "{block:#}");
    let update = statement(&seen, "update orders");
    assert_eq!(
        (update["verdict"].as_str(), update["blocks"].as_str()),
        (Some("confirmed"), Some("writes")),
        "{update:#}"
    );
    let key = statement(&seen, "alter table orders add foreign key");
    assert_eq!((key["verdict"].as_str(), key["blocks"].as_str()), (Some("confirmed"), Some("writes")), "{key:#}");
    assert_eq!(seen["lacks"], Value::Array(Vec::new()));
    let parts = [
        ("first", "CREATE TABLE public.first"),
        ("orders", "CREATE INDEX orders_note"),
        ("index", "CREATE INDEX orders_total"),
    ];
    for (at, (name, part)) in parts.into_iter().enumerate() {
        let [ids, lines] = ["migrations", "lines"].map(|key| seen["migrations"][at][key].clone());
        assert_eq!((ids.as_array().map(Vec::len), ids[0]["name"].as_str()), (Some(1), Some(name)), "{ids}");
        let lines = lines.to_string();
        assert!(lines.contains(part) && lines.contains("vip") == (at == 1), "{name}: {lines}");
    }
    assert!(seen["rounds"].to_string().contains("a second run had nothing to do"), "{seen:#}");
    finished
        .summary("changes the schema:")
        .has_pending()
        .pending(["0001_first", "0002_orders", "0003_index"])
        .warning("anew, which was not forecast")
        .logs("1 contradicted")
        .summary("### Rehearsal")
        .summary("contradicted")
        .done();
    assert_eq!(lab.database.sql("select count(*) from pg_class"), before);
    assert_eq!(left_in(&server), "");
}

#[test]
fn a_migration_goes_forward_back_and_forward_again_in_every_layout_that_can() {
    let (server, url) = copies("superuser");
    for form in FORMS {
        let lab = Lab::new();
        let labels = [form.label(1, "one"), form.label(2, "two")];
        let can_go_back = WITH_WAY_BACK.contains(&form.layout);
        let step = form.step(rehearse(&lab, &url));
        let step = match can_go_back {
            true => form.reversible(form.reversible(step, 1, "one", ONE, UNDO_ONE), 2, "two", TWO, UNDO_TWO),
            false => form.golden_files(step),
        };
        let finished = step.run();
        let rounds = rehearsal(&finished)["rounds"].clone();
        let rounds: Vec<&str> = rounds.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(rounds.get(1), Some(&"a second run had nothing to do"), "{}: {rounds:?}", form.layout);
        let back = rounds.get(2).unwrap_or_else(|| panic!("{}: {rounds:?}", form.layout));
        if can_go_back {
            assert!(back.ends_with("and the schema is as before"), "{}: {rounds:?}", form.layout);
            let again = rounds.get(3).is_some_and(|again| again.ends_with("and the schema is as before"));
            assert!(again, "{}: {rounds:?}", form.layout);
        } else {
            assert!(back.starts_with("they can't be rolled back: "), "{}: {rounds:?}", form.layout);
        }
        finished.has_pending().pending(labels.each_ref().map(String::as_str)).done();
        assert_eq!(left_in(&server), "", "{}", form.layout);
    }
}

#[test]
fn a_migration_is_bound_to_the_schema_and_the_plan_of_its_rehearsal() {
    let (lab, (_server, url)) = (Lab::new(), copies("superuser"));
    shop(&lab);
    let with_file = |step: Action<'_>, sql: &str| -> String {
        let finished = step.file("migrations/0001_note.sql", sql).run();
        let digest = finished.outputs["rehearsal-digest"].clone();
        finished.has_pending().pending(["0001_note"]).done();
        digest
    };
    let sql = "alter table orders add column memo text";
    let digest = with_file(rehearse(&lab, &url), sql);
    let migrate =
        |sql: &str| Action::new(&lab).file("migrations/0001_note.sql", sql).input("expect-rehearsal", &digest);
    let other = migrate("alter table orders add column memo int").run();
    other.fails("rehearsal-outdated", 5).error("the plan is sha256:").pending(["0001_note"]).done();
    lab.database.sql("set role app; alter table customers add column surprise text");
    let changed = migrate(sql).run();
    changed
        .fails("rehearsal-outdated", 5)
        .error("`public.customers: surprise text` is new")
        .pending(["0001_note"])
        .done();
    lab.database.sql("alter table customers drop column surprise");
    migrate(sql).run().succeeds().applied(["0001_note"]).done();
    migrate(sql).run().nothing_to_do().done();

    let short = format!("{{ url: '{url}', max-age: 1s }}");
    let second = |command: &str| {
        let step = Action::new(&lab).input("command", command);
        step.file("migrations/0001_note.sql", sql).file("migrations/0002_more.sql", "select 1")
    };
    let finished = second("rehearse").input("rehearse", short).hides(&url).run();
    let old = finished.outputs["rehearsal-digest"].clone();
    finished.has_pending().pending(["0002_more"]).done();
    let until = old.rsplit('/').next().expect("it has a time").to_owned();
    lab.database.wait_for(&format!("select now() > '{until}'::timestamptz + interval '1 s'"), "t");
    let late = second("migrate").input("expect-rehearsal", old).run();
    late.fails("rehearsal-outdated", 5).error("the rehearsal was valid until").pending(["0002_more"]).done();
}

#[test]
fn a_migration_that_fails_on_the_copy_fails_the_rehearsal_and_leaves_nothing() {
    let (lab, (server, url)) = (Lab::new(), copies("superuser"));
    shop(&lab);
    let step = rehearse(&lab, &url).file("migrations/0001_bad.sql", "select 1;\nalter table nothing_like_it add a int");
    let finished = step.run();
    assert_eq!(finished.outputs["rehearsal-digest"], "");
    assert!(
        statement(&rehearsal(&finished), "alter table nothing_like_it")["error"].to_string().contains("does not exist")
    );
    finished
        .fails("rehearsal-failed", 5)
        .annotation("migrations/0001_bad.sql", 2, "on the copy, relation \"nothing_like_it\" does not exist")
        .pending(["0001_bad"])
        .done();
    assert_eq!(
        (left_in(&server).as_str(), lab.database.sql("select to_regclass('bastion_migrate.ledger')").as_str()),
        ("", "")
    );
}

#[test]
fn owners_rights_and_settings_of_the_original_hold_on_the_copy() {
    let (lab, (server, url)) = (Lab::new(), copies("superuser"));
    let database = lab.database.name();
    lab.database.sql(&format!(
        "create role keeper_{database}; create schema mine authorization app; create table theirs (id int); \
         create table kept (id int); alter table kept owner to keeper_{database}; \
         alter database {database} set search_path = mine, public; grant select on theirs to app"
    ));
    let step = |sql: &str| rehearse(&lab, &url).file("migrations/0001_try.sql", sql);
    let finished = step("create table here (id int)").run();
    assert_eq!(rehearsal(&finished)["lacks"], Value::Array(Vec::new()), "{:#}", rehearsal(&finished));
    finished.has_pending().pending(["0001_try"]).done();
    let denied = step("alter table theirs add column a int").run();
    denied
        .fails("rehearsal-failed", 5)
        .annotation("migrations/0001_try.sql", 1, "must be owner of table theirs")
        .pending(["0001_try"])
        .done();
    assert_eq!(left_in(&server), "");
}

#[test]
fn a_role_that_may_create_databases_and_roles_makes_copies() {
    let (lab, (server, url)) = (Lab::new(), copies("createdb createrole"));
    server.sql("grant app to maker");
    let name = lab.database.name();
    lab.database.sql(&format!(
        "create role holder_{name}; grant holder_{name} to app; grant create on schema public to holder_{name}; set role app; create table mine (id serial primary key); \
         create table held (id int); alter table held owner to holder_{name}"
    ));
    let finished = rehearse(&lab, &url).file("migrations/0001_try.sql", "alter table held add column a int").run();
    assert_eq!(rehearsal(&finished)["lacks"], Value::Array(Vec::new()), "{:#}", rehearsal(&finished));
    finished.has_pending().pending(["0001_try"]).done();
    assert_eq!(left_in(&server), "");
}

#[test]
fn a_rehearsal_that_is_cancelled_or_killed_leaves_nothing_behind_for_long() {
    let (lab, (server, url)) = (Lab::new(), copies("superuser"));
    let slow = |sql: &str| rehearse(&lab, &url).file("migrations/0001_slow.sql", sql);
    let is_asleep =
        "select count(*) > 0 from pg_stat_activity where query like 'select pg_sleep(60)%' and state = 'active'";
    let running = slow("select pg_sleep(60)").start();
    server.wait_for(is_asleep, "t");
    running.signal(Signal::TERM);
    running.finish().fails("cancelled", 130).pending(["0001_slow"]).done();
    assert_eq!(left_in(&server), "");
    let running = slow("select pg_sleep(60)").start();
    server.wait_for(is_asleep, "t");
    drop(running.kill());
    let gone = "select count(*) from pg_stat_activity where application_name like 'bastion-migrate-rehearsal-%'";
    server.wait_for(gone, "0");
    assert_ne!(left_in(&server), "");
    slow("select 1").run().has_pending().pending(["0001_slow"]).done();
    assert_eq!(left_in(&server), "");
}

#[test]
fn production_is_only_read_and_its_rows_are_on_no_surface() {
    // A server of its own, so that no other test takes transaction ids.
    let lab = Lab::on(&Postgres::start(&Options { settings: &["autovacuum = off"], ..Options::default() }));
    let (_server, url) = copies("superuser");
    shop(&lab);
    let holder = lab.database.session();
    // Every write, and every lock that blocks anybody, would wait for this.
    holder.sql("begin; lock table orders, customers, secrets in share row exclusive mode");
    let state = || lab.database.sql("select pg_snapshot_xmax(pg_current_snapshot())");
    let (before, contents) = (state(), lab.database.contents());
    let step = rehearse(&lab, &url).hides(CANARY).input("lint", "off").file("migrations/0001_note.sql", CHANGES);
    step.run().has_pending().warning("anew, which was not forecast").pending(["0001_note"]).done();
    assert_eq!((state(), lab.database.contents()), (before.clone(), contents.clone()));
    let with_rows = format!("{{ url: '{url}', data: sample, rows: 100 }}");
    let step = rehearse(&lab, &with_rows).hides(&url).hides(CANARY).input("lint", "off");
    let finished = step.file("migrations/0001_note.sql", CHANGES).run();
    let noted = "the copy has 201 rows of 3 tables (";
    finished.has_pending().logs(noted).warning("anew, which was not forecast").pending(["0001_note"]).done();
    assert_eq!((state(), lab.database.contents()), (before, contents));
    holder.sql("rollback");
}

#[test]
fn what_stands_in_the_way_of_a_rehearsal_is_named() {
    let lab = Lab::new();
    let step = |url: &str| rehearse(&lab, url).file("migrations/0001_a.sql", "create table a ()");
    let (_server, weak) = copies("nocreatedb");
    step(&weak).run().fails("rehearsal-copy", 2).error("permission denied").pending(["0001_a"]).done();
    let itself = lab.database.url();
    step(&itself).run().fails("input-invalid", 2).error("the database to migrate itself").done();
    let two = step(&format!("{{ url: '{weak}', image: 'postgres:16' }}")).hides(&weak).run();
    two.fails("input-invalid", 2).error("two places for one copy").done();
    let idle = step(&format!("{{ url: '{weak}', rows: 10 }}")).hides(&weak).run();
    idle.fails("input-invalid", 2).error("`rows` has no effect").done();
    let unused = Action::new(&lab).secret("rehearse", &weak).file("migrations/0001_a.sql", "create table a ()").run();
    unused.fails("input-invalid", 2).error("only a rehearsal needs a server for a copy").done();
}

/// Returns a rehearsal with rows on the server of the copies.
fn rehearse_with_rows<'a>(lab: &'a Lab, url: &str, keys: &str) -> Action<'a> {
    rehearse(lab, &format!("{{ url: '{url}', data: sample{keys} }}")).hides(url).hides(CANARY).input("lint", "off")
}

/// The observation of a file that looks at the rows.
const READS: &str = "which was not forecast";

/// Returns a file that fails unless the condition holds.
fn unless(condition: &str) -> String {
    format!("do $$ begin if not ({condition}) then raise exception 'not so'; end if; end $$;\n")
}

#[test]
fn the_rows_of_a_sample_have_all_that_they_refer_to() {
    let (lab, (server, url)) = (Lab::new(), copies("superuser"));
    lab.database.sql(
        "set role app; create type mood as enum ('sad', 'glad'); create domain short as varchar(10) not null; \
         create table people (id int generated always as identity primary key, boss int references people, name short default 'x', mood mood, \
           tags text[], double int generated always as (id * 2) stored); \
         insert into people (boss) select nullif(n - 1, 0) from generate_series(1, 40) n; \
         create table pairs (a int, b text, primary key (a, b)); insert into pairs select n, 'b' || n from generate_series(1, 100) n; \
         create table events (id int, at date, pair_a int, pair_b text, foreign key (pair_a, pair_b) references pairs, primary key (id, at)) \
           partition by range (at); \
         create table events_1 partition of events for values from ('2020-01-01') to ('2021-01-01'); \
         create table events_2 partition of events for values from ('2021-01-01') to ('2022-01-01'); \
         insert into events select n, '2020-06-01'::date + n * 5, 101 - n, 'b' || (101 - n) from generate_series(1, 100) n; \
         create table hens (id int primary key, egg int); create table eggs (id int primary key, hen int references hens); \
         alter table hens add foreign key (egg) references eggs deferrable initially deferred; \
         begin; insert into hens select n, n from generate_series(1, 20) n; insert into eggs select n, n % 20 + 1 from generate_series(1, 20) n; commit; \
         create table special (id int primary key, x int unique deferrable, line text); \
         insert into special select n, n, E'a\\tb\\\\\\n' || n from generate_series(1, 5) n; \
         create table apart (id int); insert into apart select 1; create table empty ()",
    );
    let counts = "(select count(*) from people) = 40 and (select count(*) from pairs) = 20 and (select count(*) from events) = 10 \
        and (select count(*) from hens) = 20 and (select count(*) from eggs) = 20 and (select count(*) from special) = 5";
    let content = "(select max(double) from people) = 80 and (select count(*) from people where name = 'x') = 40 \
        and (select line from special where id = 3) = E'a\\tb\\\\\\n3' and (select nextval('people_id_seq')) = 41";
    let fresh =
        "alter table events validate constraint events_pair_a_pair_b_fkey; alter table people add check (id > 0);";
    let finished = rehearse_with_rows(&lab, &url, ", rows: 10")
        .file("migrations/0001_counts.sql", unless(counts))
        .file("migrations/0002_content.sql", unless(content))
        .file("migrations/0003_work.sql", fresh)
        .run();
    let lacks = rehearsal(&finished)["lacks"].clone();
    let finished = finished.has_pending().pending(["0001_counts", "0002_content", "0003_work"]);
    finished.warning(READS).warning(READS).done();
    assert_eq!(lacks, Value::Array(Vec::new()));

    let chosen = unless(
        "(select count(*) from events) = 3 and (select count(*) from pairs) = 3 and not exists (select from apart)",
    );
    let finished =
        rehearse_with_rows(&lab, &url, ", rows: 3, tables: 'ev*'").file("migrations/0001_counts.sql", chosen).run();
    finished.has_pending().pending(["0001_counts"]).warning(READS).done();
    assert_eq!(left_in(&server), "");
}

/// A migration may make names, comments and constraints of rows, and its way back may leave them.
#[test]
fn the_changes_of_a_schema_with_rows_show_none_of_them() {
    let (lab, (_server, url)) = (Lab::new(), copies("superuser"));
    lab.database
        .sql(&format!("set role app; create table customers (id int primary key, email text); insert into customers values (1, '{CANARY}')"));
    let named = "do $$ declare e text; begin select email from customers into e; execute format('create table %I (id int)', 'of-' || e); \
                 execute format('comment on table customers is %L', e); \
                 execute format('alter table customers add column kind text default %L', e); end $$";
    let step = rehearse_with_rows(&lab, &url, "").file("migrations/0001_named.sql", named);
    let finished = step.file("migrations/0001_named.down.sql", "select 1").run();
    let seen = rehearsal(&finished);
    let [of_run, of_migration] = [&seen["changes"], &seen["migrations"][0]["lines"]].map(ToString::to_string);
    assert!([of_run, of_migration].iter().all(|lines| lines.contains("customers")), "{seen:#}");
    assert!(seen["rounds"].to_string().contains("the schema is not as before: "), "{seen:#}");
    finished.has_pending().warning(READS).pending(["0001_named"]).done();
}

#[test]
fn a_migration_that_depends_on_rows_fails_in_the_rehearsal_without_showing_them() {
    let (lab, (server, url)) = (Lab::new(), copies("superuser"));
    lab.database.sql(&format!(
        "set role app; create table customers (id int primary key, email text, note text); \
         insert into customers values (1, '{CANARY}', 'x'), (2, '{CANARY}', null), (4711, '9-{CANARY}', '{CANARY}')"
    ));
    for (sql, cause) in [
        (
            "create unique index customers_email on customers (email)",
            "could not create unique index \"customers_email\"",
        ),
        ("alter table customers add unique (email)", "could not create unique index \"customers_email_key\""),
        (
            "alter table customers alter note set not null",
            "column \"note\" of relation \"customers\" contains null values",
        ),
        (
            "alter table customers add check (id < 3)",
            "check constraint \"customers_id_check\" of relation \"customers\" is violated by some row",
        ),
        (
            "alter table customers alter email type int using email::int",
            "invalid input syntax for type integer: \"…-…-…-of-…-…\"",
        ),
        (
            "do $$ declare e text; begin select max(email) from customers where id < 3 into e; raise notice 'first %', e; raise exception 'so % it is', e; end $$",
            "so …-row-of-…-… it is",
        ),
        (
            "insert into customers values (4711, 'a', 'b')",
            "duplicate key value violates unique constraint \"customers_pkey\"",
        ),
    ] {
        let step = |keys: &str| rehearse_with_rows(&lab, &url, keys).file("migrations/0001_rows.sql", sql);
        let finished = step("").run();
        let error = statement(&rehearsal(&finished), sql.get(..3).expect("it is longer"))["error"].to_string();
        assert!(error.contains(&cause.replace('"', "\\\"")), "{sql}: {error}");
        assert!(!finished.log.contains("detail: Key"), "{sql}: {}", finished.log);
        finished
            .fails("rehearsal-failed", 5)
            .annotation("migrations/0001_rows.sql", 1, &format!("on the copy, {cause}"))
            .pending(["0001_rows"])
            .done();
    }
    let without = rehearse(&lab, &url).file("migrations/0001_rows.sql", "create unique index on customers (email)");
    without.run().has_pending().pending(["0001_rows"]).done();
    assert_eq!(left_in(&server), "");
}

#[test]
fn masked_columns_have_other_values_of_the_same_form() {
    let (lab, (_server, url)) = (Lab::new(), copies("superuser"));
    lab.database.sql(&format!(
        "set role app; create type mood as enum ('sad', 'glad'); create domain code as varchar(8) check (value ~ '^[A-Z]{{2}}[0-9]{{4}}$'); \
         create table customers (id int primary key, email text not null unique check (email like '%@%'), phone varchar(20), born date, \
           paid numeric(6,2) not null, secret uuid, mood mood, tags text[], raw jsonb not null, code code, place point, empty text not null); \
         insert into customers select n, 'user' || n || '@{CANARY}', '+49 30 ' || n, '1970-01-01', 12.5, gen_random_uuid(), 'glad', \
           array['{CANARY}'], '{{\"a\": \"{CANARY}\"}}', 'AB' || 1000 + n, point(1, n), '' from generate_series(1, 200) n; \
         create table orders (id int primary key, customer int references customers, phone text); insert into orders values (1, 7, '{CANARY}')"
    ));
    let mask = ", mask: ['customers.email', '*.phone', 'customers.born', 'customers.paid', 'customers.secret', 'customers.mood', \
        'customers.tags', 'customers.raw', 'customers.code', 'customers.place', 'customers.empty']";
    let masked = unless(
        "(select count(*) from customers) = 200 and not exists (select from customers c where c::text like '%canary%' or c.email ~ 'user' \
         or born = '1970-01-01' or paid = 12.5 or tags <> '{}' or raw <> '{}' or place is not null or empty <> '' or code !~ '^[A-Z]{2}[0-9]{4}$') \
         and (select count(distinct email) from customers) = 200 and (select count(*) from customers where phone ~ '^[+][0-9]{2} [0-9]{2} [0-9]+$') = 200 \
         and (select phone from orders) !~ 'canary'",
    );
    let finished = rehearse_with_rows(&lab, &url, mask).file("migrations/0001_masked.sql", &masked).run();
    let lacks = rehearsal(&finished)["lacks"].clone();
    finished.has_pending().pending(["0001_masked"]).warning(READS).done();
    assert_eq!(lacks, Value::Array(Vec::new()));
    for (mask, cause, fix) in [
        (
            "[customers.emial]",
            "`mask` of `rehearse` has `customers.emial`, and there is no such column",
            "did you mean `customers.email`?",
        ),
        (
            "[orders.customer]",
            "`mask` names `public.orders.customer`, which is a part of a foreign key",
            "take it out of `mask`",
        ),
    ] {
        let step = rehearse_with_rows(&lab, &url, &format!(", mask: {mask}"));
        let refused = step.file("migrations/0001_masked.sql", "select 1").run();
        assert!(refused.log.contains(fix), "{}", refused.log);
        refused.fails("rehearsal-copy", 2).error(cause).pending(["0001_masked"]).done();
    }
}

#[test]
fn rows_that_can_not_be_read_or_written_are_named() {
    let (lab, (server, url)) = (Lab::new(), copies("superuser"));
    lab.database.sql(&format!(
        "create table theirs (line text); insert into theirs values ('{CANARY}'); create table guarded (line text); \
         alter table guarded enable row level security; create policy none on guarded using (false); grant select on guarded to app; \
         set role app; create table mine (id int); insert into mine values (1)"
    ));
    let finished = rehearse_with_rows(&lab, &url, "")
        .file("migrations/0001_a.sql", unless("(select count(*) from mine) = 1"))
        .run();
    let lacks = rehearsal(&finished)["lacks"].to_string();
    assert!(lacks.contains("it has no rows of `public.theirs`: the role may not read them"), "{lacks}");
    assert!(lacks.contains("it has no rows of `public.guarded`: row-level security hides rows"), "{lacks}");
    finished.has_pending().pending(["0001_a"]).warning(READS).done();
    server.sql("alter role maker nosuperuser createdb createrole; grant app to maker");
    let refused = rehearse_with_rows(&lab, &url, "").file("migrations/0001_a.sql", "select 1").run();
    refused
        .fails("rehearsal-copy", 2)
        .error("rows can't be copied into the server in `rehearse`")
        .pending(["0001_a"])
        .done();
    assert_eq!(left_in(&server), "");
}

#[test]
fn the_server_of_the_database_is_recognised_by_another_name() {
    let lab = Lab::new();
    let (user, port) = (lab.database.url(), lab.database.server().port());
    let name = lab.database.name();
    let other = user.replacen(&format!("/{name}"), "/postgres", 1);
    assert_ne!(other, user, "{port}");
    let step = rehearse(&lab, &other).file("migrations/0001_a.sql", "create table a ()");
    step.run()
        .fails("rehearsal-copy", 2)
        .error("is the server of the database itself, by another name")
        .pending(["0001_a"])
        .done();
    assert_eq!(lab.database.sql("select count(*) from pg_database where datname like 'bastion%'"), "0");
}

#[test]
fn rehearsals_on_one_server_leave_each_other_their_roles() {
    let ((server, url), labs) = (copies("superuser"), [Lab::new(), Lab::new(), Lab::new()]);
    // Roles belong to the whole server, which the three databases may share.
    let role = format!("shared_by_{}", labs[0].database.name());
    for lab in &labs {
        lab.database.sql(&format!(
            "do $$ begin create role {role}; exception when duplicate_object then null; end $$; \
             create table theirs (id int); alter table theirs owner to {role}; create table read (id int); grant select on read to {role}"
        ));
    }
    let running: Vec<_> = labs
        .iter()
        .map(|lab| rehearse(lab, &url).file("migrations/0001_t.sql", "create table t (id int)").start())
        .collect();
    for running in running {
        let finished = running.finish();
        assert_eq!(rehearsal(&finished)["lacks"], Value::Array(Vec::new()), "{}", finished.log);
        finished.has_pending().pending(["0001_t"]).done();
    }
    assert_eq!(left_in(&server), "");
    let roles = format!("select count(*) from pg_roles where rolname = '{role}'");
    assert_eq!(server.sql(&roles), "0");

    let slow = |lab| rehearse(lab, &url).file("migrations/0001_slow.sql", "select pg_sleep(60)").start();
    let asleep = |count: u32| {
        let query =
            "select count(*) from pg_stat_activity where query like 'select pg_sleep(60)%' and state = 'active'";
        server.wait_for(query, &count.to_string());
    };
    let first = slow(&labs[0]);
    asleep(1);
    let second = slow(&labs[1]);
    asleep(2);
    first.signal(Signal::TERM);
    first.finish().fails("cancelled", 130).pending(["0001_slow"]).done();
    assert_eq!(server.sql(&roles), "1", "the second rehearsal has it");
    second.signal(Signal::TERM);
    second.finish().fails("cancelled", 130).pending(["0001_slow"]).done();
    assert_eq!((server.sql(&roles).as_str(), left_in(&server).as_str()), ("0", ""));
}

#[test]
fn the_statements_of_a_loop_in_a_file_are_one() {
    let (lab, (_server, url)) = (Lab::new(), copies("superuser"));
    shop(&lab);
    let many: String = (0..120).map(|id| format!("update orders set note = 'n{id}' where id = {id};\n")).collect();
    let finished = rehearse(&lab, &url).input("lint", "off").file("migrations/0001_loop.sql", many).run();
    let seen = rehearsal(&finished);
    assert_eq!(seen["statements"].as_array().map(Vec::len), Some(1), "{seen:#}");
    assert_eq!(statement(&seen, "update orders")["times"].as_u64(), Some(120));
    finished.has_pending().pending(["0001_loop"]).warning("120 statements of one form from `0001_loop`").done();
}

#[test]
fn tenants_are_rehearsed_in_the_largest_of_them() {
    let (lab, (server, url)) = (Lab::new(), copies("superuser"));
    lab.database.sql("set role app; create schema t1; create schema t2; create table t1.orders (id int); create table t2.orders (id int)");
    lab.database.sql("insert into t2.orders select generate_series(1, 30000); analyze t1.orders; analyze t2.orders");
    let step = rehearse(&lab, &url).input("tenants", "[t1, t2]").input("lint", "off");
    let finished = step.file("migrations/0001_note.sql", "alter table orders add column note text").run();
    let seen = rehearsal(&finished);
    let found = statement(&seen, "alter table orders add");
    assert_eq!(found["verdict"].as_str(), Some("confirmed"), "{found:#}");
    finished.has_pending().pending(["t1: 0001_note", "t2: 0001_note"]).done();
    assert_eq!(left_in(&server), "");
}

#[test]
fn the_way_in_leads_to_the_database_and_not_to_the_copy() {
    let (lab, (server, url)) = (Lab::new(), copies("superuser"));
    let tunnel = WayServer::tunnel_to(lab.database.server().port());
    let step = Action::direct(&lab).secret("database-url", lab.database.url_at("127.0.0.1", 5432));
    let step = step.input("via", tunnel.via()).input("command", "rehearse").secret("rehearse", &url);
    let finished =
        step.file("migrations/0001_t.sql", "create table t (id int);\n").run().has_pending().pending(["0001_t"]);
    assert!(rehearsal(&finished)["rounds"].to_string().contains("a second run had nothing to do"), "{}", finished.log);
    finished.done();
    assert_eq!(lab.database.contents(), "", "nothing was run in the database itself");
    assert_eq!(left_in(&server), "");
}
