//! The first users' scenarios with an application in an image: two approaches that have to agree, a pipeline of
//! containers, and a server with Compose.

use crate::{
    action::Action,
    app::{DJANGO_4_2, DJANGO_5_2, MIGRATIONS, TROUBLE},
    compose::{Compose, PILITO},
    engine::{docker, image, label},
    judge::Finished,
    lab::{Lab, project::Project},
    network::{BASTION, DATABASE, Database, LOGIN, PASSWORD, ROLE, USER, shared},
    registry,
    running::Conclusion,
    step::Step,
    tunnel::OpenTunnel,
    workflow::our_step,
};
use std::{fs, path::Path};

/// A step with the secrets of the environment `dev_step` under the first users' names, some of them empty.
fn dev_step<'a>(database: &'a Database, empty: &[&str]) -> Step<'a> {
    let network = database.network();
    let secrets = [
        ("DEV_HOST", BASTION),
        ("DEV_USER", USER),
        ("DEV_SSH_PASSWORD", LOGIN),
        ("DEV_DB_HOST", DATABASE),
        ("DEV_DB_PORT", "5432"),
        ("DEV_DB_USER", ROLE),
        ("DEV_DB_PASSWORD", PASSWORD),
        ("DEV_DB_NAME", database.name()),
        ("DEV_SECRET_KEY", "django-insecure-0123456789"),
        ("DEV_DJANGO_SETTINGS_MODULE", "backend.settings.production"),
    ];
    let step = [PASSWORD, LOGIN, "django-insecure-0123456789"].into_iter().fold(Step::bare(database), Step::hides);
    let step = step.input("environment", "dev").input("ssh-known-hosts", network.known_hosts());
    let step = step.input("database-ca", network.ca());
    // An unset secret is an empty text.
    secrets.iter().fold(step, |step, (name, value)| step.env(name, if empty.contains(name) { "" } else { value }))
}

fn in_production_image<'a>(database: &'a Database, empty: &[&str]) -> Step<'a> {
    let step = dev_step(database, empty).input("executor", "image").input("image", image(DJANGO_5_2));
    step.input("tool", "django").input("pass-env", "SECRET_KEY DJANGO_SETTINGS_MODULE")
}

/// Returns the pending migrations that `showmigrations` lists on the runner through an open tunnel.
fn listed_on_the_runner(database: &Database) -> Vec<String> {
    let opened = OpenTunnel::open(dev_step(database, &[]));
    let url = database.url_at("127.0.0.1").replace(":5432/", &format!(":{}/", opened.port));
    let url = format!("DATABASE_URL={url}");
    let run = ["run", "--rm", "--network", "host", "--env", "SECRET_KEY=x", "--env", &url, "--label", &label()];
    let output = docker(&[&run[..], &[image(DJANGO_5_2), "python", "manage.py", "showmigrations", "--plan"]].concat());
    opened.close(database).logs("through the tunnel passed").done();
    output.lines().filter_map(|line| line.strip_prefix("[ ]  ")).map(str::to_owned).collect()
}

#[test]
fn seed_001_both_approaches_give_the_same_list_of_migrations() {
    let database = shared().database();
    let assert_both_list = |expected: &[&str]| {
        let status = in_production_image(&database, &[]).input("command", "status").run();
        assert_eq!(status.listed("pending"), listed_on_the_runner(&database));
        let status = if expected.is_empty() { status.nothing_to_do() } else { status.has_pending() };
        status.pending(expected.iter().copied()).done();
    };
    assert_both_list(&MIGRATIONS);
    in_production_image(&database, &[]).run().succeeds().applied(MIGRATIONS).done();
    assert_both_list(&[]);
}

#[test]
fn seed_001_bad_local_forwarding_specification_is_an_empty_secret() {
    let database = shared().database();
    let finished = in_production_image(&database, &["DEV_DB_HOST", "DEV_DB_NAME"]).run().fails("input-missing", 2);
    finished
        .error("`database-host` and `database-name` have no value")
        .logs("that the job names the secret's `environment:`")
        .done();
}

#[test]
fn seed_001_database_connection_refused() {
    let database = shared().database();
    let step = in_production_image(&database, &[]).env("DEV_DB_PORT", "9").input("wait-timeout", "5s");
    let finished = step.run().fails("database-refused", 3);
    finished.error("db.private.internal").logs("as seen from the bastion").done();
}

#[test]
fn seed_001_image_pull_fails() {
    let (database, registry) = (shared().database(), registry::shared());
    registry.push(image(DJANGO_5_2), "projectmeats-backend:dev-1");
    let pull = |tag: &str, password: &str| {
        let reference = registry.reference(&format!("projectmeats-backend:{tag}"));
        let step =
            dev_step(&database, &[]).input("executor", "image").input("image", reference).input("tool", "django");
        step.input("registry-username", registry::ROBOT).secret("registry-password", password).run()
    };
    let finished = pull("dev-latest", registry::PASSWORD).fails("image-missing", 2);
    finished.logs("that the job which builds and pushes it has run before").done();
    pull("dev-1", "of last year").fails("image-denied", 2).error("`registry-password`").done();
}

/// The repository's configuration file for all environments.
const ENVIRONMENTS: &str = "
defaults:
  tool: django
  health: { interval: 1s, timeout: 10s, retries: 3 }
environments:
  dev:
    mount-workspace: read-only
    after:
      - name: Fixtures
        run: python manage.py loaddata /github/workspace/fixtures/dev_data.json
  staging:
    before:
      - name: Plan
        run: python manage.py migrate --plan
  prod:
    run: python manage.py migrate --verbosity=2 --noinput
    before:
      - name: Snapshot
        image: bastion-migrate-lab:bookworm
        run: pg_dump --schema-only --file=/tmp/snapshot.sql && echo snapshot taken
        timeout: 1m
        when: pending
    after:
      - name: Web
        run: echo the web container may start
      - name: Alarm
        run: echo the old deployment stays
        when: failure
";

const FIXTURES: &str = r#"[{"model": "carriers.carrier", "pk": 7, "fields": {"name": "Fixture Freight"}}]"#;

fn in_environment<'a>(database: &'a Database, environment: &str) -> Step<'a> {
    let step = Step::new(database).input("executor", "image").input("image", image(DJANGO_4_2));
    let step = step.pass_variable("SECRET_KEY=not a secret of ours").input("environment", environment);
    step.file(".github/bastion-migrate.yml", ENVIRONMENTS).file("fixtures/dev_data.json", FIXTURES)
}

#[test]
fn seed_003_development_gets_its_fixtures_after_the_migration() {
    let database = shared().database();
    in_environment(&database, "dev").run().succeeds().applied(MIGRATIONS).summary("| Fixtures | done |").done();
    assert_eq!(database.sql("select name from carriers_carrier order by id"), "Cold Chain\nFixture Freight");
}

#[test]
fn seed_003_staging_shows_its_plan_before_it_migrates() {
    let database = shared().database();
    let finished = in_environment(&database, "staging").run().succeeds().applied(MIGRATIONS);
    finished.logs("Planned operations:").summary("| Plan | done |").done();
}

#[test]
fn seed_003_production_takes_a_snapshot_first_and_only_when_something_is_pending() {
    let database = shared().database();
    let finished = in_environment(&database, "prod").run().succeeds().applied(MIGRATIONS);
    let duration = finished.outputs["duration-ms"].parse::<u64>().unwrap();
    assert!(duration > 0, "{duration}");
    let finished = finished.logs("snapshot taken").logs("Running pre-migrate handlers for application carriers");
    let finished = finished.logs("the web container may start").never_logs("the old deployment stays");
    finished.summary("| Snapshot | done |").summary("| Web | done |").done();
    let finished = in_environment(&database, "prod").run().nothing_to_do();
    finished.never_logs("snapshot taken").done();
}

#[test]
fn seed_003_a_failed_migration_skips_the_following_steps() {
    let database = shared().database();
    let ended = in_environment(&database, "prod").trouble("missing-table").start().finish();
    assert_eq!(ended.conclusion, Conclusion::Failed);
    let finished = ended.finished.fails("tool-failed", 6).applied(MIGRATIONS).pending([TROUBLE]);
    let finished = finished.logs("the old deployment stays").never_logs("the web container may start");
    finished.summary("| Web | not run |").summary("| Alarm | done |").done();
}

#[test]
fn seed_003_a_failed_snapshot_prevents_the_migration() {
    let database = shared().database();
    let config = ENVIRONMENTS.replace("--file=/tmp/snapshot.sql", "--file=/nowhere/snapshot.sql");
    let finished = in_environment(&database, "prod").file(".github/bastion-migrate.yml", config).run();
    finished
        .fails("tool-failed", 6)
        .pending(MIGRATIONS)
        .logs("in the step `Snapshot`")
        .logs("/nowhere/snapshot.sql")
        .done();
    assert_eq!(database.sql("select to_regclass('django_migrations')"), "");
}

#[test]
fn seed_003_a_migration_that_hangs_is_ended_by_its_own_timeout() {
    let database = shared().database();
    let steps = "[{ name: Migrate, run: python manage.py migrate --noinput, timeout: 8s }]";
    let step = Step::of_app(&database, DJANGO_4_2).trouble("slow").input("steps", steps);
    step.run().fails("step-timeout", 6).applied(MIGRATIONS).pending([TROUBLE]).done();
}

/// A step of the first users' job. Only the server has the database's address.
fn on_compose<'a>(lab: &'a Lab, compose: &'a Compose) -> Action<'a> {
    let step = Action::on_server(lab, compose.server()).input("working-directory", PILITO).input("tool", "django");
    step.input("command-prefix", "docker compose run --rm web")
}

/// Judges the run and checks that none of its containers is left.
fn assert_tidy(compose: &Compose, finished: Finished) {
    finished.done();
    assert_eq!(compose.runs(), [""; 0]);
}

#[test]
fn seed_004_compose_migrates_before_the_web_server_starts() {
    let (lab, compose) = (Lab::new(), Compose::start());
    let step = || {
        let before =
            "[{ name: Database, run: docker compose up -d db }, { name: Build, run: docker compose build web }]";
        let after = "[{ name: Check, run: docker compose run --rm web python manage.py check }]";
        let step = on_compose(&lab, &compose).input("before", before).input("after", after);
        step.input("health", "{ run: docker compose exec -T db pg_isready --quiet, interval: 1s, retries: 20 }")
    };
    // `status` runs no earlier steps, so the database has to be started first.
    compose.server().shell("cd ~/pilito && docker compose up -d db </dev/null").unwrap();
    assert_tidy(&compose, step().input("command", "status").run().has_pending().pending(MIGRATIONS));
    let finished = step().run().succeeds().applied(MIGRATIONS).summary("| Check | done |");
    assert_tidy(&compose, finished);
    assert_eq!(compose.sql("select app || '.' || name from django_migrations order by id"), MIGRATIONS.join("\n"));
    assert_tidy(&compose, step().input("command", "verify").run().succeeds());
    assert_tidy(&compose, step().run().nothing_to_do());
}

#[test]
fn seed_004_a_migration_is_rolled_back_and_an_existing_one_is_baselined() {
    let (lab, compose) = (Lab::new(), Compose::with_database());
    assert_tidy(&compose, on_compose(&lab, &compose).run().succeeds().applied(MIGRATIONS));
    let rollback = on_compose(&lab, &compose).input("command", "rollback").input("target", "customers 0002");
    assert_tidy(&compose, rollback.run().succeeds().pending([MIGRATIONS[4]]));
    assert_eq!(compose.sql("select count(*) from customers_customer"), "0");
    assert_tidy(&compose, on_compose(&lab, &compose).run().succeeds().applied([MIGRATIONS[4]]));

    // The tables exist, but Django's ledger lacks their migrations.
    compose.sql("delete from django_migrations where app = 'customers'");
    let finished = on_compose(&lab, &compose).run().fails("tool-failed", 6).pending(MIGRATIONS[2..].iter().copied());
    assert_tidy(&compose, finished.error("relation \"customers_customer\" already exists").logs("--fake"));
    let fake = on_compose(&lab, &compose).input("command", "baseline").input("target", "customers 0003");
    assert_tidy(&compose, fake.run().succeeds().applied(MIGRATIONS[2..].iter().copied()));
    assert_tidy(&compose, on_compose(&lab, &compose).run().nothing_to_do());
}

/// A migration whose dependency was never copied to the server.
const ORPHANED_MIGRATION: &str = "from django.db import migrations\n\n\n\
    class Migration(migrations.Migration):\n\
    \x20   dependencies = [(\"customers\", \"0017_intercomtickettype\")]\n";

#[test]
fn seed_004_each_known_failure_is_reported_with_its_fix() {
    let lab = Lab::new();
    let compose = Compose::with_database();
    let orphaned = compose.server().path("pilito/src/customers/migrations/0018_affiliationconfig.py");
    fs::write(&orphaned, ORPHANED_MIGRATION).unwrap();
    let finished = on_compose(&lab, &compose).run().fails("tool-failed", 6);
    let finished = finished.error("nonexistent parent node ('customers', '0017_intercomtickettype')");
    assert_tidy(&compose, finished.logs("whether it was copied to the server"));
    fs::remove_file(orphaned).unwrap();

    let prefix = |prefix: &str| on_compose(&lab, &compose).input("command-prefix", prefix);
    let finished = prefix("docker compose exec -T web").run().fails("tool-failed", 6);
    assert_tidy(
        &compose,
        finished.error("service \"web\" is not running").logs("`docker compose run --rm` creates one"),
    );
    let finished = prefix("docker compose run --rm api").run().fails("tool-failed", 6);
    assert_tidy(&compose, finished.error("no such service: api").logs("docker compose config --services"));
    let finished = on_compose(&lab, &compose).input("working-directory", "pilito/..").run().fails("tool-failed", 6);
    assert_tidy(&compose, finished.error("no configuration file provided: not found").logs("set `working-directory`"));

    let dotenv = compose.server().path("pilito/.env");
    let written = fs::read_to_string(&dotenv).unwrap();
    let wrong = Project::Plain.dotenv("postgresql://postgres:postgres@db:9/postgres");
    let name = written.lines().last().unwrap();
    fs::write(&dotenv, format!("{wrong}{name}\n")).unwrap();
    let finished = on_compose(&lab, &compose).run().fails("tool-failed", 6).error("Connection refused");
    assert_tidy(&compose, finished.logs("docker compose up -d db"));
    fs::write(dotenv, written).unwrap();
    assert_tidy(&compose, on_compose(&lab, &compose).run().succeeds().applied(MIGRATIONS));
}

#[test]
fn seed_004_a_missing_env_file_on_the_server_is_reported() {
    let (lab, compose) = (Lab::new(), Compose::start());
    fs::remove_file(compose.server().path("pilito/.env")).unwrap();
    let finished = on_compose(&lab, &compose).run().fails("tool-failed", 6);
    finished.error("not found").logs("it belongs on the server, not in the repository").done();
}

#[test]
fn seed_004_the_compose_example_migrates() {
    let (lab, compose) = (Lab::new(), Compose::start());
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/workflows/compose.yml")).unwrap();
    let with = our_step(&text, "deploy")["with"].clone();
    let step =
        with.as_mapping().unwrap().iter().fold(Action::on_server(&lab, compose.server()), |step, (name, value)| {
            let (name, value) = (name.as_str().unwrap(), value.as_str().unwrap());
            // The server's address and the login come from the lab.
            if value.contains("${{") { step } else { step.input(name, value) }
        });
    let finished = step.run().succeeds().applied(MIGRATIONS).summary("| Build | done |").summary("| Services | done |");
    assert_tidy(&compose, finished);
}
