//! The first users' documented scenarios: on the deployment server, with a password, a Python environment and a file
//! with secrets, and in the schemas of tenants. The log contains what their script prints and the failures of their
//! troubleshooting guide.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        postgres::{Options, Postgres},
        project::Project,
        server::{BACKEND, Server, tenants},
        sshd::Sshd,
        venv::{DJANGO_4_2, DJANGO_5_2},
    },
    workflow::{Context, evaluate, our_step},
};
use serde_yaml::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

/// The application's migrations, in their order.
pub(crate) const MIGRATIONS: [&str; 5] = [
    "carriers.0001_initial",
    "suppliers.0001_initial",
    "customers.0001_initial",
    "customers.0002_region",
    "customers.0003_first_customer",
];

/// The lines of the first users' job after the activation of the virtual environment.
const RUN: &str = "echo '=== Running migrations on deployment server ==='\n\
    echo 'Activating virtual environment...'\n\
    echo 'Running database migrations...'\n\
    python manage.py migrate --fake-initial --noinput\n\
    echo '✓ Migrations completed successfully'\n";

/// Lines of their log of a successful run.
const EXPECTED: [&str; 7] = [
    "=== Running migrations on deployment server ===",
    "Activating virtual environment...",
    "Running database migrations...",
    "Operations to perform:",
    "Running migrations:",
    "  Applying carriers.0001_initial... OK",
    "✓ Migrations completed successfully",
];

/// A step in their environment `dev_step`, with their secrets' names. Only the server has the database's address.
fn dev_step<'a>(lab: &'a Lab, server: &'a Server) -> Action<'a> {
    let step = Action::at_server(lab, server).input("environment", "dev");
    step.env("DEV_HOST", "127.0.0.1")
        .env("DEV_USER", server.login().name())
        .secret_env("DEV_SSH_PASSWORD", server.login().password())
        .input("tool", "django")
        .input("working-directory", BACKEND)
        .input("setup", "source ../venv/bin/activate")
        .input("run", RUN)
}

impl Finished {
    /// Expects these lines in the log, in this order.
    fn logs_in_order(self, lines: &[&str]) -> Self {
        let mut rest = self.log.lines();
        let missing =
            lines.iter().find(|line| !rest.any(|logged| logged.strip_prefix("  | ").unwrap_or(logged) == **line));
        assert_eq!(missing, None, "{}", self.log);
        self
    }
}

#[test]
fn seed_000_migrations_on_the_server_with_venv_and_password() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    dev_step(&lab, &server).run().succeeds().applied(MIGRATIONS).logs_in_order(&EXPECTED).done();
    assert_eq!(lab.database.sql("select app || '.' || name from django_migrations order by id"), MIGRATIONS.join("\n"));
    dev_step(&lab, &server).run().nothing_to_do().done();
    dev_step(&lab, &server).input("command", "status").run().nothing_to_do().done();
}

#[test]
fn seed_000_a_login_with_a_key_and_proof_from_the_database() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    let step = || {
        let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url());
        let step = step.input("tool", "django").input("working-directory", server.path(BACKEND).display().to_string());
        step.input("setup", "source ../venv/bin/activate")
    };
    step().input("command", "plan").run().has_pending().pending(MIGRATIONS).done();
    assert_eq!(lab.database.contents(), "");
    step().run().succeeds().applied(MIGRATIONS).done();
    step().input("command", "verify").run().succeeds().done();
}

#[test]
fn seed_000_a_backup_on_the_server_runs_only_before_a_migration() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    let step = || {
        let backup = "[{ name: Backup, run: python manage.py showmigrations > ~/before.txt, when: pending }]";
        dev_step(&lab, &server).input("before", backup)
    };
    step().leaves_on_server("before.txt").run().succeeds().applied(MIGRATIONS).summary("| Backup | done |").done();
    fs::remove_file(server.path("before.txt")).unwrap();
    step().run().nothing_to_do().done();
}

#[test]
fn seed_000_permission_denied_means_a_wrong_password() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    let finished = dev_step(&lab, &server).secret_env("DEV_SSH_PASSWORD", "last quarter's").run();
    finished.fails("bastion-login", 3).logs("fix: check `ssh-user`").logs("that the password is right").done();
}

#[test]
fn seed_000_permission_denied_means_the_project_directory() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    fs::set_permissions(server.path(BACKEND), fs::Permissions::from_mode(0o000)).unwrap();
    let finished = dev_step(&lab, &server).run().fails("server-directory-forbidden", 2);
    finished.error("permission denied").logs("ls -la").done();
    fs::set_permissions(server.path(BACKEND), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn seed_000_project_directory_not_found() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database).without(BACKEND);
    let finished = dev_step(&lab, &server).run().fails("server-directory-missing", 2);
    finished.error("project directory not found").logs("fix: set `working-directory`").done();
}

#[test]
fn seed_000_no_such_file_or_directory_venv() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database).without("ProjectMeats/venv");
    let finished = dev_step(&lab, &server).run().fails("server-setup-failed", 2);
    finished.logs("../venv/bin/activate: No such file or directory").logs("python3 -m venv").done();
}

#[test]
fn seed_000_a_missing_env_file_is_reported() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database).without("ProjectMeats/backend/.env");
    let finished = dev_step(&lab, &server).run().fails("tool-failed", 6);
    finished.error("KeyError: 'SECRET_KEY'").logs("put it into its `.env`").done();
}

#[test]
fn seed_000_the_server_does_not_reach_the_database() {
    let lab = Lab::new();
    let port = lab.database.server().port().to_string();
    let dotenv = Project::Plain.dotenv(&lab.database.url().replace(&port, "9"));
    let server = Server::with_project(&lab.database).file("ProjectMeats/backend/.env", dotenv);
    // Django's `check` needs no database, so the listing is the first command to fail.
    let finished =
        dev_step(&lab, &server).input("health", "{ interval: 1s, retries: 1 }").run().fails("tool-failed", 6);
    finished
        .error("Connection refused")
        .logs("nothing listens at the address that the app uses for the database")
        .done();
    let health = "{ run: python manage.py showmigrations, interval: 1s, retries: 1 }";
    let finished = dev_step(&lab, &server).input("health", health).run().fails("unhealthy", 3);
    finished.error("Connection refused").done();
}

/// SQL that runs before the tenants' migrations.
pub(crate) const INIT_SQL: &str = "create extension if not exists \"uuid-ossp\";\n\
    do $$ begin\n\
    \x20   if not exists (select from pg_roles where rolname = current_user) then\n\
    \x20       raise exception 'nobody';\n\
    \x20   end if;\n\
    end $$;\n";

/// The first users' commands in their order, without any `|| true`.
const STEPS: &str = "
before:
  - name: Init
    sql: db/init.sql
steps:
  - name: Everything public
    run: python manage.py migrate --noinput
  - name: Shared schema
    run: python manage.py migrate_schemas --shared --noinput
  - name: Super tenant
    run: python manage.py create_super_tenant --no-input
  - name: Test tenant
    run: python manage.py setup_test_tenant --tenant-name test_tenant --domain test.example.com
  - name: Tenant schemas
    run: python manage.py migrate_schemas --tenant --noinput
";

/// The ledger of each tenant's schema.
pub(crate) const TENANT_LEDGER: [&str; 10] = [
    "contenttypes.0001_initial",
    "contenttypes.0002_remove_content_type_name",
    "tenants.0001_initial",
    "carriers.0001_initial",
    "suppliers.0001_initial",
    "customers.0001_initial",
    "customers.0002_region",
    "customers.0003_first_customer",
    "rates.0001_initial",
    "rates.0002_per_day",
];

fn tenants_step<'a>(lab: &'a Lab, server: &'a Server) -> Action<'a> {
    let step = Action::on_server(lab, server).secret("database-url", lab.database.url());
    let step = step.input("tool", "django-tenants").input("working-directory", BACKEND);
    step.input("setup", "source ../venv/bin/activate")
}

/// Counts how often each name occurs.
fn count_names(names: impl IntoIterator<Item = impl AsRef<str>>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.as_ref().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn seed_002_tenants_in_order_twice_in_a_row() {
    let lab = Lab::on(&Postgres::start(&Options::default())).behind(Sshd::plain());
    let server = Server::start().project(Project::Tenants, &lab.database, DJANGO_4_2);
    let step = || {
        let step = tenants_step(&lab, &server).file("db/init.sql", INIT_SQL);
        step.file(".github/bastion-migrate.yml", STEPS)
    };
    // The database's container runs and is not ready yet.
    lab.database.server().shut_down();
    lab.database.server().begin_recovery();
    let running = step().start();
    running.wait_for_line("starting up", Duration::from_secs(20));
    lab.database.server().end_recovery();
    let finished = running.finish();
    let applied = finished.listed("applied");
    assert_eq!(count_names(&applied), TENANT_LEDGER.map(|name| (name.to_owned(), 2)).into(), "{}", finished.log);
    let finished = finished.succeeds().applied(applied.iter().map(String::as_str));
    let steps = ["Init", "Everything public", "Shared schema", "Super tenant", "Test tenant", "Tenant schemas"];
    let finished = steps.iter().fold(finished, |finished, step| finished.summary(&format!("| {step} | done |")));
    let row = |schema: &str| format!("| {schema} | done | <details><summary>10 applied</summary>");
    finished.summary(&row("test\\_tenant")).summary(&row("public")).done();
    assert_eq!(lab.database.sql("select schema_name from tenants_client order by 1"), "public\ntest_tenant");
    step().run().nothing_to_do().done();
}

#[test]
fn seed_002_a_failed_tenant_is_named_and_the_next_run_continues() {
    let lab = Lab::new();
    let second_migration = "ProjectMeats/backend/rates/migrations/0002_per_day.py";
    let server = Server::start().project(Project::Tenants, &lab.database, DJANGO_4_2);
    let migration = fs::read_to_string(server.path(second_migration)).unwrap();
    let server = server.without(second_migration);
    let migrate_manually = |scope: &str| {
        let begin = "set -eu; cd ~/ProjectMeats/backend; source ../venv/bin/activate; python manage.py migrate_schemas";
        server.shell(&format!("{begin} {scope} --noinput </dev/null")).unwrap();
    };
    migrate_manually("--shared");
    tenants(&lab.database, 24);
    migrate_manually("--tenant");
    let server = server.file(second_migration, migration);

    let finished = tenants_step(&lab, &server).input("env", "APP_BROKEN_TENANT=t07").run();
    // Applied in the public schema and six tenants; pending in the seventh and the later ones.
    let [applied, pending] = [["rates.0002_per_day"; 7].as_slice(), &["rates.0002_per_day"; 18]];
    let finished = finished.fails("tool-failed", 6).applied(applied.iter().copied()).pending(pending.iter().copied());
    finished.error("t07").logs("relation \"rates_nowhere\" does not exist").summary("t08").summary("t24").done();
    let is_recorded = |schema: &str| {
        lab.database.sql(&format!("select 1 from {schema}.django_migrations where name = '0002_per_day'"))
    };
    assert_eq!([is_recorded("t06"), is_recorded("t07"), is_recorded("t08")], ["1", "", ""]);

    let finished = tenants_step(&lab, &server).run();
    finished.succeeds().applied(pending.iter().copied()).summary("t07").done();
    assert_eq!(is_recorded("t24"), "1");
    tenants_step(&lab, &server).run().nothing_to_do().done();
}

#[test]
fn a_rollback_in_every_schema_undoes_djangos_plan_including_other_apps() {
    for python in [DJANGO_4_2, DJANGO_5_2] {
        let lab = Lab::new();
        let server = Server::start().project(Project::Tenants, &lab.database, python);
        let lines = "set -eu; cd ~/ProjectMeats/backend; source ../venv/bin/activate; python manage.py migrate_schemas";
        server.shell(&format!("{lines} --shared --noinput </dev/null")).unwrap();
        tenants(&lab.database, 1);
        server.shell(&format!("{lines} --tenant --noinput </dev/null")).unwrap();
        let finished = tenants_step(&lab, &server).input("command", "rollback").input("target", "suppliers zero").run();
        let rolled_back = [
            &["customers.0003_first_customer", "customers.0002_region", "customers.0001_initial"],
            ["suppliers.0001_initial"].as_slice(),
        ]
        .concat();
        let finished = finished
            .succeeds()
            .pending([rolled_back.clone(), rolled_back].concat())
            .logs("  8 migrations to roll back");
        finished
            .logs("  rolled back t01: suppliers.0001_initial")
            .logs("  rolled back public: suppliers.0001_initial")
            .done();
    }
}

/// A command that was hidden by `|| true` in the first users' workflow: `--tenant` takes no name, so it never did
/// anything.
#[test]
fn seed_002_a_step_that_never_worked_is_detected() {
    let lab = Lab::new();
    let server = Server::start().project(Project::Tenants, &lab.database, DJANGO_4_2);
    let steps = STEPS.replace("migrate_schemas --tenant --noinput", "migrate_schemas --tenant test_tenant --noinput");
    let finished =
        tenants_step(&lab, &server).file("db/init.sql", INIT_SQL).file(".github/bastion-migrate.yml", steps).run();
    let finished = finished.fails("tool-failed", 6).error("No installed app with label 'test_tenant'.");
    let applied = finished.listed("applied");
    assert_eq!(applied.iter().collect::<BTreeSet<_>>().len(), TENANT_LEDGER.len());
    let finished = finished.applied(applied.iter().map(String::as_str)).logs("in the step `Tenant schemas`");
    finished.summary("| Test tenant | done |").summary("| Tenant schemas | **failed** |").done();
}

/// Returns the step of an example workflow, with the secrets and variables of a reader's repository.
fn example_step<'a>(lab: &'a Lab, server: &'a Server, path: &str) -> Action<'a> {
    readers_step(lab, server, &our_step(&read(path), "migrate"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Returns a step of the documents, with the secrets and variables of a reader's repository.
fn readers_step<'a>(lab: &'a Lab, server: &'a Server, workflow_step: &Value) -> Action<'a> {
    readers_step_with_pin(lab, server, workflow_step, &server.sshd().known_hosts_line())
}

/// Returns such a step with this value of the variables for the host key.
pub(crate) fn readers_step_with_pin<'a>(
    lab: &'a Lab,
    server: &'a Server,
    workflow_step: &Value,
    pin: &str,
) -> Action<'a> {
    let context = readers_context(lab, server, pin);
    let lines = |mapping: &Value| {
        let lines: Vec<(String, String)> = mapping
            .as_mapping()
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                let text = |value: &Value| value.as_str().expect("names and values are texts").to_owned();
                (text(name), evaluate(&text(value), &context))
            })
            .collect();
        lines
    };
    let step = Action::at_server(lab, server).input("ssh-known-hosts", "").hides(server.sshd().key().expose());
    let step = step.hides(&lab.database.url());
    let step = lines(&workflow_step["with"]).into_iter().fold(step, |step, (name, value)| step.input(&name, value));
    lines(&workflow_step["env"]).into_iter().fold(step, |step, (name, value)| step.env(&name, value))
}

/// Returns the secrets and variables of a reader's repository, with prefixes and without.
fn readers_context(lab: &Lab, server: &Server, pin: &str) -> Context {
    let (key, url, port) = (server.sshd().key(), lab.database.url(), format!("127.0.0.1:{}", server.sshd().port));
    let (name, host) = (server.login().name(), format!("{}@{port}", server.login().name()));
    let prefixed = ["DEV", "UAT", "PROD"].into_iter().flat_map(|prefix| {
        [
            (format!("secrets.{prefix}_HOST"), port.clone()),
            (format!("secrets.{prefix}_USER"), name.to_owned()),
            (format!("secrets.{prefix}_SSH_PASSWORD"), server.login().password().to_owned()),
            (format!("vars.{prefix}_SSH_KNOWN_HOSTS"), pin.to_owned()),
        ]
    });
    let plain = [
        ("secrets.SSH_HOST", host.as_str()),
        ("secrets.SSH_PRIVATE_KEY", key.expose()),
        ("vars.SSH_KNOWN_HOSTS", pin),
        ("secrets.DATABASE_URL", &url),
    ];
    plain.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().chain(prefixed).collect()
}

#[test]
fn seed_000_the_server_example_migrates() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    let step = || example_step(&lab, &server, "examples/workflows/server.yml");
    step().run().succeeds().applied(MIGRATIONS).logs_in_order(&[EXPECTED[0], EXPECTED[5], EXPECTED[6]]).done();
    step().run().nothing_to_do().done();
}

#[test]
fn seed_002_the_tenants_example_migrates() {
    let lab = Lab::new();
    let server = Server::start().project(Project::Tenants, &lab.database, DJANGO_4_2);
    let step = || example_step(&lab, &server, "examples/workflows/tenants.yml").file("db/init.sql", INIT_SQL);
    let finished = step().run();
    let applied = finished.listed("applied");
    assert_eq!(count_names(&applied), TENANT_LEDGER.map(|name| (name.to_owned(), 2)).into(), "{}", finished.log);
    finished.succeeds().applied(applied.iter().map(String::as_str)).summary("| Tenant schemas | done |").done();
    step().run().nothing_to_do().done();
}
