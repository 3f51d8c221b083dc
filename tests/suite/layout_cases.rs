//! What real folders hold, and what a run makes of it: one small case for each, in `tests/cases/layouts`.

use crate::{action::Action, lab::Lab};
use bastion_migrate::{fault::Code, layout};
use serde::Deserialize;
use std::{collections::BTreeMap, fs, path::Path};

const DIRECTORY: &str = "tests/cases/layouts";

/// A case: the files, the database before, and the result.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// A sentence about it.
    about: String,
    /// Files of the workspace, by their paths.
    files: BTreeMap<String, String>,
    /// Inputs of the step.
    #[serde(default)]
    inputs: BTreeMap<String, String>,
    /// SQL that prepares the database, run by the migrating role.
    #[serde(default)]
    before: String,
    /// The migrations that are applied, in this order.
    #[serde(default)]
    applied: Vec<String>,
    /// The migrations that are pending afterwards.
    #[serde(default)]
    pending: Vec<String>,
    /// The code of the fault.
    #[serde(default)]
    fault: Option<String>,
    /// The errors.
    #[serde(default)]
    errors: Vec<ExpectedError>,
    /// Texts of the log.
    #[serde(default)]
    says: Vec<String>,
    /// The beginnings of the warnings.
    #[serde(default)]
    warns: Vec<String>,
    /// Queries afterwards, and their results.
    #[serde(default)]
    then: BTreeMap<String, String>,
}

/// An error, at a line of a file, at a file, or at none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedError {
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    line: Option<usize>,
    contains: String,
}

fn cases() -> Vec<(String, Case)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(DIRECTORY);
    let entries =
        fs::read_dir(directory).expect("the cases are there").map(|entry| entry.expect("it can be listed").path());
    let case = |path: std::path::PathBuf| {
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("it can be read");
        let case = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, case)
    };
    let mut cases: Vec<_> = entries.map(case).collect();
    cases.sort_by(|(left, _), (right, _)| left.cmp(right));
    cases
}

fn code_of(name: &str) -> Code {
    *Code::ALL.iter().find(|code| code.name() == name).unwrap_or_else(|| panic!("there is no code {name}"))
}

/// Runs the cases whose names begin with this layout.
fn run_cases_of(layout: &str) {
    let prefix = format!("{layout}--");
    let cases: Vec<_> = cases().into_iter().filter(|(name, _)| name.starts_with(&prefix)).collect();
    assert!(!cases.is_empty(), "{layout} has no case");
    for (name, case) in cases {
        eprintln!("{name}: {}", case.about);
        case.run();
    }
}

impl Case {
    fn run(&self) {
        let lab = Lab::new();
        if !self.before.is_empty() {
            lab.database.sql(&format!("set role app; {}", self.before));
        }
        let step = self.inputs.iter().fold(Action::new(&lab), |step, (name, value)| step.input(name, value));
        let step = self.files.iter().fold(step, |step, (path, text)| step.file(path, text));
        let run = step.run();
        let ended = match &self.fault {
            Some(fault) => {
                let code = code_of(fault);
                run.fails(code.name(), i32::from(code.class().exit_code()))
            }
            None if self.applied.is_empty() => run.nothing_to_do(),
            None => run.succeeds(),
        };
        let ended = ended.applied(self.applied.iter().map(String::as_str));
        let ended = ended.pending(self.pending.iter().map(String::as_str));
        let ended = self.says.iter().fold(ended, |ended, text| ended.logs(text));
        let ended = self.warns.iter().fold(ended, |ended, text| ended.warning(text));
        let ended = self.errors.iter().fold(ended, |ended, error| match (&error.file, error.line) {
            (Some(file), Some(line)) => ended.annotation(file, line, &error.contains),
            (Some(file), None) => ended.error_in(file, &error.contains),
            (None, _) => ended.error(&error.contains),
        });
        ended.done();
        for (query, result) in &self.then {
            assert_eq!(lab.database.sql(query), result.trim_end(), "{query}");
        }
    }
}

#[test]
fn every_case_belongs_to_a_layout() {
    for (name, _) in cases() {
        let layout = name.split("--").next().unwrap_or_default();
        assert!(layout == "auto" || layout::Layout::by_name(layout).is_some(), "{name}");
    }
}

#[test]
fn real_folders_of_golang_migrate_are_read_as_it_reads_them() {
    run_cases_of("golang-migrate");
}

#[test]
fn real_folders_of_dbmate_are_read_as_it_reads_them() {
    run_cases_of("dbmate");
}

#[test]
fn real_folders_of_goose_are_read_as_it_reads_them() {
    run_cases_of("goose");
}

#[test]
fn real_folders_of_diesel_are_read_as_it_reads_them() {
    run_cases_of("diesel");
}

#[test]
fn real_folders_of_refinery_are_read_as_it_reads_them() {
    run_cases_of("refinery");
}

#[test]
fn real_folders_of_flyway_are_read_as_it_reads_them() {
    run_cases_of("flyway");
}

#[test]
fn real_folders_of_prisma_are_read_as_it_reads_them() {
    run_cases_of("prisma");
}

#[test]
fn real_folders_of_tern_are_read_as_it_reads_them() {
    run_cases_of("tern");
}

#[test]
fn real_folders_of_supabase_are_read_as_its_cli_reads_them() {
    run_cases_of("supabase");
}

#[test]
fn real_folders_of_sqlx_are_read_as_it_reads_them() {
    run_cases_of("sqlx");
}

#[test]
fn the_layout_is_decided_by_evidence_or_not_at_all() {
    run_cases_of("auto");
}
