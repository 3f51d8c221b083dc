//! What can be wrong with inputs and secrets, as somebody meets it who has just pasted them: everything that is wrong is
//! told at once, before anything is connected to.

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

/// A password with every character that ends a part of a URL.
const HARD_PASSWORD: &str = "p@ss:w/ord#%";

/// Through the bastion, with one file to apply.
fn migration(lab: &Lab) -> Action<'_> {
    Action::new(lab).file("migrations/0001_users.sql", USERS)
}

/// The same without a bastion.
fn direct(lab: &Lab) -> Action<'_> {
    Action::direct(lab).file("migrations/0001_users.sql", USERS)
}

/// The inputs are refused with these words, nothing is connected to, and nothing is changed.
fn refused(lab: &Lab, action: Action<'_>, code: &'static str, words: &[&str]) {
    said(lab, action, code, words).done();
}

fn said(lab: &Lab, action: Action<'_>, code: &'static str, words: &[&str]) -> Finished {
    let finished = action.run().fails(code, 2).never_says("  database  ").never_says("  bastion   ");
    assert_eq!(lab.database.sql("select count(*) from pg_namespace where nspname = 'bastion_migrate'"), "0");
    words.iter().fold(finished, |finished, word| finished.says(word))
}

fn applied(action: Action<'_>) {
    action.run().succeeds().applied(["0001_users"]).done();
}

#[test]
fn a_job_without_secrets_is_told_all_that_is_missing_at_once() {
    let lab = Lab::new();
    // As the workflow of the README looks in a pull request from a fork.
    let fork = direct(&lab).input("database-url", "");
    let words = ["`database-url`", "`ssh-host`", "`database-host`, `database-user` and `database-name`", "fork"];
    refused(&lab, fork, "input-missing", &words);
    // The same with a bastion whose address is no secret.
    let half = migration(&lab).input("database-url", "").input("ssh-private-key", "").input("ssh-user", "");
    said(&lab, half, "input-missing", &["secrets: inherit", "`environment:`", "`database-url`"])
        .error("`ssh-user` has no value; neither `ssh-private-key` nor `ssh-password` has a value; ")
        .done();
}

#[test]
fn a_key_without_a_bastion_is_no_wish_for_a_direct_connection() {
    let lab = Lab::new();
    let words = ["`ssh-host` has no value although `ssh-user`", "fix: set the input"];
    refused(&lab, migration(&lab).input("ssh-host", ""), "input-missing", &words);
}

#[test]
fn a_key_that_is_none_is_told_by_what_it_is_instead() {
    let lab = Lab::new();
    let key = lab.bastion.key();
    let lines: Vec<&str> = key.expose().lines().collect();
    let cut = lines[..lines.len() - 2].join("\n");
    let in_one_line = lines.join(" ");
    let public = lab.bastion.host_key("ed25519");
    for (pasted, cause, fix) in [
        (public.as_str(), "it is a public key", "the one whose name does not end in .pub"),
        (&cut, "its last line is missing", "the whole private key file"),
        (&in_one_line, "its line breaks are lost", "the whole private key file"),
        ("/home/me/.ssh/id_ed25519", "it is the path of a file", "the whole private key file"),
    ] {
        let action = migration(&lab).secret("ssh-private-key", pasted);
        refused(&lab, action, "key-invalid", &["`ssh-private-key` can't be used", cause, "fix: ", fix]);
    }
}

#[test]
fn a_key_works_however_a_form_has_changed_its_line_ends() {
    let lab = Lab::new();
    let key = lab.bastion.key();
    applied(migration(&lab).secret("ssh-private-key", key.expose().replace('\n', "\r\n")));
    migration(&lab).secret("ssh-private-key", key.expose().trim_end()).run().nothing_to_do().done();
}

#[test]
fn a_passphrase_that_is_missing_or_wrong_is_told_before_the_network() {
    let key = vec!["-t", "ed25519", "-N", "open sesame"];
    let lab = Lab::new().behind(Sshd::start(&SshdOptions { user_key: key, ..SshdOptions::default() }));
    let fix = "fix: set `ssh-passphrase` to the key's passphrase";
    refused(
        &lab,
        migration(&lab),
        "key-passphrase",
        &["`ssh-private-key` is encrypted", "`ssh-passphrase` is empty", fix],
    );
    let wrong = migration(&lab).secret("ssh-passphrase", "open barley");
    refused(&lab, wrong, "key-passphrase", &["`ssh-passphrase` does not open `ssh-private-key`", fix]);
    applied(migration(&lab).secret("ssh-passphrase", "open sesame"));
}

#[test]
fn a_pin_that_can_not_be_read_is_told_as_that() {
    let lab = Lab::new();
    let key = lab.bastion.host_key("ed25519");
    for (known_hosts, fingerprint, words) in [
        ("the bastion's key", "", ["`ssh-known-hosts`", "ssh-keyscan"]),
        // The file of the server itself, without a name in front.
        (key.as_str(), "", ["`ssh-known-hosts`", "ssh-keyscan"]),
        ("", "16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", ["`ssh-fingerprint`", "`ssh-keygen -lf`"]),
        ("", "SHA256:short", ["`ssh-fingerprint`", "`ssh-keygen -lf`"]),
    ] {
        let action = migration(&lab).input("ssh-known-hosts", known_hosts).input("ssh-fingerprint", fingerprint);
        refused(&lab, action, "pin-invalid", &words);
    }
}

#[test]
fn a_password_that_breaks_its_url_is_not_shown() {
    let lab = Lab::new();
    let url = |password: &str| format!("postgres://app:{password}@localhost/shop");
    for (password, words) in [
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
        let finished = said(&lab, action, "database-url-invalid", &words).says("database-password");
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
        refused(&lab, action.secret("database-url", broken), "database-url-invalid", &["`database-url`", word]);
    }
}

#[test]
fn a_url_and_a_part_that_contradict_each_other_are_named() {
    let lab = Lab::new();
    for part in ["database-host", "database-name", "database-user", "database-port"] {
        let action = direct(&lab).input(part, "4711");
        let named = format!("`{part}` (from the workflow's `with:`)");
        refused(&lab, action, "input-invalid", &["`database-url` (from the workflow's `with:`) and `", &named]);
    }
    let action = direct(&lab).secret("database-password", "another-password");
    refused(&lab, action, "input-invalid", &["`database-password`", "contradict each other"]);
}

#[test]
fn faults_of_different_inputs_come_together() {
    let lab = Lab::new();
    let action = migration(&lab)
        .secret("ssh-private-key", "ssh-ed25519 AAAA")
        .input("ssh-port", "70000")
        .input("ssh-known-hosts", "nonsense")
        .input("connect-timeout", "soon")
        .input("command", "deploy")
        .input("gaps", "maybe");
    said(&lab, action, "input-invalid", &["fix: set `gaps` to `refuse` or `allow`"])
        .error("`command`")
        .error("`ssh-port`")
        .error("`ssh-private-key`")
        .error("`ssh-known-hosts`")
        .error("`connect-timeout`")
        .error("`gaps`")
        .done();
}

#[test]
fn the_configuration_file_says_what_the_workflow_leaves_out() {
    let lab = Lab::new();
    let config =
        "defaults:\n  migrations: nowhere\n  lock-timeout: 7s\nenvironments:\n  dev:\n    migrations: db/sql\n";
    Action::direct(&lab)
        .file(".github/bastion-migrate.yml", config)
        .file("db/sql/0001_told.sql", "create table told as select current_setting('lock_timeout') as lock_timeout;\n")
        .input("environment", "dev")
        .input("retries", "0")
        .run()
        .succeeds()
        .applied(["0001_told"])
        .done();
    assert_eq!(lab.database.sql("select lock_timeout from told"), "7s");
}

#[test]
fn a_configuration_file_is_refused_by_what_is_wrong_in_it() {
    let lab = Lab::new();
    for (config, code, words) in [
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
        ("defaults: [\n", "config-invalid", ["it is not valid YAML", "correct the file"]),
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
        refused(&lab, action, code, &["`db.yml`", words[0], words[1]]);
    }
    let absent = direct(&lab).input("config", "none.yml");
    refused(&lab, absent, "config-invalid", &["`none.yml` can't be read", "actions/checkout"]);
}

#[test]
fn the_secrets_of_the_first_users_migrate_under_their_own_names() {
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
        .says("by password")
        .summary("dev-backend")
        .done();
}

#[test]
fn an_environment_reads_its_own_secrets_and_nobody_else_s() {
    let lab = Lab::new();
    let nowhere = "postgres://app@nowhere.invalid/shop";
    let action =
        || direct(&lab).input("database-url", "").env("PROD_DATABASE_URL", nowhere).env("DATABASE_URL", nowhere);
    applied(action().input("environment", "dev").env("DEV_DATABASE_URL", lab.database.url()));
    action().input("environment", "DEV").env("DEV_DB_URL", lab.database.url()).run().nothing_to_do().done();
    // Of several words the whole name comes first.
    let words = action().input("environment", "dev-backend").env("DEV_DATABASE_URL", nowhere);
    words.env("DEV_BACKEND_DATABASE_URL", lab.database.url()).run().nothing_to_do().done();
}

#[test]
fn values_of_a_hundred_kilobytes_are_read_or_refused_and_not_repeated() {
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
        let finished = said(&lab, action, code, &[&format!("`{name}`")]);
        assert!(Log::read(&finished.log).without_masks.len() < 10_000, "the value is repeated: {}", finished.log);
        finished.done();
    }
    // A whole known_hosts file of a company.
    let others = "# bastion-17.example.com is decommissioned\n".repeat(2_400);
    applied(migration(&lab).input("ssh-known-hosts", others + &lab.bastion.known_hosts_line()));
}

#[test]
fn a_misspelt_input_is_refused_with_the_name_that_was_meant() {
    let lab = Lab::new();
    let (digest, line) = (format!("sha256:{}", "a".repeat(64)), lab.bastion.known_hosts_line());
    for (written, meant, value) in [
        ("expect-plna", "expect-plan", digest.as_str()),
        ("ssh-known-host", "ssh-known-hosts", &line),
        ("time-out", "timeout", "5m"),
    ] {
        let words = [format!("there is no input `{written}`"), format!("did you mean `{meant}`?")];
        let step = migration(&lab).input(meant, "").input(written, value);
        refused(&lab, step, "input-unknown", &[&words[0], &words[1]]);
    }
    // What other steps and jobs call so, and what the runner itself allows of every container action.
    applied(direct(&lab).input("args", "x").input("version", "7").env("INPUT_TAG", "v1").env("INPUT_ENTRYPOINT", "/x"));
}

/// The program as somebody starts it at home.
#[expect(clippy::disallowed_methods, reason = "starts the program that is tested")]
fn at_home(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("there is room");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bastion-migrate"));
    command.env_clear().current_dir(home.path()).args(arguments).output().expect("the program is built")
}

fn printed(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn help_and_version_are_printed_without_any_configuration() {
    let help = at_home(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for part in ["bastion-migrate [OPTIONS] [COMMAND]", "--ssh-host", "[default: 30m]", "DATABASE_URL", "DEV_"] {
        assert!(printed(&help).contains(part), "{part}: {}", printed(&help));
    }
    assert!(!printed(&help).contains("--database-url"), "a secret is no flag");
    let version = at_home(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(printed(&version), format!("bastion-migrate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    for (flag, variable) in [("ssh-password", "SSH_PASSWORD"), ("database-url", "DATABASE_URL")] {
        let output = at_home(&["plan", &format!("--{flag}"), "sesame-open"]);
        let said = printed(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for part in ["error[input-invalid]", "puts a secret on the command line", &format!("`{variable}`")] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(leak::found(&said, "sesame-open"), None, "{said}");
    }
    let output = at_home(&["--lock-wiat", "5s"]);
    let said = printed(&output);
    assert!(output.status.code() == Some(2) && said.contains("did you mean `--lock-wait`?"), "{said}");
}

#[test]
fn the_defaults_of_the_action_have_their_effect() {
    let lab = Lab::new();
    let settings =
        "create table told as select current_setting('lock_timeout') || ' ' || current_setting('statement_timeout');\n";
    // No `command`, `migrations`, `layout`, `ledger-table` or `gaps` is given.
    let action = || Action::direct(&lab).file("migrations/0002_told.sql", settings);
    action().file("migrations/0009_users.sql", USERS).run().succeeds().applied(["0002_told", "0009_users"]).done();
    // `retries` is 3, so a first try waits for locks no longer than this.
    assert_eq!(lab.database.sql("select * from told"), "100ms 0");
    assert_eq!(lab.database.sql("select version from bastion_migrate.ledger order by 1"), "2\n9");
    // `out-of-order` is `refuse`.
    let late = action().file("migrations/0009_users.sql", USERS).file("migrations/0001_late.sql", "select 1;\n");
    late.run().fails("out-of-order", 5).says("0001_late").done();
    // `summary` can be switched off, and nothing is commented without being asked.
    let quiet = action().file("migrations/0009_users.sql", USERS).input("summary", "false");
    quiet.run().nothing_to_do().never_says("comment").done();
}

#[test]
fn every_usual_form_of_a_url_migrates() {
    for form in ["postgres://", "postgresql+psycopg2://", "postgresql+asyncpg://", "postgis://"] {
        let lab = Lab::new();
        let url = lab.database.url();
        let (_, rest) = url.split_once("://").expect("a URL");
        applied(direct(&lab).secret("database-url", format!("{form}{rest}")));
    }
    let lab = Lab::new();
    let (port, name) = (lab.database.server().port(), lab.database.name());
    let password = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC);
    let jdbc = format!("jdbc:postgresql://localhost:{port}/{name}?user={ROLE}&password={password}");
    applied(direct(&lab).secret("database-url", jdbc));
}

#[test]
fn the_hardest_password_works_as_it_is_and_percent_encoded() {
    let lab = Lab::new();
    let (port, name) = (lab.database.server().port(), lab.database.name());
    let role = format!("hard_{name}");
    lab.database.sql(&format!("create role {role} login password '{HARD_PASSWORD}' in role {ROLE}"));
    let encoded = utf8_percent_encode(HARD_PASSWORD, NON_ALPHANUMERIC);
    applied(direct(&lab).secret("database-url", format!("postgres://{role}:{encoded}@localhost:{port}/{name}")));
    let url = format!("postgres://{role}@localhost:{port}/{name}");
    let beside = direct(&lab).secret("database-url", url).secret("database-password", HARD_PASSWORD);
    beside.run().nothing_to_do().done();
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
fn a_key_of_a_new_pair_is_read_in_every_form() {
    // Nothing is listening: the key is read, and the bastion is what fails.
    let lab = Lab::new();
    let directory = tempfile::tempdir().expect("there is room");
    for (name, arguments) in [("openssh", vec![]), ("pem", vec!["-m", "PEM"]), ("pkcs8", vec!["-m", "PKCS8"])] {
        let path = directory.path().join(name);
        keygen(&path, &[&["-t", "ecdsa", "-N", ""], arguments.as_slice()].concat());
        let key = fs::read_to_string(path).expect("the key was made");
        let action = migration(&lab).secret("ssh-private-key", key);
        action.run().fails("bastion-login", 3).says("tried: key").done();
    }
}

#[test]
fn a_server_that_is_not_named_and_the_rest_that_is_wrong_are_told_together() {
    let lab = Lab::new();
    let action = direct(&lab)
        .input("database-url", "")
        .input("executor", "server")
        .input("tool", "jango")
        .input("command-prefix", "docker compose run 'web")
        .input("before", "- sql: db/none.sql\n- name: Snapshot\n  run: ./snapshot\n  executor: image\n");
    said(&lab, action, "input-invalid", &["`alembic`, `django`", "or the path of a recipe"])
        .error("`ssh-host` has no value, and `executor: server` runs on the deployment server")
        .error("`tool` (from the workflow's `with:`) is `jango`")
        .error("`command-prefix`")
        .error("`before` (from the workflow's `with:`), step 1 (`db/none.sql`): there is no file")
        .error("step 2 (`Snapshot`): it runs in an image, and neither it nor the input `image` names one")
        .done();
}

#[test]
fn a_step_that_is_wrong_is_told_at_its_line_of_the_file_whichever_environment_it_is_for() {
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
    said(&lab, action, "input-unknown", &["did you mean `timeout`?", "`pass-env`"])
        .annotation(file, 2, "step 1 (`Snapshot`): there is no key `time-out`")
        .annotation(file, 10, "step 1 (`Rights`): `when` is `allways`")
        .annotation(file, 13, "has an expression")
        .done();
}

#[test]
fn steps_that_can_not_be_are_refused() {
    let lab = Lab::new();
    for (list, written, words) in [
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
        refused(
            &lab,
            migration(&lab).input(list, written),
            "input-invalid",
            &[&format!("`{list}`"), words[0], words[1]],
        );
    }
}

#[test]
fn a_way_back_is_asked_of_what_has_one() {
    let lab = Lab::new();
    let words = ["plain SQL files can't be rolled back", "write a new migration"];
    refused(&lab, migration(&lab).input("command", "rollback").input("target", "1"), "input-invalid", &words);
    let words = ["can't be recorded without being applied", "create table if not exists"];
    refused(&lab, migration(&lab).input("command", "baseline"), "input-invalid", &words);
    let tool =
        |command: &str| migration(&lab).input("executor", "image").input("image", "app").input("command", command);
    let words = ["`tool: prisma` does not support `command: rollback`", "fix: "];
    refused(&lab, tool("rollback").input("tool", "prisma").input("target", "x"), "input-invalid", &words);
    let words = ["`target` has no value: `command: rollback` has to know", "fix: set `target`"];
    refused(&lab, tool("rollback").input("tool", "django"), "input-missing", &words);
    let words = [
        "`target` (from the workflow's `with:`) has a value, and `command: migrate` with a tool covers all migrations",
        "`run`",
    ];
    refused(&lab, tool("migrate").input("tool", "django").input("target", "shop 0001"), "input-invalid", &words);
}

#[test]
fn secrets_under_another_environments_name_are_told_by_the_names_that_were_looked_for() {
    let lab = Lab::new();
    let action = direct(&lab)
        .input("database-url", "")
        .input("environment", "uat2-backend")
        .env("UTA_HOST", "127.0.0.1")
        .env("UTA_DB_HOST", "localhost");
    let words = ["`UAT2_BACKEND_SSH_HOST`", "`UAT_HOST`", "`UAT_SSH_PASSWORD`", "`UAT_DATABASE_URL`", "`UAT_DB_NAME`"];
    refused(&lab, action, "input-missing", &words);
    // By the right name they are found, and those of a kind serve each of its environments.
    let named = direct(&lab).input("database-url", "").input("environment", "uat2-backend");
    applied(named.env("UAT_DATABASE_URL", lab.database.url()));
}

#[test]
fn a_failure_that_is_hidden_is_warned_of() {
    let lab = Lab::new();
    let config = "after:\n  - name: Fixtures\n    executor: server\n    run: ./seed || true\n";
    // A look runs no step, and shows the warning all the same.
    migration(&lab)
        .file(".github/bastion-migrate.yml", config)
        .input("command", "plan")
        .run()
        .pends()
        .pending(["0001_users"])
        .warning("step 1 (`Fixtures`): `|| true` hides failures")
        .says("`optional: true`")
        .done();
}
