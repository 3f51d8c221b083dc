//! The lint, held against squawk's own program from `PyPI`, and its speed.
#![expect(clippy::disallowed_methods, reason = "runs squawk's own program")]

use super::lab::venv;
use bastion_migrate::{
    review::{
        Certainty, MigrationScript, SILENT_RULES, ScriptTransaction, TableState, Violation, lint_script,
        statement_effects,
    },
    run::MigrationId,
    settings::{LintLevel, LintSettings},
};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// Files in the directory of cases, each with the statements of one kind of rule.
const FILES: [&str; 5] = ["columns.sql", "drops.sql", "exceptions.sql", "locks.sql", "transactions.sql"];

/// A finding: the 1-based line and the rule.
type Found = BTreeSet<(usize, String)>;

fn path_of(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/lint").join(file)
}

/// Runs squawk's program on a file.
fn squawk(file: &str, version: &str, transaction: ScriptTransaction) -> Found {
    let mut squawk = Command::new(venv::venv("squawk").join("bin/squawk"));
    squawk.args(["--reporter", "json", "--pg-version", version]);
    if transaction == ScriptTransaction::Whole {
        squawk.arg("--assume-in-transaction");
    }
    let output = squawk.arg(path_of(file)).output().expect("squawk is installed");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let found = found.as_array().expect("it is a list").iter().map(|finding| {
        let line = finding["line"].as_u64().expect("it has a line");
        let rule = finding["rule_name"].as_str().expect("it has a rule");
        (usize::try_from(line).expect("it is small") + 1, rule.to_owned())
    });
    found.collect()
}

fn script(sql: String, transaction: ScriptTransaction) -> MigrationScript {
    MigrationScript { id: MigrationId::default(), sql, transaction, hidden: Vec::new() }
}

/// Returns our findings, with the rules that are silent by default.
fn ours(file: &str, version: u32, transaction: ScriptTransaction) -> Found {
    let text = fs::read_to_string(path_of(file)).expect("the case is there");
    let script = script(text.clone(), transaction);
    let all = SILENT_RULES.iter().map(|(_, rule)| *rule).collect();
    let settings = LintSettings { also: all, ..LintSettings::default() };
    let found = lint_script(&script, &[], &settings, version, &|_| TableState::Large);
    let line_of =
        |violation: &Violation| text.get(..violation.span.start).unwrap_or_default().matches('\n').count() + 1;
    found.iter().map(|violation| (line_of(violation), violation.rule.to_string())).collect()
}

#[test]
fn the_lint_finds_what_squawk_finds() {
    let mut rules = BTreeSet::new();
    for file in FILES {
        for (name, number) in [("14.0", 140_000), ("15.0", 150_000), ("18.0", 180_000)] {
            for transaction in [ScriptTransaction::Whole, ScriptTransaction::AsWritten] {
                let (ours, theirs) = (ours(file, number, transaction), squawk(file, name, transaction));
                assert_eq!(ours, theirs, "{file}, PostgreSQL {name}, {transaction:?}");
                rules.extend(theirs.into_iter().map(|(_, rule)| rule));
            }
        }
    }
    assert!(rules.len() >= 40, "the cases break {} rules: {rules:?}", rules.len());
}

#[test]
fn rules_that_the_run_itself_obeys_are_silent() {
    let text = fs::read_to_string(path_of("locks.sql")).expect("the case is there");
    let script = script(text, ScriptTransaction::Whole);
    let found = lint_script(&script, &[], &LintSettings::default(), 150_000, &|_| TableState::Large);
    for (reason, rule) in SILENT_RULES {
        assert!(found.iter().all(|violation| violation.rule != rule), "{rule}: {reason}");
    }
    assert!(found.len() > 5);
    let off = LintSettings { level: LintLevel::Off, ..LintSettings::default() };
    assert_eq!(lint_script(&script, &[], &off, 150_000, &|_| TableState::Large), []);
}

#[test]
fn a_text_on_which_squawk_would_run_out_of_stack_has_no_findings_and_does_no_harm() {
    let deep = format!("SELECT {}1{};\nDROP TABLE users;\n", "(".repeat(20_000), ")".repeat(20_000));
    let script = script(deep, ScriptTransaction::Whole);
    let effects = statement_effects(&script, 150_000);
    assert!(effects.iter().any(|effect| matches!(effect.certainty, Certainty::MayBeMore(_))), "{}", effects.len());
    assert_eq!(lint_script(&script, &effects, &LintSettings::default(), 150_000, &|_| TableState::Large), []);
}
