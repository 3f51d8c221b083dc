//! Mistakes in inputs and secrets, as the whole program reports them: all in one run, before any connection.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        postgres::{PASSWORD, ROLE},
        sshd::{Sshd, SshdOptions, keygen},
    },
    leak,
    runner::Log,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::{fs, process::Output};

const USERS: &str = "create table users (id int);\n";

/// Password with every character that ends a part of a URL.
const HARD_PASSWORD: &str = "p@ss:w/ord#%";

/// A step through the bastion, with one file to apply.
fn migration(lab: &Lab) -> Action<'_> {
    Action::new(lab).file("migrations/0001_users.sql", USERS)
}

/// A step without a bastion, with one file to apply.
fn direct(lab: &Lab) -> Action<'_> {
    Action::direct(lab).file("migrations/0001_users.sql", USERS)
}

/// Expects the inputs to be rejected with these texts in the log, without a connection and without a change.
fn assert_refused(lab: &Lab, action: Action<'_>, code: &'static str, texts: &[&str]) {
    fails_unchanged(lab, action, code, texts).done();
}

fn fails_unchanged(lab: &Lab, action: Action<'_>, code: &'static str, texts: &[&str]) -> Finished {
    let finished = action.run().fails(code, 2).never_logs("  database  ").never_logs("  bastion   ");
    assert_eq!(lab.database.sql("select count(*) from pg_namespace where nspname = 'bastion_migrate'"), "0");
    texts.iter().fold(finished, |finished, text| finished.logs(text))
}

fn assert_applied(action: Action<'_>) {
    action.run().succeeds().applied(["0001_users"]).done();
}

#[test]
fn a_job_without_secrets_gets_one_report_of_all_that_is_missing() {
    let lab = Lab::new();
    // The workflow of the README in a pull request from a fork.
    let fork = direct(&lab).input("database-url", "");
    let texts = ["`database-url`", "`ssh-host`", "`database-host`, `database-user` and `database-name`", "fork"];
    assert_refused(&lab, fork, "input-missing", &texts);
    // The same with a bastion whose address is not a secret.
    let half = migration(&lab).input("database-url", "").input("ssh-private-key", "").input("ssh-user", "");
    fails_unchanged(&lab, half, "input-missing", &["maps the secret by its name", "`environment:`", "`database-url`"])
        .error("`ssh-user` has no value; neither `ssh-private-key` nor `ssh-password` has a value; ")
        .done();
}

#[test]
fn a_key_without_a_bastion_does_not_select_a_direct_connection() {
    let lab = Lab::new();
    let texts = ["`ssh-host` has no value although `ssh-user`", "fix: set the input"];
    assert_refused(&lab, migration(&lab).input("ssh-host", ""), "input-missing", &texts);
}

#[test]
fn an_invalid_key_is_reported_with_what_it_is_instead() {
    let lab = Lab::new();
    let key = lab.bastion.key();
    let lines: Vec<&str> = key.expose().lines().collect();
    let cut = lines[..lines.len() - 2].join("\n");
    let public = lab.bastion.host_key("ed25519");
    for (pasted, cause, fix) in [
        (public.as_str(), "it is a public key", "the one whose name does not end in .pub"),
        (&cut, "its last line is missing", "the whole private key file"),
        ("/home/me/.ssh/id_ed25519", "it is the path of a file", "the whole private key file"),
    ] {
        let action = migration(&lab).secret("ssh-private-key", pasted);
        assert_refused(&lab, action, "key-invalid", &["`ssh-private-key` can't be used", cause, "fix: ", fix]);
    }
}

#[test]
fn a_key_works_with_changed_line_ends() {
    let lab = Lab::new();
    let key = lab.bastion.key();
    assert_applied(migration(&lab).secret("ssh-private-key", key.expose().replace('\n', "\r\n")));
    migration(&lab).secret("ssh-private-key", key.expose().trim_end()).run().nothing_to_do().done();
}

#[test]
fn a_missing_or_wrong_passphrase_is_reported_before_connecting() {
    let key = vec!["-t", "ed25519", "-N", "open sesame"];
    let lab = Lab::new().behind(Sshd::start(&SshdOptions { user_key: key, ..SshdOptions::default() }));
    let fix = "fix: set `ssh-passphrase` to the key's passphrase";
    assert_refused(
        &lab,
        migration(&lab),
        "key-passphrase",
        &["`ssh-private-key` is encrypted", "`ssh-passphrase` is empty", fix],
    );
    let wrong = migration(&lab).secret("ssh-passphrase", "open barley");
    assert_refused(&lab, wrong, "key-passphrase", &["`ssh-passphrase` does not open `ssh-private-key`", fix]);
    assert_applied(migration(&lab).secret("ssh-passphrase", "open sesame"));
}

#[test]
fn an_unreadable_pin_is_reported() {
    let lab = Lab::new();
    let key = lab.bastion.host_key("ed25519");
    for (known_hosts, fingerprint, texts) in [
        ("the bastion's key", "", ["`ssh-known-hosts`", "ssh-keyscan"]),
        // The server's public key file, which has no host name.
        (key.as_str(), "", ["`ssh-known-hosts`", "ssh-keyscan"]),
        ("", "16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", ["`ssh-fingerprint`", "`ssh-keygen -lf`"]),
        ("", "SHA256:short", ["`ssh-fingerprint`", "`ssh-keygen -lf`"]),
    ] {
        let action = migration(&lab).input("ssh-known-hosts", known_hosts).input("ssh-fingerprint", fingerprint);
        assert_refused(&lab, action, "pin-invalid", &texts);
    }
}

#[test]
fn a_password_that_breaks_its_url_is_not_logged() {
    let lab = Lab::new();
    let url = |password: &str| format!("postgres://app:{password}@localhost/shop");
    for (password, texts) in [
        ("quite@hidden", ["`@`", "%40"]),
        ("quite/hidden", ["`/`", "%2F"]),
        ("quite#hidden", ["`#`", "%23"]),
        ("quite?hidden", ["`?`", "%3F"]),
        ("quite hidden", ["space", "%20"]),
        ("quite%zzhidden", ["`%`", "%25"]),
        (HARD_PASSWORD, ["`@`", "%40"]),
    ] {
        let action = direct(&lab).secret("database-password", password).input("database-password", "");
        let action = action.secret("database-url", url(password));
        let finished = fails_unchanged(&lab, action, "database-url-invalid", &texts).logs("database-password");
        assert!(!Log::read(&finished.log).without_masks.contains("hidden"), "{}", finished.log);
        finished.done();
    }
    for (broken, word) in [
        ("\"postgres://app:x1x2x3@localhost/shop\"", "quotation marks"),
        ("mysql://app:x1x2x3@localhost/shop", "does not begin with `postgres://`"),
        ("localhost:5432", "has no `://`"),
        ("postgres://app:x1x2x3@one,two/shop", "several hosts"),
        ("postgres://app:x1x2x3@localhost:port/shop", "port"),
    ] {
        let action = direct(&lab).secret("database-password", "x1x2x3").input("database-password", "");
        assert_refused(&lab, action.secret("database-url", broken), "database-url-invalid", &["`database-url`", word]);
    }
}

#[test]
fn a_url_and_a_part_that_contradict_each_other_are_named() {
    let lab = Lab::new();
    for part in ["database-host", "database-name", "database-user", "database-port"] {
        let action = direct(&lab).input(part, "4711");
        let named = format!("`{part}` (from the workflow's `with:`)");
        assert_refused(&lab, action, "input-invalid", &["`database-url` (from the workflow's `with:`) and `", &named]);
    }
    let action = direct(&lab).secret("database-password", "another-password");
    assert_refused(&lab, action, "input-invalid", &["`database-password`", "contradict each other"]);
}

#[test]
fn faults_of_different_inputs_are_reported_together() {
    let lab = Lab::new();
    let action = migration(&lab)
        .secret("ssh-private-key", "ssh-ed25519 AAAA")
        .input("ssh-port", "70000")
        .input("ssh-known-hosts", "nonsense")
        .input("connect-timeout", "soon")
        .input("command", "deploy")
        .input("gaps", "maybe");
    fails_unchanged(&lab, action, "input-invalid", &["fix: set `gaps` to `refuse` or `allow`"])
        .error("`command`")
        .error("`ssh-port`")
        .error("`ssh-private-key`")
        .error("`ssh-known-hosts`")
        .error("`connect-timeout`")
        .error("`gaps`")
        .done();
}

#[test]
fn the_configuration_file_sets_inputs_that_the_workflow_omits() {
    let lab = Lab::new();
    let config =
        "defaults:\n  migrations: nowhere\n  lock-timeout: 7s\nenvironments:\n  dev:\n    migrations: db/sql\n";
    Action::direct(&lab)
        .file(".github/bastion-migrate.yml", config)
        .file(
            "db/sql/0001_settings.sql",
            "create table settings as select current_setting('lock_timeout') as lock_timeout;\n",
        )
        .input("environment", "dev")
        .input("retries", "0")
        .run()
        .succeeds()
        .applied(["0001_settings"])
        .done();
    assert_eq!(lab.database.sql("select lock_timeout from settings"), "7s");
}

#[test]
fn each_mistake_in_the_configuration_file_has_its_own_fault() {
    let lab = Lab::new();
    for (config, code, texts) in [
        (
            "defaults:\n  lock-timout: 7s\n",
            "input-unknown",
            ["`defaults.lock-timout` is not an input", "did you mean `lock-timeout`?"],
        ),
        ("default: {}\n", "input-unknown", ["no section `default`", "did you mean `defaults`?"]),
        (
            "environments: { prod: {} }\n",
            "input-invalid",
            ["no environment `dev`, only `prod`", "correct `environment`"],
        ),
        ("defaults: [\n", "config-invalid", ["is not valid YAML", "correct the YAML"]),
        (
            "defaults:\n  ssh-password: sesame-open\n",
            "config-invalid",
            [
                "`defaults.ssh-password` is a secret",
                "replace the secret, and pass the new one as `ssh-password: ${{ secrets.… }}`",
            ],
        ),
    ] {
        let action = direct(&lab).secret("ssh-password", "sesame-open").input("ssh-password", "");
        let action = action.file("db.yml", config).input("config", "db.yml").input("environment", "dev");
        assert_refused(&lab, action, code, &["`db.yml`", texts[0], texts[1]]);
    }
    let absent = direct(&lab).input("config", "none.yml");
    assert_refused(&lab, absent, "config-invalid", &["`none.yml` can't be read", "actions/checkout"]);
}

#[test]
fn the_first_users_secrets_are_found_by_their_own_names() {
    const SSH_PASSWORD: &str = "Corr3ct horse";
    let config = "PasswordAuthentication yes".to_owned();
    let options = SshdOptions { config, password: Some(SSH_PASSWORD), ..SshdOptions::default() };
    let lab = Lab::new().behind(Sshd::start(&options));
    let port = lab.database.server().port().to_string();
    direct(&lab)
        .input("database-url", "")
        .input("environment", "dev-backend")
        .input("ssh-port", lab.bastion.port.to_string())
        .input("ssh-known-hosts", lab.bastion.known_hosts_line())
        .secret("ssh-password", SSH_PASSWORD)
        .input("ssh-password", "")
        .env("DEV_HOST", "127.0.0.1")
        .env("DEV_USER", lab.bastion.user())
        .env("DEV_SSH_PASSWORD", SSH_PASSWORD)
        .env("DEV_DB_HOST", "localhost")
        .env("DEV_DB_PORT", port)
        .env("DEV_DB_USER", ROLE)
        .env("DEV_DB_PASSWORD", PASSWORD)
        .env("DEV_DB_NAME", lab.database.name())
        .env("PROD_HOST", "prod.invalid")
        .env("HOST", "host.invalid")
        .run()
        .succeeds()
        .applied(["0001_users"])
        .logs("by password")
        .summary("dev-backend")
        .done();
}

#[test]
fn an_environment_reads_only_its_own_secrets() {
    let lab = Lab::new();
    let other_database = "postgres://app@nowhere.invalid/shop";
    let action = || {
        direct(&lab)
            .input("database-url", "")
            .env("PROD_DATABASE_URL", other_database)
            .env("DATABASE_URL", other_database)
    };
    assert_applied(action().input("environment", "dev").env("DEV_DATABASE_URL", lab.database.url()));
    action().input("environment", "DEV").env("DEV_DB_URL", lab.database.url()).run().nothing_to_do().done();
    // For a name of several words the whole name takes precedence.
    let step = action().input("environment", "dev-backend").env("DEV_DATABASE_URL", other_database);
    step.env("DEV_BACKEND_DATABASE_URL", lab.database.url()).run().nothing_to_do().done();
}

#[test]
fn values_of_a_hundred_kilobytes_are_read_or_rejected_but_not_logged() {
    let lab = Lab::new();
    let long = "x".repeat(100 * 1024);
    for (name, code) in [
        ("database-url", "database-url-invalid"),
        ("ssh-private-key", "key-invalid"),
        ("ssh-host", "input-invalid"),
        ("ssh-known-hosts", "pin-invalid"),
        ("timeout", "input-invalid"),
        ("command", "input-invalid"),
        ("expect-plan", "input-invalid"),
    ] {
        let action = migration(&lab).secret(name, long.as_str());
        let finished = fails_unchanged(&lab, action, code, &[&format!("`{name}`")]);
        assert!(Log::read(&finished.log).without_masks.len() < 10_000, "the value is logged: {}", finished.log);
        finished.done();
    }
    // A large known_hosts file with many other lines.
    let others = "# bastion-17.example.com is decommissioned\n".repeat(2_400);
    assert_applied(migration(&lab).input("ssh-known-hosts", others + &lab.bastion.known_hosts_line()));
}

#[test]
fn a_misspelt_input_is_rejected_with_the_likely_name() {
    let lab = Lab::new();
    let (digest, line) = (format!("sha256:{}", "a".repeat(64)), lab.bastion.known_hosts_line());
    for (written, meant, value) in [
        ("expect-plna", "expect-plan", digest.as_str()),
        ("ssh-known-host", "ssh-known-hosts", &line),
        ("time-out", "timeout", "5m"),
    ] {
        let texts = [format!("there is no input `{written}`"), format!("did you mean `{meant}`?")];
        let step = migration(&lab).input(meant, "").input(written, value);
        assert_refused(&lab, step, "input-unknown", &[&texts[0], &texts[1]]);
    }
    // Variables of other steps and jobs, and inputs that the runner allows for every container action.
    assert_applied(
        direct(&lab).input("args", "x").input("version", "7").env("INPUT_TAG", "v1").env("INPUT_ENTRYPOINT", "/x"),
    );
}

/// Runs the program outside GitHub Actions.
#[expect(clippy::disallowed_methods, reason = "starts the program under test")]
fn at_home(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("there is room");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bastion-migrate"));
    command.env_clear().current_dir(home.path()).args(arguments).output().expect("the program is built")
}

fn stdout_of(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn help_and_version_are_printed_without_any_configuration() {
    let help = at_home(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for part in ["bastion-migrate [OPTIONS] [COMMAND]", "--ssh-host", "[default: 30m]", "DATABASE_URL", "DEV_"] {
        assert!(stdout_of(&help).contains(part), "{part}: {}", stdout_of(&help));
    }
    assert!(!stdout_of(&help).contains("--database-url"), "a secret has no flag");
    let version = at_home(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(stdout_of(&version), format!("bastion-migrate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_secret_on_the_command_line_is_rejected_and_not_printed() {
    for (flag, variable) in [("ssh-password", "SSH_PASSWORD"), ("database-url", "DATABASE_URL")] {
        let output = at_home(&["plan", &format!("--{flag}"), "sesame-open"]);
        let log = stdout_of(&output);
        assert_eq!(output.status.code(), Some(2), "{log}");
        for part in ["error[input-invalid]", "puts a secret on the command line", &format!("`{variable}`")] {
            assert!(log.contains(part), "{part}: {log}");
        }
        assert_eq!(leak::find_secret(&log, "sesame-open"), None, "{log}");
    }
    let output = at_home(&["--lock-wiat", "5s"]);
    let log = stdout_of(&output);
    assert!(output.status.code() == Some(2) && log.contains("did you mean `--lock-wait`?"), "{log}");
}

#[test]
fn the_defaults_of_the_action_take_effect() {
    let lab = Lab::new();
    let settings = "create table settings as select current_setting('lock_timeout') || ' ' || current_setting('statement_timeout');\n";
    // `command`, `migrations`, `layout`, `ledger-table` and `gaps` have their defaults.
    let action = || Action::direct(&lab).file("migrations/0002_settings.sql", settings);
    action().file("migrations/0009_users.sql", USERS).run().succeeds().applied(["0002_settings", "0009_users"]).done();
    // `retries` is 3, so a first attempt waits for locks no longer than this.
    assert_eq!(lab.database.sql("select * from settings"), "100ms 0");
    assert_eq!(lab.database.sql("select version from bastion_migrate.ledger order by 1"), "2\n9");
    // `out-of-order` is `refuse`.
    let late = action().file("migrations/0009_users.sql", USERS).file("migrations/0001_late.sql", "select 1;\n");
    late.run().fails("out-of-order", 5).logs("0001_late").done();
    // `summary` can be switched off, and there is no comment by default.
    let quiet = action().file("migrations/0009_users.sql", USERS).input("summary", "false");
    quiet.run().nothing_to_do().never_logs("comment").done();
}

#[test]
fn every_common_form_of_a_url_works() {
    for form in ["postgres://", "postgresql+psycopg2://", "postgresql+asyncpg://", "postgis://"] {
        let lab = Lab::new();
        let url = lab.database.url();
        let (_, rest) = url.split_once("://").expect("a URL");
        assert_applied(direct(&lab).secret("database-url", format!("{form}{rest}")));
    }
    let lab = Lab::new();
    let (port, name) = (lab.database.server().port(), lab.database.name());
    let password = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC);
    let jdbc = format!("jdbc:postgresql://localhost:{port}/{name}?user={ROLE}&password={password}");
    assert_applied(direct(&lab).secret("database-url", jdbc));
}

#[test]
fn the_hardest_password_works_as_it_is_and_percent_encoded() {
    let lab = Lab::new();
    let (port, name) = (lab.database.server().port(), lab.database.name());
    let role = format!("hard_{name}");
    lab.database.sql(&format!("create role {role} login password '{HARD_PASSWORD}' in role {ROLE}"));
    let encoded = utf8_percent_encode(HARD_PASSWORD, NON_ALPHANUMERIC);
    assert_applied(direct(&lab).secret("database-url", format!("postgres://{role}:{encoded}@localhost:{port}/{name}")));
    let url = format!("postgres://{role}@localhost:{port}/{name}");
    let separate = direct(&lab).secret("database-url", url).secret("database-password", HARD_PASSWORD);
    separate.run().nothing_to_do().done();
    let parts = direct(&lab)
        .input("database-url", "")
        .input("database-host", "localhost")
        .input("database-port", port.to_string())
        .input("database-user", role)
        .input("database-name", name)
        .secret("database-password", HARD_PASSWORD);
    parts.run().nothing_to_do().done();
}

#[test]
fn a_new_key_is_read_in_every_format() {
    // The bastion does not know the key: the key is read, and only the login fails.
    let lab = Lab::new();
    let directory = tempfile::tempdir().expect("there is room");
    for (name, arguments) in [("openssh", vec![]), ("pem", vec!["-m", "PEM"]), ("pkcs8", vec!["-m", "PKCS8"])] {
        let path = directory.path().join(name);
        keygen(&path, &[&["-t", "ecdsa", "-N", ""], arguments.as_slice()].concat());
        let key = fs::read_to_string(path).expect("the key was made");
        let action = migration(&lab).secret("ssh-private-key", key);
        action.run().fails("bastion-login", 3).logs("tried: key").done();
    }
}

#[test]
fn a_missing_server_and_other_faults_are_reported_together() {
    let lab = Lab::new();
    let action = direct(&lab)
        .input("database-url", "")
        .input("executor", "server")
        .input("tool", "jango")
        .input("command-prefix", "docker compose run 'web")
        .input("before", "- sql: db/none.sql\n- name: Snapshot\n  run: ./snapshot\n  executor: image\n");
    fails_unchanged(&lab, action, "input-invalid", &["`alembic`, `django`", "or the path of a recipe"])
        .error("`ssh-host` has no value, and `executor: server` runs on the deployment server")
        .error("`tool` (from the workflow's `with:`) is `jango`")
        .error("`command-prefix`")
        .error("`before` (from the workflow's `with:`), step 1 (`db/none.sql`): there is no file")
        .error("step 2 (`Snapshot`): it runs in an image, and neither it nor the input `image` names one")
        .done();
}

#[test]
fn an_invalid_step_is_reported_at_its_line_whatever_its_environment() {
    let lab = Lab::new();
    let config = "\
before:
  - name: Snapshot
    executor: server
    run: ./snapshot
    time-out: 5m
environments:
  dev: {}
  prod:
    after:
      - name: Rights
        sql: db/rights.sql
        when: allways
      - run: 'echo ${{ secrets.TOKEN }}'
        executor: server
";
    let file = ".github/bastion-migrate.yml";
    let action = migration(&lab).file(file, config).input("environment", "dev");
    fails_unchanged(&lab, action, "input-unknown", &["did you mean `timeout`?", "`pass-env`"])
        .annotation(file, 2, "step 1 (`Snapshot`): there is no key `time-out`")
        .annotation(file, 10, "step 1 (`Rights`): `when` is `allways`")
        .annotation(file, 13, "has an expression")
        .done();
}

#[test]
fn impossible_steps_are_rejected() {
    let lab = Lab::new();
    for (list, written, texts) in [
        (
            "after",
            "- run: ./x\n",
            ["names no executor", "add `executor: server` to it, or `executor: image` and `image`"],
        ),
        ("after", "run: ./x\n", ["it is not a list of steps", "- run: "]),
        ("after", "- run: [x\n", ["is not valid YAML", "docs/steps.md"]),
        ("steps", "- run: ./x\n  executor: server\n", ["`executor: sql` has no tool", "`before` or `after`"]),
        ("before", "- sql: x.sql\n  run: ./x\n", ["it has `run` and `sql`", "make two steps of it"]),
        ("health", "retries: 3\n", ["it has no `run`", "add `run` and `executor`"]),
    ] {
        assert_refused(
            &lab,
            migration(&lab).input(list, written),
            "input-invalid",
            &[&format!("`{list}`"), texts[0], texts[1]],
        );
    }
}

#[test]
fn rollback_and_baseline_are_rejected_where_they_are_impossible() {
    let lab = Lab::new();
    let texts = ["`command: rollback` needs the migration to return to", "or to 0 to undo all"];
    assert_refused(&lab, migration(&lab).input("command", "rollback"), "input-missing", &texts);
    let tool =
        |command: &str| migration(&lab).input("executor", "image").input("image", "app").input("command", command);
    let texts = ["`tool: prisma` does not support `command: rollback`", "fix: "];
    assert_refused(&lab, tool("rollback").input("tool", "prisma").input("target", "x"), "input-invalid", &texts);
    let texts = ["`target` has no value: `command: rollback` needs the migration to return to", "fix: set `target`"];
    assert_refused(&lab, tool("rollback").input("tool", "django"), "input-missing", &texts);
    let texts = [
        "`target` (from the workflow's `with:`) has a value, and `command: migrate` with a tool covers all migrations",
        "`run`",
    ];
    assert_refused(&lab, tool("migrate").input("tool", "django").input("target", "shop 0001"), "input-invalid", &texts);
}

#[test]
fn missing_secrets_are_reported_with_the_names_that_were_looked_up() {
    let lab = Lab::new();
    let action = direct(&lab)
        .input("database-url", "")
        .input("environment", "uat2-backend")
        .env("UTA_HOST", "127.0.0.1")
        .env("UTA_DB_HOST", "localhost");
    let texts = ["`UAT2_BACKEND_SSH_HOST`", "`UAT_HOST`", "`UAT_SSH_PASSWORD`", "`UAT_DATABASE_URL`", "`UAT_DB_NAME`"];
    assert_refused(&lab, action, "input-missing", &texts);
    // The right name is found, and `UAT_` serves every environment of that kind.
    let named = direct(&lab).input("database-url", "").input("environment", "uat2-backend");
    assert_applied(named.env("UAT_DATABASE_URL", lab.database.url()));
}

#[test]
fn a_command_that_hides_failures_causes_a_warning() {
    let lab = Lab::new();
    let config = "after:\n  - name: Fixtures\n    executor: server\n    run: ./seed || true\n";
    // `plan` runs no step, but shows the warning.
    migration(&lab)
        .file(".github/bastion-migrate.yml", config)
        .input("command", "plan")
        .run()
        .has_pending()
        .pending(["0001_users"])
        .warning("step 1 (`Fixtures`): `|| true` hides failures")
        .logs("`optional: true`")
        .done();
}
