//! The example workflows and the executors page: each of our steps works as it is written there, with the first users'
//! application from a private registry and the secrets and variables of a reader's repository.

use crate::{
    app::{DJANGO_4_2, DJANGO_5_2, MIGRATIONS},
    engine::{Container, image, label},
    github::{Github, WriteAccess},
    network::{BASTION, DATABASE, Database, LOGIN, MACHINE, Network, PASSWORD, ROLE, USER, shared},
    registry,
    runner::event::Event,
    step::{Step, TOKEN},
    tunnel::OpenTunnel,
    workflow::{Context, evaluate, fenced, is_ours, our_step},
};
use serde_yaml::Value;
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, sync::Arc};

/// The application's image in the examples, without the tag.
const IMAGES: [&str; 3] =
    ["registry.digitalocean.com/acme/backend", "ghcr.io/acme/shop", "registry.example.com/acme/shop"];

/// A secret that GitHub and the action have to mask.
const SECRET_KEY: &str = "django-insecure-0123456789";

/// Reads a file of the repository and replaces the reader's registry by the lab's.
pub(crate) fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    IMAGES.iter().fold(text, |text, name| text.replace(name, &registry::shared().reference("backend")))
}

/// Pushes the application's image, as an earlier job would.
pub(crate) fn push(app: &str, tag: &str) {
    registry::shared().push(image(app), &format!("backend:{tag}"));
}

/// Returns the context of every job with further values.
fn context(values: &[(&str, &str)]) -> Context {
    let always = [
        ("github.token", TOKEN),
        ("github.actor", registry::ROBOT),
        ("secrets.DO_ACCESS_TOKEN", registry::PASSWORD),
        ("secrets.SECRET_KEY", SECRET_KEY),
    ];
    always.iter().chain(values).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Returns a context with an environment's secrets, their names prefixed.
pub(crate) fn prefixed_context(database: &Database, prefix: &str) -> Context {
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

/// Returns a context with the secrets of an environment that has its own scope.
pub(crate) fn scoped_context(database: &Database, url: &str) -> Context {
    let network = database.network();
    context(&[
        ("secrets.SSH_HOST", &network.bastion_host()),
        ("secrets.SSH_PRIVATE_KEY", &network.key()),
        ("vars.SSH_KNOWN_HOSTS", &network.known_hosts()),
        ("secrets.DATABASE_URL", url),
        ("vars.DATABASE_CA", network.ca()),
        ("vars.DATABASE_CERT", ""),
        ("secrets.DATABASE_CERT", ""),
        ("secrets.DATABASE_KEY", ""),
        ("vars.DJANGO_SETTINGS_MODULE", "backend.settings.production"),
    ])
}

pub(crate) fn extended(mut context: Context, more: &[(&str, &str)]) -> Context {
    context.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    context
}

/// Evaluates every value of a mapping; a missing mapping is empty.
pub(crate) fn evaluated(mapping: &Value, context: &Context) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::Number(number) => number.to_string(),
        _ => value.as_str().expect("names and values are texts and numbers").to_owned(),
    };
    let lines = mapping.as_mapping().into_iter().flatten();
    lines.map(|(name, value)| (text(name), evaluate(&text(value), context))).collect()
}

/// Builds the step as the runner starts it. The workflow's `env:` is readable as `env.NAME` and reaches the step, too.
pub(crate) fn step<'a>(database: &'a Database, workflow_env: &Value, step: &Value, context: &Context) -> Step<'a> {
    let mut context = context.clone();
    let env = evaluated(workflow_env, &context);
    context.extend(env.iter().map(|(name, value)| (format!("env.{name}"), value.clone())));
    let step_env = evaluated(&step["env"], &context);
    let env = env.into_iter().chain(step_env);
    let bare = [PASSWORD, LOGIN, registry::PASSWORD, SECRET_KEY].into_iter().fold(Step::bare(database), Step::hides);
    let bare = bare.hides(&database.network().key());
    let with_env = env.fold(bare, |step, (name, value)| step.env(&name, value));
    evaluated(&step["with"], &context).into_iter().fold(with_env, |step, (name, value)| step.input(&name, value))
}

/// Returns our step of this job.
fn step_of_job<'a>(database: &'a Database, path: &str, step_of_job: &str, context: &Context) -> Step<'a> {
    let text = read(path);
    let workflow: Value = serde_yaml::from_str(&text).expect("a workflow is YAML");
    step(database, &workflow["env"], &our_step(&text, step_of_job), context)
}

#[test]
fn the_dev_workflow_comments_the_plan_on_a_pull_request_and_migrates_on_a_push() {
    let database = shared().database();
    let github = Github::start_at(&database.network().gateway(), WriteAccess::Allowed);
    push(DJANGO_4_2, "dev-1");
    let run = |name: &str| {
        let context = extended(prefixed_context(&database, "DEV"), &[("github.sha", "1")]);
        step_of_job(&database, "examples/workflows/image-dev.yml", name, &context)
    };
    let plan = run("plan").on(Event::PullRequest).of_server("https://ghe.example", &github.url());
    plan.run().has_pending().pending(MIGRATIONS).done();
    let comments = github.comments();
    assert!(
        comments.len() == 1 && MIGRATIONS.iter().all(|name| comments[0].replace('\\', "").contains(name)),
        "{comments:?}"
    );
    run("migrate").run().succeeds().applied(MIGRATIONS).logs("manage.py migrate --fake-initial").done();
    run("migrate").run().nothing_to_do().done();
}

#[test]
fn the_uat_workflow_verifies_the_database_certificate() {
    let database = shared().database();
    push(DJANGO_5_2, "uat-1");
    let run = |context: &Context| step_of_job(&database, "examples/workflows/image-uat.yml", "migrate", context);
    let context = extended(prefixed_context(&database, "UAT"), &[("github.sha", "1")]);
    let without_ca = extended(context.clone(), &[("vars.UAT_DB_CA", "")]);
    run(&without_ca).run().fails("tls-untrusted", 3).done();
    run(&context).run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn the_production_workflow_applies_only_the_approved_plan_of_the_same_image() {
    let database = shared().database();
    for (app, tag) in [(DJANGO_5_2, "prod-1"), (DJANGO_4_2, "prod-2")] {
        push(app, tag);
    }
    let reader = create_reading_role(&database);
    let run = |name: &str, url: &str, sha: &str, digest: &str| {
        let more = [("github.sha", sha), ("needs.plan.outputs.plan-digest", digest)];
        step_of_job(
            &database,
            "examples/workflows/image-prod.yml",
            name,
            &extended(scoped_context(&database, url), &more),
        )
    };
    let plan = run("plan", &reader, "1", "").run();
    let digest = plan.outputs["plan-digest"].clone();
    plan.has_pending().pending(MIGRATIONS).done();
    let migrate = |sha| run("migrate", &database.url(), sha, &digest);
    migrate("2").run().fails("plan-changed", 5).pending(MIGRATIONS).done();
    migrate("1").run().succeeds().applied(MIGRATIONS).done();
    run("plan", &reader, "1", "").run().nothing_to_do().done();
    database.sql(&format!("drop owned by reader_{0}; drop role reader_{0}", database.name()));
}

#[test]
fn the_building_block_applies_the_planned_migrations_of_an_image() {
    let database = shared().database();
    push(DJANGO_5_2, "1");
    let caller: Value = serde_yaml::from_str(&read("examples/workflows/reusable.yml")).expect("a workflow is YAML");
    let text = read(".github/workflows/migrate.yml");
    let block: Value = serde_yaml::from_str(&text).expect("a workflow is YAML");
    let mut context = called_context(&block["on"]["workflow_call"]);
    context.extend(scoped_context(&database, &database.url()));
    let given = evaluated(&caller["jobs"]["migrate"]["with"], &extended(context.clone(), &[("github.sha", "1")]));
    context.extend(given.into_iter().map(|(name, value)| (format!("inputs.{name}"), value)));
    let run = |job: &str, digest: &str| {
        let more = [
            ("vars.DATABASE_CA", ""),
            ("vars.DATABASE_CERT", ""),
            ("secrets.DATABASE_CERT", ""),
            ("secrets.DATABASE_KEY", ""),
            ("secrets.REGISTRY_USERNAME", registry::ROBOT),
            ("secrets.REGISTRY_PASSWORD", registry::PASSWORD),
            ("steps.tool-env.outputs.names", "SECRET_KEY"),
            ("needs.plan.outputs.plan-digest", digest),
            ("needs.plan.outputs.rehearsal-digest", ""),
        ];
        let context = extended(context.clone(), &more);
        step(&database, &Value::Null, &our_step(&text, job), &context).env("SECRET_KEY", SECRET_KEY).run()
    };
    let plan = run("plan", "");
    let digest = plan.outputs["plan-digest"].clone();
    plan.has_pending().pending(MIGRATIONS).done();
    run("migrate", &digest).succeeds().applied(MIGRATIONS).done();
}

/// Returns the context of a building block that is called without inputs and secrets.
fn called_context(called: &Value) -> Context {
    let default = |input: &Value| match &input["default"] {
        Value::Number(number) => number.to_string(),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let lines = |key: &str| called[key].as_mapping().cloned().unwrap_or_default();
    let name = |name: &Value| name.as_str().expect("names are texts").to_owned();
    let inputs = lines("inputs").into_iter().map(|(key, input)| (format!("inputs.{}", name(&key)), default(&input)));
    let secrets = lines("secrets")
        .into_iter()
        .flat_map(|(key, _)| ["secrets", "vars"].map(|kind| format!("{kind}.{}", name(&key))));
    inputs.chain(secrets.map(|name| (name, String::new()))).collect()
}

/// Creates a role that may read everything in the database and change nothing; returns its URL.
fn create_reading_role(database: &Database) -> String {
    let (name, role) = (database.name(), format!("reader_{}", database.name()));
    database.sql(&format!(
        "create role {role} login password 'may 0nly look'; grant connect on database {name} to {role}; \
         grant pg_read_all_data to {role}"
    ));
    format!("postgres://{role}:may%200nly%20look@{DATABASE}:5432/{name}")
}

/// Runs the page's complete step, and again with each of its fragments about `tool`, `run` and registries.
#[test]
fn the_steps_on_the_executors_page_migrate() {
    push(DJANGO_5_2, "2");
    let blocks: Vec<Value> = fenced(&read("docs/executors.md"), "yaml")
        .iter()
        .map(|block| serde_yaml::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}")))
        .collect();
    let ours = |block: &&Value| block.as_sequence().is_some_and(|steps| is_ours(&steps[0]));
    let complete_step = &blocks.iter().find(ours).expect("the page has a whole step")[0];
    // Permissions of the job, and variables of other apps.
    let others = ["permissions", "env"];
    let lines: Vec<&Value> = blocks
        .iter()
        .filter(|block| block.is_mapping() && !others.iter().any(|key| block.get(*key).is_some()))
        .collect();
    assert!(lines.len() > 4, "{lines:?}");
    for lines in [vec![complete_step], lines].concat() {
        let database = shared().database();
        let ecr = "steps.ecr.outputs.docker_";
        let account = "_123456789012_dkr_ecr_eu_central_1_amazonaws_com";
        let more = [
            ("github.sha", "2"),
            ("github.token", registry::PASSWORD),
            (&format!("{ecr}username{account}"), registry::ROBOT),
            (&format!("{ecr}password{account}"), registry::PASSWORD),
        ];
        let context = extended(scoped_context(&database, &database.url()), &more);
        let prepared = step(&database, &Value::Null, complete_step, &context);
        let more = if lines.get("with").is_some() { Value::Null } else { lines.clone() };
        let prepared =
            evaluated(&more, &context).into_iter().fold(prepared, |step, (name, value)| step.input(&name, value));
        prepared.run().succeeds().applied(MIGRATIONS).done();
    }
}

/// Runs one of the reader's own steps on the runner's machine, with the app's packages in its Python.
#[expect(clippy::disallowed_methods, reason = "does what the runner's shell does")]
fn run(step: &Value, context: &Context) -> String {
    let env = evaluated(&step["env"], context);
    let directory = tempfile::tempdir().expect("there is room");
    let python = directory.path().join("python");
    let passed_variables: String = env.keys().map(|name| format!(" --env {name}")).collect();
    let packages = image(DJANGO_5_2);
    let program =
        format!("exec docker run --rm --label {} --network host{passed_variables} {packages} python \"$@\"", label());
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

/// Adds the tunnel's outputs to the context.
pub(crate) fn with_tunnel(opened: &OpenTunnel, context: Context) -> Context {
    let (host, port) = ("steps.tunnel.outputs.tunnel-host", "steps.tunnel.outputs.tunnel-port");
    extended(context, &[(host, "127.0.0.1"), (port, &opened.port)])
}

#[test]
fn the_tunnel_workflow_migrates_from_the_runner() {
    let (database, path) = (shared().database(), "examples/workflows/tunnel.yml");
    let context = prefixed_context(&database, "DEV");
    let opened = OpenTunnel::open(step_of_job(&database, path, "migrate", &context));
    let workflow: Value = serde_yaml::from_str(&read(path)).expect("a workflow is YAML");
    let steps = workflow["jobs"]["migrate"]["steps"].as_sequence().expect("the job has steps");
    let migrate = steps.iter().find(|step| step["name"].as_str() == Some("Migrate")).expect("there is such a step");
    let output = run(migrate, &with_tunnel(&opened, context));
    assert!(
        output.contains("PostgreSQL 15") && output.contains("Applying customers.0003_first_customer... OK"),
        "{output}"
    );
    assert_eq!(database.sql("select app || '.' || name from django_migrations order by id"), MIGRATIONS.join("\n"));
    opened.close(&database).logs("through the tunnel passed").done();
}

#[test]
fn psql_connects_through_the_tunnel_as_the_executors_page_shows() {
    let database = shared().database();
    let blocks = fenced(&read("docs/executors.md"), "yaml");
    let block = blocks.iter().find(|block| block.contains("command: tunnel")).expect("the page opens a tunnel");
    let steps: Value =
        serde_yaml::from_str(&block.replace("dbname=shop", &format!("dbname={}", database.name()))).unwrap();
    let context = extended(scoped_context(&database, &database.url()), &[("secrets.DATABASE_PASSWORD", PASSWORD)]);
    let opened = OpenTunnel::open(step(&database, &Value::Null, &steps[0], &context));
    assert!(run(&steps[1], &with_tunnel(&opened, context)).contains(database.name()));
    opened.close(&database).logs("through the tunnel passed 1 connection(s)").done();
}

/// In a separate network, as for every job with `container:`.
#[test]
fn a_job_in_a_container_reaches_the_tunnel_by_the_documented_output() {
    assert!(read("docs/executors.md").contains("the output `tunnel-alias`, at the database's own port"));
    let database = Arc::new(Network::start()).database();
    let opened = OpenTunnel::open(Step::new(&database));
    let name = opened.alias.clone();
    let password = format!("PGPASSWORD={PASSWORD}");
    let step_of_job = Container::start(
        &["--network", database.network().public(), "--env", &password],
        image(MACHINE),
        &["sleep", "60"],
    );
    let place = format!("host={name} port=5432 user={ROLE} dbname={}", database.name());
    assert_eq!(step_of_job.exec(&["psql", &place, "-XqAt", "-c", "select 6 * 7"]), "42");
    opened.close(&database).logs("through the tunnel passed 1 connection(s)").done();
}
