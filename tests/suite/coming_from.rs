//! The first users follow the documents from their present practice to a green run: each step is copied from a page, and
//! only their names are replaced by the lab's.

use crate::{
    action::Action,
    lab::{
        Lab,
        project::Project,
        server::{BACKEND, Credential, Server, tenants},
        sshd::keygen,
        venv::DJANGO_4_2,
    },
    layout_forms::FORMS,
    scenarios::{INIT_SQL, MIGRATIONS, TENANT_LEDGER, read, readers_step_with_pin},
    workflow::fenced,
};
use serde_yaml::Value;
use std::fs;

const PAGE: &str = "docs/coming-from.md";

/// Returns the section of the page with this heading.
fn section(page: &str, heading: &str) -> String {
    let text = read(page);
    let mut sections = text.split("\n## ").filter(|section| section.starts_with(heading));
    sections.next().unwrap_or_else(|| panic!("{page} has no section `{heading}`")).to_owned()
}

/// Returns the section's step that uses the action, as YAML.
fn step_of(section: &str) -> String {
    let mut blocks = fenced(section, "yaml").into_iter().filter(|block| block.contains("bastion-migrate@"));
    blocks.next().expect("the section has such a step")
}

/// The login's own directory is not that of the first users.
fn parsed(step: &str) -> Value {
    let steps: Value = serde_yaml::from_str(&step.replace("/home/django/", "")).expect("a step is YAML");
    steps[0].clone()
}

/// Renames the step for production, as the row of the page's table for it reads.
fn for_production(section: &str, step: &str) -> Value {
    let row = section.lines().find(|line| line.starts_with("| `prod2-backend` |")).expect("the table has such a row");
    let names = ["HOST", "USER", "SSH_PASSWORD", "SSH_KNOWN_HOSTS"].map(|name| format!("`PROD_{name}`"));
    assert_eq!(row, format!("| `prod2-backend` | `prod` | {} |", names.join(", ")));
    parsed(&step.replace("environment: dev", "environment: prod").replace("DEV_", "PROD_"))
}

#[test]
fn seed_000_from_the_script_to_a_green_run_in_production() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    let section = section(PAGE, "A script in ssh-action");
    let workflow_step = for_production(&section, &step_of(&section));
    let step = |pin: &str| readers_step_with_pin(&lab, &server, &workflow_step, pin);

    let refused = step("").run();
    let line =
        refused.rendered_log().lines().map(str::trim).find(|line| line.starts_with("[127.0.0.1]:")).map(str::to_owned);
    let command = "gh variable set PROD_SSH_KNOWN_HOSTS";
    refused.fails("host-key-unpinned", 3).logs(&format!("`{command}`")).summary(command).done();
    let pin = line.expect("the log has the line to store");
    step(&pin).input("command", "plan").run().has_pending().pending(MIGRATIONS).done();
    step(&pin).run().succeeds().applied(MIGRATIONS).logs("the tool's own listing confirms it").done();
    step(&pin).run().nothing_to_do().done();
}

#[test]
fn seed_000_the_step_for_each_environment_migrates() {
    let section = section(PAGE, "A script in ssh-action");
    for (environment, prefix) in [("dev", "DEV_"), ("uat", "UAT_")] {
        assert!(section.contains(&format!("| `{environment}` | `{prefix}HOST`, ")), "{environment}");
        let (lab, step) = (Lab::new(), step_of(&section));
        let server = Server::with_project(&lab.database);
        let step = step.replace("environment: dev", &format!("environment: {environment}")).replace("DEV_", prefix);
        let pin = server.sshd().known_hosts_line();
        readers_step_with_pin(&lab, &server, &parsed(&step), &pin).run().succeeds().applied(MIGRATIONS).done();
    }
}

/// Follows the page in a home without `.ssh`, which a login with a password has.
#[test]
fn seed_000_a_key_replaces_the_password() {
    let lab = Lab::new();
    let server = Server::configured("AuthorizedKeysFile .ssh/authorized_keys");
    let server = server.project(Project::Plain, &lab.database, DJANGO_4_2);
    let keys = tempfile::tempdir().unwrap();
    keygen(&keys.path().join("bastion-key"), &["-t", "ed25519", "-N", ""]);
    let key = fs::read_to_string(keys.path().join("bastion-key")).unwrap();
    let public = fs::read_to_string(keys.path().join("bastion-key.pub")).unwrap();
    let page = section("docs/getting-started.md", "An app on a server, with its .env");
    let commands = fenced(&page, "sh").remove(0).replace("ssh-ed25519 AAAA…", public.trim());
    assert!(server.shell_with(Credential::Key(&key), "true").is_err());
    server.shell(&commands).unwrap();

    let text = read(PAGE);
    assert!(text.contains("write `DEV_SSH_PRIVATE_KEY` for\n`DEV_SSH_PASSWORD`"), "the page names the variable");
    let script = section(PAGE, "A script in ssh-action");
    let mut step = parsed(&step_of(&script));
    step["env"].as_mapping_mut().unwrap().remove("DEV_SSH_PASSWORD");
    let pin = server.sshd().known_hosts_line();
    let step = readers_step_with_pin(&lab, &server, &step, &pin).secret_env("DEV_SSH_PRIVATE_KEY", &key);
    step.run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn seed_002_from_the_loop_to_a_green_run_of_each_tenant() {
    let lab = Lab::new();
    let server = Server::start().project(Project::Tenants, &lab.database, DJANGO_4_2);
    let workflow_step = parsed(&step_of(&section(PAGE, "Tenants in a loop")));
    assert_eq!(workflow_step["with"]["working-directory"].as_str(), Some(BACKEND));
    let pin = server.sshd().known_hosts_line();
    let step =
        || -> Action<'_> { readers_step_with_pin(&lab, &server, &workflow_step, &pin).file("db/init.sql", INIT_SQL) };
    let mut expected = TENANT_LEDGER.map(str::to_owned);
    expected.sort();
    let assert_applied = |copies: usize| {
        let finished = step().run();
        let mut applied = finished.listed("applied");
        let finished = finished.succeeds().applied(applied.iter().map(String::as_str));
        finished.summary("| Super tenant | done |").summary("| Tenant schemas | done |").done();
        applied.sort();
        let all: Vec<String> = expected.iter().flat_map(|name| vec![name.clone(); copies]).collect();
        assert_eq!(applied, all);
    };
    assert_applied(1);
    tenants(&lab.database, 2);
    assert_applied(2);
    step().run().nothing_to_do().done();
}

/// Flyway has applied the first file.
#[test]
fn from_flyway_to_a_run_that_continues_its_ledger() {
    let lab = Lab::new();
    let form = FORMS.iter().find(|form| form.layout == "flyway").expect("Flyway has a layout");
    let [one, two] = ["create table one (id int);\n", "create table two (id int);\n"];
    let begin = Action::new(&lab).input("migrations", "sql").input("layout", "flyway");
    begin.file("sql/V1__one.sql", one).run().succeeds().applied(["V1__one"]).done();

    let block = step_of(&section(PAGE, "From Flyway"));
    let steps: Value = serde_yaml::from_str(&block).expect("a step is YAML");
    let with = steps[0]["with"].as_mapping().expect("`with:` is a mapping");
    let step = || {
        let step = Action::new(&lab).file("sql/V1__one.sql", one).file("sql/V2__two.sql", two);
        // The lab has the bastion's address, the login and the database's URL.
        let own = with.iter().filter(|(_, value)| !value.as_str().is_some_and(|value| value.contains("${{")));
        own.fold(step, |step, (name, value)| {
            step.input(name.as_str().expect("a string"), value.as_str().expect("a string"))
        })
    };
    step().run().succeeds().applied(["V2__two"]).logs("the layout is flyway: ").done();
    assert_eq!(lab.database.sql(form.rows), form.golden);
    step().run().nothing_to_do().done();
}
