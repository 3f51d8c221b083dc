//! Tests of the lab's deployment servers, with OpenSSH's own client and without the action.
#![expect(clippy::disallowed_methods, reason = "creates a user as a dead process would have left it")]

use crate::lab::{
    Lab,
    process::run_checked,
    project::Project,
    server::{BACKEND, Credential, Server, tenants},
    venv::{DJANGO_4_2, DJANGO_5_2},
};
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, process::Command};

/// The script that the first users' job runs on their server.
const SCRIPT: &str = r#"
set -euo pipefail
echo "=== Running migrations on deployment server ==="

cd ~/ProjectMeats/backend
echo "Activating virtual environment..."
source ../venv/bin/activate
echo "Running database migrations..."
python manage.py migrate --fake-initial --noinput
echo "✓ Migrations completed successfully"
"#;

#[test]
fn the_first_users_script_migrates_on_a_server() {
    for python in [DJANGO_4_2, DJANGO_5_2] {
        let lab = Lab::new();
        let server = Server::start().project(Project::Plain, &lab.database, python);
        let before = server.snapshot();
        let output = server.shell(SCRIPT).unwrap();
        let lines = [
            "=== Running migrations on deployment server ===",
            "Activating virtual environment...",
            "Running database migrations...",
            "Operations to perform:",
            "  Apply all migrations: carriers, customers, suppliers",
            "Running migrations:",
            "  Applying carriers.0001_initial... OK",
            "✓ Migrations completed successfully",
        ];
        let mut rest = output.lines();
        assert!(lines.iter().all(|expected| rest.any(|line| line == *expected)), "{output}");
        assert!(server.shell(SCRIPT).unwrap().contains("  No migrations to apply.\n"));
        assert_eq!(server.left_behind(&before), [""; 0]);
    }
}

/// The entries of the first users' own troubleshooting guide.
#[test]
fn a_server_reproduces_the_first_users_failures() {
    let lab = Lab::new();
    let complete_server = || Server::with_project(&lab.database);
    let database = lab.database.url();
    let nowhere = Project::Plain.dotenv(&database.replace(&lab.database.server().port().to_string(), "9"));
    let unreadable = complete_server();
    fs::set_permissions(unreadable.path(BACKEND), fs::Permissions::from_mode(0o000)).unwrap();
    let failures = [
        (unreadable, "ProjectMeats/backend: Permission denied"),
        (complete_server().without(BACKEND), "ProjectMeats/backend: No such file or directory"),
        (complete_server().without("ProjectMeats/venv"), "../venv/bin/activate: No such file or directory"),
        (complete_server().without("ProjectMeats/backend/.env"), "KeyError: 'SECRET_KEY'"),
        (complete_server().file("ProjectMeats/backend/.env", nowhere), "port 9 failed: Connection refused"),
    ];
    for (server, message) in failures {
        let output = server.shell(SCRIPT).unwrap_err();
        assert!(output.contains(message), "{message}: {output}");
    }
    assert_eq!(lab.database.contents(), "");
}

#[test]
fn a_server_accepts_only_its_key_or_its_password() {
    let (server, other) = (Server::start(), Server::start());
    let home = format!("{}\n-bash\n", server.login().home().display());
    let log_in = |credential: Credential<'_>| server.shell_with(credential, "echo ~; echo $0");
    let (key, foreign_key) = (server.sshd().key(), other.sshd().key());
    assert_eq!(log_in(Credential::Password(server.login().password())).as_ref(), Ok(&home));
    assert_eq!(log_in(Credential::Key(key.expose())), Ok(home));
    for wrong in [Credential::Password("another"), Credential::Key(foreign_key.expose())] {
        let refused = log_in(wrong).unwrap_err();
        assert!(refused.contains("Permission denied"), "{refused}");
    }
}

/// Runs the commands twice in the first users' order; none may fail.
#[test]
fn the_first_users_commands_migrate_tenants_on_a_server() {
    for python in [DJANGO_4_2, DJANGO_5_2] {
        let lab = Lab::new();
        let server = Server::start().project(Project::Tenants, &lab.database, python);
        let lines = "set -euo pipefail\ncd ~/ProjectMeats/backend\nsource ../venv/bin/activate\n\
                python manage.py migrate --noinput\n\
                python manage.py migrate_schemas --shared --noinput\n\
                python manage.py create_super_tenant --no-input\n\
                python manage.py setup_test_tenant --tenant-name test_tenant --domain test.example.com\n\
                python manage.py migrate_schemas --tenant --noinput\n";
        for created in ["created", "was there"] {
            let output = server.shell(lines).unwrap();
            assert!(output.contains(&format!("tenant test_tenant {created}\n")), "{output}");
        }
        let rows = "select count(*) from test_tenant.django_migrations";
        assert!(lab.database.sql(rows).parse::<u32>().unwrap() >= 7, "{}", lab.database.sql(rows));
    }
}

#[test]
fn a_failing_tenant_keeps_later_tenants_from_being_migrated() {
    let lab = Lab::new();
    let server = Server::start().project(Project::Tenants, &lab.database, DJANGO_4_2);
    let lines = "set -euo pipefail\ncd ~/ProjectMeats/backend\nsource ../venv/bin/activate\n";
    server.shell(&format!("{lines}python manage.py migrate_schemas --shared --noinput")).unwrap();
    tenants(&lab.database, 24);
    let migrate = |environment: &str| {
        server.shell(&format!("{lines}{environment} python manage.py migrate_schemas --tenant --noinput"))
    };
    let output = migrate("APP_BROKEN_TENANT=t07").unwrap_err();
    assert!(output.contains("relation \"rates_nowhere\" does not exist"), "{output}");
    let applied = || {
        let count = |number| {
            let ledger = format!("t{number:02}.django_migrations");
            let table = lab.database.sql(&format!("select to_regclass('{ledger}')"));
            let rows = || lab.database.sql(&format!("select count(*) from {ledger} where app = 'rates'"));
            (number, if table.is_empty() { "none".to_owned() } else { rows() })
        };
        (1..=24).map(count).collect::<BTreeMap<u32, String>>()
    };
    let after = applied();
    assert_eq!([&after[&6], &after[&7], &after[&8]], ["2", "1", "none"]);
    migrate("").unwrap();
    assert!(applied().values().all(|count| count == "2"), "{:?}", applied());
}

#[test]
fn leftovers_on_a_server_are_detected() {
    let server = Server::start().file("notes", "one");
    let before = server.snapshot();
    server.shell("echo two >notes; touch other; nohup sleep 60 >/dev/null 2>&1 </dev/null &").unwrap();
    let left = server.left_behind(&before);
    assert_eq!(left.get(1..), Some(&["changed: ~/notes".to_owned(), "new: ~/other".to_owned()][..]), "{left:?}");
    assert!(left[0].starts_with("process ") && left[0].ends_with(": sleep 60"), "{left:?}");
}

#[test]
fn a_test_can_override_the_machines_programs() {
    let server = Server::start();
    let program = server.programs().join("python");
    fs::write(&program, "#!/bin/sh\necho \"not Python: $*\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(server.shell("python manage.py migrate").unwrap(), "not Python: manage.py migrate\n");
}

/// Another test may start a server in the meantime and so remove the user, too.
#[test]
fn users_that_a_dead_process_left_are_removed() {
    let name = format!("bmdead{}", std::process::id());
    let home = tempfile::tempdir().unwrap().keep();
    let remark = ["--no-create-home", "--comment", "bastion-migrate-lab of 4194305", "--home-dir"];
    run_checked(Command::new("useradd").args(remark).args([home.as_os_str(), name.as_ref()]));
    drop(Server::start());
    assert!(!fs::read_to_string("/etc/passwd").unwrap().contains(&name));
    assert!(!home.exists());
}
