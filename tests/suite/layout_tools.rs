//! Round trips with a layout's own tool: each continues where the other one stopped, and ledger and schema are the same.
//! dbmate's program is on `PyPI`; the others take minutes to compile, so `make layout-tools` runs their tests.
#![expect(clippy::disallowed_methods, reason = "the tool is a program")]

use crate::{
    action::Action,
    lab::{
        Lab,
        postgres::{Options, Postgres, Tls},
        venv::venv,
    },
    layout_forms::{Form, TextFile},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};
use tempfile::TempDir;

/// A layout's own tool.
struct Tool {
    layout: &'static str,
    /// The path of its program.
    program: fn() -> PathBuf,
    /// The arguments that apply the files of `DIRECTORY`.
    arguments: &'static [&'static str],
    /// Part of its output if something is applied.
    applies: &'static str,
}

const DBMATE: Tool = Tool {
    layout: "dbmate",
    program: || venv("dbmate").join("bin/dbmate"),
    arguments: &["--no-dump-schema", "--migration-lock", "--migrations-dir", "DIRECTORY", "migrate"],
    applies: "Applying",
};

const SQLX: Tool = Tool {
    layout: "sqlx",
    program: || compiled("sqlx"),
    arguments: &["migrate", "run", "--no-dotenv", "--source", "DIRECTORY"],
    applies: "Applied",
};

const DIESEL: Tool = Tool {
    layout: "diesel",
    program: || compiled("diesel"),
    arguments: &["migration", "run", "--migration-dir", "DIRECTORY"],
    applies: "Running migration",
};

const REFINERY: Tool = Tool {
    layout: "refinery",
    program: || compiled("refinery"),
    arguments: &["migrate", "-e", "DATABASE_URL", "-p", "DIRECTORY"],
    applies: "applying migration",
};

/// Returns the path of a program that `make layout-tools` has compiled.
fn compiled(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin").join(program);
    assert!(path.exists(), "{} is missing: run `make layout-tools`", path.display());
    path
}

impl Tool {
    fn form(&self) -> &'static Form {
        Form::of(self.layout)
    }

    /// Applies files, and returns whether there was something to do.
    fn applies(&self, lab: &Lab, files: &[TextFile]) -> bool {
        let directory = TempDir::new().expect("there is room");
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("it is in the directory")).expect("there is room");
            fs::write(path, text).expect("there is room");
        }
        let url = format!("{}?sslmode=disable", lab.database.url_at("localhost", lab.database.server().port()));
        let mut command = Command::new((self.program)());
        command.current_dir(directory.path()).env("DATABASE_URL", url);
        for argument in self.arguments {
            match *argument {
                "DIRECTORY" => command.arg(directory.path()),
                argument => command.arg(argument),
            };
        }
        let output = command.output().expect("it is a program");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success(), "{}: {text}", self.layout);
        text.contains(self.applies)
    }

    fn takes_turns_with_the_action(&self) {
        let form = self.form();
        let server = server_without_tls();
        let [ours, theirs, both] = [Lab::on(&server), Lab::on(&server), Lab::on(&server)];
        let step = |lab| form.step(form.golden_files(Action::new(lab))).input("audit", "false");
        let labels = [form.label(1, "one"), form.label(2, "two")];
        step(&ours).run().succeeds().applied(labels.each_ref().map(String::as_str)).done();
        assert!(!self.applies(&ours, &form.golden_texts()), "{} has nothing to do", self.layout);
        assert!(self.applies(&theirs, &form.golden_texts()), "{} applies two", self.layout);
        step(&theirs).run().nothing_to_do().done();
        assert!(self.applies(&both, &form.golden_texts_of_one()), "{} applies one", self.layout);
        step(&both).run().succeeds().applied([labels[1].as_str()]).done();
        assert!(!self.applies(&both, &form.golden_texts()), "{} has nothing to do", self.layout);
        for lab in [&ours, &theirs, &both] {
            assert_eq!(lab.database.sql(form.rows), form.golden, "{}", self.layout);
            assert_eq!(schema(lab), schema(&theirs), "{}", self.layout);
        }
    }
}

/// Starts a server that each tool can connect to: refinery trusts the CAs of the machine alone.
fn server_without_tls() -> Arc<Postgres> {
    Postgres::start(&Options { tls: Tls::Off, ..Options::default() })
}

/// Returns the dump without rows, and without the lines that differ from dump to dump.
fn schema(lab: &Lab) -> String {
    let mut in_rows = false;
    let dump = lab.database.dump();
    let kept = dump.lines().filter(|line| {
        let is_row = in_rows;
        in_rows = line.starts_with("COPY ") || in_rows && *line != "\\.";
        let is_setval = line.contains("pg_catalog.setval(");
        !is_row && !is_setval && !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")
    });
    kept.collect::<Vec<_>>().join("\n")
}

#[test]
fn dbmate_and_the_action_take_turns() {
    DBMATE.takes_turns_with_the_action();
}

#[test]
#[ignore = "`make layout-tools` compiles the tool"]
fn sqlx_and_the_action_take_turns() {
    SQLX.takes_turns_with_the_action();
}

#[test]
#[ignore = "`make layout-tools` compiles the tool"]
fn diesel_and_the_action_take_turns() {
    DIESEL.takes_turns_with_the_action();
}

#[test]
#[ignore = "`make layout-tools` compiles the tool"]
fn refinery_and_the_action_take_turns() {
    REFINERY.takes_turns_with_the_action();
}

#[test]
fn a_run_waits_for_the_lock_of_dbmate() {
    let lab = Lab::on(&server_without_tls());
    let form = DBMATE.form();
    DBMATE.applies(&lab, &form.golden_texts_of_one());
    let holder = lab.database.session();
    holder.sql("set application_name = 'lab'; select pg_advisory_lock(48372615)");
    let step = || form.golden_files(Action::new(&lab));
    step().input("lock-wait", "0s").run().fails("lock-held", 4).error("dbmate's own lock is held by `lab` (pid").done();
    drop(holder);
    step().input("lock-wait", "10s").run().succeeds().applied([form.label(2, "two").as_str()]).done();
}
