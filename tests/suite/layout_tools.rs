//! Round trips with a layout's own tool: each continues where the other one stopped, and the schema is the same.
#![expect(clippy::disallowed_methods, reason = "the tool is a program")]

use crate::{
    action::Action,
    lab::{Lab, venv::venv},
    layout_forms::Form,
};
use std::{fs, process::Command};
use tempfile::TempDir;

/// The environment with dbmate, whose program `PyPI` has.
const DBMATE: &str = "dbmate";

/// Applies the golden files with dbmate, and returns its output.
fn run_dbmate(lab: &Lab, form: &Form, count: usize) -> String {
    let directory = TempDir::new().expect("there is room");
    for (path, text) in form.golden_texts().into_iter().take(count) {
        fs::write(directory.path().join(path), text).expect("there is room");
    }
    let database = format!("{}?sslmode=require", lab.database.url_at("localhost", lab.database.server().port()));
    let mut dbmate = Command::new(venv(DBMATE).join("bin/dbmate"));
    dbmate.args(["--no-dump-schema", "--migration-lock", "--url", &database, "--migrations-dir"]).arg(directory.path());
    let output = dbmate.arg("migrate").output().expect("dbmate is a program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it is text")
}

/// Returns the dump without the lines that differ from dump to dump.
fn dump(lab: &Lab) -> String {
    let dump = lab.database.dump();
    let lines = dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn dbmate_and_the_action_take_turns() {
    let form = Form::of("dbmate");
    let (ours, theirs, both) = (Lab::new(), Lab::new(), Lab::new());
    let step = |lab| form.golden_files(Action::new(lab));
    let labels = [form.label(1, "one"), form.label(2, "two")];
    step(&ours).run().succeeds().applied(labels.each_ref().map(String::as_str)).done();
    assert!(!run_dbmate(&ours, form, 2).contains("Applying"), "dbmate has nothing to do");
    run_dbmate(&theirs, form, 2);
    step(&theirs).run().nothing_to_do().done();
    run_dbmate(&both, form, 1);
    step(&both).run().succeeds().applied([labels[1].as_str()]).done();
    assert!(!run_dbmate(&both, form, 2).contains("Applying"), "dbmate has nothing to do");
    // The dumps contain the rows of the ledger as well.
    assert_eq!(dump(&ours), dump(&theirs));
    assert_eq!(dump(&both), dump(&theirs));
}

#[test]
fn a_run_waits_for_the_lock_of_dbmate() {
    let lab = Lab::new();
    let form = Form::of("dbmate");
    run_dbmate(&lab, form, 1);
    let holder = lab.database.session();
    holder.sql("set application_name = 'lab'; select pg_advisory_lock(48372615)");
    let step = || form.golden_files(Action::new(&lab));
    step().input("lock-wait", "0s").run().fails("lock-held", 4).error("dbmate's own lock is held by `lab` (pid").done();
    drop(holder);
    step().input("lock-wait", "10s").run().succeeds().applied([form.label(2, "two").as_str()]).done();
}
