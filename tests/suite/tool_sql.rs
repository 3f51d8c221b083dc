//! The SQL of pending migrations, with the real tools on a server: each is started once for its list and the SQL.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        alembic::Project as AlembicProject,
        postgres::Database,
        project::Project,
        server::{BACKEND, Server, from_the_server, tenants},
        venv::{DJANGO_4_2, DJANGO_5_2},
    },
    scenarios::MIGRATIONS,
};
use bastion_migrate::tool::{CommandLine, ListingRequest, OutputMark, PrintedScript, PrintedSql, Recipe};
use std::{fs, os::unix::fs::PermissionsExt as _};

const MARK: &str = "0123456789abcdef0123456789abcdef";

/// The first line of the program that lists and migrates.
const TOGETHER: &str = "# The list, and then the commands of the migration, each of them once it is confirmed.";

/// The migrations of an app, some of which have no SQL that can be shown.
const ORDERS: [(&str, &str); 5] = [
    (
        "0001_initial",
        "from django.db import migrations, models\n\
         class Migration(migrations.Migration):\n\
         \x20   initial = True\n\
         \x20   operations = [migrations.CreateModel(name='Order', fields=[('id', models.BigAutoField(primary_key=True)),\n\
         \x20       ('a', models.CharField(max_length=10, unique=True)), ('b', models.IntegerField()), ('c', models.IntegerField())],\n\
         \x20       options={'unique_together': {('a', 'b'), ('b', 'c'), ('a', 'c')}})]\n",
    ),
    (
        "0002_concurrently",
        "from django.contrib.postgres.operations import AddIndexConcurrently\n\
         from django.db import migrations, models\n\
         class Migration(migrations.Migration):\n\
         \x20   atomic = False\n\
         \x20   dependencies = [('orders', '0001_initial')]\n\
         \x20   operations = [AddIndexConcurrently('Order', models.Index(fields=['b'], name='order_b'))]\n",
    ),
    (
        "0003_no_longer_unique",
        "from django.db import migrations, models\n\
         class Migration(migrations.Migration):\n\
         \x20   dependencies = [('orders', '0002_concurrently')]\n\
         \x20   operations = [migrations.AlterField('Order', 'a', models.CharField(max_length=20))]\n",
    ),
    (
        "0004_in_a_transaction",
        "from django.contrib.postgres.operations import AddIndexConcurrently\n\
         from django.db import migrations, models\n\
         class Migration(migrations.Migration):\n\
         \x20   dependencies = [('orders', '0003_no_longer_unique')]\n\
         \x20   operations = [AddIndexConcurrently('Order', models.Index(fields=['c'], name='order_c'))]\n",
    ),
    (
        "0005_nested_code",
        "from django.db import migrations, models\n\
         def fill(apps, schema_editor):\n\
         \x20   raise SystemExit('a plan has run the code')\n\
         class Migration(migrations.Migration):\n\
         \x20   dependencies = [('orders', '0004_in_a_transaction')]\n\
         \x20   operations = [migrations.SeparateDatabaseAndState(database_operations=[migrations.RunPython(fill)]),\n\
         \x20       migrations.RunSQL([('insert into orders_order (id, a) values (%s, %s)', [1, '0123456789abcdef0123456789abcdef {\"scripts\":0}'])])]\n",
    ),
];

/// Adds the app `orders` to the project.
fn with_orders(server: Server) -> Server {
    let settings = fs::read_to_string(server.path(&format!("{BACKEND}/backend/settings/production.py"))).unwrap();
    let settings = format!("{settings}\nINSTALLED_APPS = [*INSTALLED_APPS, 'orders']\n");
    let server = server.file(&format!("{BACKEND}/backend/settings/production.py"), settings);
    let server = server.file(&format!("{BACKEND}/orders/__init__.py"), "");
    ORDERS.iter().fold(server.file(&format!("{BACKEND}/orders/migrations/__init__.py"), ""), |server, (name, text)| {
        server.file(&format!("{BACKEND}/orders/migrations/{name}.py"), text)
    })
}

fn django_server(lab: &Lab, project: Project, python: &str) -> Server {
    Server::start().project(project, &lab.database, python)
}

/// Runs the recipe's command as a person on the server would, and returns its scripts.
fn scripts_on(server: &Server, prelude: &str, recipe: &str, applied: &[&str]) -> Vec<PrintedScript> {
    let applied = applied.iter().map(|name| (*name).to_owned()).collect();
    let request = ListingRequest::for_scripts(OutputMark::new(MARK), applied);
    let line = Recipe::by_name(recipe).unwrap().list_with_sql(&request).unwrap();
    let output = server.shell(&format!("{prelude}\n{}\n", quoted(&line))).unwrap();
    let mut printed = PrintedSql::new(OutputMark::new(MARK));
    output.lines().for_each(|line| {
        printed.take_line(line);
    });
    printed.scripts().unwrap_or_else(|reason| panic!("{reason}: {output}"))
}

/// Quotes the arguments for a shell.
fn quoted(line: &CommandLine) -> String {
    line.to_argv().iter().map(|word| format!(" '{}'", word.replace('\'', r"'\''"))).collect()
}

const IN_PROJECT: &str = "set -euo pipefail\ncd ~/ProjectMeats/backend\nsource ../venv/bin/activate";

fn script<'s>(scripts: &'s [PrintedScript], schema: Option<&str>, name: &str) -> &'s PrintedScript {
    let found = scripts.iter().find(|script| script.name == name && script.schema.as_deref() == schema);
    found.unwrap_or_else(|| panic!("{name}: {scripts:?}"))
}

#[test]
fn django_shows_the_sql_of_every_pending_migration_and_names_code() {
    for python in [DJANGO_4_2, DJANGO_5_2] {
        let lab = Lab::new();
        let server = with_orders(django_server(&lab, Project::Plain, python));
        let scripts = scripts_on(&server, IN_PROJECT, "django", &[]);
        let sql = |name: &str| script(&scripts, None, name).sql.as_str();
        let everything = |name: &str| script(&scripts, None, name).everything.clone().unwrap_or_default();
        assert_eq!(scripts.len(), MIGRATIONS.len() + 5, "{python}: {scripts:?}");
        assert!(sql("carriers.0001_initial").contains("\nCREATE TABLE \"carriers_carrier\" ("), "{python}");
        assert!(sql("customers.0002_region").contains("ADD COLUMN \"region\" varchar(40) DEFAULT 'unknown' NOT NULL;"));
        let data = script(&scripts, None, "customers.0003_first_customer");
        assert_eq!((data.code.as_slice(), data.whole), (&["Python code".to_owned()][..], true));
        assert!(data.sql.lines().all(|line| line.starts_with("--")), "{}", data.sql);
        let concurrently = script(&scripts, None, "orders.0002_concurrently");
        assert!(!concurrently.whole && concurrently.sql.contains("CREATE INDEX CONCURRENTLY \"order_b\""), "{python}");
        // Django would leave the statement out, as it does not find the constraint.
        assert!(everything("orders.0003_no_longer_unique").contains("only after the migrations before it"), "{python}");
        assert!(everything("orders.0004_in_a_transaction").contains("cannot be executed inside a transaction"));
        let nested = script(&scripts, None, "orders.0005_nested_code");
        assert_eq!((nested.code.as_slice(), nested.everything.as_ref()), (&["Python code".to_owned()][..], None));
        assert!(nested.sql.contains(&format!("{MARK} {{\"scripts\":0}}")), "{python}: {}", nested.sql);
        assert_eq!(lab.database.contents(), "", "nothing is applied");
        let again = scripts_on(&server, &format!("{IN_PROJECT}\nexport PYTHONHASHSEED=7"), "django", &[]);
        assert_eq!(again, scripts, "{python}: the order does not depend on the start");
    }
}

#[test]
fn constraints_of_applied_migrations_are_dropped_by_their_names() {
    let lab = Lab::new();
    let server = with_orders(django_server(&lab, Project::Plain, DJANGO_5_2));
    server.shell(&format!("{IN_PROJECT}\npython manage.py migrate orders 0002 --noinput")).unwrap();
    let scripts = scripts_on(&server, IN_PROJECT, "django", &[]);
    let dropped = &script(&scripts, None, "orders.0003_no_longer_unique").sql;
    assert!(dropped.contains("DROP CONSTRAINT \"orders_order_a_key\""), "{dropped}");
    assert!(!scripts.iter().any(|script| script.name == "orders.0001_initial"));
}

#[test]
fn tenants_have_their_sql_once_and_public_its_own() {
    for python in [DJANGO_4_2, DJANGO_5_2] {
        let lab = Lab::new();
        let server = django_server(&lab, Project::Tenants, python);
        server.shell(&format!("{IN_PROJECT}\npython manage.py migrate_schemas --shared --noinput")).unwrap();
        tenants(&lab.database, 3);
        let scripts = scripts_on(&server, IN_PROJECT, "django-tenants", &["carriers.0001_initial"]);
        assert!(scripts.iter().all(|script| script.schema.is_none()), "public has everything: {scripts:?}");
        let rates = script(&scripts, None, "rates.0002_per_day");
        assert!(rates.sql.contains("ALTER TABLE \"rates_rate\" ADD COLUMN \"per_day\""), "{python}: {}", rates.sql);
        assert_eq!(rates.code, ["Python code"]);
        assert!(!scripts.iter().any(|script| script.name == "carriers.0001_initial"), "every tenant has it");
        assert!(!script(&scripts, None, "tenants.0001_initial").sql.contains("CREATE TABLE"), "{python}");
        lab.database.sql("delete from django_migrations where app = 'tenants'");
        let scripts = scripts_on(&server, IN_PROJECT, "django-tenants", &[]);
        let shared = script(&scripts, Some("public"), "tenants.0001_initial");
        assert!(shared.sql.contains("CREATE TABLE \"tenants_client\""), "{python}: {}", shared.sql);
    }
}

/// An action that runs Django on the server.
fn django_step<'a>(lab: &'a Lab, server: &'a Server) -> Action<'a> {
    drop(fs::remove_file(server.path("starts")));
    let step = Action::on_server(lab, server).secret("database-url", lab.database.url());
    let step = step.input("tool", "django").input("working-directory", BACKEND);
    // Each start adds a line. Behind `head` the shell would be ended by SIGPIPE now and then.
    let counted = "python() { echo \"${2%%$'\\n'*}\" >>~/starts; command python \"$@\"; }";
    step.input("setup", format!("source ../venv/bin/activate; {counted}")).leaves_on_server("starts")
}

fn starts_on(server: &Server) -> Vec<String> {
    let starts = fs::read_to_string(server.path("starts")).unwrap_or_default();
    starts.lines().map(ToOwned::to_owned).collect()
}

fn digest(finished: Finished) -> String {
    let digest = finished.outputs["plan-digest"].clone();
    finished.done();
    digest
}

#[test]
fn the_digest_covers_the_sql_and_needs_no_further_start_of_the_app() {
    for python in [DJANGO_4_2, DJANGO_5_2] {
        let lab = Lab::new();
        let server = django_server(&lab, Project::Plain, python);
        let plan = || django_step(&lab, &server).input("command", "plan").run().has_pending().pending(MIGRATIONS);
        let finished = plan().logs("$ python manage.py showmigrations --plan; python manage.py migrate --plan\n");
        let finished = finished.never_logs("run again");
        assert!(!finished.log.contains("CREATE TABLE"), "{}", finished.log);
        let first = digest(finished);
        assert_eq!(starts_on(&server), ["shell"], "{python}: the tool's own plan is in the same start");
        assert_eq!(digest(plan()), first, "{python}: it is the same in the next run");
        let path = server.path(&format!("{BACKEND}/customers/migrations/0002_region.py"));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("max_length=40", "max_length=41")).unwrap();
        let changed = digest(plan());
        assert_ne!(changed, first, "{python}");
        let refused = django_step(&lab, &server).input("expect-plan", &first).run().fails("plan-changed", 5);
        refused.pending(MIGRATIONS).done();
        assert_eq!(starts_on(&server), [TOGETHER]);
        let applied = django_step(&lab, &server).input("expect-plan", &changed).run().succeeds().applied(MIGRATIONS);
        assert_eq!(starts_on(&server), [TOGETHER], "{python}: {}", applied.log);
        applied.done();
        django_step(&lab, &server).run().nothing_to_do().done();
        assert_eq!(starts_on(&server), [TOGETHER], "{python}");
    }
}

#[test]
fn the_approval_of_a_tools_plan_expires() {
    let lab = Lab::new();
    let server = django_server(&lab, Project::Plain, DJANGO_5_2);
    let step = || django_step(&lab, &server).input("risk", "plan-max-age: 2h");
    let stamped = digest(step().input("command", "plan").run().has_pending().pending(MIGRATIONS));
    let (plan, _) = stamped.split_once('/').expect("the digest has the time of the plan");
    let old = step().input("expect-plan", format!("{plan}/2026-11-30T08:00:00Z")).run().fails("plan-too-old", 5);
    old.error("`plan-max-age` of `risk` is 120 min").pending(MIGRATIONS).output("plan-digest", plan).done();
    step().input("expect-plan", &stamped).run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn an_app_that_prints_at_its_start_or_has_no_shell_is_planned_all_the_same() {
    let lab = Lab::new();
    let server = django_server(&lab, Project::Plain, DJANGO_5_2);
    let manage = fs::read_to_string(server.path(&format!("{BACKEND}/manage.py"))).unwrap();
    let plan = || django_step(&lab, &server).input("command", "plan").run().has_pending().pending(MIGRATIONS);
    let quiet = digest(plan());
    let change = |line: &str| {
        let text = manage.replace("if __name__ ==", &format!("{line}\nif __name__ =="));
        fs::write(server.path(&format!("{BACKEND}/manage.py")), text).unwrap();
    };
    change("print('loading', '{\"scripts\": 0}', flush=True); print('\\r50 %\\r', end='', flush=True)");
    assert_eq!(digest(plan()), quiet, "its own lines are no part of the SQL");
    change("if 'shell' in sys.argv: sys.exit('no shell in production')");
    let finished = plan().logs("no shell in production").logs("it is run again for the list alone");
    let hidden = digest(finished);
    assert_ne!(hidden, quiet);
    assert_eq!(starts_on(&server), ["shell", "showmigrations", "migrate"]);
}

#[test]
fn a_migration_that_cannot_be_imported_is_the_fault_of_the_list() {
    let lab = Lab::new();
    let server = django_server(&lab, Project::Plain, DJANGO_5_2);
    let server = server.file(&format!("{BACKEND}/customers/migrations/0004_bad.py"), "import nosuch\n");
    let finished = django_step(&lab, &server).input("command", "plan").run().fails("tool-failed", 6);
    finished.error("No module named 'nosuch'").done();
    assert_eq!(starts_on(&server), ["shell", "showmigrations"]);
}

fn shop(database: &Database) -> AlembicProject {
    let project = AlembicProject::new(database);
    project.migration("a1", "", "create table users (id int)", "drop table users");
    project.migration("b2", "\"a1\"", "-- Running upgrade b2 -> c3\nselect 1", "");
    project.migration("c3", "\"b2\"", "create table items (id int)", "drop table items");
    project.migration(
        "d4",
        "\"c3\"",
        "\"\"\"); op.get_bind().exec_driver_sql('select 1').fetchall(); op.execute(\"\"\"select 2",
        "",
    );
    project.migration("e5", "\"d4\"", "create table ships (id int)", "drop table ships");
    project
}

#[test]
fn alembic_shows_the_sql_of_each_revision_from_those_in_the_ledger() {
    let lab = Lab::new();
    let server = shop(&lab.database).install_on(Server::start());
    let prelude = format!("set -eu\ncd ~/shop\nexport DATABASE_URL='{}'", from_the_server(&lab.database));
    let names = |scripts: &[PrintedScript]| scripts.iter().map(|script| script.name.clone()).collect::<Vec<_>>();
    let scripts = scripts_on(&server, &prelude, "alembic", &[]);
    assert_eq!(names(&scripts), ["a1", "b2", "c3", "d4", "e5"]);
    let [first, comment, third, data, last] = scripts.as_slice() else { panic!("{scripts:?}") };
    assert!(first.sql.contains("create table users (id int);\nINSERT INTO alembic_version"), "{}", first.sql);
    assert!(first.whole && !first.sql.contains("about a1") && !first.sql.contains("BEGIN"), "{}", first.sql);
    assert!(comment.sql.starts_with("-- Running upgrade b2 -> c3\nselect 1;"), "{}", comment.sql);
    assert!(third.sql.starts_with("create table items (id int);"), "{}", third.sql);
    assert_eq!((data.code.as_slice(), data.sql.as_str()), (&["Python code".to_owned()][..], ""));
    assert!(
        data.everything
            .as_ref()
            .is_some_and(|reason| reason.contains("fetchall") || reason.contains("exec_driver_sql")),
        "{data:?}"
    );
    assert!(last.sql.starts_with("create table ships (id int);"), "it does not depend on the one before: {}", last.sql);
    assert_eq!(names(&scripts_on(&server, &prelude, "alembic", &["c3"])), ["d4", "e5"]);
    assert_eq!(lab.database.contents(), "");
}

#[test]
fn the_digest_of_an_alembic_plan_covers_the_sql() {
    let lab = Lab::new();
    let project = shop(&lab.database);
    project.remove_migration("d4");
    project.migration("e5", "\"c3\"", "create table ships (id int)", "drop table ships");
    let server = project.install_on(Server::start());
    let step = |server: &Server| {
        let step = Action::on_server(&lab, server).secret("database-url", lab.database.url()).input("tool", "alembic");
        let variables = format!("export DATABASE_URL='{}'", from_the_server(&lab.database));
        let pending = ["a1", "b2", "c3", "e5"];
        let plan = step.input("working-directory", "shop").input("setup", variables).input("command", "plan");
        digest(
            plan.run()
                .has_pending()
                .pending(pending)
                .logs("$ alembic history\n")
                .never_logs("run again")
                .never_logs("  started "),
        )
    };
    let first = step(&server);
    assert_eq!(step(&server), first);
    project.migration("e5", "\"c3\"", "create table ships (id bigint)", "drop table ships");
    assert_ne!(step(&project.install_on(server)), first);
}

/// A stand-in prints the list; the files are real.
fn file_tool(program: &str, output: &str) -> Server {
    let server = Server::start();
    let path = server.programs().join(program);
    fs::write(&path, format!("#!/bin/sh\ncat <<'end'\n{output}\nend\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    server
}

#[test]
fn prisma_and_flyway_show_their_files_byte_for_byte() {
    let long = format!("select '{}';\r\n\té\\\"'${{", "x".repeat(50_000));
    let server = file_tool("npx", "Following migrations have not yet been applied:\n02_b\n")
        .file("shop/prisma/migrations/01_a/migration.sql", "select 1;\n")
        .file("shop/prisma/migrations/02_b/migration.sql", &long)
        .file("shop/prisma/migrations/03_c/migration.sql", "create index concurrently i on a (b);\n")
        .file("shop/prisma/migrations/04_d/migration.sql", b"select '\xff'");
    let scripts = scripts_on(&server, "cd ~/shop", "prisma", &["01_a"]);
    assert_eq!(scripts.len(), 3);
    assert_eq!((&scripts[0].sql, scripts[0].whole), (&long, true));
    assert!(!scripts[1].whole && scripts[2].everything.as_ref().is_some_and(|reason| reason.contains("UTF-8")));
    let server = file_tool("flyway", "| Versioned | 2 | More b | SQL | | Pending | No |")
        .file("shop/sql/V1__Add_people.sql", "select 1;\n")
        .file("shop/sql/more/V1_1__More.sql", "select '${x}';\n")
        .file("shop/sql/V2__More_b.sql", "select 2;\n")
        .file("shop/sql/R__All_views.sql", "select 3;\n");
    let scripts = scripts_on(&server, "cd ~/shop", "flyway", &["1 Add people", "All views"]);
    assert_eq!(script(&scripts, None, "2 More b").sql, "select 2;\n");
    assert_eq!(script(&scripts, None, "All views").sql, "select 3;\n", "it may have changed");
    assert!(
        script(&scripts, None, "1.1 More").everything.as_ref().is_some_and(|reason| reason.contains("placeholders"))
    );
    assert_eq!(scripts.len(), 3, "{scripts:?}");
}
