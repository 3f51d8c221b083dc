//! The example workflows and the page of the executors: each step that is ours does its work as it stands there, in the first
//! users' application, pulled from a private registry, with what a reader has in the settings of the repository.

use crate::{
    app::{DJANGO_4_2, DJANGO_5_2, MIGRATIONS},
    engine::{Container, image, label},
    github::{Github, Writing},
    network::{BASTION, DATABASE, Database, LOGIN, MACHINE, Network, PASSWORD, ROLE, USER, shared},
    registry,
    runner::event::Event,
    step::{Step, TOKEN},
    tunnel::Opened,
    workflow::{Context, evaluate, fenced, is_ours, our_step},
};
use serde_yaml::Value;
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, sync::Arc};

/// What the examples call the application's image, without the tag.
const IMAGES: [&str; 2] = ["registry.digitalocean.com/acme/backend", "ghcr.io/acme/shop"];

/// Hidden by GitHub and by us.
const SECRET_KEY: &str = "django-insecure-0123456789";

/// What a workflow decides by what started it.
const COMMAND: &str = "github.event_name == 'pull_request' && 'plan' || 'migrate'";

/// A file of the repository, with the lab's registry in place of the reader's.
fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    IMAGES.iter().fold(text, |text, name| text.replace(name, &registry::shared().reference("backend")))
}

/// The image as somebody has built and pushed it.
fn push(app: &str, tag: &str) {
    registry::shared().push(image(app), &format!("backend:{tag}"));
}

/// What every job knows.
fn context(values: &[(&str, &str)]) -> Context {
    let always = [
        ("github.token", TOKEN),
        ("github.actor", registry::ROBOT),
        ("secrets.DO_ACCESS_TOKEN", registry::PASSWORD),
        ("secrets.SECRET_KEY", SECRET_KEY),
    ];
    always.iter().chain(values).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The secrets of an environment whose names have a prefix.
fn prefixed(database: &Database, prefix: &str) -> Context {
    let (known_hosts, ca) = (database.network().known_hosts(), database.network().ca().to_owned());
    let of_environment = [
        ("secrets", "HOST", BASTION),
        ("secrets", "USER", USER),
        ("secrets", "SSH_PASSWORD", LOGIN),
        ("vars", "SSH_KNOWN_HOSTS", &known_hosts),
        ("secrets", "DB_HOST", DATABASE),
        ("secrets", "DB_PORT", "5432"),
        ("secrets", "DB_USER", ROLE),
        ("secrets", "DB_PASSWORD", PASSWORD),
        ("secrets", "DB_NAME", database.name()),
        ("vars", "DB_CA", &ca),
        ("secrets", "DJANGO_SETTINGS_MODULE", "backend.settings.production"),
        ("secrets", "SECRET_KEY", SECRET_KEY),
    ];
    let named = of_environment.map(|(kind, name, value)| (format!("{kind}.{prefix}_{name}"), value));
    let named: Vec<(&str, &str)> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    context(&named)
}

/// The same with names of the environment's own.
fn scoped(database: &Database, url: &str) -> Context {
    let network = database.network();
    context(&[
        ("secrets.SSH_HOST", &network.bastion_host()),
        ("secrets.SSH_PRIVATE_KEY", &network.key()),
        ("vars.SSH_KNOWN_HOSTS", &network.known_hosts()),
        ("secrets.DATABASE_URL", url),
        ("vars.DATABASE_CA", network.ca()),
        ("vars.DJANGO_SETTINGS_MODULE", "backend.settings.production"),
    ])
}

fn with(mut context: Context, more: &[(&str, &str)]) -> Context {
    context.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    context
}

/// Every line of a mapping of texts, evaluated; nothing where there is none.
fn evaluated(mapping: &Value, context: &Context) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::Number(number) => number.to_string(),
        _ => value.as_str().expect("names and values are texts and numbers").to_owned(),
    };
    let lines = mapping.as_mapping().into_iter().flatten();
    lines.map(|(name, value)| (text(name), evaluate(&text(value), context))).collect()
}

/// The step as the runner starts it. What `env:` of the workflow says can be read as `env.NAME` and reaches the step, too.
fn step<'a>(database: &'a Database, workflow_env: &Value, step: &Value, context: &Context) -> Step<'a> {
    let mut context = context.clone();
    let env = evaluated(workflow_env, &context);
    context.extend(env.iter().map(|(name, value)| (format!("env.{name}"), value.clone())));
    let step_env = evaluated(&step["env"], &context);
    let env = env.into_iter().chain(step_env);
    let bare = [PASSWORD, LOGIN, registry::PASSWORD, SECRET_KEY].into_iter().fold(Step::bare(database), Step::hides);
    let bare = bare.hides(&database.network().key());
    let told = env.fold(bare, |step, (name, value)| step.env(&name, value));
    evaluated(&step["with"], &context).into_iter().fold(told, |step, (name, value)| step.input(&name, value))
}

/// Our step of this job.
fn job<'a>(database: &'a Database, path: &str, job: &str, context: &Context) -> Step<'a> {
    let text = read(path);
    let workflow: Value = serde_yaml::from_str(&text).expect("a workflow is YAML");
    step(database, &workflow["env"], &our_step(&text, job), context)
}

#[test]
fn dev_tells_a_pull_request_its_plan_and_migrates_a_push() {
    let database = shared().database();
    let github = Github::start_at(&database.network().gateway(), Writing::Allowed);
    push(DJANGO_4_2, "dev-1");
    let run = |command: &str| {
        let context = with(prefixed(&database, "DEV"), &[("github.sha", "1"), (COMMAND, command)]);
        job(&database, "examples/workflows/image-dev.yml", "migrate", &context)
    };
    let plan = run("plan").on(Event::PullRequest).of_server("https://ghe.example", &github.url());
    plan.run().pends().pending(MIGRATIONS).done();
    let comments = github.comments();
    assert!(
        comments.len() == 1 && MIGRATIONS.iter().all(|name| comments[0].replace('\\', "").contains(name)),
        "{comments:?}"
    );
    run("migrate").run().succeeds().applied(MIGRATIONS).says("manage.py migrate --fake-initial").done();
    run("migrate").run().nothing_to_do().done();
}

#[test]
fn uat_checks_the_certificate_of_the_database() {
    let database = shared().database();
    push(DJANGO_5_2, "uat-1");
    let run = |context: &Context| job(&database, "examples/workflows/image-uat.yml", "migrate", context);
    let context = with(prefixed(&database, "UAT"), &[("github.sha", "1")]);
    let without_ca = with(context.clone(), &[("vars.UAT_DB_CA", "")]);
    run(&without_ca).run().fails("tls-untrusted", 3).done();
    run(&context).run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn production_migrates_what_was_approved_in_the_image_that_was_planned() {
    let database = shared().database();
    for (app, tag) in [(DJANGO_5_2, "prod-1"), (DJANGO_4_2, "prod-2")] {
        push(app, tag);
    }
    let reader = reading_role(&database);
    let run = |name: &str, url: &str, sha: &str, digest: &str| {
        let more = [("github.sha", sha), ("needs.plan.outputs.plan-digest", digest)];
        job(&database, "examples/workflows/image-prod.yml", name, &with(scoped(&database, url), &more))
    };
    let plan = run("plan", &reader, "1", "").run();
    let digest = plan.outputs["plan-digest"].clone();
    plan.pends().pending(MIGRATIONS).done();
    let migrate = |sha| run("migrate", &database.url(), sha, &digest);
    migrate("2").run().fails("plan-changed", 5).pending(MIGRATIONS).done();
    migrate("1").run().succeeds().applied(MIGRATIONS).done();
    run("plan", &reader, "1", "").run().nothing_to_do().done();
    database.sql(&format!("drop owned by reader_{0}; drop role reader_{0}", database.name()));
}

/// The URL of a role that may see everything in the database and change nothing.
fn reading_role(database: &Database) -> String {
    let (name, role) = (database.name(), format!("reader_{}", database.name()));
    database.sql(&format!(
        "create role {role} login password 'may 0nly look'; grant connect on database {name} to {role}; \
         grant pg_read_all_data to {role}"
    ));
    format!("postgres://{role}:may%200nly%20look@{DATABASE}:5432/{name}")
}

/// The whole step of the page, and what the page says of `tool`, `run` and registries, put into it.
#[test]
fn the_page_of_executors_shows_steps_that_migrate() {
    push(DJANGO_5_2, "1");
    let pieces: Vec<Value> = fenced(&read("docs/executors.md"), "yaml")
        .iter()
        .map(|block| serde_yaml::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}")))
        .collect();
    let ours = |piece: &&Value| piece.as_sequence().is_some_and(|steps| is_ours(&steps[0]));
    let whole = &pieces.iter().find(ours).expect("the page has a whole step")[0];
    let lines: Vec<&Value> =
        pieces.iter().filter(|piece| piece.is_mapping() && piece.get("permissions").is_none()).collect();
    assert!(lines.len() > 4, "{lines:?}");
    for lines in [vec![whole], lines].concat() {
        let database = shared().database();
        let ecr = "steps.ecr.outputs.docker_";
        let account = "_123456789012_dkr_ecr_eu_central_1_amazonaws_com";
        let more = [
            ("github.sha", "1"),
            ("github.token", registry::PASSWORD),
            (&format!("{ecr}username{account}"), registry::ROBOT),
            (&format!("{ecr}password{account}"), registry::PASSWORD),
        ];
        let context = with(scoped(&database, &database.url()), &more);
        let told = step(&database, &Value::Null, whole, &context);
        let more = if lines.get("with").is_some() { Value::Null } else { lines.clone() };
        let told = evaluated(&more, &context).into_iter().fold(told, |step, (name, value)| step.input(&name, value));
        told.run().succeeds().applied(MIGRATIONS).done();
    }
}

/// A step of the reader's own, on the runner's machine, whose Python has the app's packages.
#[expect(clippy::disallowed_methods, reason = "does what the runner's shell does")]
fn run(step: &Value, context: &Context) -> String {
    let env = evaluated(&step["env"], context);
    let directory = tempfile::tempdir().expect("there is room");
    let python = directory.path().join("python");
    let handed_on: String = env.keys().map(|name| format!(" --env {name}")).collect();
    let packages = image(DJANGO_5_2);
    let program =
        format!("exec docker run --rm --label {} --network host{handed_on} {packages} python \"$@\"", label());
    fs::write(&python, format!("#!/bin/sh\n{program}\n")).expect("there is room");
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let script = evaluate(step["run"].as_str().expect("the step has a script"), context);
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap_or_default());
    let output =
        Command::new("bash").args(["-ec", &script]).env("PATH", path).envs(env).output().expect("bash is there");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{script}\n{text}");
    text
}

/// What the following steps know of the tunnel.
fn behind(opened: &Opened, context: Context) -> Context {
    let (host, port) = ("steps.tunnel.outputs.tunnel-host", "steps.tunnel.outputs.tunnel-port");
    with(context, &[(host, "127.0.0.1"), (port, &opened.port)])
}

#[test]
fn the_light_way_migrates_from_the_runner() {
    let (database, path) = (shared().database(), "examples/workflows/tunnel.yml");
    let context = prefixed(&database, "DEV");
    let opened = Opened::by(job(&database, path, "migrate", &context));
    let workflow: Value = serde_yaml::from_str(&read(path)).expect("a workflow is YAML");
    let steps = workflow["jobs"]["migrate"]["steps"].as_sequence().expect("the job has steps");
    let migrate = steps.iter().find(|step| step["name"].as_str() == Some("Migrate")).expect("there is such a step");
    let said = run(migrate, &behind(&opened, context));
    assert!(said.contains("PostgreSQL 15") && said.contains("Applying customers.0003_first_customer... OK"), "{said}");
    assert_eq!(database.sql("select app || '.' || name from django_migrations order by id"), MIGRATIONS.join("\n"));
    opened.close(&database).says("through the tunnel passed").done();
}

#[test]
fn the_page_of_executors_leads_psql_through_the_tunnel() {
    let database = shared().database();
    let pieces = fenced(&read("docs/executors.md"), "yaml");
    let piece = pieces.iter().find(|piece| piece.contains("command: tunnel")).expect("the page opens a tunnel");
    let steps: Value =
        serde_yaml::from_str(&piece.replace("dbname=shop", &format!("dbname={}", database.name()))).unwrap();
    let context = with(scoped(&database, &database.url()), &[("secrets.DATABASE_PASSWORD", PASSWORD)]);
    let opened = Opened::by(step(&database, &Value::Null, &steps[0], &context));
    assert!(run(&steps[1], &behind(&opened, context)).contains(database.name()));
    opened.close(&database).says("through the tunnel passed 1 connection(s)").done();
}

/// In a network of its own, as every job with `container:` has one.
#[test]
fn a_job_in_a_container_finds_the_tunnel_by_the_output_on_the_page() {
    assert!(read("docs/executors.md").contains("the output `tunnel-alias`, at the database's own port"));
    let database = Arc::new(Network::start()).database();
    let opened = Opened::by(Step::new(&database));
    let name = opened.alias.clone();
    let password = format!("PGPASSWORD={PASSWORD}");
    let job = Container::start(
        &["--network", database.network().public(), "--env", &password],
        image(MACHINE),
        &["sleep", "60"],
    );
    let place = format!("host={name} port=5432 user={ROLE} dbname={}", database.name());
    assert_eq!(job.exec(&["psql", &place, "-XqAt", "-c", "select 6 * 7"]), "42");
    opened.close(&database).says("through the tunnel passed 1 connection(s)").done();
}
