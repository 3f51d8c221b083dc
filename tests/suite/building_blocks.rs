//! The building blocks for workflows: their steps and scripts, run as the runner runs them, and the page that describes
//! them. Their groups are in `scheduler.rs`.
#![expect(clippy::disallowed_methods, reason = "runs the scripts of the workflows in a shell")]

use crate::{
    action::Action,
    documents::{NAMES, SERVER_MIGRATIONS, applies_both_files, pinned, step, with},
    lab::{
        Lab,
        postgres::{Options, PASSWORD, Postgres, ROLE},
        server::{BACKEND, Server},
        ways::WayServer,
    },
    workflow::{Context, evaluate},
};
use serde_yaml::Value;
use std::{fs, path::Path, process::Command};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the context of a building block that is called with these inputs; what is not mapped is empty.
fn called_context(workflow: &Value, values: Context) -> Context {
    let called = &workflow["on"]["workflow_call"];
    let names = |key: &str| called[key].as_mapping().unwrap().keys().map(|name| name.as_str().unwrap().to_owned());
    let default = |name: &str| match &called["inputs"][name]["default"] {
        Value::Number(number) => number.to_string(),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let mut context: Context = names("inputs").map(|name| (format!("inputs.{name}"), default(&name))).collect();
    let empty = names("secrets").flat_map(|name| [format!("secrets.{name}"), format!("vars.{name}")]);
    context.extend(empty.map(|name| (name, String::new())));
    for output in ["steps.tool-env.outputs.names", "needs.plan.outputs.rehearsal-digest"] {
        context.insert(output.to_owned(), String::new());
    }
    context.extend(values);
    context
}

/// Returns the step of a job of a building block, called with these inputs and the secrets of a reader.
fn called_step<'a>(lab: &'a Lab, block: &str, job: &str, inputs: &[(&str, &str)]) -> Action<'a> {
    let text = read(&format!(".github/workflows/{block}"));
    let workflow: Value = serde_yaml::from_str(&text).unwrap();
    step(lab, &with(&text, job), &called_context(&workflow, pinned(lab, inputs)))
}

#[test]
fn a_manual_migration_applies_what_was_planned() {
    let lab = Lab::new();
    let workflow: Value = serde_yaml::from_str(&read("examples/workflows/dispatch.yml")).unwrap();
    let call = &workflow["jobs"]["migrate"];
    assert!(call["uses"].as_str().unwrap().contains("/.github/workflows/migrate.yml@"));
    for name in ["command", "environment", "expect-plan"] {
        assert_eq!(call["with"][name].as_str(), Some(format!("${{{{ inputs.{name} }}}}").as_str()));
    }
    let environment = ("inputs.environment", "prod");
    let read_only = |command| called_step(&lab, "migrate.yml", "plan", &[environment, ("inputs.command", command)]);
    let plan = read_only("plan").run();
    let digest = plan.outputs["plan-digest"].clone();
    plan.has_pending().pending(NAMES).done();
    let migrate = || {
        let approved = ("needs.plan.outputs.plan-digest", digest.as_str());
        called_step(&lab, "migrate.yml", "migrate", &[environment, ("inputs.command", "migrate"), approved])
    };
    let other = migrate().file("migrations/0003_late.sql", "select 1;\n").run();
    other.fails("plan-changed", 5).pending([NAMES[0], NAMES[1], "0003_late"]).done();
    read_only("migrate").run().has_pending().pending(NAMES).done();
    applies_both_files(migrate().run());
    read_only("verify").run().succeeds().done();
}

#[test]
fn the_building_blocks_pass_their_inputs() {
    let lab = Lab::new();
    let inputs = [
        ("inputs.environment", "prod"),
        ("inputs.migrations", "db/migrations"),
        ("inputs.database", lab.database.name()),
        // No API listens here.
        ("inputs.comment", "never"),
    ];
    let plan = |command| called_step(&lab, "plan.yml", "plan", &[&inputs[..], &[("inputs.command", command)]].concat());
    plan("status").run().has_pending().pending(NAMES).done();
    let planned = plan("plan").run();
    let digest = planned.outputs["plan-digest"].clone();
    planned.has_pending().pending(NAMES).done();
    let approved = [&inputs[..], &[("needs.plan.outputs.plan-digest", digest.as_str())]].concat();
    applies_both_files(called_step(&lab, "migrate.yml", "migrate", &approved).run());
}

#[test]
fn the_building_block_migrates_on_a_server() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    let text = read(".github/workflows/migrate.yml");
    let workflow: Value = serde_yaml::from_str(&text).unwrap();
    let key = server.sshd().key();
    let values = [
        ("inputs.environment", "production"),
        ("inputs.executor", "server"),
        ("inputs.tool", "django"),
        ("inputs.working-directory", BACKEND),
        ("vars.SSH_HOST", &format!("127.0.0.1:{}", server.sshd().port)),
        ("secrets.SSH_USER", server.login().name()),
        ("secrets.SSH_PRIVATE_KEY", key.expose()),
        ("secrets.SSH_KNOWN_HOSTS", &server.sshd().known_hosts_line()),
    ];
    let values: Context = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let run = |job: &str, digest: &str| {
        let mut context = called_context(&workflow, values.clone());
        context.insert("inputs.command".to_owned(), "migrate".to_owned());
        context.insert("needs.plan.outputs.plan-digest".to_owned(), digest.to_owned());
        let with = with(&text, job);
        let step = Action::at_server(&lab, &server).hides(key.expose());
        let step = with.as_mapping().unwrap().iter().fold(step, |step, (name, value)| {
            step.input(name.as_str().unwrap(), evaluate(value.as_str().unwrap(), &context))
        });
        step.file(".github/bastion-migrate.yml", "defaults: { setup: source ../venv/bin/activate }\n").run()
    };
    let planned = run("plan", "");
    let digest = planned.outputs["plan-digest"].clone();
    planned.has_pending().pending(SERVER_MIGRATIONS).done();
    run("migrate", &digest).succeeds().applied(SERVER_MIGRATIONS).done();
}

#[test]
fn the_building_blocks_rehearse_and_apply_what_was_rehearsed() {
    let (lab, copies) = (Lab::new(), Postgres::start(&Options::default()).database());
    copies.sql("create role maker login superuser password 'copies-pa55word-canary'");
    let server = copies.server().port();
    let url = format!("postgres://maker:copies-pa55word-canary@127.0.0.1:{server}/{}", copies.name());
    let environment = ("inputs.environment", "prod");
    let rehearse = ("secrets.REHEARSE", url.as_str());
    let run = |block, command, more: &[(&str, &str)]| {
        let inputs =
            [&[environment, rehearse, ("inputs.command", command), ("inputs.comment", "never")], more].concat();
        called_step(&lab, block, if more.is_empty() { "plan" } else { "migrate" }, &inputs).hides(&url).run()
    };
    let planned = run("migrate.yml", "migrate", &[]);
    let digests = ["plan-digest", "rehearsal-digest"].map(|name| planned.outputs[name].clone());
    assert!(digests.iter().all(|digest| digest.starts_with("sha256:")), "{digests:?}");
    planned.has_pending().pending(NAMES).logs("rehearsal of ").done();
    run("plan.yml", "plan", &[]).has_pending().pending(NAMES).logs("rehearsal of ").done();
    // Another command is that command.
    run("plan.yml", "status", &[]).has_pending().pending(NAMES).done();
    let [plan, rehearsal] = digests.each_ref().map(String::as_str);
    let approved = [("needs.plan.outputs.plan-digest", plan), ("needs.plan.outputs.rehearsal-digest", rehearsal)];
    applies_both_files(run("migrate.yml", "migrate", &approved));
}

#[test]
fn the_building_blocks_log_in_by_the_token_of_a_command_and_take_a_way_in() {
    let lab = Lab::new();
    let url = format!("postgres://{ROLE}@localhost:{}/{}", lab.database.server().port(), lab.database.name());
    let tunnel = WayServer::tunnel_to(lab.database.server().port());
    let inputs = [
        ("inputs.environment", "prod"),
        ("inputs.command", "plan"),
        ("inputs.comment", "never"),
        ("secrets.DATABASE_URL", url.as_str()),
        ("inputs.database-auth", "{ command: [printenv, ROLE_TOKEN], pass-env: ROLE_TOKEN }"),
        // An earlier step's tunnel stands in for a command: what is tried is that the input arrives.
        ("inputs.via", &tunnel.via()),
    ];
    let direct = ["secrets.SSH_HOST", "secrets.SSH_PRIVATE_KEY", "vars.SSH_KNOWN_HOSTS", "secrets.SSH_KNOWN_HOSTS"];
    let inputs: Vec<(&str, &str)> = direct.into_iter().map(|name| (name, "")).chain(inputs).collect();
    called_step(&lab, "plan.yml", "plan", &inputs)
        .env("ROLE_TOKEN", PASSWORD)
        .run()
        .has_pending()
        .pending(NAMES)
        .logs("the way in is `runner:")
        .done();
}

/// Runs a script of a step as the runner does; returns its exit status and output, and its command files.
fn run_script(block: &str, name: &str, env: &[(&str, &str)]) -> (bool, String, [String; 2]) {
    let workflow: Value = serde_yaml::from_str(&read(&format!(".github/workflows/{block}"))).unwrap();
    let steps = workflow["jobs"]["plan"]["steps"].as_sequence().unwrap();
    let step = steps.iter().find(|step| step["name"].as_str() == Some(name)).unwrap_or_else(|| panic!("no `{name}`"));
    let files = tempfile::tempdir().unwrap();
    let paths = ["GITHUB_ENV", "GITHUB_OUTPUT"].map(|name| (name, files.path().join(name)));
    let mut bash = Command::new("bash");
    bash.args(["-ec", step["run"].as_str().unwrap()]).envs(env.iter().copied()).envs(paths.clone());
    let output = bash.output().unwrap();
    let written = paths.map(|(_, path)| fs::read_to_string(path).unwrap_or_default());
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned(), written)
}

#[test]
fn the_page_of_workflows_lists_every_example_and_everything_that_the_building_blocks_take() {
    let page = read("docs/workflows.md");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/workflows");
    for file in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        assert!(page.contains(&format!("(../examples/workflows/{file})")), "{file}");
    }
    for block in ["plan.yml", "migrate.yml"] {
        let workflow: Value = serde_yaml::from_str(&read(&format!(".github/workflows/{block}"))).unwrap();
        let called = &workflow["on"]["workflow_call"];
        for key in ["inputs", "secrets"] {
            for (name, row) in called[key].as_mapping().unwrap() {
                let (name, description) = (name.as_str().unwrap(), row["description"].as_str().unwrap());
                let mut rows = page.lines().filter(|line| line.starts_with(&format!("| `{name}` | ")));
                assert!(
                    rows.any(|line| line.contains(description) || key == "inputs"),
                    "{block}: {name}: {description}"
                );
            }
        }
        let outputs = called["outputs"].as_mapping().unwrap().keys().filter_map(Value::as_str);
        let missing: Vec<&str> = outputs.filter(|name| !page.contains(&format!("`{name}`"))).collect();
        assert_eq!(missing, [""; 0]);
    }
}

#[test]
fn the_page_of_ways_in_shows_the_workflows_that_people_copy() {
    let page = read("docs/ways-in.md");
    for name in ["vault", "ssm", "iap", "cloudflare", "wireguard", "tailscale"] {
        let file = format!("examples/workflows/{name}.yml");
        let text = read(&file);
        let workflow: Vec<&str> = text.lines().skip_while(|line| line.starts_with('#')).collect();
        assert!(page.contains(&workflow.join("\n")), "{file} is another one than on the page");
        assert!(page.contains(&format!("(../{file})")), "{file}");
    }
    assert!(page.contains("(../examples/workflows/database-token.yml)"));
}

#[test]
fn variables_for_the_tool_reach_it_masked() {
    for block in ["plan.yml", "migrate.yml"] {
        let lines = "# the app\r\nSECRET_KEY=it's 100% = \"quoted\" $HOME\r\n\nDEBUG=1\nEMPTY=";
        let (succeeded, log, written) = run_script(block, "Read TOOL_ENV and WAY_ENV", &[("TOOL_ENV", lines)]);
        assert!(succeeded, "{log}");
        assert_eq!(
            log, "::add-mask::it's 100%25 = \"quoted\" $HOME\n",
            "a mask of one letter would hide half of the log"
        );
        assert_eq!(written[0], "SECRET_KEY=it's 100% = \"quoted\" $HOME\nDEBUG=1\nEMPTY=\n");
        assert_eq!(written[1], "names=SECRET_KEY DEBUG EMPTY\n");
        let (succeeded, log, written) = run_script(block, "Read TOOL_ENV and WAY_ENV", &[("TOOL_ENV", "")]);
        assert!(succeeded && log.is_empty() && written == [String::new(), "names=\n".to_owned()], "{log}");
        let both = [("TOOL_ENV", "SECRET_KEY=one"), ("WAY_ENV", "TOKEN_KEY=two=2\nAWS_REGION=x\n")];
        let (succeeded, log, written) = run_script(block, "Read TOOL_ENV and WAY_ENV", &both);
        assert!(succeeded && log == "::add-mask::one\n::add-mask::two=2\n", "{log}");
        let names = "names=SECRET_KEY\n";
        assert_eq!(written, ["SECRET_KEY=one\nTOKEN_KEY=two=2\nAWS_REGION=x\n".to_owned(), names.to_owned()]);
        for wrong in ["no value", "1A=x", "A B=x", "=x"] {
            for secret in ["TOOL_ENV", "WAY_ENV"] {
                let (succeeded, log, _) = run_script(block, "Read TOOL_ENV and WAY_ENV", &[(secret, wrong)]);
                let names_it = log.contains(&format!("::error::a line of the secret {secret} is not NAME=value"));
                assert!(!succeeded && names_it && !log.contains(wrong), "{wrong}: {log}");
            }
        }
    }
}

#[test]
fn a_building_block_refuses_commands_that_are_not_its_own_and_plans_that_nobody_approved() {
    let refuses = |block, name, command| !run_script(block, name, &[("COMMAND", command)]).0;
    for command in ["plan", "status", "verify", "doctor"] {
        assert!(!refuses("plan.yml", "Refuse a command that writes", command), "{command}");
        assert!(!refuses("migrate.yml", "Refuse an unknown command", command), "{command}");
    }
    assert!(refuses("plan.yml", "Refuse a command that writes", "migrate"));
    assert!(!refuses("migrate.yml", "Refuse an unknown command", "migrate"));
    for command in ["rollback", "baseline", "tunnel", "", "plan; id"] {
        assert!(refuses("plan.yml", "Refuse a command that writes", command), "{command}");
        assert!(refuses("migrate.yml", "Refuse an unknown command", command), "{command}");
    }
    let compared = |expected, planned, outcome| {
        let env = [("EXPECTED", expected), ("PLANNED", planned), ("OUTCOME", outcome)];
        run_script("migrate.yml", "Compare with the plan that was approved elsewhere", &env).0
    };
    assert!(compared("sha256:1", "sha256:1", "pending") && compared("sha256:1", "sha256:2", "nothing-to-do"));
    assert!(!compared("sha256:1", "sha256:2", "pending"));
    // The times of the same plan differ.
    for expected in ["sha256:1", "sha256:1/2026-11-30T08:00:00Z"] {
        assert!(compared(expected, "sha256:1/2026-11-30T09:00:00Z", "pending"), "{expected}");
        assert!(!compared(expected, "sha256:2/2026-11-30T08:00:00Z", "pending"), "{expected}");
    }
}
