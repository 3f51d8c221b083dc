//! The first users follow `docs/coming-from.md` to a green run with an image, with Compose and with a tunnel: each step is
//! copied from the page, and only its names are replaced by the lab's.
#![expect(clippy::disallowed_methods, reason = "does what the runner's shell does")]

use crate::{
    action::Action,
    app::{DJANGO_4_2, DJANGO_5_2, MIGRATIONS},
    compose::{Compose, PILITO},
    engine::{docker, image, try_docker},
    lab::{
        Lab,
        project::{Project, SECRET_KEY},
        venv::{self, venv},
    },
    network::{PASSWORD, ROLE, shared},
    tunnel::OpenTunnel,
    workflow::{Context, evaluate, fenced},
    workflows::{self, evaluated, extended, prefixed_context, push, scoped_context, step, with_tunnel},
};
use serde_yaml::Value;
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};
use tempfile::TempDir;

/// Returns the page's block with the action that contains this text.
fn block(page: &str, contained: &str) -> String {
    let blocks = fenced(page, "yaml").into_iter();
    let mut found = blocks.filter(|block| block.contains("bastion-migrate@") && block.contains(contained));
    let block = found.next().unwrap_or_else(|| panic!("the page has no step with `{contained}`"));
    assert_eq!(found.next(), None, "{contained}");
    block
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/coming-from.md");
    fs::read_to_string(path).expect("the page is there")
}

fn steps(block: &str) -> Vec<Value> {
    serde_yaml::from_str(block).expect("a block is a list of steps")
}

/// The workspace of a job on the runner's machine, with programs that precede the machine's own.
struct Job {
    workspace: TempDir,
    programs: Vec<String>,
}

impl Job {
    fn with_programs(directory: &Path) -> Self {
        let workspace = tempfile::tempdir().expect("there is room");
        Self { workspace, programs: vec![directory.display().to_string()] }
    }

    /// Adds a script to the workspace.
    fn script(self, name: &str, text: &str) -> Self {
        let path = self.workspace.path().join(name);
        fs::write(&path, format!("#!/bin/sh\nset -eu\n{text}\n")).expect("there is room");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        self
    }

    /// Runs a step of the reader's own.
    fn run(&self, step: &Value, context: &Context) {
        let script = evaluate(step["run"].as_str().expect("the step has a script"), context);
        let path = format!("{}:{}", self.programs.join(":"), std::env::var("PATH").unwrap_or_default());
        let mut bash = Command::new("bash");
        bash.args(["-ec", &script]).current_dir(self.workspace.path());
        bash.env("PATH", path).env("SECRET_KEY", SECRET_KEY).envs(evaluated(&step["env"], context));
        let output = bash.output().expect("bash is there");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success(), "{script}\n{text}");
    }
}

#[test]
fn seed_001_from_ssh_in_the_background_to_a_tunnel() {
    let database = shared().database();
    let block = block(&page(), "PGHOST:").replace("/shop", &format!("/{}", database.name()));
    let steps = steps(&block.replace("PGUSER: migrator", &format!("PGUSER: {ROLE}")));
    let context = extended(scoped_context(&database, &database.url()), &[("secrets.DATABASE_PASSWORD", PASSWORD)]);
    let job = Job::with_programs(&venv(venv::DJANGO_4_2).join("bin"));
    Project::Plain.unpack(job.workspace.path());

    let opened = OpenTunnel::open(step(&database, &Value::Null, &steps[0], &context));
    job.run(&steps[1], &with_tunnel(&opened, context));
    assert_eq!(database.sql("select app || '.' || name from django_migrations order by id"), MIGRATIONS.join("\n"));
    opened.close(&database).logs("through the tunnel passed").done();
}

/// Atlas itself can't be had here: a script accepts its command line, and connects by the URL that it gets.
#[test]
fn the_url_for_atlas_leads_through_the_tunnel() {
    let database = shared().database();
    let block = block(&page(), "atlas migrate apply").replace("/shop?", &format!("/{}?", database.name()));
    let steps = steps(&block.replace("postgres://migrator@", &format!("postgres://{ROLE}@")));
    let context = extended(scoped_context(&database, &database.url()), &[("secrets.DATABASE_PASSWORD", PASSWORD)]);
    let programs = tempfile::tempdir().expect("there is room");
    let job = Job::with_programs(programs.path()).script(
        "atlas",
        "test \"$1 $2 $3\" = 'migrate apply --url'; exec psql --no-psqlrc --command 'create table atlas_was_here ()' \"$4\"",
    );
    fs::rename(job.workspace.path().join("atlas"), programs.path().join("atlas")).expect("both are ours");

    let opened = OpenTunnel::open(step(&database, &Value::Null, &steps[0], &context));
    job.run(&steps[2], &with_tunnel(&opened, context));
    assert_eq!(database.sql("select to_regclass('public.atlas_was_here')"), "atlas_was_here");
    opened.close(&database).logs("through the tunnel passed 1 connection(s)").done();
}

#[test]
fn seed_001_from_docker_run_to_the_image_that_is_deployed() {
    let database = shared().database();
    push(DJANGO_5_2, "dev-2");
    let steps = steps(&block(&workflows::read("docs/coming-from.md"), "DO_ACCESS_TOKEN"));
    let context = extended(prefixed_context(&database, "DEV"), &[("github.sha", "2")]);
    let run = || step(&database, &Value::Null, &steps[0], &context).run();
    run().succeeds().applied(MIGRATIONS).done();
    run().nothing_to_do().done();
}

/// An image of the reader's job, removed with the value.
struct Built(String);

impl Drop for Built {
    fn drop(&mut self) {
        drop(try_docker(&["rmi", &self.0]));
    }
}

/// The job builds the image, and no registry has it.
#[test]
fn seed_003_from_an_init_container_to_a_step_before_the_deployment() {
    let database = shared().database();
    let name = format!("bastion-migrate-shop-{}", std::process::id());
    let steps = steps(&block(&page(), "pull: never").replace("shop:$", &format!("{name}:$")));
    let context = extended(scoped_context(&database, &database.url()), &[("github.sha", "1")]);
    let job = Job::with_programs(Path::new("/usr/bin")).script("deploy.sh", "echo \"$1\" >deployed");
    let dockerfile = format!("FROM {}\n", image(DJANGO_4_2));
    fs::write(job.workspace.path().join("Dockerfile"), dockerfile).expect("there is room");

    let built = Built(format!("{name}:1"));
    job.run(&steps[0], &context);
    let run = || step(&database, &Value::Null, &steps[1], &context).run();
    run().succeeds().applied(MIGRATIONS).done();
    run().nothing_to_do().done();
    job.run(&steps[2], &context);
    let deployed = fs::read_to_string(job.workspace.path().join("deployed")).expect("the script wrote it");
    assert_eq!(deployed.trim(), built.0);
}

/// The lab's project has one service with the application's code, and no static files.
#[test]
fn seed_004_from_lines_over_ssh_to_steps_around_the_migration() {
    let (lab, compose) = (Lab::new(), Compose::start());
    let block = block(&page(), "docker compose run --rm web").replace(" celery_worker", "");
    let steps = steps(&block.replace("collectstatic --noinput", "check"));
    let step = || {
        let with = steps[0]["with"].as_mapping().expect("`with:` is a mapping");
        with.iter().fold(Action::on_server(&lab, compose.server()), |step, (name, value)| {
            let (name, value) = (name.as_str().expect("a string"), value.as_str().expect("a string"));
            // The server's address and the login come from the lab.
            if value.contains("${{") { step } else { step.input(name, value) }
        })
    };
    assert_eq!(steps[0]["with"]["working-directory"].as_str(), Some(PILITO));
    let finished = step().run().succeeds().applied(MIGRATIONS);
    let steps = ["Database", "Build", "Stop the old code", "Static files", "Services"];
    steps.iter().fold(finished, |finished, name| finished.summary(&format!("| {name} | done |"))).done();
    assert_eq!(compose.sql("select app || '.' || name from django_migrations order by id"), MIGRATIONS.join("\n"));
    assert!(docker(&["ps", "--format", "{{.Names}}"]).contains("pilito-"), "the services run");
    step().run().nothing_to_do().done();
    assert_eq!(compose.runs(), [""; 0]);
}
