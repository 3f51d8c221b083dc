//! Instructions in the documents, executed as written: workflows as the runner runs them, commands by a shell, SQL by
//! the server.
#![expect(clippy::disallowed_methods, reason = "runs the commands of the documents in a shell")]

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        server::{BACKEND, Server},
        sshd::{Sshd, SshdOptions},
    },
    workflow::{Context, evaluate, fenced, our_step},
};
use serde_yaml::Value;
use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// The first two files of the README.
const FILES: [(&str, &str); 2] = [
    ("0001_create_users", "create table users (id bigint primary key);\n"),
    ("0002_add_email", "alter table users add email text;\n"),
];

pub(crate) const NAMES: [&str; 2] = [FILES[0].0, FILES[1].0];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Replaces the reader's names by the lab's; everything else in the documents stays unchanged.
fn with_names_of_the_lab(lab: &Lab, text: &str) -> String {
    let bastion = format!("{}@127.0.0.1:{}", lab.bastion.user(), lab.bastion.port);
    let server = format!("localhost:{}", lab.database.server().port());
    text.replace("deploy@bastion.example.com", &bastion)
        .replace("me@bastion.example.com", &bastion)
        .replace("postgres://me:secret@db.private.internal/app", &lab.database.url())
        .replace("db.private.internal:5432", &server)
        .replace("DATABASE app", &format!("DATABASE {}", lab.database.name()))
}

/// Returns the block of a page in this language that contains a text.
fn block(document: &str, language: &str, contained: &str) -> String {
    let blocks = fenced(&read(document), language).into_iter();
    let mut found = blocks.filter(|block| block.contains(contained));
    let block = found.next().unwrap_or_else(|| panic!("{document} has no block with `{contained}`"));
    assert_eq!(found.next(), None, "{document}: {contained}");
    block
}

/// Returns the secrets and variables of a reader's environment.
fn secrets(lab: &Lab, known_hosts: &str) -> Context {
    let values = [
        ("secrets.SSH_HOST", format!("{}@127.0.0.1:{}", lab.bastion.user(), lab.bastion.port)),
        ("secrets.SSH_PRIVATE_KEY", lab.bastion.key().expose().to_owned()),
        ("vars.SSH_KNOWN_HOSTS", known_hosts.to_owned()),
        ("secrets.DATABASE_URL", lab.database.url()),
    ];
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

pub(crate) fn pinned(lab: &Lab, more: &[(&str, &str)]) -> Context {
    let mut context = secrets(lab, &lab.bastion.known_hosts_line());
    context.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    context
}

/// Returns `with:` of our step in this job.
pub(crate) fn with(workflow: &str, job: &str) -> Value {
    our_step(workflow, job)["with"].clone()
}

/// Creates the step as the runner starts it: inputs that are missing in `with:` have their defaults.
pub(crate) fn step<'a>(lab: &'a Lab, with: &Value, context: &Context) -> Action<'a> {
    let step = FILES.iter().fold(Action::direct(lab).input("database-url", ""), |step, (name, sql)| {
        step.file(&format!("migrations/{name}.sql"), sql).file(&format!("db/migrations/{name}.sql"), sql)
    });
    with.as_mapping().expect("`with:` is a mapping").iter().fold(step, |step, (name, value)| {
        let value = evaluate(&with_names_of_the_lab(lab, value.as_str().expect("a string")), context);
        step.input(name.as_str().expect("a string"), value)
    })
}

pub(crate) fn applies_both_files(finished: Finished) {
    finished.succeeds().applied(NAMES).done();
}

#[test]
fn the_steps_of_the_readme_apply_a_first_migration() {
    let lab = Lab::new();
    let workflow = fenced(&read("README.md"), "yaml").remove(0);
    assert!(workflow.lines().count() <= 15, "{workflow}");
    assert_eq!(workflow, read("examples/workflows/migrate.yml"), "the README shows the example");
    let with = with(&workflow, "migrate");

    let refused = step(&lab, &with, &secrets(&lab, "")).run();
    let line =
        refused.rendered_log().lines().map(str::trim).find(|line| line.starts_with("[127.0.0.1]:")).map(str::to_owned);
    refused.fails("host-key-unpinned", 3).logs("SHA256:").done();
    applies_both_files(step(&lab, &with, &secrets(&lab, &line.expect("the log has the line to paste"))).run());
}

#[test]
fn the_approved_plan_is_migrated() {
    let lab = Lab::new();
    let workflow = read("examples/workflows/approve.yml");
    let plan = step(&lab, &with(&workflow, "plan"), &pinned(&lab, &[])).run();
    let digest = plan.outputs["plan-digest"].clone();
    plan.has_pending().pending(NAMES).done();
    let context = pinned(&lab, &[("needs.plan.outputs.plan-digest", &digest)]);
    applies_both_files(step(&lab, &with(&workflow, "migrate"), &context).run());
}

#[test]
fn the_page_of_inputs_shows_a_step_and_a_configuration_that_work() {
    let lab = Lab::new();
    let [workflow, config] =
        fenced(&read("docs/inputs.md"), "yaml").try_into().expect("a step and a configuration file");
    let steps: Value = serde_yaml::from_str(&workflow).unwrap();
    step(&lab, &steps[0]["with"], &pinned(&lab, &[]))
        .input("command", "plan")
        .run()
        .has_pending()
        .pending(NAMES)
        .done();

    let mut secrets: Value = with(&read("examples/workflows/migrate.yml"), "migrate");
    secrets.as_mapping_mut().unwrap().remove("ssh-host");
    let configured = step(&lab, &secrets, &pinned(&lab, &[])).input("environment", "prod");
    applies_both_files(configured.file(".github/bastion-migrate.yml", with_names_of_the_lab(&lab, &config)).run());
}

/// Migrations of the lab's project on a server.
pub(crate) const SERVER_MIGRATIONS: [&str; 5] = [
    "carriers.0001_initial",
    "suppliers.0001_initial",
    "customers.0001_initial",
    "customers.0002_region",
    "customers.0003_first_customer",
];

/// Runs the steps with a Python environment; Docker Compose has an example of its own.
#[test]
fn the_steps_for_a_server_apply_its_migrations() {
    for page in ["README.md", "docs/executors.md", "docs/getting-started.md"] {
        let snippets = fenced(&read(page), "yaml").into_iter();
        let mut snippets =
            snippets.filter(|snippet| snippet.contains("executor: server") && snippet.contains("setup:"));
        let snippet = snippets.next().expect("the page has a step for a server");
        assert_eq!(snippets.next(), None, "{page}");
        let lab = Lab::new();
        let server = Server::with_project(&lab.database);
        let host = format!("{}@127.0.0.1:{}", server.login().name(), server.sshd().port);
        let key = server.sshd().key();
        let context: Context = [
            ("secrets.SSH_HOST", host.as_str()),
            ("secrets.SSH_PRIVATE_KEY", key.expose()),
            ("vars.SSH_KNOWN_HOSTS", &server.sshd().known_hosts_line()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let steps: Value = serde_yaml::from_str(&snippet.replace("shop/backend", BACKEND)).unwrap();
        let with = steps[0]["with"].as_mapping().expect("`with:` is a mapping");
        let step = with.iter().fold(Action::at_server(&lab, &server).hides(key.expose()), |step, (name, value)| {
            let value = evaluate(value.as_str().expect("a string"), &context);
            step.input(name.as_str().expect("a string"), value)
        });
        step.run().succeeds().applied(SERVER_MIGRATIONS).logs("and the tool's own listing confirms it").done();
    }
}

#[test]
fn the_example_configuration_is_accepted() {
    let lab = Lab::new();
    let config = read("examples/config/bastion-migrate.yml").replace("comment: plan", "comment: never");
    for environment in ["dev", "prod"] {
        Action::new(&lab)
            .input("environment", environment)
            .input("database-host", "localhost")
            .input("database-port", lab.database.server().port().to_string())
            .input("database-name", lab.database.name())
            .input("database-sslmode", "require")
            .file(".github/bastion-migrate.yml", &config)
            .file("db/migrations/0001_users.sql", FILES[0].1)
            .input("command", "plan")
            .run()
            .has_pending()
            .pending(["0001_users"])
            .done();
    }
}

#[test]
fn steps_read_outputs_that_exist() {
    let manifest: Value = serde_yaml::from_str(&read("action.yml")).unwrap();
    let documents =
        ["README.md", "docs/outputs.md", "examples/workflows/approve.yml", "examples/workflows/reusable.yml"];
    let texts = documents.map(read).concat();
    let read: Vec<&str> =
        texts.split(".outputs.").skip(1).filter_map(|rest| rest.split(['\'', ' ', '}', '\n']).next()).collect();
    assert!(read.len() > 3, "{read:?}");
    assert_eq!(read.into_iter().filter(|name| manifest["outputs"].get(*name).is_none()).collect::<Vec<_>>(), [""; 0]);
}

/// Creates the home of a reader: a key, a `known_hosts` file, a checkout.
fn laptop(lab: &Lab) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = home.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(".ssh/id_ed25519", lab.bastion.key().expose());
    write(".ssh/known_hosts", &lab.bastion.known_hosts_line());
    FILES.iter().for_each(|(name, sql)| write(&format!("migrations/{name}.sql"), sql));
    home
}

fn shell(home: &TempDir, script: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_bastion-migrate")).parent().unwrap();
    let mut bash = Command::new("bash");
    bash.env_clear().env("HOME", home.path()).env("PATH", format!("{}:/usr/bin:/bin", program.display()));
    bash.current_dir(home.path()).args(["-euc", script]).output().unwrap()
}

#[test]
fn the_commands_for_a_laptop_work() {
    let lab = Lab::new();
    let home = laptop(&lab);
    let block = block("docs/getting-started.md", "sh", "bastion-migrate plan");
    // The program is already built.
    let installs = |line: &str| line.starts_with("git clone") || line.starts_with("cargo install");
    let commands: Vec<&str> = block.lines().filter(|line| !installs(line)).collect();
    let script = with_names_of_the_lab(&lab, &commands.join("\n"));
    assert!(read("README.md").contains("`bastion-migrate plan --environment dev`"));
    let variables = "export DEV_SSH_HOST=me@bastion.example.com DEV_SSH_KNOWN_HOSTS=\"$(cat ~/.ssh/known_hosts)\"";
    let with_environment =
        format!("{script}\n{}\nbastion-migrate plan --environment dev", with_names_of_the_lab(&lab, variables));
    for script in [script, with_environment] {
        let output = shell(&home, &script);
        let (log, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && stderr.is_empty(), "{script}\n{log}{stderr}");
        assert!(NAMES.iter().all(|name| log.contains(name)), "{log}");
    }
    let help = shell(&home, "bastion-migrate --help");
    assert!(String::from_utf8_lossy(&help.stdout).contains("--ssh-known-hosts"));
    assert_eq!(lab.left_behind(), "");
}

/// Stands in for the GitHub CLI: it keeps each value in a file, and reads it as `gh` does.
const GH: &str = r#"#!/bin/bash
set -eu
case "$*" in
    "api --method PUT repos/{owner}/{repo}/environments/production") mkdir "$HOME/production"; exit ;;
    "secret set "*" --env production"*) kind=secrets ;;
    "variable set "*" --env production"*) kind=vars ;;
    *) echo "unknown: gh $*" >&2; exit 1 ;;
esac
if [[ ${6:-} == --body ]]; then printf %s "$7"; else cat; fi >"$HOME/production/$kind.$3"
"#;

/// Runs a block of getting started in the reader's home, with what the reader types.
fn type_in(home: &TempDir, script: &str, typed: &str) {
    let gh = home.path().join("gh");
    fs::write(&gh, GH).unwrap();
    fs::set_permissions(&gh, fs::Permissions::from_mode(0o755)).unwrap();
    let mut bash = Command::new("bash");
    bash.env_clear().env("HOME", home.path()).env("PATH", format!("{}:/usr/bin:/bin", home.path().display()));
    bash.current_dir(home.path()).args(["-euc", script]);
    bash.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = bash.spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns what the reader has stored for the workflow.
fn stored(home: &TempDir) -> Context {
    let names = ["secrets.SSH_HOST", "secrets.SSH_PRIVATE_KEY", "vars.SSH_KNOWN_HOSTS", "secrets.DATABASE_URL"];
    let value = |name: &str| fs::read_to_string(home.path().join("production").join(name)).unwrap_or_default();
    names.map(|name| (name.to_owned(), value(name))).into()
}

/// Follows getting started from its first command to the migration, with the workflow of the README.
#[test]
fn the_commands_of_getting_started_lead_to_a_first_migration() {
    let lab = Lab::new();
    let home = tempfile::tempdir().unwrap();
    let page = |contained: &str| with_names_of_the_lab(&lab, &block("docs/getting-started.md", "sh", contained));
    type_in(&home, &page("ssh-keygen -t ed25519"), "");
    assert!(fs::read_to_string(home.path().join("bastion-key.pub")).unwrap().starts_with("ssh-ed25519 "));
    // The lab's bastion has admitted a key of its own.
    fs::write(home.path().join("bastion-key"), lab.bastion.key().expose()).unwrap();
    type_in(&home, &page("gh secret set DATABASE_URL"), &lab.database.url());

    let with = with(&read("examples/workflows/migrate.yml"), "migrate");
    let doctor = || step(&lab, &with, &stored(&home)).input("command", "doctor").run();
    let refused = doctor();
    let log = refused.rendered_log();
    let line = log.lines().map(str::trim).find(|line| line.starts_with("[127.0.0.1]:")).map(str::to_owned);
    refused.fails("host-key-unpinned", 3).done();
    type_in(&home, &page("gh variable set"), &line.expect("the log has the line to store"));
    doctor().succeeds().done();
    applies_both_files(step(&lab, &with, &stored(&home)).run());
}

/// The step that continues with new files beside the ledger of another tool.
#[test]
fn new_files_are_applied_beside_the_ledger_of_another_tool() {
    let lab = Lab::new();
    lab.database.sql(
        "create table flyway_schema_history (installed_rank int primary key, version text, description text not null, \
         type text not null, script text not null, checksum int, installed_by text not null, \
         installed_on timestamp not null default now(), execution_time int not null, success bool not null); \
         insert into flyway_schema_history values (1, '1', 'old', 'SQL', 'V1__old.sql', 1, 'app', now(), 1, true); \
         alter table flyway_schema_history owner to app",
    );
    let (name, sql) = FILES[0];
    let files = || Action::new(&lab).file(&format!("migrations/{name}.sql"), sql);
    files().run().fails("ledger-foreign", 5).pending([""; 0]).done();
    let lines: Value = serde_yaml::from_str(&block("docs/coming-from.md", "yaml", "ledger-table")).unwrap();
    let lines = lines.as_mapping().unwrap().iter();
    let named = lines.fold(files(), |step, (name, value)| step.input(name.as_str().unwrap(), value.as_str().unwrap()));
    named.run().succeeds().applied([name]).done();
}

#[test]
fn the_minimal_rights_of_getting_started_are_enough() {
    let lab = Lab::new();
    let page = |language: &str, contained: &str| {
        with_names_of_the_lab(&lab, &block("docs/getting-started.md", language, contained))
    };
    let commands = page("sh", "permitopen");
    let line = commands.split("echo '").nth(1).expect("a line is added to authorized_keys");
    let (key_options, _) = line.split_once(" ssh-ed25519").expect("the line has a key");
    // Without the line that limits it to one user, the block applies to all of them.
    let config = page("sshd_config", "PermitOpen");
    let (_, config) = config.split_once("Match User deploy\n").expect("the block is about one user");
    let narrow = Sshd::start(&SshdOptions {
        key_options: key_options.to_owned(),
        config: config.to_owned(),
        ..SshdOptions::default()
    });
    let grants = page("sql", "CREATE ROLE");
    let lab = lab.behind(narrow);
    lab.database.sql(&format!("revoke all on schema public from public; {grants}"));
    let url = format!(
        "postgres://migrator:choose-a-long-one@localhost:{}/{}",
        lab.database.server().port(),
        lab.database.name()
    );
    let as_migrator = || Action::new(&lab).secret("database-url", &url);
    let (name, sql) = FILES[0];
    let file = format!("migrations/{name}.sql");
    as_migrator().file(&file, sql).run().succeeds().applied([name]).done();
    lab.database.sql(&format!("drop owned by migrator; grant connect on database {} to migrator", lab.database.name()));
    lab.database.sql("grant create, usage on schema public to migrator");
    let refused =
        as_migrator().file(&file, sql).run().fails("permission-denied", 6).pending([name]).logs("ledger-table");
    refused.error("permission denied for database").warning("set `audit: false`").done();
    let own_ledger = as_migrator().file(&file, sql).input("ledger-table", "public.migrations_ledger");
    own_ledger.input("audit", "false").run().succeeds().applied([name]).done();
    lab.database.sql("drop owned by migrator; drop role migrator");
}
