//! Tests of the inputs for foreign commands: the tool, the steps, and their sites.

use super::{
    tests::{DATABASE, ENOUGH, faults, hop, only_fault, run, settings, workspace},
    *,
};
use crate::{
    fault::Code,
    postgres::SslMode,
    proxy::ClientTls,
    settings::{ExecutorSettings, ImageOwner, Need, Site, SiteImage, Step, StepWork, ToolSettings, When},
    tool::CommandLine,
};
use std::time::Duration;

/// The least inputs for a deployment server that alone knows its database.
const SERVER: &[(&str, &str)] = &[
    ("INPUT_EXECUTOR", "server"),
    ("INPUT_TOOL", "django"),
    ("INPUT_SSH-HOST", "app.example.com"),
    ("INPUT_SSH-USER", "django"),
    ("INPUT_SSH-PASSWORD", "ssh-secret"),
];

const IMAGE: &[(&str, &str)] =
    &[("INPUT_EXECUTOR", "image"), ("INPUT_TOOL", "django"), ("INPUT_IMAGE", "ghcr.io/acme/shop:1.4")];

fn tool(settings: &Settings) -> &ToolSettings {
    match &settings.executor {
        ExecutorSettings::Tool(tool) => tool,
        ExecutorSettings::Sql => panic!("no tool"),
    }
}

fn image(name: &str, owner: ImageOwner) -> Site {
    Site::Image(SiteImage { reference: name.to_owned(), owner })
}

fn site(step: &Step) -> &Site {
    match &step.work {
        StepWork::Command { site, .. } => site,
        StepWork::Sql { .. } => panic!("no command"),
    }
}

fn env(settings: &Settings) -> Vec<(&str, &str)> {
    settings.env.iter().map(|(name, value)| (name.as_str(), value.expose())).collect()
}

/// Returns all faults, after checking that each part is in one of the causes and that there is no other cause.
fn assert_faults(args: &[&str], env: &[&[(&str, &str)]], parts: &[&str]) -> Vec<Fault> {
    let faults = faults(args, env);
    for part in parts {
        assert!(faults.iter().any(|fault| fault.cause.contains(part)), "{part}: {faults:#?}");
    }
    assert_eq!(faults.len(), parts.len(), "{faults:#?}");
    faults
}

/// The proxy alone can prove who we are, so a tool is led to it in plain text.
#[test]
fn with_a_token_the_url_of_the_tool_has_no_tls_and_no_password() {
    let inputs = [
        (
            "INPUT_DATABASE-URL",
            "postgres://app@db.internal/shop?sslmode=verify-full&application_name=x&channel_binding=require",
        ),
        ("INPUT_DATABASE-AUTH", "gcp-iam"),
    ];
    let settings = settings(&[], &[ENOUGH, IMAGE, &inputs]);
    let database = settings.database.as_ref().unwrap();
    assert!(database.identity.token.is_some());
    assert_eq!((database.sslmode, settings.client_tls), (SslMode::VerifyFull, ClientTls::Terminated));
    let url = settings.image.unwrap().database_url.unwrap();
    assert_eq!(url.text().expose(), "postgres://app@db.internal/shop?application_name=x");
}

#[test]
fn a_deployment_server_is_the_last_hop_and_may_know_its_database_alone() {
    let inputs = [
        ("INPUT_WORKING-DIRECTORY", "/home/django/shop/backend"),
        ("INPUT_SETUP", "source ../venv/bin/activate\nset -a\n"),
        ("INPUT_ENV", "DEBUG=0"),
    ];
    let settings = settings(&[], &[SERVER, &inputs]);
    assert_eq!((&settings.database, &settings.image), (&None, &None));
    assert_eq!(settings.route.as_ref().unwrap().hops, [hop("django", "app.example.com", 22)]);
    assert_eq!((&tool(&settings).site, tool(&settings).recipe.name.as_str()), (&Site::Server, "django"));
    let server = settings.server.as_ref().unwrap();
    assert_eq!(server.working_directory.as_deref(), Some("/home/django/shop/backend"));
    assert_eq!(server.setup, "source ../venv/bin/activate\nset -a");
    assert_eq!(env(&settings), [("DEBUG", "0")]);
}

#[test]
fn a_deployment_server_without_a_name_is_one_fault() {
    let nothing = [("INPUT_EXECUTOR", "server"), ("INPUT_TOOL", "django")];
    let fault = only_fault(&[], &[&nothing]);
    assert_eq!(fault.code, Code::InputMissing);
    assert!(fault.cause.contains("`ssh-host` has no value, and `executor: server`"), "{}", fault.cause);
    // A server with a user but no name has the usual fault.
    let fault = only_fault(&[], &[SERVER, &[("INPUT_SSH-HOST", "")]]);
    assert!(fault.cause.contains("`ssh-host` has no value although"), "{}", fault.cause);
}

#[test]
fn a_database_input_makes_the_database_required_as_usual() {
    let settings_with_database =
        settings(&["--environment", "dev"], &[SERVER, &[("DEV_DATABASE_URL", "postgres://u@db/shop")]]);
    assert_eq!(settings_with_database.required_database().unwrap().host, "db");
    for half in [("DATABASE_NAME", "shop"), ("DATABASE_SSLMODE", "require"), ("DATABASE_PASSWORD", "secret")] {
        assert_faults(&[], &[SERVER, &[half]], &["`database-host`"]);
    }
    let without_tool = [("INPUT_EXECUTOR", ""), ("INPUT_TOOL", "")];
    for inputs in [&[("INPUT_COMMAND", "tunnel"), without_tool[0], without_tool[1]][..], IMAGE, &without_tool] {
        assert_faults(&[], &[SERVER, inputs], &["`database-url` has no value"]);
    }
}

#[test]
fn a_prefix_is_put_in_front_of_the_recipes_commands() {
    let prefix = [("INPUT_COMMAND-PREFIX", "docker compose run --rm 'my web'")];
    let settings = settings(&[], &[SERVER, &prefix, &[("INPUT_HEALTH", "{}")]]);
    assert_eq!(tool(&settings).prefix, ["docker", "compose", "run", "--rm", "my web"]);
    let check = settings.steps.health.unwrap().line.to_argv();
    assert_eq!(check[..6], ["docker", "compose", "run", "--rm", "my web", "python"]);
    let fault = only_fault(&["--command-prefix", "uv 'run"], &[SERVER]);
    assert!(fault.code == Code::InputInvalid && fault.cause.contains("`command-prefix`"), "{fault:?}");
}

#[test]
fn a_django_without_a_manage_py_is_started_with_the_manage_input() {
    let with_manage = settings(&["--manage", "python -m pretix"], &[SERVER, &[("INPUT_HEALTH", "{}")]]);
    let check_command = with_manage.steps.health.unwrap().line.display_text();
    assert_eq!(check_command, "python -m pretix check --database default");
    let fault = only_fault(&["--manage", "python -m x"], &[SERVER, &[("INPUT_TOOL", "alembic")]]);
    assert_eq!(fault.cause, "`manage` (from the command line) has no effect with `tool: alembic`");
}

#[test]
fn sql_files_are_rolled_back_to_a_version() {
    let fault = only_fault(&["rollback"], &[DATABASE]);
    assert!(fault.code == Code::InputMissing && fault.fix.contains("or to 0 to undo all"), "{fault:?}");
    for arguments in [&["rollback", "--target", "0007"][..], &["baseline", "--target", "0007"], &["--target", "0007"]] {
        assert_eq!(settings(arguments, &[DATABASE]).sql.target.as_deref(), Some("0007"), "{arguments:?}");
    }
    assert_eq!(settings(&["baseline"], &[DATABASE]).sql.target, None);
    assert_eq!(only_fault(&["--target", "orders 0007"], &[DATABASE]).code, Code::InputInvalid);
}

#[test]
fn a_tool_rolls_back_to_a_target_in_its_own_notation() {
    let rollback = settings(&["rollback", "--target", "orders 0007"], &[SERVER]);
    assert_eq!(
        (tool(&rollback).target.as_deref(), rollback.command, rollback.sql.target.as_deref()),
        (Some("orders 0007"), Command::Rollback, None)
    );
    let fault = only_fault(&["rollback"], &[SERVER]);
    assert!(fault.code == Code::InputMissing && fault.cause.contains("`target` has no value"), "{fault:?}");
    let fault = only_fault(&["rollback", "--target", "x"], &[SERVER, &[("INPUT_TOOL", "prisma")]]);
    assert_eq!(fault.cause, "`tool: prisma` does not support `command: rollback`");
    assert_eq!(only_fault(&["rollback"], &[SERVER, &[("INPUT_TARGET", "--all; x")]]).code, Code::InputInvalid);
    assert_eq!(settings(&["baseline"], &[SERVER]).command, Command::Baseline);
    for command in ["migrate", "plan", "status", "verify"] {
        let fault = only_fault(&[command, "--target", "orders 0007"], &[SERVER]);
        assert!(fault.cause.contains("covers all migrations") && fault.fix.contains("`run`"), "{fault:?}");
    }
}

#[test]
fn a_tool_may_be_a_recipe_of_the_users_own() {
    let (directory, path) = workspace("");
    std::fs::write(directory.path().join("ours.yaml"), "name: ours\nabout: Our own tool\nverbs: { migrate: [./up] }\n")
        .unwrap();
    std::fs::write(directory.path().join("broken.yaml"), "name: ours\nverbs: 7\n").unwrap();
    let files = [("GITHUB_WORKSPACE", path.as_str())];
    let found = settings(&["--tool", "./ours.yaml"], &[SERVER, &files]);
    assert_eq!(tool(&found).recipe.name, "ours");
    let fault = only_fault(&["--tool", "broken.yaml"], &[SERVER, &files]);
    assert_eq!((fault.code, fault.place.unwrap().file.as_str()), (Code::InputInvalid, "broken.yaml"));
    let fault = only_fault(&["--tool", "none.yaml"], &[SERVER, &files]);
    assert!(fault.cause.contains("`none.yaml`") && fault.fix.contains("actions/checkout"), "{fault:?}");
    let fault = only_fault(&["--tool", "jango"], &[SERVER]);
    assert!(fault.fix.contains("`django`") && fault.fix.contains("recipe"), "{fault:?}");
}

#[test]
fn steps_take_their_defaults_from_the_inputs() {
    let steps =
        "- run: make one\n- { name: Two, run: [two], executor: server, retries: 0, timeout: 1m, optional: true }\n";
    let inputs =
        [("INPUT_BEFORE", steps), ("INPUT_RETRIES", "7"), ("INPUT_AFTER", "[ { run: x, image: cli, when: pending } ]")];
    let settings = settings(&[], &[ENOUGH, IMAGE, &inputs]);
    let [first, second] = settings.steps.before.as_slice() else { panic!("{:?}", settings.steps) };
    assert_eq!((first.name.as_str(), first.retries, first.timeout), ("make one", 7, None));
    let of_tool = image("ghcr.io/acme/shop:1.4", ImageOwner::Tool);
    assert_eq!((site(first), first.need, first.when), (&of_tool, Need::Required, When::Always));
    assert_eq!((site(second), second.retries, second.timeout), (&Site::Server, 0, Some(Duration::from_secs(60))));
    assert_eq!(second.need, Need::Optional);
    let after = &settings.steps.after[0];
    assert_eq!((site(after), after.when), (&image("cli", ImageOwner::Step), When::Pending));
    assert_eq!((settings.steps.migrate, settings.steps.health), (Vec::new(), None));
}

#[test]
fn a_site_has_settings_only_if_something_runs_there() {
    const DIRECTORY: &[(&str, &str)] = &[("INPUT_WORKING-DIRECTORY", "/app")];
    const SETUP: &[(&str, &str)] = &[("INPUT_SETUP", "cd /srv")];
    let settings_of =
        |env: &[&[(&str, &str)]], before| settings(&[], &[&[ENOUGH], env, &[&[("INPUT_BEFORE", before)]]].concat());
    let site_settings = |settings: &Settings| {
        let image = settings.image.as_ref().map(|image| image.working_directory.clone());
        (image, settings.server.as_ref().map(|server| server.working_directory.clone()))
    };
    let app = Some("/app".to_owned());
    assert_eq!(site_settings(&settings_of(&[], "[]")), (None, None));
    assert_eq!(site_settings(&settings_of(&[SETUP], "[ { run: x, executor: server } ]")), (None, Some(None)));
    assert_eq!(site_settings(&settings_of(&[], "[ { run: x, executor: image, image: cli } ]")), (Some(None), None));
    assert_eq!(site_settings(&settings_of(&[IMAGE, DIRECTORY], "[]")), (Some(app.clone()), None));
    let both = settings_of(&[IMAGE, DIRECTORY, SETUP], "[ { run: x, executor: server } ]");
    assert_eq!(site_settings(&both), (Some(app.clone()), Some(None)));
    assert_eq!(both.server.unwrap().setup, "cd /srv");
    let server = settings_of(&[SERVER, DIRECTORY, SETUP], "[ { run: x, executor: image, image: cli } ]");
    assert_eq!(site_settings(&server), (Some(None), Some(app)));
}

#[test]
fn a_directory_in_an_image_is_an_absolute_one() {
    for path in ["backend", "./backend"] {
        let fault = only_fault(&[], &[ENOUGH, IMAGE, &[("INPUT_WORKING-DIRECTORY", path)]]);
        assert!(fault.cause.contains("`working-directory`") && fault.cause.contains("absolute"), "{fault:?}");
        assert!(fault.fix.contains("`/app/backend`"), "{fault:?}");
    }
    let server = settings(&[], &[SERVER, &[("INPUT_WORKING-DIRECTORY", "backend")]]).server;
    assert_eq!(server.unwrap().working_directory.as_deref(), Some("backend"));
}

#[test]
fn an_entrypoint_has_an_effect_only_with_a_tool_in_an_image() {
    const NONE: &[(&str, &str)] = &[("INPUT_IMAGE-ENTRYPOINT", "none")];
    let entrypoint_of = |env: &[&[(&str, &str)]]| settings(&[], &[&[ENOUGH], env].concat()).image.unwrap().entrypoint;
    assert_eq!(entrypoint_of(&[IMAGE]), None);
    assert_eq!(entrypoint_of(&[IMAGE, NONE]), Some(Vec::new()));
    let step = [("INPUT_BEFORE", "[ { run: x, executor: image, image: cli } ]")];
    let fault = only_fault(&[], &[SERVER, NONE, &step]);
    assert!(fault.cause.contains("`image-entrypoint`") && fault.fix.contains("`executor: image`"), "{fault:?}");
}

#[test]
fn an_input_without_effect_is_rejected_with_a_fix() {
    let refused = |env: &[&[(&str, &str)]], cause: &str, fix: &str| {
        let fault = only_fault(&[], &[&[ENOUGH], env].concat());
        assert!(fault.cause.contains(cause) && fault.fix.contains(fix), "{fault:#?}");
    };
    let tool = ("INPUT_TOOL", "django");
    let tool_cause = "`tool` (from the workflow's `with:`) has no effect: `executor` is `sql`, which is the default";
    refused(
        &[&[tool]],
        tool_cause,
        "set `executor: image` and `image` (the app's own image), or `executor: server`; or remove `tool`",
    );
    let inputs = [tool, ("INPUT_COMMAND-PREFIX", "uv run"), ("INPUT_IMAGE", "app"), ("INPUT_ENV", "A=b")];
    refused(&[&inputs], "`tool`, `command-prefix`, `env` and `image`", "set `executor: image`; or remove");
    refused(
        &[&[("INPUT_SETUP", "cd x")]],
        "`setup`",
        "set `executor: server`, with `tool` or `run`; or remove `setup`",
    );
    refused(&[IMAGE, &[("INPUT_SETUP", "cd x")]], "nothing runs on a server", "it is for `executor: server`");
    refused(&[SERVER, &[("INPUT_MEMORY", "1g")]], "nothing runs in an image", "it is for `executor: image`");
    refused(&[IMAGE, &[("INPUT_GAPS", "refuse")]], "`gaps`", "it is for `executor: sql`");
    refused(&[SERVER, &[("INPUT_COMMAND", "tunnel")]], "`executor` and `tool`", "set `command: migrate`");
    let digest = format!("sha256:{}", "a".repeat(64));
    refused(
        &[&[("INPUT_COMMAND", "plan"), ("INPUT_EXPECT-PLAN", &digest)]],
        "which only reads",
        "remove `expect-plan`",
    );
    for command in ["status", "verify", "tunnel"] {
        let inputs = [("INPUT_COMMAND", command), ("INPUT_RISK", "low")];
        refused(
            &[&inputs],
            "`risk`",
            "remove `risk`, or set `command: migrate`, `command: plan` or `command: rehearse`",
        );
    }
    let unknown = only_fault(&[], &[SERVER, &[("INPUT_RISK", "low")]]);
    assert!(
        unknown.cause.contains("no database is given") && unknown.fix.contains("set `database-url`"),
        "{unknown:?}"
    );
    let both = only_fault(&[], &[SERVER, &[("INPUT_RISK", "{ max: low, plan-max-age: 2h }")]]);
    assert!(both.cause.contains("no database is given"), "{both:?}");
    // The age of a plan is known without a database.
    let expires = settings(&[], &[SERVER, &[("INPUT_RISK", "plan-max-age: 2h")]]);
    assert_eq!(expires.safety.risk.plan_max_age, Some(Duration::from_secs(7_200)));
    let rollback = [("INPUT_COMMAND", "rollback"), ("INPUT_TARGET", "shop zero"), ("INPUT_RUN", "./up")];
    refused(&[IMAGE, &rollback], "`run`", "your own recipe in `tool`");
    // The time limit also covers a lost connection to the server.
    settings(&[], &[SERVER, &[("INPUT_WAIT-TIMEOUT", "2m")]]);
    let direct = only_fault(&["--keepalive", "5s"], &[DATABASE]);
    assert!(direct.cause.contains("`keepalive` (from the command line) has no effect"), "{direct:?}");
}

#[test]
fn an_input_that_a_step_or_another_command_uses_is_accepted() {
    let on_server =
        [("INPUT_SETUP", "cd x"), ("INPUT_ENV", "A=b"), ("INPUT_AFTER", "[ { run: x, executor: server } ]")];
    settings(&[], &[ENOUGH, &on_server]);
    let in_image = [("INPUT_MEMORY", "1g"), ("INPUT_HEALTH", "{ run: x, executor: image, image: cli }")];
    settings(&[], &[ENOUGH, &in_image]);
    // One step may be the plan of a pull request and the migration of a push.
    settings(&["plan"], &[ENOUGH, IMAGE, &[("INPUT_RUN", "./up"), ("INPUT_LOCK-WAIT", "10m"), ("INPUT_RETRIES", "7")]]);
    // A variable may be for another step, and the file is for every command.
    settings(&[], &[ENOUGH, &[("REGISTRY_USERNAME", "robot"), ("REGISTRY_PASSWORD", "secret")]]);
    let (_workspace, path) = workspace("{ defaults: { executor: image, image: app, tool: django, lock-wait: 1m } }");
    settings(&["tunnel"], &[ENOUGH, &[("GITHUB_WORKSPACE", &path)]]);
}

#[test]
fn an_input_in_the_file_without_effect_is_rejected_too() {
    let (_workspace, path) =
        workspace("{ defaults: { tool: django }, environments: { dev: { executor: image, image: i }, prod: } }");
    let env_of = |environment| [("GITHUB_WORKSPACE", path.as_str()), ("INPUT_ENVIRONMENT", environment)];
    settings(&[], &[ENOUGH, &env_of("dev")]);
    let fault = only_fault(&[], &[ENOUGH, &env_of("prod")]);
    assert!(fault.cause.contains("`tool` (from `.github/bastion-migrate.yml`)"), "{fault:?}");
    assert!(fault.fix.contains("belong under their names"), "{fault:?}");
    let fault = only_fault(&[], &[ENOUGH, &env_of("")]);
    assert!(
        fault.cause.contains("`environment` has no value") && fault.cause.contains("`dev` and `prod`"),
        "{fault:?}"
    );
}

#[test]
fn a_name_alone_passes_on_a_variable_that_is_not_secret() {
    let inputs = [
        ("INPUT_ENVIRONMENT", "dev"),
        ("INPUT_ENV", "AWS_REGION\nAPI_TOKEN\nHOME_DIR=/app"),
        ("DEV_AWS_REGION", "eu-north-1"),
        ("AWS_REGION", "us-east-1"),
        ("API_TOKEN", "zqxwv-token"),
    ];
    let invocation = run(&[], &[SERVER, &inputs]);
    let secrets: Vec<&str> = invocation.secrets.iter().map(Secret::expose).collect();
    assert!(secrets.contains(&"zqxwv-token") && !secrets.contains(&"eu-north-1"), "{secrets:?}");
    let settings = invocation.settings.unwrap();
    assert_eq!(env(&settings), [("HOME_DIR", "/app"), ("AWS_REGION", "eu-north-1"), ("API_TOKEN", "zqxwv-token")]);
    let fault = only_fault(&[], &[SERVER, &[("INPUT_ENV", "AWS_REGION")]]);
    assert!(fault.code == Code::InputMissing && fault.cause.contains("`env`"), "{fault:?}");
    assert!(fault.fix.contains("AWS_REGION: ${{ secrets.AWS_REGION }}"), "{fault:?}");
}

#[test]
fn a_reference_to_the_database_must_have_a_value() {
    let env_input = |env: &'static str| [("INPUT_ENV", env)];
    let with_reference = settings(&[], &[ENOUGH, IMAGE, &env_input("DB_HOST=${DATABASE_HOST}\nPRICE=$5\nX=${OTHER}")]);
    assert_eq!(env(&with_reference)[0], ("DB_HOST", "${DATABASE_HOST}"));
    for (text, cause, fix) in [
        (
            "POSTGRES_HOST=$PGHOST",
            "`POSTGRES_HOST` in `env` has `$PGHOST`, which is not expanded",
            "`${DATABASE_HOST}`",
        ),
        ("X=${DATABASE_HOTS}", "has `${DATABASE_HOTS}`, which does not exist", "`${DATABASE_HOST}`"),
    ] {
        let fault = only_fault(&[], &[ENOUGH, IMAGE, &env_input(text)]);
        assert!(fault.cause.contains(cause) && fault.fix.contains(fix), "{fault:?}");
    }
    let fault = only_fault(&[], &[SERVER, &env_input("DB_HOST=${DATABASE_HOST}")]);
    assert!(fault.cause.contains("no database is given") && fault.fix.contains("`database-url`"), "{fault:?}");
}

#[test]
fn a_variable_that_is_passed_on_must_exist() {
    let inputs =
        [("INPUT_PASS-ENV", "SECRET_KEY, EMPTY, THERE"), ("EMPTY", ""), ("THERE", "x"), ("INPUT_ENVIRONMENT", "dev")];
    let fault = only_fault(&[], &[SERVER, &inputs]);
    assert_eq!(fault.code, Code::InputMissing);
    assert!(fault.cause.contains("names `SECRET_KEY` and `EMPTY`, which have no value"), "{fault:?}");
    assert!(fault.detail[0].contains("`DEV_SECRET_KEY` and `SECRET_KEY`"), "{fault:?}");
    let pasted = only_fault(&[], &[SERVER, &[("INPUT_PASS-ENV", "hunter2hunter2")]]);
    assert!(!format!("{pasted:?}").contains("hunter2"), "{pasted:?}");
}

#[test]
fn a_step_that_can_not_run_is_rejected() {
    let refused = |base: &[(&str, &str)], list: &str, part: &str| {
        drop(assert_faults(&[], &[ENOUGH, base, &[("INPUT_AFTER", list)]], &[part]));
    };
    refused(&[], "[ { run: x } ]", "step 1 (`x`): it names no executor");
    refused(&[], "[ { run: x, executor: image } ]", "neither it nor the input `image` names one");
    refused(SERVER, "[ { run: x, image: cli } ]", "names an image and runs on the server");
    refused(&[], "[ { name: Rights, sql: none.sql } ]", "step 1 (`Rights`): there is no file `none.sql`");
    let on_server = [("INPUT_AFTER", "[ { run: x, executor: server } ]")];
    assert_faults(&[], &[DATABASE, &on_server], &["`ssh-host` has no value, and the step `x` runs on"]);
    let health = [("INPUT_HEALTH", "{ run: x, executor: server }")];
    assert_faults(&[], &[DATABASE, &health], &["`ssh-host` has no value, and `health` runs on"]);
    assert_faults(&[], &[DATABASE, &[("INPUT_HEALTH", "{}")]], &["it has no `run`"]);
    assert_faults(
        &[],
        &[DATABASE, &[("INPUT_STEPS", "[ { run: x, executor: image, image: i } ]")]],
        &["`steps` replace a"],
    );
}

#[test]
fn a_file_of_sql_is_found_in_the_workspace_and_needs_a_database() {
    let (directory, path) = workspace("after: [ { name: Rights, sql: ./db/rights.sql } ]");
    std::fs::create_dir(directory.path().join("db")).unwrap();
    std::fs::write(directory.path().join("db/rights.sql"), "select 1;").unwrap();
    let files = [("GITHUB_WORKSPACE", path.as_str())];
    let work = settings(&[], &[ENOUGH, &files]).steps.after.remove(0).work;
    let expected = StepWork::Sql { shown: "db/rights.sql".to_owned(), path: directory.path().join("db/rights.sql") };
    assert_eq!(work, expected);
    assert_faults(&[], &[SERVER, &files], &["the step `Rights` is SQL, and no database is given"]);
    std::fs::remove_file(directory.path().join("db/rights.sql")).unwrap();
    let fault = assert_faults(
        &[],
        &[ENOUGH, &files],
        &["`after` (from `.github/bastion-migrate.yml`), step 1 (`Rights`): there is no file"],
    )
    .remove(0);
    assert_eq!(fault.place.unwrap().line, Some(1));
}

#[test]
fn steps_replace_the_migration_command_and_need_no_tool() {
    let steps = [("INPUT_STEPS", "[ { run: ./up } ]")];
    let found = settings(&[], &[SERVER, &steps, &[("INPUT_TOOL", "")]]);
    assert_eq!((tool(&found).recipe.name.as_str(), &tool(&found).run), ("custom", &None));
    assert_eq!(found.steps.migrate.len(), 1);
    assert_faults(
        &[],
        &[SERVER, &[("INPUT_STEPS", "[]"), ("INPUT_TOOL", "")]],
        &["neither `tool` nor `run` has a value"],
    );
    assert_faults(&[], &[SERVER, &steps, &[("INPUT_RUN", "./up")]], &["`run` and `steps` both replace"]);
}

#[test]
fn a_shell_text_that_hides_failures_is_a_warning() {
    let warnings = |list| run(&[], &[SERVER, &[("INPUT_AFTER", list)]]).warnings;
    for list in [
        "- run: ./seed || true",
        "- run: |\n    ./seed ||true  \n    ./more",
        "- {run: ./seed || true, optional: true}",
    ] {
        let warning = warnings(list).remove(0);
        assert!(warning.cause.contains("step 1 (`./seed") && warning.fix.contains("`optional: true`"), "{warning:?}");
    }
    for list in [
        "- run: ./seed || truely",
        "- run: ./seed; true",
        "- run: [./seed, '||', 'true']",
        "- run: test x || true && y",
    ] {
        assert_eq!(warnings(list), [], "{list}");
    }
}

#[test]
fn lists_are_yaml_in_a_workflow_and_take_precedence_over_the_file() {
    let (_workspace, path) = workspace("before: [ { run: file } ]\nafter: [ { run: file } ]");
    let inputs =
        [("GITHUB_WORKSPACE", path.as_str()), ("INPUT_BEFORE", "  - run: with\n  - run: |\n      two\n      lines\n")];
    let steps = settings(&["--after", "[]"], &[SERVER, &inputs]).steps;
    let names: Vec<&str> = steps.before.iter().map(|step| step.name.as_str()).collect();
    assert_eq!((names, steps.after.len()), (vec!["with", "two"], 0));
    let StepWork::Command { line, .. } = &steps.before[1].work else { panic!("no command") };
    assert_eq!(line, &CommandLine::Shell("two\nlines".to_owned()));
    let fault = only_fault(&[], &[SERVER, &[("INPUT_STEPS", "- run: [x\n")]]);
    assert!(fault.cause.starts_with("`steps` (from the workflow's `with:`) is not valid YAML"), "{fault:?}");
    let fault = only_fault(&[], &[SERVER, &[("INPUT_STEPS", "- rnu: x\n  name: A")]]);
    assert_eq!(fault.code, Code::InputUnknown);
}

#[test]
fn a_variable_with_the_environments_prefix_is_passed_on_first() {
    let inputs = [
        ("INPUT_ENVIRONMENT", "uat2-backend"),
        ("INPUT_PASS-ENV", "SECRET_KEY DJANGO_SETTINGS_MODULE LANG"),
        ("UAT_SECRET_KEY", "uat-secret-key"),
        ("PROD_SECRET_KEY", "prod-secret-key"),
        ("SECRET_KEY", "plain-secret-key"),
        ("UAT_DJANGO_SETTINGS_MODULE", " "),
        ("DJANGO_SETTINGS_MODULE", "shop.settings"),
        ("LANG", "C"),
    ];
    let invocation = run(&[], &[SERVER, &inputs]);
    let secrets: Vec<&str> = invocation.secrets.iter().map(Secret::expose).collect();
    assert!(secrets.contains(&"uat-secret-key") && !secrets.contains(&"prod-secret-key"), "{secrets:?}");
    let settings = invocation.settings.unwrap();
    let expected = [("SECRET_KEY", "uat-secret-key"), ("DJANGO_SETTINGS_MODULE", "shop.settings"), ("LANG", "C")];
    assert_eq!(env(&settings), expected);
}

#[test]
fn a_variable_that_is_passed_on_is_secret_regardless_of_length_and_name() {
    let inputs = [
        ("INPUT_PASS-ENV", "MODE, LANG, CITY"),
        ("MODE", "abc"),
        ("LANG", "C"),
        ("CITY", "Oslo"),
        (
            "INPUT_ENV",
            "DB_PASS=s3cret\nPGPASS=xyz\nAUTH=basic-1\nPASSPHRASE=open\nDEBUG_AUTH=true\nREGION=north\nBROKER=amqp://u:p%40ss@mq/x",
        ),
        ("INPUT_RUN", "MYSQL_PWD=letmein ./migrate --from https://x:tok3n@git.example/r"),
    ];
    let invocation = run(&[], &[SERVER, &inputs]);
    let secrets: Vec<&str> = invocation.secrets.iter().map(Secret::expose).collect();
    for secret in ["abc", "Oslo", "s3cret", "xyz", "basic-1", "open", "p%40ss", "p@ss", "letmein", "tok3n"] {
        assert!(secrets.contains(&secret), "{secret}: {secrets:?}");
    }
    for not_secret in ["C", "true", "north"] {
        assert!(!secrets.contains(&not_secret), "{not_secret}: {secrets:?}");
    }
    let short: Vec<&Fault> =
        invocation.warnings.iter().filter(|warning| warning.cause.contains("`LANG` (`pass-env`)")).collect();
    assert!(short.len() == 1 && short[0].fix.contains("into `env`"), "{:?}", invocation.warnings);
}

#[test]
fn no_error_quotes_a_line_that_may_contain_a_secret() {
    let key = "KEY=-----BEGIN KEY-----\nhunter2hunter2\n-----END KEY-----";
    let fault = only_fault(&[], &[SERVER, &[("INPUT_ENV", key)]]);
    assert!(fault.cause.contains("of `env` is not") && fault.cause.contains("line 2"), "{fault:?}");
    assert!(!format!("{fault:?}").contains("hunter2") && fault.fix.contains("`pass-env`"), "{fault:?}");
    for text in
        ["- run: x\n  \"hunter2\": 1\n  \"hunter2\": 2", "- run: 'hunter2\n", "- { run: *hunter2 }", "- !hunter2 [\n"]
    {
        let fault = only_fault(&[], &[SERVER, &[("INPUT_AFTER", text)]]);
        assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
    }
}

#[test]
fn a_numbered_environment_finds_the_secrets_of_its_kind() {
    let inputs = [
        ("INPUT_ENVIRONMENT", "uat2-backend"),
        ("UAT_HOST", "u.example.com"),
        ("UAT_USER", "django"),
        ("UAT_SSH_PASSWORD", "p"),
    ];
    let settings = settings(&[], &[&SERVER[..2], &inputs]);
    assert_eq!(settings.route.unwrap().hops, [hop("django", "u.example.com", 22)]);
}

#[test]
fn missing_inputs_are_reported_with_the_names_that_were_looked_up() {
    // The secrets are set with another environment's prefix.
    let misnamed = [("DEVEL_HOST", "h"), ("DEVEL_SSH_PASSWORD", "p"), ("DEVEL_DB_HOST", "db")];
    let fault = only_fault(&["--environment", "dev-backend"], &[&misnamed]);
    let detail = fault.detail.join("\n");
    for name in [
        "`ssh-host`",
        "`DEV_HOST`",
        "`DEV_BACKEND_SSH_PASSWORD`",
        "`DEV_DATABASE_URL`",
        "`DEV_DB_HOST`",
        "`DEV_DB_NAME` and `DATABASE_NAME`",
    ] {
        assert!(detail.contains(name), "{name}: {detail}");
    }
    // Without an environment, no other names exist than those in the documentation.
    assert!(!only_fault(&[], &[]).detail.join("\n").contains("looked for"));
    let half = [("DEV_HOST", "h"), ("DEV_DATABASE_URL", "postgres://u@db/d")];
    let fault = only_fault(&["--environment", "dev"], &[&half]);
    assert!(fault.cause.contains("`ssh-user`") && fault.cause.contains("neither `ssh-private-key`"), "{fault:?}");
    let detail = fault.detail.join("\n");
    assert!(detail.contains("`DEV_USER`") && detail.contains("`DEV_SSH_PASSWORD`"), "{detail}");
}

#[test]
fn all_faults_of_a_server_and_its_steps_are_reported_at_once() {
    let (_workspace, path) = workspace("before: [ { run: x, tiemout: 1s } ]\nenvironments: { dev: { health: 7 } }");
    let env = [
        ("GITHUB_WORKSPACE", path.as_str()),
        ("INPUT_EXECUTOR", "server"),
        ("INPUT_TOOL", "jango"),
        ("INPUT_ENVIRONMENT", "dev"),
        ("INPUT_COMMAND-PREFIX", "'"),
        ("INPUT_AFTER", "[ { sql: none.sql }, { run: y, executor: image } ]"),
        ("INPUT_ENV", "not a pair"),
    ];
    let parts = [
        "there is no key `tiemout`",
        "neither a mapping nor `false`",
        "there is no such tool",
        "`command-prefix`",
        "no file `none.sql`",
        "nor the input `image` names one",
        "`ssh-host` has no value",
        "of `env` is not",
    ];
    assert_faults(&[], &[&env], &parts);
}

#[test]
fn the_example_with_steps_and_a_few_secrets_are_enough() {
    let (directory, path) = workspace(include_str!("../../examples/config/steps.yml"));
    std::fs::create_dir(directory.path().join("db")).unwrap();
    std::fs::write(directory.path().join("db/rights.sql"), "select 1;").unwrap();
    let passed = [("SECRET_KEY", "abc"), ("DJANGO_SETTINGS_MODULE", "shop.settings"), ("GITHUB_RUN_ID", "4711")];
    let env = [("GITHUB_WORKSPACE", path.as_str()), ("DATABASE_URL", "postgres://u@db/d")];
    let settings_of = |environment| settings(&["--environment", environment], &[&SERVER[2..], &env, &passed]);
    let (dev, prod) = (settings_of("dev"), settings_of("prod"));
    let names = |list: &[Step]| list.iter().map(|step| step.name.clone()).collect::<Vec<_>>().join(", ");
    assert_eq!(names(&dev.steps.migrate), "Shared schema, Super tenant, Tenant schemas");
    assert_eq!((names(&dev.steps.before), names(&dev.steps.after)), (String::new(), "Fixtures".to_owned()));
    assert_eq!(
        (names(&prod.steps.before), names(&prod.steps.after)),
        ("Snapshot".to_owned(), "Rights, Maintenance page off".to_owned())
    );
    assert_eq!((dev.image.is_some(), prod.image.is_some(), prod.server.is_some()), (false, true, true));
    assert_eq!(site(&prod.steps.before[0]), &image("ghcr.io/acme/shop-operations:1.4", ImageOwner::Step));
    let health = prod.steps.health.unwrap();
    assert_eq!((health.retries, &health.site, health.timeout), (12, &Site::Server, Duration::from_secs(10)));
}

#[test]
fn the_sidecar_gets_no_inputs_for_migrations() {
    let file =
        "{ before: [ { run: x } ], defaults: { executor: server, tool: django, command-prefix: uv run, target: 7 } }";
    let (_workspace, path) = workspace(file);
    let invocation = run(&["tunnel"], &[ENOUGH, &[("GITHUB_WORKSPACE", &path)]]);
    assert!(invocation.settings.is_ok(), "{:?}", invocation.settings);
    let inputs: BTreeMap<String, String> =
        invocation.handover.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    for name in ["INPUT_EXECUTOR", "INPUT_TOOL", "INPUT_BEFORE", "INPUT_COMMAND-PREFIX", "INPUT_TARGET"] {
        assert!(!inputs.contains_key(name), "{name}");
    }
    assert_eq!(read_handover(&inputs).settings.unwrap().required_database().unwrap().host, "db.internal");
}

#[test]
fn the_sidecar_gets_the_log_in_of_the_configuration_file_and_the_variables_of_its_command() {
    let url = ("DATABASE_URL", "postgres://app@db.internal/shop");
    let handed_over = |auth: &str, env: &[(&str, &str)]| {
        let (_workspace, path) = workspace(&format!("defaults: {{ database-auth: {auth} }}"));
        let invocation = run(&["tunnel"], &[&ENOUGH[..3], env, &[("GITHUB_WORKSPACE", &path), url]]);
        assert!(invocation.settings.is_ok(), "{:?}", invocation.settings);
        let inputs: BTreeMap<String, String> =
            invocation.handover.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        let settings = invocation.settings.unwrap();
        let read = read_handover(&inputs).settings.unwrap();
        assert_eq!(read.required_database().unwrap().identity, settings.required_database().unwrap().identity);
        inputs
    };
    let command = "{ command: [print-token, a b], image: 'alpine:3', env: { A: '1' }, pass-env: [TOKEN_KEY] }";
    let inputs = handed_over(command, &[("TOKEN_KEY", "s3cret-key"), ("OTHER", "of-the-job")]);
    assert_eq!(inputs.get("TOKEN_KEY").map(String::as_str), Some("s3cret-key"));
    assert!(!inputs.contains_key("OTHER"));
    handed_over("{ method: azure-ad, tenant: t-1, client-id: c-1 }", &[]);
    handed_over("{ method: aws-rds-iam, region: eu-west-1, role: 'arn:aws:iam::123456789012:role/migrate' }", &[]);
}
