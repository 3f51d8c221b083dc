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
        server::{BACKEND, Server, from_the_server, tenants},
        venv::{DJANGO_4_2, DJANGO_5_2},
    },
};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;

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
fn copies() -> (Database, String) {
    let database = Postgres::start(&Options::default()).database();
    database.sql(&format!("create role maker login superuser password '{MAKER_PASSWORD}'"));
    let url = format!("postgres://maker:{MAKER_PASSWORD}@127.0.0.1:{}/{}", database.server().port(), database.name());
    (database, url)
}

/// Returns what rehearsals have left in the server: databases, and roles of their own.
fn left_in(database: &Database) -> String {
    database.sql(
        "select string_agg(name, ' ') from (select datname::text as name from pg_database where datname like 'bastion%' \
         union all select rolname::text from pg_roles r join pg_shdescription d on d.objoid = r.oid) x",
    )
}

/// A server with the project and its app `shop`, whose first migration is applied, and rows in its tables.
fn shop_server(lab: &Lab, python: &str) -> Server {
    let server = Server::start().project(Project::Plain, &lab.database, python);
    let path = format!("{BACKEND}/backend/settings/production.py");
    let settings = fs::read_to_string(server.path(&path)).unwrap();
    let server = server.file(&path, format!("{settings}\nINSTALLED_APPS = [*INSTALLED_APPS, 'shop']\n"));
    let server = server.file(&format!("{BACKEND}/shop/__init__.py"), "");
    let server = SHOP.iter().fold(server.file(&format!("{BACKEND}/shop/migrations/__init__.py"), ""), |server, (name, text)| {
        server.file(&format!("{BACKEND}/shop/migrations/{name}.py"), text)
    });
    let migrated = "for app in carriers suppliers customers 'shop 0001'; do python manage.py migrate $app --noinput; done";
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
fn rehearsal(finished: &Finished) -> Value {
    let report: Value = serde_json::from_str(&finished.outputs["report"]).expect("the report is JSON");
    report["rehearsal"].clone()
}

/// Returns a statement of the rehearsal that begins with these words.
fn statement<'r>(rehearsal: &'r Value, words: &str) -> &'r Value {
    let statements = rehearsal["statements"].as_array().expect("there are statements");
    let found = statements
        .iter()
        .find(|found| found["summary"].as_str().is_some_and(|text| text.to_lowercase().starts_with(words)));
    found.unwrap_or_else(|| panic!("{words}: {statements:#?}"))
}

#[test]
fn django_is_rehearsed_on_a_copy_and_its_code_is_seen_for_the_first_time() {
    for python in [DJANGO_4_2, DJANGO_5_2] {
        let (lab, (copy, url)) = (Lab::new(), copies());
        let server = shop_server(&lab, python);
        let contents = lab.database.contents();
        let finished = rehearse(&lab, &server, &url).run();
        println!("{}", finished.log);
        let seen = rehearsal(&finished);
        println!("{seen:#}");
        let index = statement(&seen, "create index \"order_note\"");
        assert_eq!((index["verdict"].as_str(), index["blocks"].as_str()), (Some("confirmed"), Some("writes")), "{index:#}");
        assert_eq!(index["migration"]["name"].as_str(), Some("shop.0002_index"), "{index:#}");
        finished.has_pending().done();
        assert_eq!(lab.database.contents(), contents, "{python}");
        assert_eq!(left_in(&copy), "", "{python}");
    }
}
