//! `command: rehearse` with an app's own tool: it runs on a copy that stands in for the database, its sessions are watched, and
//! nothing of it reaches the database itself.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        alembic::Project as AlembicProject,
        postgres::{Database, Options, Postgres},
        project::Project,
        server::{BACKEND, Server, tenants},
        venv::{DJANGO_4_2, DJANGO_5_2},
    },
};
use rustix::process::Signal;
use serde_json::Value;
use std::{fs, time::Duration};

const MAKER_PASSWORD: &str = "copies-pa55word-canary";

/// A row that is in production alone.
const CANARY: &str = "canary-row-of-production-4711";

/// The migrations of an app: its table, then changes of it, then code.
const SHOP: [(&str, &str); 4] = [
    (
        "0001_initial",
        "from django.db import migrations, models\n\
         class Migration(migrations.Migration):\n\
         \x20   initial = True\n\
         \x20   operations = [migrations.CreateModel(name='Order', fields=[('id', models.BigAutoField(primary_key=True)),\n\
         \x20       ('note', models.CharField(max_length=40, default='')), ('total', models.IntegerField(default=0))])]\n",
    ),
    (
        "0002_index",
        "from django.db import migrations, models\n\
         class Migration(migrations.Migration):\n\
         \x20   dependencies = [('shop', '0001_initial')]\n\
         \x20   operations = [migrations.AddIndex('Order', models.Index(fields=['note'], name='order_note')),\n\
         \x20       migrations.AlterField('Order', 'total', models.BigIntegerField(default=0))]\n",
    ),
    (
        "0003_code",
        "from django.db import migrations\n\
         def fill(apps, schema_editor):\n\
         \x20   Order = apps.get_model('shop', 'Order')\n\
         \x20   for number in range(150):\n\
         \x20       Order.objects.create(note='n%d' % number)\n\
         \x20   with schema_editor.connection.cursor() as cursor:\n\
         \x20       cursor.execute('alter table carriers_carrier add column vip boolean default random() > 0.5')\n\
         def empty(apps, schema_editor):\n\
         \x20   apps.get_model('shop', 'Order').objects.all().delete()\n\
         \x20   schema_editor.execute('alter table carriers_carrier drop column vip')\n\
         class Migration(migrations.Migration):\n\
         \x20   dependencies = [('shop', '0002_index'), ('carriers', '0001_initial')]\n\
         \x20   operations = [migrations.RunPython(fill, empty)]\n",
    ),
    (
        "0004_concurrently",
        "from django.contrib.postgres.operations import AddIndexConcurrently\n\
         from django.db import migrations, models\n\
         class Migration(migrations.Migration):\n\
         \x20   atomic = False\n\
         \x20   dependencies = [('shop', '0003_code')]\n\
         \x20   operations = [AddIndexConcurrently('Order', models.Index(fields=['total'], name='order_total'))]\n",
    ),
];

const IN_PROJECT: &str = "set -euo pipefail\ncd ~/ProjectMeats/backend\nsource ../venv/bin/activate";

/// Starts a server for copies. Returns a database there, and the server's URL.
pub(crate) fn copies() -> (Database, String) {
    let database = Postgres::start(&Options::default()).database();
    database.sql(&format!("create role maker login superuser password '{MAKER_PASSWORD}'"));
    let url = format!("postgres://maker:{MAKER_PASSWORD}@127.0.0.1:{}/{}", database.server().port(), database.name());
    (database, url)
}

/// Returns what rehearsals have left in the server: databases, and roles of their own.
pub(crate) fn left_in(database: &Database) -> String {
    database.sql(
        "select string_agg(name, ' ') from (select datname::text as name from pg_database where datname like 'bastion%' \
         union all select rolname::text from pg_roles r join pg_shdescription d on d.objoid = r.oid) x",
    )
}

/// A server with the project and its app `shop`, whose first migration is applied, and rows in its tables.
fn shop_server(lab: &Lab, python: &str) -> Server {
    shop_on(Server::start(), lab, python)
}

fn shop_on(server: Server, lab: &Lab, python: &str) -> Server {
    let server = server.project(Project::Plain, &lab.database, python);
    let path = format!("{BACKEND}/backend/settings/production.py");
    let settings = fs::read_to_string(server.path(&path)).unwrap();
    let server = server.file(&path, format!("{settings}\nINSTALLED_APPS = [*INSTALLED_APPS, 'shop']\n"));
    let server = server.file(&format!("{BACKEND}/shop/__init__.py"), "");
    let server =
        SHOP.iter().fold(server.file(&format!("{BACKEND}/shop/migrations/__init__.py"), ""), |server, (name, text)| {
            server.file(&format!("{BACKEND}/shop/migrations/{name}.py"), text)
        });
    let migrated =
        "for app in carriers suppliers customers 'shop 0001'; do python manage.py migrate $app --noinput; done";
    server.shell(&format!("{IN_PROJECT}\n{migrated}\n")).unwrap();
    lab.database.sql(&format!(
        "set role app; insert into shop_order (note, total) select 'note', n from generate_series(1, 30000) n; \
         insert into carriers_carrier (name) select '{CANARY}-' || n from generate_series(1, 20000) n; analyze shop_order; analyze carriers_carrier"
    ));
    server
}

/// A step that rehearses Django on the server, which passes the database to the app.
fn rehearse<'a>(lab: &'a Lab, server: &'a Server, url: &str) -> Action<'a> {
    let step = Action::on_server(lab, server).secret("database-url", lab.database.url());
    let step = step.input("tool", "django").input("working-directory", BACKEND).input("lint", "off");
    let step = step.input("setup", "source ../venv/bin/activate").input("env", "DATABASE_URL=${DATABASE_URL}");
    step.input("command", "rehearse").secret("rehearse", url).hides(CANARY)
}

/// Returns the rehearsal in the output `report`.
pub(crate) fn rehearsal(finished: &Finished) -> Value {
    let report: Value = serde_json::from_str(&finished.outputs["report"]).expect("the report is JSON");
    report["rehearsal"].clone()
}

/// Returns a statement of the rehearsal that begins with these words.
pub(crate) fn statement<'r>(rehearsal: &'r Value, words: &str) -> &'r Value {
    let statements = rehearsal["statements"].as_array().expect("there are statements");
    let found = statements
        .iter()
        .find(|found| found["summary"].as_str().is_some_and(|text| text.to_lowercase().starts_with(words)));
    found.unwrap_or_else(|| panic!("{words}: {statements:#?}"))
}

/// Returns the lines of the changes of the schema by a migration alone.
pub(crate) fn changes_of(rehearsal: &Value, name: &str) -> String {
    let entries = rehearsal["migrations"].as_array().into_iter().flatten();
    let mut own = entries.filter(|entry| {
        entry["migrations"].as_array().is_some_and(|ids| matches!(ids.as_slice(), [id] if id["name"] == name))
    });
    own.next().map(|entry| entry["lines"].to_string()).unwrap_or_default()
}

/// The warning about the loop in `shop.0003_code`.
const LOOP: &str = "150 statements of one form from `shop.0003_code`: `insert into \"shop_order\"";

/// The migrations of the shop that are pending.
const PENDING: [&str; 3] = ["shop.0002_index", "shop.0003_code", "shop.0004_concurrently"];

#[test]
fn django_is_rehearsed_on_a_copy_and_its_code_is_seen_for_the_first_time() {
    for python in [DJANGO_4_2, DJANGO_5_2] {
        let (lab, (copy, url)) = (Lab::new(), copies());
        let server = shop_server(&lab, python);
        let contents = lab.database.contents();
        let finished = rehearse(&lab, &server, &url).run();
        let seen = rehearsal(&finished);
        let is = |statement: &Value, name: &str, verdict: &str, blocks: &str| {
            let facts = ["migration", "verdict", "blocks"].map(|key| statement[key].clone());
            let [migration, found, blocked] = facts;
            let all = [&migration["name"], &found, &blocked].map(|value| value.as_str().unwrap_or_default().to_owned());
            assert_eq!(all, [name, verdict, blocks], "{python}: {statement:#}");
        };
        is(statement(&seen, "create index \"order_note\""), PENDING[0], "confirmed", "writes");
        is(statement(&seen, "alter table \"shop_order\" alter"), PENDING[0], "confirmed", "reads-and-writes");
        is(statement(&seen, "create index concurrently"), PENDING[2], "confirmed", "nothing");
        let code = statement(&seen, "alter table carriers_carrier");
        is(code, PENDING[1], "unforeseen", "reads-and-writes");
        assert!(code["work"].to_string().contains("rewrites carriers_carrier (20,0"), "{code:#}");
        let looped = statement(&seen, "insert into");
        is(looped, PENDING[1], "unforeseen", "nothing");
        assert_eq!((looped["times"].as_u64(), looped["rows"].as_u64()), (Some(150), Some(150)), "{looped:#}");
        assert!(looped["wal_bytes"].as_u64().is_some_and(|bytes| bytes > 5_000), "{looped:#}");
        assert_eq!(code["transaction"], looped["transaction"], "{seen:#}");
        let rounds: Vec<&str> = seen["rounds"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!((rounds.len(), rounds[1]), (4, "a second run had nothing to do"), "{python}: {rounds:?}");
        let same = rounds[2..].iter().all(|round| round.ends_with("and the schema is as before"));
        assert!(same, "{python}: {rounds:?}");
        assert!(seen["changes"].to_string().contains("CREATE INDEX order_total"), "{seen:#}");
        for (name, lines) in
            [(PENDING[0], "CREATE INDEX order_note"), (PENDING[1], "vip"), (PENDING[2], "CREATE INDEX order_total")]
        {
            let of = changes_of(&seen, name);
            assert!(of.contains(lines), "{python}: {name}: {of}");
        }
        assert_eq!(seen["migrations"].as_array().map(Vec::len), Some(3), "{seen:#}");
        assert_eq!(seen["lacks"], Value::Array(Vec::new()), "{python}");
        let finished = finished.has_pending().pending(PENDING).warning(LOOP).logs("2 unforeseen");
        let finished = finished.summary("changes the schema:");
        finished.summary("150 statements of one form").summary("### Rehearsal").done();
        assert_eq!(lab.database.contents(), contents, "{python}");
        assert_eq!(left_in(&copy), "", "{python}");
    }
}

#[test]
fn a_migration_of_a_tool_is_bound_to_its_rehearsal() {
    let (lab, (_copy, url)) = (Lab::new(), copies());
    let server = shop_server(&lab, DJANGO_5_2);
    let finished = rehearse(&lab, &server, &url).run();
    let digest = finished.outputs["rehearsal-digest"].clone();
    finished.has_pending().pending(PENDING).warning(LOOP).done();
    let migrate = || {
        let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url());
        let step = step.input("tool", "django").input("working-directory", BACKEND).input("lint", "off");
        step.input("setup", "source ../venv/bin/activate").input("expect-rehearsal", &digest).hides(CANARY)
    };
    lab.database.sql("set role app; alter table shop_order add surprise text");
    let outdated = migrate().run().fails("rehearsal-outdated", 5).pending(PENDING);
    outdated.error("`public.shop_order: surprise text` is new").done();
    lab.database.sql("alter table shop_order drop surprise");
    migrate().run().succeeds().applied(PENDING).done();
}

#[test]
fn a_failing_migration_of_a_tool_fails_the_rehearsal_and_shows_no_row() {
    let (lab, (copy, url)) = (Lab::new(), copies());
    let server = shop_server(&lab, DJANGO_5_2).file(
        &format!("{BACKEND}/shop/migrations/0002_index.py"),
        SHOP[1]
            .1
            .replace("migrations.AddIndex", "migrations.RunSQL('alter table nowhere add a int'), migrations.AddIndex"),
    );
    let contents = lab.database.contents();
    let finished = rehearse(&lab, &server, &url).run();
    let seen = rehearsal(&finished);
    let failed = statement(&seen, "alter table nowhere");
    assert_eq!(failed["verdict"].as_str(), Some("contradicted"), "{failed:#}");
    assert!(failed["error"].to_string().contains("relation \\\"nowhere\\\" does not exist"), "{failed:#}");
    assert_eq!(failed["migration"]["name"].as_str(), Some(PENDING[0]), "{failed:#}");
    let place = "the statement that failed of shop.0002_index: `alter table nowhere add a int`: relation \"nowhere\" does not exist";
    let finished = finished.logs(place);
    let finished = finished.fails("rehearsal-failed", 5).pending(PENDING).error("on the copy, ");
    finished.output("rehearsal-digest", "").done();
    assert_eq!((lab.database.contents(), left_in(&copy)), (contents, String::new()));
}

/// Code that prints rows, sends them as values, and fails for one of them.
const READS_ROWS: &str = "from django.db import migrations\n\
     def read(apps, schema_editor):\n\
     \x20   carriers = list(apps.get_model('carriers', 'Carrier').objects.order_by('id')[:5])\n\
     \x20   for carrier in carriers:\n\
     \x20       print('carrier', carrier.name)\n\
     \x20       schema_editor.execute(\"insert into shop_order (note, total) values ('%s', 1)\" % carrier.name)\n\
     \x20   schema_editor.execute(\"do $$ begin raise notice '%s'; end $$\" % carriers[0].name)\n\
     \x20   raise ValueError('not a carrier: ' + carriers[0].name)\n\
     class Migration(migrations.Migration):\n\
     \x20   dependencies = [('shop', '0004_concurrently')]\n\
     \x20   operations = [migrations.RunPython(read)]\n";

#[test]
fn a_tool_on_a_copy_with_rows_shows_none_of_them() {
    let (lab, (copy, url)) = (Lab::new(), copies());
    let server = shop_server(&lab, DJANGO_5_2).file(&format!("{BACKEND}/shop/migrations/0005_rows.py"), READS_ROWS);
    let finished = rehearse(&lab, &server, &format!("{{ url: '{url}', data: sample, rows: 50 }}")).hides(&url).run();
    let seen = rehearsal(&finished);
    assert_eq!(statement(&seen, "insert into shop_order ( note")["times"], 5, "{seen:#}");
    assert_eq!(statement(&seen, "do ")["notices"][0], "NOTICE: … …", "{seen:#}");
    let pending = [PENDING[0], PENDING[1], PENDING[2], "shop.0005_rows"];
    finished.fails("rehearsal-failed", 5).pending(pending).error("the tool's output is not shown").warning(LOOP).done();
    assert_eq!(left_in(&copy), "");
}

/// Returns a migration whose code runs these lines with the name of a carrier, which contains a row of the database.
fn with_row(lines: &[&str]) -> String {
    let calls: Vec<String> =
        lines.iter().map(|line| format!("\x20   schema_editor.execute({line:?}.replace('ROW', row))\n")).collect();
    format!(
        "from django.db import migrations\n\
         def make(apps, schema_editor):\n\
         \x20   row = apps.get_model('carriers', 'Carrier').objects.order_by('-id')[0].name\n{}\
         class Migration(migrations.Migration):\n\
         \x20   dependencies = [('shop', '0004_concurrently')]\n\
         \x20   operations = [migrations.RunPython(make, migrations.RunPython.noop)]\n",
        calls.concat()
    )
}

/// An app may make names and comments of rows, and a statement with a row may fail.
#[test]
fn names_that_a_tool_makes_of_rows_are_not_shown() {
    const NAMED: [&str; 5] = [
        "create table \"of-ROW\" (id int, kind text default 'ROW')",
        "comment on table carriers_carrier is 'ROW'",
        "alter table carriers_carrier rename to \"ROW\"",
        "alter table \"ROW\" add column lot float default random()",
        "drop table \"of-ROW\"",
    ];
    for (lines, fails) in [(&NAMED[..], false), (&["select 'ROW'::int"][..], true)] {
        let (lab, (copy, url)) = (Lab::new(), copies());
        let file = format!("{BACKEND}/shop/migrations/0005_named.py");
        let server = shop_server(&lab, DJANGO_5_2).file(&file, with_row(lines));
        let step = rehearse(&lab, &server, &format!("{{ url: '{url}', data: sample, rows: 50 }}"));
        let finished = step.hides(&url).run();
        let seen = rehearsal(&finished);
        let pending = [PENDING[0], PENDING[1], PENDING[2], "shop.0005_named"];
        if fails {
            let failed =
                "the statement that failed of shop.0005_named: `select $ : : …`: invalid input syntax for type integer";
            finished.fails("rehearsal-failed", 5).error(failed).pending(pending).warning(LOOP).done();
        } else {
            let lines = ["changes", "migrations"].map(|key| seen[key].to_string());
            assert!(lines.iter().all(|lines| lines.contains("IS '…-row-of-…")), "{seen:#}");
            finished.has_pending().pending(pending).warning(LOOP).done();
        }
        assert_eq!(left_in(&copy), "");
    }
}

/// The settings of the app take the database from a file, whatever the environment is.
#[test]
fn a_tool_that_is_led_by_its_own_settings_never_migrates_the_database_itself() {
    let (lab, (copy, url)) = (Lab::new(), copies());
    let server = shop_server(&lab, DJANGO_5_2);
    let manage = format!("{BACKEND}/manage.py");
    let text = fs::read_to_string(server.path(&manage)).unwrap().replace("\".env\")", "\".env\", override=True)");
    let server = server.file(&manage, text);
    let contents = lab.database.contents();
    let finished = rehearse(&lab, &server, &url).run().fails("tool-elsewhere", 5).pending(PENDING);
    finished.error("the tool has opened no connection to the copy").logs("env: DATABASE_URL=${DATABASE_URL}").done();
    // Its connection is opened by another program than the one that lists.
    let steps = "steps:\n  - run: python manage.py migrate --noinput\n  - run: psql \"$(sed -n 's/^DATABASE_URL=//p' .env)\" -c 'create table leaked ()'\n";
    let plain = fs::read_to_string(server.path(&manage)).unwrap().replace(", override=True", "");
    let server = server.file(&manage, plain);
    let step = rehearse(&lab, &server, &url).file(".github/bastion-migrate.yml", steps);
    let finished = step.run().fails("rehearsal-failed", 5).pending(PENDING).warning(LOOP);
    finished.error("cannot execute CREATE TABLE in a read-only transaction").done();
    assert_eq!((lab.database.contents(), left_in(&copy)), (contents, String::new()));
}

#[test]
fn what_stands_in_the_way_of_a_rehearsal_of_a_tool_is_named() {
    let (lab, (copy, url)) = (Lab::new(), copies());
    let server = shop_server(&lab, DJANGO_4_2);
    let without = rehearse(&lab, &server, &url).input("env", "DEBUG=False").run();
    without
        .fails("input-invalid", 2)
        .error("by its own settings alone")
        .logs("env: DATABASE_URL=${DATABASE_URL}")
        .done();
    let custom = rehearse(&lab, &server, &url).input("tool", "custom").input("run", "true").run();
    custom.fails("input-invalid", 2).error("no list of migrations and no ledger").done();
    let blind = rehearse(&lab, &server, &url).secret("database-url", "").input("env", "DEBUG=False");
    blind.run().fails("input-missing", 2).error("`command: rehearse` copies the schema").done();
    let lab = Lab::new();
    let server = shop_on(Server::configured("AllowTcpForwarding local"), &lab, DJANGO_4_2);
    let finished = rehearse(&lab, &server, &url).run().fails("forwarding-forbidden", 3).pending(PENDING);
    finished.error("lets no connections come back through SSH").logs("`AllowTcpForwarding yes` or `remote`").done();
    assert_eq!(left_in(&copy), "");
}

#[test]
fn the_database_itself_is_only_read_while_a_tool_is_rehearsed() {
    // A server of its own, so that no other test takes transaction ids.
    let lab = Lab::on(&Postgres::start(&Options { settings: &["autovacuum = off"], ..Options::default() }));
    let (_copy, url) = copies();
    let server = shop_server(&lab, DJANGO_5_2);
    let holder = lab.database.session();
    // Every write, and every lock that blocks anybody, would wait for this.
    holder.sql("begin; lock table shop_order, carriers_carrier, django_migrations in share row exclusive mode");
    let state = || lab.database.sql("select pg_snapshot_xmax(pg_current_snapshot())");
    let (before, contents) = (state(), lab.database.contents());
    rehearse(&lab, &server, &url).run().has_pending().pending(PENDING).warning(LOOP).done();
    assert_eq!((state(), lab.database.contents()), (before, contents));
    holder.sql("rollback");
}

#[test]
fn a_rehearsal_of_a_tool_that_is_cancelled_leaves_nothing_behind() {
    let (lab, (copy, url)) = (Lab::new(), copies());
    let slow = "fill, empty), migrations.RunSQL('select pg_sleep(60)', '')]";
    let server = shop_server(&lab, DJANGO_5_2)
        .file(&format!("{BACKEND}/shop/migrations/0003_code.py"), SHOP[2].1.replace("fill, empty)]", slow));
    let running = rehearse(&lab, &server, &url).start();
    running.wait_for_line("Applying shop.0002_index... OK", Duration::from_secs(120));
    copy.wait_for(
        "select count(*) > 0 from pg_stat_activity where query like 'select pg_sleep(60)%' and state = 'active'",
        "t",
    );
    running.signal(Signal::TERM);
    running.finish().fails("cancelled", 130).pending(PENDING).done();
    assert_eq!(left_in(&copy), "");
}

#[test]
fn a_rehearsal_of_a_tool_that_is_killed_leaves_nothing_to_the_next_one() {
    let (lab, (copy, url)) = (Lab::new(), copies());
    let slow = "fill, empty), migrations.RunSQL('select pg_sleep(600)', '')]";
    let code = format!("{BACKEND}/shop/migrations/0003_code.py");
    let server = shop_server(&lab, DJANGO_5_2).file(&code, SHOP[2].1.replace("fill, empty)]", slow));
    let home = server.snapshot();
    let (contents, sessions) =
        (lab.database.contents(), "select count(*) from pg_stat_activity where datname like 'bastion%'");
    let running = rehearse(&lab, &server, &url).start();
    running.wait_for_line("Applying shop.0002_index... OK", Duration::from_secs(120));
    copy.wait_for(
        "select count(*) > 0 from pg_stat_activity where query like 'select pg_sleep(600)%' and state = 'active'",
        "t",
    );
    running.kill();
    copy.wait_for(sessions, "0");
    let left: Vec<String> = server.left_behind(&home).into_iter().filter(|line| line.starts_with("process")).collect();
    assert_eq!(left, [""; 0]);
    let server = server.file(&code, SHOP[2].1);
    rehearse(&lab, &server, &url).run().has_pending().pending(PENDING).warning(LOOP).done();
    assert_eq!((lab.database.contents(), left_in(&copy)), (contents, String::new()));
}

#[test]
fn tenants_of_django_are_rehearsed_each_in_its_schema() {
    let (lab, (copy, url)) = (Lab::new(), copies());
    let server = Server::start().project(Project::Tenants, &lab.database, DJANGO_5_2);
    let settings = "export DJANGO_SETTINGS_MODULE=backend.settings.tenants";
    let prepare = "python manage.py migrate_schemas --shared --noinput";
    server.shell(&format!("{IN_PROJECT}\n{settings}\n{prepare}\n")).unwrap();
    tenants(&lab.database, 2);
    server.shell(&format!("{IN_PROJECT}\n{settings}\npython manage.py migrate_schemas --tenant --noinput\n")).unwrap();
    let more = "from django.db import migrations\n\
        class Migration(migrations.Migration):\n\
        \x20   dependencies = [('rates', '0002_per_day')]\n\
        \x20   operations = [migrations.RunSQL('alter table rates_rate add column more int default 1', 'alter table rates_rate drop column more')]\n";
    let server = server.file(&format!("{BACKEND}/rates/migrations/0003_more.py"), more);
    let contents = lab.database.contents();
    let finished = rehearse(&lab, &server, &url).input("tool", "django-tenants").run();
    let pending = finished.listed("pending");
    let seen = rehearsal(&finished);
    let rounds = seen["rounds"].to_string();
    assert!(
        rounds.contains("a second run had nothing to do") && rounds.contains("the schema is as before"),
        "{rounds}"
    );
    let statements = seen["statements"].as_array().into_iter().flatten();
    let added = statements.filter(|statement| {
        statement["summary"].as_str().is_some_and(|text| text.to_lowercase().starts_with("alter table rates_rate add"))
    });
    let schemas: Vec<&str> = added.filter_map(|statement| statement["migration"]["schema"].as_str()).collect();
    assert!(schemas.contains(&"t01") && schemas.contains(&"t02"), "{schemas:?}: {seen:#}");
    finished.has_pending().pending(pending.iter().map(String::as_str)).done();
    assert_eq!((lab.database.contents(), left_in(&copy)), (contents, String::new()));
}

/// A step with Alembic on the server, which passes the database to the app.
fn alembic_step<'a>(lab: &'a Lab, server: &'a Server) -> Action<'a> {
    let step = Action::on_server(lab, server).secret("database-url", lab.database.url()).input("tool", "alembic");
    step.input("working-directory", "shop").input("env", "DATABASE_URL=${DATABASE_URL}").input("lint", "off")
}

#[test]
fn alembic_is_rehearsed_and_each_revision_has_its_statements() {
    let (lab, (copy, url)) = (Lab::new(), copies());
    let project = AlembicProject::new(&lab.database);
    project.migration("a1", "", "create table users (id int primary key, name text)", "drop table users");
    let server = project.install_on(Server::start());
    alembic_step(&lab, &server).run().succeeds().applied(["a1"]).done();
    lab.database.sql("set role app; insert into users select n from generate_series(1, 30000) n; analyze users");
    project.migration("b2", "\"a1\"", "create index users_name on users (name)", "drop index users_name");
    let safe = "alter table users add column note text";
    project.migration("c3", "\"b2\"", safe, "alter table users drop column note");
    let server = project.install_on(server);
    let contents = lab.database.contents();
    let finished = alembic_step(&lab, &server).input("command", "rehearse").secret("rehearse", &url).run();
    let seen = rehearsal(&finished);
    for (words, revision, blocks) in
        [("create index", "b2", "writes"), ("alter table users add", "c3", "reads-and-writes")]
    {
        let found = statement(&seen, words);
        assert_eq!(
            (found["verdict"].as_str(), found["blocks"].as_str()),
            (Some("confirmed"), Some(blocks)),
            "{found:#}"
        );
        assert_eq!(found["migration"]["name"].as_str(), Some(revision), "{found:#}");
    }
    assert!(seen["rounds"].to_string().matches("the schema is as before").count() == 2, "{seen:#}");
    finished.has_pending().pending(["b2", "c3"]).done();
    assert_eq!((lab.database.contents(), left_in(&copy)), (contents, String::new()));
}

/// A statement whose text does not show what it locks.
const HIDDEN: &str = "do $$ begin execute 'alter table suppliers_supplier add score float'; end $$";

/// Expects that the lock of [`HIDDEN`], which stood outside of a transaction, was seen.
fn sees_the_hidden_lock(finished: Finished, pending: &[&str]) {
    let seen = rehearsal(&finished);
    let found = statement(&seen, "do ");
    let facts = ["verdict", "blocks"].map(|key| found[key].as_str().unwrap_or_default());
    assert_eq!(facts, ["contradicted", "reads-and-writes"], "{found:#}");
    assert!(found["locks"].to_string().contains("ACCESS EXCLUSIVE on suppliers_supplier"), "{found:#}");
    assert!(found["transaction"].is_null(), "{found:#}");
    assert_eq!(found["notices"], Value::Array(Vec::new()), "{found:#}");
    let last = pending.last().expect("something is pending");
    assert_eq!(found["migration"]["name"].as_str(), Some(*last), "{found:#}");
    let finished = finished.has_pending().pending(pending.iter().copied()).never_logs("BM009");
    finished.warning("on the copy, `do …`: it blocks reads and writes").done();
}

#[test]
fn the_lock_of_a_statement_outside_of_a_transaction_is_seen_with_django() {
    let (lab, (copy, url)) = (Lab::new(), copies());
    let text = format!(
        "from django.db import migrations\nclass Migration(migrations.Migration):\n    atomic = False\n\
         \x20   dependencies = [('suppliers', '0001_initial')]\n\
         \x20   operations = [migrations.RunSQL(\"{HIDDEN}\", 'alter table suppliers_supplier drop score')]\n"
    );
    let server = Server::start().project(Project::Plain, &lab.database, DJANGO_5_2);
    server.shell(&format!("{IN_PROJECT}\npython manage.py migrate --noinput")).unwrap();
    let server = server.file(&format!("{BACKEND}/suppliers/migrations/0002_score.py"), &text);
    sees_the_hidden_lock(rehearse(&lab, &server, &url).run(), &["suppliers.0002_score"]);
    assert_eq!(left_in(&copy), "");
}

#[test]
fn the_lock_of_a_statement_outside_of_a_transaction_is_seen_with_alembic() {
    let (lab, (copy, url)) = (Lab::new(), copies());
    let project = AlembicProject::new(&lab.database);
    project.migration("a1", "", "create table suppliers_supplier (id int)", "drop table suppliers_supplier");
    let server = project.install_on(Server::start());
    alembic_step(&lab, &server).run().succeeds().applied(["a1"]).done();
    let text = format!(
        "\"\"\"about b2\"\"\"\nfrom alembic import op\nrevision = 'b2'\ndown_revision = 'a1'\n\
         def upgrade():\n    with op.get_context().autocommit_block():\n        op.execute(\"{HIDDEN}\")\n\
         def downgrade():\n    op.execute('alter table suppliers_supplier drop score')\n"
    );
    fs::write(server.path("shop/migrations/versions/b2.py"), text).unwrap();
    let finished = alembic_step(&lab, &server).input("command", "rehearse").secret("rehearse", &url).run();
    sees_the_hidden_lock(finished, &["b2"]);
    assert_eq!(left_in(&copy), "");
}

/// Only a superuser can make event triggers.
#[test]
fn a_copy_that_can_not_report_locks_is_named_and_the_rest_is_seen() {
    let (lab, (copy, url)) = (Lab::new(), copies());
    copy.sql("alter role maker nosuperuser createdb createrole; grant app to maker");
    let project = AlembicProject::new(&lab.database);
    project.migration("a1", "", "create table users (id int)", "drop table users");
    let server = project.install_on(Server::start());
    let finished = alembic_step(&lab, &server).input("command", "rehearse").secret("rehearse", &url).run();
    let seen = rehearsal(&finished);
    assert!(seen["lacks"].to_string().contains("it can't report the locks of statements outside"), "{seen:#}");
    assert_eq!(statement(&seen, "create table users")["verdict"].as_str(), Some("confirmed"), "{seen:#}");
    finished.has_pending().pending(["a1"]).done();
    assert_eq!(left_in(&copy), "");
}
