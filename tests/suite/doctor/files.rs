//! Planted faults in the files.

use super::{Expected, doctor, fault, finds};
use crate::{action::Action, lab::Lab};

type Planted = (&'static str, &'static [(&'static str, &'static [u8])], Expected);

/// Files beside the good one, and the fault that they lead to.
const PLANTED: [Planted; 8] = [
    (
        "the same version twice",
        &[("migrations/0001_b.sql", b"select 1;")],
        Expected { code: "version-duplicate", exit: 2, subject: "files", cause: "0001", fix: "another version" },
    ),
    (
        "a name without a version",
        &[("migrations/users.sql", b"select 1;")],
        Expected { code: "file-name", exit: 2, subject: "files", cause: "users.sql", fix: "name it like" },
    ),
    (
        "a psql command",
        &[("migrations/0002_b.sql", b"\\i other.sql\n")],
        Expected { code: "psql-command", exit: 2, subject: "files", cause: "", fix: "write it in SQL" },
    ),
    (
        "an open quote",
        &[("migrations/0002_b.sql", b"select 'x;\n")],
        Expected { code: "file-syntax", exit: 2, subject: "files", cause: "", fix: "close the quote" },
    ),
    (
        "another encoding",
        &[("migrations/0002_b.sql", b"select '\xe4';\n")],
        Expected { code: "file-not-utf8", exit: 2, subject: "files", cause: "", fix: "save the file as UTF-8" },
    ),
    (
        "the marks of dbmate in one file, and none in another",
        &[("migrations/0002_b.sql", b"-- migrate:up\nselect 1;\n-- migrate:down\nselect 2;\n")],
        Expected { code: "file-marks", exit: 2, subject: "files", cause: "0001_a.sql", fix: "-- migrate:up" },
    ),
    (
        "a VACUUM beside a statement that needs a transaction",
        &[("migrations/0002_b.sql", b"create table b (id int);\nvacuum;\n")],
        Expected { code: "mixed-file", exit: 2, subject: "files", cause: "", fix: "" },
    ),
    (
        "a statement that would end the run's session",
        &[("migrations/0002_b.sql", b"select pg_terminate_backend(pg_backend_pid());\ndiscard all;\n")],
        Expected { code: "statement-refused", exit: 2, subject: "files", cause: "", fix: "" },
    ),
];

#[test]
fn faults_of_files_are_found() {
    let lab = Lab::new();
    for (planted, files, expected) in PLANTED {
        let step = files.iter().fold(doctor(&lab), |step, (path, text)| step.file(path, text));
        finds(planted, step, expected);
    }
}

#[test]
fn a_directory_without_migrations_is_found() {
    let lab = Lab::new();
    let at = |directory: &str| doctor(&lab).file("notes/readme.txt", "nothing").input("migrations", directory);
    finds("missing", at("db"), fault("files-missing", 2, "files", "db", "actions/checkout"));
    finds("empty", at("notes"), fault("files-empty", 2, "files", "notes", "0001_create_users.sql"));
    let schema = doctor(&lab).input("schema-file", "schema.sql");
    finds("schema", schema, fault("schema-file", 2, "schema-file", "does not exist", "command: status"));
}

#[test]
fn files_that_contradict_the_ledger_are_found() {
    let lab = Lab::new();
    let applied = |step: Action<'_>| {
        let step = step.file("migrations/0001_a.sql", "create table a (id int);");
        step.file("migrations/0003_c.sql", "create table c (id int);")
            .run()
            .succeeds()
            .applied(["0001_a", "0003_c"])
            .done();
    };
    applied(Action::new(&lab));
    let with_both = || doctor(&lab).file("migrations/0003_c.sql", "create table c (id int);");
    let changed = with_both().file("migrations/0003_c.sql", "create table c (id bigint);");
    finds("changed", changed, fault("file-changed", 5, "plan", "0003_c", "restore the file"));
    finds("missing", doctor(&lab), fault("file-missing", 5, "plan", "", "restore the file"));
    let late = with_both().file("migrations/0002_b.sql", "select 1;");
    finds("late", late, fault("out-of-order", 5, "plan", "0002_b", "after the newest"));
    let target = with_both().input("target", "7");
    finds("target", target, fault("target-unknown", 2, "plan", "7", "the version of a file"));
}

#[test]
fn a_missing_version_is_found_where_it_is_refused() {
    let lab = Lab::new();
    let gap = doctor(&lab).file("migrations/0003_c.sql", "select 1;").input("gaps", "refuse");
    finds("gap", gap, fault("version-gap", 5, "files", "", "gaps: allow"));
}
