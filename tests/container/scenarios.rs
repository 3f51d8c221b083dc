//! What the first users do where the application is an image: two ways that have to agree, a pipeline of containers, and a
//! server with Compose.

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
    tunnel::Opened,
    workflow::our_step,
};
use std::{fs, path::Path};

/// The secrets of the environment `dev`, by the first users' names.
fn dev<'a>(database: &'a Database, empty: &[&str]) -> Step<'a> {
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
    // A secret that nobody has set is an empty text.
    secrets.iter().fold(step, |step, (name, value)| step.env(name, if empty.contains(name) { "" } else { value }))
}

fn in_production_image<'a>(database: &'a Database, empty: &[&str]) -> Step<'a> {
    let step = dev(database, empty).input("executor", "image").input("image", image(DJANGO_5_2));
    step.input("tool", "django").input("pass-env", "SECRET_KEY DJANGO_SETTINGS_MODULE")
}

/// What `showmigrations` lists as pending when Python runs on the runner and the tunnel is open.
fn listed_on_the_runner(database: &Database) -> Vec<String> {
    let opened = Opened::by(dev(database, &[]));
    let url = database.url_at("127.0.0.1").replace(":5432/", &format!(":{}/", opened.port));
    let url = format!("DATABASE_URL={url}");
    let run = ["run", "--rm", "--network", "host", "--env", "SECRET_KEY=x", "--env", &url, "--label", &label()];
    let said = docker(&[&run[..], &[image(DJANGO_5_2), "python", "manage.py", "showmigrations", "--plan"]].concat());
    opened.close(database).says("through the tunnel passed").done();
    said.lines().filter_map(|line| line.strip_prefix("[ ]  ")).map(str::to_owned).collect()
}

#[test]
fn seed_001_both_approaches_give_the_same_list_of_migrations() {
    let database = shared().database();
    let both_say = |expected: &[&str]| {
        let status = in_production_image(&database, &[]).input("command", "status").run();
        assert_eq!(status.listed("pending"), listed_on_the_runner(&database));
        let status = if expected.is_empty() { status.nothing_to_do() } else { status.pends() };
        status.pending(expected.iter().copied()).done();
    };
    both_say(&MIGRATIONS);
    in_production_image(&database, &[]).run().succeeds().applied(MIGRATIONS).done();
    both_say(&[]);
}

#[test]
fn seed_001_bad_local_forwarding_specification_is_an_empty_secret() {
    let database = shared().database();
    let told = in_production_image(&database, &["DEV_DB_HOST", "DEV_DB_NAME"]).run().fails("input-missing", 2);
    told.error("`database-host` and `database-name` have no value")
        .says("whether the job names its `environment:`")
        .done();
}

#[test]
fn seed_001_database_connection_refused() {
    let database = shared().database();
    let told = in_production_image(&database, &[]).env("DEV_DB_PORT", "9").input("wait-timeout", "5s");
    let told = told.run().fails("database-refused", 3);
    told.error("db.private.internal").says("as seen from the bastion").done();
}

#[test]
fn seed_001_image_pull_fails() {
    let (database, registry) = (shared().database(), registry::shared());
    registry.push(image(DJANGO_5_2), "projectmeats-backend:dev-1");
    let pull = |tag: &str, password: &str| {
        let reference = registry.reference(&format!("projectmeats-backend:{tag}"));
        let step = dev(&database, &[]).input("executor", "image").input("image", reference).input("tool", "django");
        step.input("registry-username", registry::ROBOT).secret("registry-password", password).run()
    };
    let told = pull("dev-latest", registry::PASSWORD).fails("image-missing", 2);
    told.says("that the job which builds and pushes it has run before").done();
    pull("dev-1", "of last year").fails("image-denied", 2).error("`registry-password`").done();
}

/// One configuration for every environment, as it lies in the repository.
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
    let step = step.hands_over("SECRET_KEY=not a secret of ours").input("environment", environment);
    step.file(".github/bastion-migrate.yml", ENVIRONMENTS).file("fixtures/dev_data.json", FIXTURES)
}

#[test]
fn seed_003_development_gets_its_fixtures_after_the_migration() {
    let database = shared().database();
    in_environment(&database, "dev").run().succeeds().applied(MIGRATIONS).summary("| Fixtures | done |").done();
    assert_eq!(database.sql("select name from carriers_carrier order by id"), "Cold Chain\nFixture Freight");
}

#[test]
fn seed_003_staging_looks_before_it_migrates() {
    let database = shared().database();
    let told = in_environment(&database, "staging").run().succeeds().applied(MIGRATIONS);
    told.says("Planned operations:").summary("| Plan | done |").done();
}

#[test]
fn seed_003_production_takes_a_snapshot_first_and_only_when_something_is_pending() {
    let database = shared().database();
    let told = in_environment(&database, "prod").run().succeeds().applied(MIGRATIONS);
    let duration = told.outputs["duration-ms"].parse::<u64>().unwrap();
    assert!(duration > 0, "{duration}");
    let told = told.says("snapshot taken").says("Running pre-migrate handlers for application carriers");
    let told = told.says("the web container may start").never_says("the old deployment stays");
    told.summary("| Snapshot | done |").summary("| Web | done |").done();
    let told = in_environment(&database, "prod").run().nothing_to_do();
    told.never_says("snapshot taken").done();
}

#[test]
fn seed_003_a_migration_that_fails_stops_what_follows() {
    let database = shared().database();
    let ended = in_environment(&database, "prod").trouble("missing-table").start().finish();
    assert_eq!(ended.conclusion, Conclusion::Failed);
    let told = ended.finished.fails("tool-failed", 6).applied(MIGRATIONS).pending([TROUBLE]);
    let told = told.says("the old deployment stays").never_says("the web container may start");
    told.summary("| Web | not run |").summary("| Alarm | done |").done();
}

#[test]
fn seed_003_a_snapshot_that_fails_keeps_the_migration_from_beginning() {
    let database = shared().database();
    let config = ENVIRONMENTS.replace("--file=/tmp/snapshot.sql", "--file=/nowhere/snapshot.sql");
    let told = in_environment(&database, "prod").file(".github/bastion-migrate.yml", config).run();
    told.fails("tool-failed", 6)
        .pending(MIGRATIONS)
        .says("in the step `Snapshot`")
        .says("/nowhere/snapshot.sql")
        .done();
    assert_eq!(database.sql("select to_regclass('django_migrations')"), "");
}

#[test]
fn seed_003_a_migration_that_hangs_ends_in_its_own_time() {
    let database = shared().database();
    let steps = "[{ name: Migrate, run: python manage.py migrate --noinput, timeout: 8s }]";
    let step = Step::of_app(&database, DJANGO_4_2).trouble("slow").input("steps", steps);
    step.run().fails("step-timeout", 6).applied(MIGRATIONS).pending([TROUBLE]).done();
}

/// A step in the job of the first users; the server alone knows the database.
fn on_compose<'a>(lab: &'a Lab, compose: &'a Compose) -> Action<'a> {
    let step = Action::on_server(lab, compose.server()).input("working-directory", PILITO).input("tool", "django");
    step.input("command-prefix", "docker compose run --rm web")
}

/// It ended so, and no container of it is left.
fn tidy(compose: &Compose, told: Finished) {
    told.done();
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
    // The question comes before everything else, so somebody has to have started the database.
    compose.server().shell("cd ~/pilito && docker compose up -d db </dev/null").unwrap();
    tidy(&compose, step().input("command", "status").run().pends().pending(MIGRATIONS));
    let told = step().run().succeeds().applied(MIGRATIONS).summary("| Check | done |");
    tidy(&compose, told);
    assert_eq!(compose.sql("select app || '.' || name from django_migrations order by id"), MIGRATIONS.join("\n"));
    tidy(&compose, step().input("command", "verify").run().succeeds());
    tidy(&compose, step().run().nothing_to_do());
}

#[test]
fn seed_004_a_migration_is_taken_back_and_one_that_is_there_is_recorded() {
    let (lab, compose) = (Lab::new(), Compose::with_database());
    tidy(&compose, on_compose(&lab, &compose).run().succeeds().applied(MIGRATIONS));
    let back = on_compose(&lab, &compose).input("command", "rollback").input("target", "customers 0002");
    tidy(&compose, back.run().succeeds().pending([MIGRATIONS[4]]));
    assert_eq!(compose.sql("select count(*) from customers_customer"), "0");
    tidy(&compose, on_compose(&lab, &compose).run().succeeds().applied([MIGRATIONS[4]]));

    // The tables are there, and Django does not know.
    compose.sql("delete from django_migrations where app = 'customers'");
    let told = on_compose(&lab, &compose).run().fails("tool-failed", 6).pending(MIGRATIONS[2..].iter().copied());
    tidy(&compose, told.error("relation \"customers_customer\" already exists").says("--fake"));
    let fake = on_compose(&lab, &compose).input("command", "baseline").input("target", "customers 0003");
    tidy(&compose, fake.run().succeeds().applied(MIGRATIONS[2..].iter().copied()));
    tidy(&compose, on_compose(&lab, &compose).run().nothing_to_do());
}

/// Its dependency was never copied to the server.
const ORPHAN: &str = "from django.db import migrations\n\n\n\
    class Migration(migrations.Migration):\n\
    \x20   dependencies = [(\"customers\", \"0017_intercomtickettype\")]\n";

#[test]
fn seed_004_each_of_their_troubles_is_named_with_its_fix() {
    let lab = Lab::new();
    let compose = Compose::with_database();
    let orphan = compose.server().path("pilito/src/customers/migrations/0018_affiliationconfig.py");
    fs::write(&orphan, ORPHAN).unwrap();
    let told = on_compose(&lab, &compose).run().fails("tool-failed", 6);
    let told = told.error("nonexistent parent node ('customers', '0017_intercomtickettype')");
    tidy(&compose, told.says("whether it was copied to the server"));
    fs::remove_file(orphan).unwrap();

    let prefix = |prefix: &str| on_compose(&lab, &compose).input("command-prefix", prefix);
    let told = prefix("docker compose exec -T web").run().fails("tool-failed", 6);
    tidy(&compose, told.error("service \"web\" is not running").says("`docker compose run --rm` makes one"));
    let told = prefix("docker compose run --rm api").run().fails("tool-failed", 6);
    tidy(&compose, told.error("no such service: api").says("docker compose config --services"));
    let told = on_compose(&lab, &compose).input("working-directory", "pilito/..").run().fails("tool-failed", 6);
    tidy(&compose, told.error("no configuration file provided: not found").says("set `working-directory`"));

    let dotenv = compose.server().path("pilito/.env");
    let written = fs::read_to_string(&dotenv).unwrap();
    let wrong = Project::Plain.dotenv("postgresql://postgres:postgres@db:9/postgres");
    let name = written.lines().last().unwrap();
    fs::write(&dotenv, format!("{wrong}{name}\n")).unwrap();
    let told = on_compose(&lab, &compose).run().fails("tool-failed", 6).error("Connection refused");
    tidy(&compose, told.says("docker compose up -d db"));
    fs::write(dotenv, written).unwrap();
    tidy(&compose, on_compose(&lab, &compose).run().succeeds().applied(MIGRATIONS));
}

#[test]
fn seed_004_a_server_without_its_env_file_is_told_so() {
    let (lab, compose) = (Lab::new(), Compose::start());
    fs::remove_file(compose.server().path("pilito/.env")).unwrap();
    let told = on_compose(&lab, &compose).run().fails("tool-failed", 6);
    told.error("not found").says("it belongs to the server and not to the repository").done();
}

#[test]
fn seed_004_as_the_example_of_compose_has_it() {
    let (lab, compose) = (Lab::new(), Compose::start());
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/workflows/compose.yml")).unwrap();
    let with = our_step(&text, "deploy")["with"].clone();
    let told =
        with.as_mapping().unwrap().iter().fold(Action::on_server(&lab, compose.server()), |step, (name, value)| {
            let (name, value) = (name.as_str().unwrap(), value.as_str().unwrap());
            // Where the server is and who may log in is the lab's.
            if value.contains("${{") { step } else { step.input(name, value) }
        });
    let told = told.run().succeeds().applied(MIGRATIONS).summary("| Build | done |").summary("| Services | done |");
    tidy(&compose, told);
}
