//! Tests of the inputs as a whole: arguments and environment in, settings or faults out.

use super::*;
use crate::{
    fault::Code,
    postgres::SslMode,
    settings::{CommentPolicy, Policy, Risk, RiskSettings},
    ssh::{Hop, Route},
};
use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::Path, time::Duration};

/// The least inputs for a run: a bastion and a database.
pub(super) const ENOUGH: &[(&str, &str)] = &[
    ("INPUT_SSH-HOST", "bastion.example.com"),
    ("INPUT_SSH-USER", "ops"),
    ("INPUT_SSH-PASSWORD", "ssh-secret"),
    ("INPUT_DATABASE-URL", "postgres://app:db-secret@db.internal:25060/shop"),
];

pub(super) const DATABASE: &[(&str, &str)] = &[("DATABASE_URL", "postgres://app:db-secret@db.internal/shop")];

pub(super) fn run(args: &[&str], env: &[&[(&str, &str)]]) -> Invocation {
    let args = ["bastion-migrate"].iter().chain(args).map(Into::into).collect();
    // Set by the runner, so that this is not the bare program.
    let env = env.concat().into_iter().chain([("INPUT_SUMMARY", "true")]);
    match read_start_mode(args, env.map(|(name, value)| (name.into(), value.into())).collect()) {
        StartMode::Run(invocation) => *invocation,
        unexpected => panic!("{unexpected:?}"),
    }
}

pub(super) fn settings(args: &[&str], env: &[&[(&str, &str)]]) -> Settings {
    run(args, env).settings.unwrap_or_else(|faults| panic!("{faults:#?}"))
}

pub(super) fn faults(args: &[&str], env: &[&[(&str, &str)]]) -> Vec<Fault> {
    run(args, env).settings.expect_err("the inputs are valid")
}

pub(super) fn only_fault(args: &[&str], env: &[&[(&str, &str)]]) -> Fault {
    let mut faults = faults(args, env);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.remove(0)
}

#[test]
fn the_accepted_risk_comes_from_the_workflow_or_from_the_file() {
    let max = |settings: &Settings| settings.safety.risk.max;
    assert_eq!(settings(&[], &[ENOUGH]).safety.risk, RiskSettings::default());
    assert_eq!(max(&settings(&["plan", "--risk", "medium"], &[ENOUGH])), Some(Risk::Medium));
    let (_directory, workspace) =
        workspace("defaults: { risk: { max: low } }\nenvironments: { dev: { risk: high }, prod: {} }");
    let in_environment =
        |name| settings(&[], &[ENOUGH, &[("GITHUB_WORKSPACE", &workspace), ("INPUT_ENVIRONMENT", name)]]);
    assert_eq!((max(&in_environment("dev")), max(&in_environment("prod"))), (Some(Risk::High), Some(Risk::Low)));
    // Values in the file are for every command.
    let status = [("GITHUB_WORKSPACE", workspace.as_str()), ("INPUT_ENVIRONMENT", "prod"), ("INPUT_COMMAND", "status")];
    settings(&[], &[ENOUGH, &status]);
    let fault = only_fault(&["--risk", "{ max: low, destructive: never }"], &[ENOUGH]);
    assert!(fault.cause.starts_with("`risk` (from the command line): `destructive` is `never`"), "{fault:?}");
    let fault = only_fault(&["--risk", "{ max: low"], &[ENOUGH]);
    assert!(fault.fix.contains("docs/plan.md"), "{fault:?}");
}

fn route(env: &[(&str, &str)]) -> Route {
    settings(&[], &[ENOUGH, env]).route.unwrap()
}

pub(super) fn hop(user: &str, host: &str, port: u16) -> Hop {
    Hop { host: host.to_owned(), port, user: user.to_owned() }
}

/// Creates a workspace with this configuration file, and returns it with its path.
pub(super) fn workspace(config: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join(".github")).unwrap();
    std::fs::write(directory.path().join(".github/bastion-migrate.yml"), config).unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    (directory, path)
}

#[test]
fn a_bastion_and_a_database_are_enough() {
    let invocation = run(&[], &[ENOUGH]);
    let settings = invocation.settings.unwrap();
    assert_eq!(settings.route.clone().unwrap().hops, [hop("ops", "bastion.example.com", 22)]);
    assert_eq!(
        (settings.required_database().unwrap().host.as_str(), settings.required_database().unwrap().port),
        ("db.internal", 25060)
    );
    assert_eq!(settings.required_database().unwrap().sslmode, SslMode::Require);
    assert_eq!(settings.command, Command::Migrate);
    assert_eq!(settings.sql.directory, Path::new("migrations"));
    assert_eq!(settings.safety.timeout, Duration::from_secs(30 * 60));
    assert_eq!(settings.safety.statement_timeout, Duration::ZERO);
    assert_eq!((settings.safety.retries, invocation.report.summary), (3, Policy::Allow));
    assert_eq!(invocation.warnings, []);
}

#[test]
fn without_a_bastion_the_connection_is_direct() {
    assert_eq!(settings(&[], &[DATABASE]).route, None);
}

#[test]
fn each_source_takes_precedence_over_the_next() {
    let file = "{ defaults: { ssh-user: f }, environments: { dev: { ssh-user: e }, bare: } }";
    let (_workspace, path) = workspace(file);
    let host = ("SSH_HOST", "h");
    let sources: [(&str, &str); 7] = [
        ("INPUT_SSH-USER", "a"),
        ("INPUT_SSH_USER", "b"),
        ("DEV_SSH_USER", "c"),
        ("DEV_USER", "c2"),
        ("SSH_USER", "d"),
        ("USER", "never"),
        ("GITHUB_WORKSPACE", &path),
    ];
    let user = |args: &[&str], first_source: usize| {
        let secret = [host, ("SSH_PASSWORD", "p"), ("INPUT_ENVIRONMENT", "dev")];
        settings(args, &[DATABASE, &secret, &sources[first_source..]]).route.unwrap().hops[0].user.clone()
    };
    assert_eq!(user(&["--ssh-user", "0"], 0), "0");
    let found: Vec<String> = (0..6).map(|first_source| user(&[], first_source)).collect();
    assert_eq!(found, ["a", "b", "c", "c2", "d", "e"]);
    let without_a_section = [host, ("SSH_PASSWORD", "p"), ("INPUT_ENVIRONMENT", "bare")];
    let settings = settings(&[], &[DATABASE, &without_a_section, &sources[5..]]);
    assert_eq!(settings.route.unwrap().hops[0].user, "f");
}

#[test]
fn an_input_that_equals_its_default_overrides_nothing() {
    let (_workspace, path) = workspace("{ defaults: { timeout: 1h } }");
    let file = [("GITHUB_WORKSPACE", path.as_str())];
    let timeout =
        |args: &[&str], input| settings(args, &[DATABASE, &file, &[("INPUT_TIMEOUT", input)]]).safety.timeout.as_secs();
    assert_eq!(timeout(&[], "30m"), 3600);
    assert_eq!(timeout(&[], "1800s"), 1800);
    assert_eq!(timeout(&["--timeout", "30m"], "30m"), 1800);
}

#[test]
fn generic_environment_variables_are_ignored() {
    let env = [
        ("TIMEOUT", "x"),
        ("COMMAND", "x"),
        ("CONFIG", "x"),
        ("TARGET", "x"),
        ("SUMMARY", "x"),
        ("HOST", "x"),
        ("USER", "x"),
        ("DB_HOST", "x"),
        ("ENVIRONMENT", "x"),
        ("RETRIES", "x"),
    ];
    let settings = settings(&[], &[DATABASE, &env]);
    assert_eq!((settings.route, settings.environment), (None, None));
}

#[test]
fn reads_the_secrets_of_the_first_users_as_they_are() {
    let env = [
        ("DEV_HOST", "203.0.113.7"),
        ("DEV_USER", "django"),
        ("DEV_SSH_PASSWORD", "p1"),
        ("DEV_DB_HOST", "db-postgresql-nyc3-12345.db.ondigitalocean.com"),
        ("DEV_DB_PORT", "25060"),
        ("DEV_DB_USER", "doadmin"),
        ("DEV_DB_PASSWORD", "p#2@/"),
        ("DEV_DB_NAME", "defaultdb"),
    ];
    let settings = settings(&["--environment", "dev-backend"], &[&env]);
    assert_eq!(settings.route.clone().unwrap().hops, [hop("django", "203.0.113.7", 22)]);
    assert_eq!(settings.required_database().unwrap().password.clone(), Some(Secret::new("p#2@/")));
    assert_eq!(settings.required_database().unwrap().port, 25060);
    assert_eq!(settings.environment.as_deref(), Some("dev-backend"));
}

#[test]
fn empty_secrets_are_absent_and_reported_at_once() {
    let empty = [
        ("INPUT_SSH-HOST", "h"),
        ("INPUT_SSH-USER", ""),
        ("INPUT_SSH-PASSWORD", ""),
        ("INPUT_DATABASE-URL", " "),
        ("INPUT_TIMEOUT", "soon"),
        ("INPUT_GAPS", "maybe"),
    ];
    let causes: Vec<String> = faults(&[], &[&empty]).into_iter().map(|fault| fault.cause).collect();
    for part in [
        "`ssh-user`",
        "neither `ssh-private-key`",
        "`database-host`, `database-user` and `database-name`",
        "`timeout`",
        "`gaps`",
    ] {
        assert!(causes.iter().any(|cause| cause.contains(part)), "{part}: {causes:#?}");
    }
    // Missing inputs are one fault: they usually have one reason.
    assert_eq!(causes.len(), 3, "{causes:#?}");
}

#[test]
fn a_bastion_without_a_host_is_a_fault_and_not_a_direct_connection() {
    let fault = only_fault(&[], &[DATABASE, &[("DEV_USER", "u"), ("SSH_USER", "u"), ("SSH_PASSWORD", "p")]]);
    assert_eq!(fault.code, Code::InputMissing);
    assert!(fault.cause.contains("`ssh-host`") && fault.cause.contains("`SSH_USER`"), "{}", fault.cause);
}

#[test]
fn a_url_may_leave_out_a_part_that_has_an_input() {
    let parts = [("DATABASE_URL", "postgres://app@db/shop"), ("DATABASE_PASSWORD", "p@ss"), ("DATABASE_PORT", "6000")];
    let database = settings(&[], &[&parts]).database.unwrap();
    assert_eq!((database.password, database.port), (Some(Secret::new("p@ss")), 6000));
    let missing = only_fault(&[], &[&[("DATABASE_URL", "postgres://:@db/shop")]]);
    assert!(missing.cause.starts_with("`database-user` has no value"), "{}", missing.cause);
}

#[test]
fn a_url_and_a_part_that_contradict_each_other_are_both_named() {
    let fault = only_fault(&[], &[DATABASE, &[("INPUT_DATABASE-HOST", "other")]]);
    assert!(fault.cause.contains("`DATABASE_URL`") && fault.cause.contains("`database-host`"), "{}", fault.cause);
    assert!(!fault.cause.contains("db-secret"));
    assert_eq!(
        settings(&[], &[DATABASE, &[("INPUT_DATABASE-HOST", "db.internal")]]).required_database().unwrap().host,
        "db.internal"
    );
}

#[test]
fn a_host_may_have_the_name_of_a_scheme() {
    let parts = [("DATABASE_USER", "app"), ("DATABASE_NAME", "shop")];
    for host in ["postgres", "postgresql"] {
        let settings = settings(&["--database-host", host], &[&parts]);
        assert_eq!(settings.required_database().unwrap().host, host);
    }
}

#[test]
fn the_input_for_tls_takes_precedence_over_the_url() {
    let url = [("DATABASE_URL", "postgres://u@db/d?sslmode=disable")];
    assert_eq!(settings(&[], &[&url]).required_database().unwrap().sslmode, SslMode::Disable);
    let mode = |mode| settings(&["--database-sslmode", mode], &[&url]).required_database().unwrap().sslmode;
    assert_eq!((mode("verify-full"), mode("prefer")), (SslMode::VerifyFull, SslMode::Require));
    assert_eq!(only_fault(&["--database-sslmode", "on"], &[&url]).code, Code::InputInvalid);
    let local = [("DATABASE_URL", "postgres://u@localhost/d")];
    assert_eq!(settings(&[], &[&local]).required_database().unwrap().sslmode, SslMode::Disable);
}

#[test]
fn the_role_is_an_input_and_contradicts_no_url() {
    let url = |parameters: &str| format!("postgres://app@db/shop{parameters}");
    let target = |url: &str| settings(&["--database-role", "owner"], &[&[("DATABASE_URL", url)]]).database.unwrap();
    for agreeing in ["", "?role=owner", "?options=-c%20role%3Downer"] {
        assert_eq!(target(&url(agreeing)).role.as_deref(), Some("owner"), "{agreeing}");
    }
    let other = url("?role=other");
    let other = [("DATABASE_URL", other.as_str())];
    let fault = only_fault(&["--database-role", "owner"], &[&other]);
    assert!(fault.code == Code::InputInvalid && fault.cause.contains("contradict"), "{fault:?}");
    assert_eq!(settings(&[], &[&other]).database.unwrap().role, None);
}

#[test]
fn a_ca_is_a_certificate_and_may_be_a_file_of_the_workspace() {
    let key = rcgen::generate_simple_self_signed(["db".to_owned()]).unwrap();
    let pem = key.cert.pem();
    let ca = settings(&[], &[DATABASE, &[("DATABASE_CA", &pem)]]).database.unwrap().ca;
    assert_eq!(ca.as_deref(), Some(pem.trim()));
    assert_eq!(only_fault(&[], &[DATABASE, &[("DATABASE_CA", "ca.pem")]]).code, Code::CaInvalid);

    let (directory, path) = workspace("");
    std::fs::write(directory.path().join("ca.pem"), &pem).unwrap();
    let env_for = |file: &str| {
        [
            ("GITHUB_WORKSPACE".to_owned(), path.clone()),
            ("DATABASE_URL".to_owned(), format!("postgres://u@db/d?sslrootcert={file}")),
        ]
    };
    let read = |file: &str| {
        let env = env_for(file);
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        run(&[], &[&env]).settings
    };
    assert_eq!(read("ca.pem").unwrap().database.unwrap().ca, Some(pem));
    let fault = read("none.pem").unwrap_err().remove(0);
    assert!(fault.code == Code::CaInvalid && fault.fix.contains("`database-ca`"), "{fault:?}");
}

#[test]
fn the_bastions_address_may_contain_its_user_and_port() {
    let hops = |host| route(&[("INPUT_SSH-USER", ""), ("INPUT_SSH-HOST", host), ("INPUT_SSH-PORT", "22")]).hops;
    assert_eq!(hops("me@h:2222"), [hop("me", "h", 2222)]);
    assert_eq!(hops("me@[2001:db8::1]"), [hop("me", "2001:db8::1", 22)]);
    assert_eq!(route(&[("INPUT_SSH-PORT", "2200")]).hops[0].port, 2200);
    let twice = only_fault(&[], &[ENOUGH, &[("INPUT_SSH-HOST", "h:2222"), ("INPUT_SSH-PORT", "2200")]]);
    assert!(twice.cause.contains("`ssh-port`"), "{}", twice.cause);
    let twice = only_fault(&[], &[ENOUGH, &[("INPUT_SSH-HOST", "me@h")]]);
    assert!(twice.cause.contains("`ssh-user`"), "{}", twice.cause);
}

#[test]
fn jumps_come_before_the_bastion_in_their_order() {
    let hops = route(&[("INPUT_SSH-JUMP", "a@one:2200, two\n[::1]:23")]).hops;
    let expected =
        [hop("a", "one", 2200), hop("ops", "two", 22), hop("ops", "::1", 23), hop("ops", "bastion.example.com", 22)];
    assert_eq!(hops, expected);
    assert_eq!(only_fault(&[], &[ENOUGH, &[("INPUT_SSH-JUMP", "a b:x")]]).code, Code::InputInvalid);
}

#[test]
fn secrets_are_known_even_when_the_inputs_are_wrong() {
    let env = [
        ("INPUT_DATABASE-URL", "postgres://u:s1%40x@h/db?sslmode=nonsense"),
        ("DATABASE_URL", "postgres://u:s2@h/db"),
        ("SSH_PRIVATE_KEY", "s3"),
        ("INPUT_GITHUB-TOKEN", "s4"),
    ];
    let invocation = run(&["--ssh-password", "s5", "--environment", "uat"], &[&env]);
    let secrets: Vec<&str> = invocation.secrets.iter().map(Secret::expose).collect();
    for secret in ["postgres://u:s1%40x@h/db?sslmode=nonsense", "s1%40x", "s1@x", "s2", "s3", "s4", "s5"] {
        assert!(secrets.contains(&secret), "{secret}: {secrets:?}");
    }
    for not_secret in ["u", "h", "db"] {
        assert!(!secrets.contains(&not_secret), "{not_secret}");
    }
    let faults = invocation.settings.unwrap_err();
    assert!(!format!("{faults:?}").contains("s1"), "{faults:?}");
    assert_eq!(invocation.environment.as_deref(), Some("uat"));
    assert_eq!(invocation.command, Some(Command::Migrate));
}

#[test]
fn faults_of_all_sources_are_reported_together() {
    let (_workspace, path) = workspace("{ defaults: { retires: 3 } }");
    let env = [("GITHUB_WORKSPACE", path.as_str()), ("INPUT_RETRIES", "many")];
    let found: Vec<Code> =
        faults(&["--gapps", "allow"], &[DATABASE, &env]).into_iter().map(|fault| fault.code).collect();
    assert_eq!(found, [Code::InputUnknown, Code::InputUnknown, Code::InputInvalid]);
}

#[test]
fn the_token_must_be_evaluated_by_a_runner() {
    let token = |env: &[(&str, &str)]| run(&[], &[DATABASE, env]).report.token;
    assert_eq!(token(&[("INPUT_GITHUB-TOKEN", "${{ github.token }}")]), None);
    assert_eq!(token(&[("INPUT_GITHUB-TOKEN", "ghs_x")]), Some(Secret::new("ghs_x")));
    assert_eq!(token(&[("GITHUB_TOKEN", "ghp_x")]), Some(Secret::new("ghp_x")));
}

#[test]
fn a_comment_without_a_token_is_a_warning() {
    let invocation = run(&["--comment", "always"], &[DATABASE]);
    assert!(
        invocation.settings.is_ok() && invocation.warnings[0].cause.contains("`github-token`"),
        "{:?}",
        invocation.warnings
    );
}

#[test]
fn the_key_of_the_comment_is_the_environment_or_the_database() {
    let key = |args: &[&str], env: &[&[(&str, &str)]]| run(args, env).report.comment_key;
    assert_eq!(key(&[], &[DATABASE]).as_deref(), Some("shop"));
    assert_eq!(key(&["--environment", "prod"], &[DATABASE]).as_deref(), Some("prod"));
    assert_eq!(key(&["--environment", "prod", "--comment-key", "eu"], &[DATABASE]).as_deref(), Some("eu"));
    let fault = only_fault(&["--comment-key", &"x".repeat(101)], &[DATABASE]);
    assert!(fault.cause.contains("`comment-key`") && fault.cause.contains("is too long"), "{fault}");
}

#[test]
fn invalid_inputs_leave_the_settings_of_the_comment() {
    let invalid = |env: &[&[(&str, &str)]]| {
        let invocation = run(&["plan", "--comment", "plan", "--timeout", "soon"], env);
        assert!(invocation.settings.is_err());
        invocation.report
    };
    let github = invalid(&[DATABASE]);
    assert_eq!((github.comment, github.comment_key.as_deref()), (CommentPolicy::Plan, Some("shop")));
    // On a pull request from a fork, the secrets are empty.
    assert_eq!(invalid(&[]).comment_key, None);
    assert_eq!(run(&["--comment", "sometimes"], &[DATABASE]).report.comment, CommentPolicy::Never);
}

#[test]
fn the_webhook_comes_from_with_or_from_a_variable_and_is_hidden_in_its_parts() {
    const TOKEN: &str = "c4n4ry-0123456789-abcdefghij";
    let url = |host: &str| format!("https://{host}/services/{TOKEN}");
    let webhook = |invocation: &Invocation| {
        invocation.report.notification.as_ref().map(|found| found.webhook.url().expose().to_owned())
    };
    let (given, variable) = (url("a.example"), url("b.example"));
    let variables = [("BASTION_MIGRATE_NOTIFY", "https://c.example/x"), ("DEV_BASTION_MIGRATE_NOTIFY", &*variable)];
    let both = run(&["--environment", "dev"], &[ENOUGH, &variables, &[("INPUT_NOTIFY", &given)]]);
    assert_eq!(webhook(&both), Some(given));
    assert!(both.secrets.iter().any(|secret| secret.expose() == TOKEN), "a part of the URL is a secret, too");
    let by_variable = run(&["--environment", "dev"], &[ENOUGH, &variables]);
    assert_eq!(webhook(&by_variable).as_ref(), Some(&variable));
    let invalid = run(&["--timeout", "soon"], &[ENOUGH, &variables]);
    assert!(invalid.settings.is_err() && webhook(&invalid).is_some(), "a run with wrong inputs is told, too");
    let (_directory, path) = workspace(&format!("defaults: {{ notify: {{ url: 'https://d.example/{TOKEN}' }} }}"));
    let filed = run(&[], &[ENOUGH, &[("GITHUB_WORKSPACE", &path)]]);
    assert!(filed.secrets.iter().any(|secret| secret.expose() == TOKEN));
    assert!(!format!("{:?}", filed.settings).contains(TOKEN));
}

#[test]
fn the_after_care_is_a_list_of_words_in_the_workflow_and_in_the_file() {
    use crate::settings::AftercareTask::{Analyze, Report};
    assert!(settings(&[], &[ENOUGH]).aftercare.is_empty());
    let (_directory, path) = workspace("defaults: { aftercare: 'analyze, report' }");
    let filed = settings(&["status"], &[ENOUGH, &[("GITHUB_WORKSPACE", &path)]]);
    assert_eq!(filed.aftercare.into_iter().collect::<Vec<_>>(), [Analyze, Report]);
    let server = [
        ("INPUT_EXECUTOR", "server"),
        ("INPUT_RUN", "true"),
        ("INPUT_SSH-HOST", "h"),
        ("INPUT_SSH-PASSWORD", "abc"),
        ("INPUT_SSH-USER", "u"),
    ];
    let fault = only_fault(&["--aftercare", "report"], &[&server]);
    assert!(fault.cause.contains("`aftercare` (from the command line) looks after the database"), "{fault:?}");
}

#[test]
fn parameters_of_the_url_without_effect_are_warnings() {
    let invocation = run(&[], &[&[("DATABASE_URL", "postgres://u@h/db?frobnicate=1&pgbouncer=true")]]);
    assert_eq!(invocation.warnings.len(), 1, "{:?}", invocation.warnings);
    assert!(invocation.settings.is_ok());
}

#[test]
fn the_migrations_are_found_under_every_path_of_the_workspace() {
    let actions = [("GITHUB_ACTIONS", "true"), ("GITHUB_WORKSPACE", "/github/workspace")];
    let sql = |path| settings(&["--migrations", path], &[DATABASE, &actions]).sql;
    for path in ["db/migrations", "./db/migrations/", "/__w/r/r/db/migrations", "/home/runner/work/r/r/db/migrations"] {
        assert_eq!(sql(path).migrations, "db/migrations", "{path}");
        assert_eq!(sql(path).directory, Path::new("/github/workspace/db/migrations"), "{path}");
    }
}

#[test]
fn a_value_is_rejected_with_its_source_and_the_possible_values() {
    let fault = only_fault(&[], &[DATABASE, &[("INPUT_OUT-OF-ORDER", "sometimes")]]);
    assert_eq!(
        fault.cause,
        "`out-of-order` (from the workflow's `with:`) is `sometimes`: it is not one of the accepted values"
    );
    assert_eq!(fault.fix, "set `out-of-order` to `refuse` or `allow`");
    let fault = only_fault(&["--executor", "cluster"], &[DATABASE]);
    assert_eq!(fault.fix, "set `executor` to `sql`, `image` or `server`");
    let fault = only_fault(&["--expect-plan", "yes"], &[DATABASE]);
    assert!(fault.fix.contains("`plan-digest`"), "{}", fault.fix);
}

#[test]
fn a_long_value_is_not_repeated() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----";
    let fault = only_fault(&[], &[ENOUGH, &[("INPUT_SSH-HOST", key)]]);
    assert!(!fault.cause.contains("abc"), "{}", fault.cause);
}

#[test]
fn a_value_that_is_not_utf_8_is_a_fault_and_no_panic() {
    let env = vec![
        ("DATABASE_URL".into(), "postgres://u@h/db".into()),
        ("DATABASE_PASSWORD".into(), OsString::from_vec(vec![0xe9])),
        ("OTHER".into(), OsString::from_vec(vec![0xe9])),
    ];
    let StartMode::Run(invocation) = read_start_mode(vec!["bastion-migrate".into(), "migrate".into()], env) else {
        panic!("no run")
    };
    let faults = invocation.settings.unwrap_err();
    assert!(faults.len() == 1 && faults[0].cause.contains("`DATABASE_PASSWORD`"), "{faults:?}");
}

#[test]
fn help_is_a_text_even_when_nothing_is_configured() {
    let StartMode::Print { text, exit } = read_start_mode(vec!["bastion-migrate".into(), "--help".into()], Vec::new())
    else {
        panic!("a run")
    };
    assert!(text.contains("--migrations") && exit == 0, "{text}");
}

#[test]
fn the_bare_program_shows_its_help_unless_a_workflow_or_inputs_exist() {
    let is_run = |env: &[(&str, &str)]| {
        let env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        match read_start_mode(vec!["bastion-migrate".into()], env) {
            StartMode::Print { text, exit } => {
                assert!(text.contains("Nothing was done") && exit == 2, "{text}");
                false
            }
            _ => true,
        }
    };
    assert!(!is_run(&[("DATABASE_URL", "postgres://u@db/d"), ("INPUT_TAG", "v1")]));
    assert!(
        is_run(&[("GITHUB_ACTIONS", "true")])
            && is_run(&[("INPUT_COMMAND", "plan")])
            && is_run(&[("INPUT_SSH_HOST", "h")])
    );
}

#[test]
fn the_example_configuration_and_a_few_secrets_are_enough() {
    let (_workspace, path) = workspace(include_str!("../../examples/config/bastion-migrate.yml"));
    let env = [
        ("GITHUB_WORKSPACE", path.as_str()),
        ("SSH_PASSWORD", "p"),
        ("PROD_DATABASE_USER", "app"),
        ("PROD_DB_PASSWORD", "p\n"),
    ];
    let invocation = run(&["plan", "--environment", "prod"], &[&env]);
    let settings = invocation.settings.unwrap();
    assert_eq!(settings.required_database().unwrap().password, Some(Secret::new("p")));
    assert_eq!(
        (settings.required_database().unwrap().port, settings.required_database().unwrap().sslmode),
        (25060, SslMode::VerifyFull)
    );
    assert_eq!((settings.sql.gaps, settings.safety.lock_timeout), (Policy::Refuse, Duration::from_secs(2)));
    assert_eq!((settings.command, invocation.report.comment), (Command::Plan, CommentPolicy::Plan));
    assert!(settings.route.unwrap().known_hosts.unwrap().starts_with("bastion.example.com ssh-ed25519 "));
}

#[test]
fn a_key_keeps_its_last_line_break() {
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let login = route(&[("INPUT_SSH-PRIVATE-KEY", &key), ("INPUT_SSH-PASSWORD", "pass\r\n")]).login;
    assert!(key.ends_with("-----\n"));
    assert_eq!((login.key, login.password), (Some(Secret::new(key)), Some(Secret::new("pass"))));
}

#[test]
fn the_variable_for_the_host_key_is_the_one_that_the_workflow_names() {
    let pin_variable = |env: &[(&str, &str)]| run(&[], &[ENOUGH, env]).pin_variable;
    let dev = ("INPUT_ENVIRONMENT", "dev-backend");
    // A variable that does not exist yet is empty.
    assert_eq!(pin_variable(&[dev, ("DEV_SSH_KNOWN_HOSTS", "")]).as_deref(), Some("DEV_SSH_KNOWN_HOSTS"));
    let both = [dev, ("DEV_SSH_KNOWN_HOSTS", ""), ("DEV_BACKEND_SSH_KNOWN_HOSTS", "")];
    assert_eq!(pin_variable(&both).as_deref(), Some("DEV_BACKEND_SSH_KNOWN_HOSTS"));
    for other in [&[dev][..], &[dev, ("PROD_SSH_KNOWN_HOSTS", "")], &[("DEV_SSH_KNOWN_HOSTS", "")]] {
        assert_eq!(pin_variable(other), None, "{other:?}");
    }
}
