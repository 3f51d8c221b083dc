//! The effects that the review reads from a statement, held against PostgreSQL itself: each form is run, and its locks,
//! its new files, its scans, and the readers and writers that it blocks are compared with the prediction.

mod forms;
mod measure;
#[cfg(test)]
mod rehearsed;
mod resolve;
#[cfg(test)]
mod through_drivers;

use crate::lab::{self, postgres::Database};
use bastion_migrate::{
    review::{Blocked, Certainty, LockMode, MigrationScript, ScriptTransaction, StatementEffect, statement_effects},
    run::MigrationId,
};
use forms::{FIXTURE, FORMS, HELD_FORMS};
use measure::{Holder, Measured, Prober};
use resolve::{Predicted, predict};
use std::collections::BTreeSet;

fn read_effect(statement: &str, version: u32) -> StatementEffect {
    let script = MigrationScript {
        id: MigrationId { file: "0001_form.sql".to_owned(), ..MigrationId::default() },
        sql: statement.to_owned(),
        transaction: ScriptTransaction::AsWritten,
        hidden: Vec::new(),
    };
    let mut effects = statement_effects(&script, version);
    assert_eq!(effects.len(), 1, "{statement}");
    effects.remove(0)
}

fn server_version(database: &Database) -> u32 {
    database.sql("show server_version_num").parse().expect("the version is a number")
}

/// Returns the differences between the prediction and the measurement, one per line.
fn differences(statement: &str, effect: &StatementEffect, predicted: &Predicted, measured: &Measured) -> Vec<String> {
    let mut found = Vec::new();
    let may_be_more = matches!(effect.certainty, Certainty::MayBeMore(_));
    let may_be_less = !matches!(effect.certainty, Certainty::Known);
    for (relation, mode) in &measured.locks {
        match predicted.locks.get(relation) {
            Some(lock) if lock.mode == *mode => {}
            // A weaker lock on a table that only the catalog knows: the prediction is the worst case.
            Some(lock) if !lock.is_named && *mode < LockMode::Share && lock.mode < LockMode::Share => {}
            Some(lock) if may_be_less && !lock.is_named && *mode < lock.mode => {}
            Some(lock) => found.push(format!("{relation}: {} predicted, {} measured", lock.mode.name(), mode.name())),
            None if may_be_more => {}
            None => found.push(format!("{relation}: nothing predicted, {} measured", mode.name())),
        }
    }
    for (relation, lock) in &predicted.locks {
        let is_weak = !lock.is_named && lock.mode < LockMode::Share;
        if !measured.locks.contains_key(relation) && !is_weak {
            found.push(format!("{relation}: {} predicted, nothing measured", lock.mode.name()));
        }
    }
    for relation in measured.readers.union(&measured.writers).cloned().collect::<BTreeSet<_>>() {
        let blocked = match measured.readers.contains(&relation) {
            true => Blocked::ReadsAndWrites,
            false => Blocked::Writes,
        };
        let expected = predicted.blocked.get(&relation).copied().unwrap_or(Blocked::Nothing);
        let is_worst_case = may_be_less && blocked < expected;
        if blocked != expected && !may_be_more && !is_worst_case {
            found.push(format!("{relation}: blocks {expected:?} predicted, {blocked:?} measured"));
        }
    }
    for (relation, blocked) in &predicted.blocked {
        if *blocked != Blocked::Nothing
            && !measured.readers.contains(relation)
            && !measured.writers.contains(relation)
            && measured.probed.contains(relation)
            // A materialized view has no writers.
            && !(relation.starts_with("mv") && *blocked == Blocked::Writes)
        {
            found.push(format!("{relation}: blocks {blocked:?} predicted, nothing measured"));
        }
    }
    if !may_be_more {
        compare_sets(&mut found, "rewritten", &predicted.rewritten, &measured.rewritten, may_be_less);
    }
    let scanned = measured.scanned.iter().filter(|relation| !measured.rewritten.contains(*relation)).cloned().collect();
    let read: BTreeSet<_> = predicted.scanned.union(&predicted.rewritten).cloned().collect();
    for relation in scanned_without(&scanned, &read).into_iter().filter(|_| !may_be_more) {
        found.push(format!("{relation}: scan measured, none predicted"));
    }
    for relation in scanned_without(&predicted.surely_scanned, &measured.scanned) {
        if !may_be_less {
            found.push(format!("{relation}: scan predicted, none measured"));
        }
    }
    found.into_iter().map(|line| format!("{statement}\n    {line}")).collect()
}

fn scanned_without(some: &BTreeSet<String>, others: &BTreeSet<String>) -> Vec<String> {
    some.difference(others).cloned().collect()
}

fn compare_sets(
    found: &mut Vec<String>,
    what: &str,
    predicted: &BTreeSet<String>,
    measured: &BTreeSet<String>,
    may_be_less: bool,
) {
    for relation in measured.difference(predicted) {
        found.push(format!("{relation}: {what}, which was not predicted"));
    }
    for relation in predicted.difference(measured).filter(|_| !may_be_less) {
        found.push(format!("{relation}: predicted to be {what}, but is not"));
    }
}

#[test]
fn every_form_does_what_was_predicted() {
    let database = lab::shared().database();
    database.sql(FIXTURE);
    let version = server_version(&database);
    let prober = Prober::new(&database);
    let mut found = Vec::new();
    let mut forms = 0;
    for (from_version, statement) in FORMS.iter().filter(|(from, _)| *from * 10_000 <= version) {
        assert!(*from_version == 0 || *from_version > 9);
        let effect = read_effect(statement, version);
        let measured = match prober.measure_in_transaction(&database, statement) {
            Ok(measured) => measured,
            Err(error) => {
                found.push(format!("{statement}\n    can't be run: {error}"));
                continue;
            }
        };
        let predicted = predict(&prober.session, &effect);
        found.extend(differences(statement, &effect, &predicted, &measured));
        forms += 1;
    }
    assert!(forms >= 120, "{forms} forms");
    assert!(found.is_empty(), "{} of {forms} forms differ:\n{}", found.len(), found.join("\n"));
}

#[test]
fn forms_that_run_outside_of_a_transaction_do_what_was_predicted() {
    let database = lab::shared().database();
    database.sql(FIXTURE);
    let version = server_version(&database);
    let prober = Prober::new(&database);
    let mut found = Vec::new();
    for (statement, hold, repair) in HELD_FORMS {
        let effect = read_effect(statement, version);
        let holder = Holder::new(&database, hold);
        let mut predicted = predict(&prober.session, &effect);
        let measured = prober.measure_while_held(&database, statement, &holder);
        // It is stopped half-way, so its work is not measured.
        predicted.rewritten.clear();
        predicted.scanned.clear();
        predicted.surely_scanned.clear();
        found.extend(differences(statement, &effect, &predicted, &measured));
        database.sql(repair);
    }
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

/// A check of the check: a wrong prediction is found.
#[test]
fn a_wrong_prediction_is_found() {
    let database = lab::shared().database();
    database.sql(FIXTURE);
    let version = server_version(&database);
    let prober = Prober::new(&database);
    let measured = prober.measure_in_transaction(&database, "ALTER TABLE t ALTER b TYPE bigint").expect("it runs");
    for other in ["CREATE INDEX ON t (a)", "ALTER TABLE t ALTER a SET DEFAULT 1", "SELECT 1", "DROP TABLE child"] {
        let effect = read_effect(other, version);
        let predicted = predict(&prober.session, &effect);
        assert!(!differences(other, &effect, &predicted, &measured).is_empty(), "{other}");
    }
}
