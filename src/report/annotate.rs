//! What the run's page and the changed files show beside themselves.

use super::{outcome::Report, words};
use crate::{
    fault::Fault,
    github::command::{Annotation, Level},
};

/// How many of each level GitHub records for one step.
const RECORDED: usize = 10;

/// How much of a cause leaves room for the fix under it, in characters.
const CAUSE: usize = 1_500;

/// The faults, then the warnings; the first of each.
#[must_use]
pub fn annotations(report: &Report) -> Vec<Annotation> {
    let errors = report.faults.iter().take(RECORDED).map(|fault| annotation(Level::Error, fault));
    errors.chain(report.warnings.iter().take(RECORDED).map(warning)).collect()
}

/// One fault that does not decide the outcome.
pub(super) fn warning(fault: &Fault) -> Annotation {
    annotation(Level::Warning, fault)
}

fn annotation(level: Level, fault: &Fault) -> Annotation {
    let cause: String = fault.cause.chars().take(CAUSE).collect();
    let mut lines = vec![cause, format!("fix: {}", fault.fix)];
    if let Some(excerpt) = fault.place.as_ref().and_then(|place| place.excerpt.clone()) {
        lines.push(excerpt);
    }
    lines.extend(fault.sqlstate.iter().map(|sqlstate| format!("SQLSTATE {sqlstate}")));
    lines.extend(fault.detail.iter().cloned());
    lines.push(format!("{}{}", words::ERRORS, fault.code));
    Annotation {
        level,
        file: fault.place.as_ref().map(|place| place.file.clone()),
        line: fault.place.as_ref().and_then(|place| place.line),
        column: fault.place.as_ref().and_then(|place| place.column),
        title: format!("bastion-migrate: {} in {}", fault.code, fault.stage),
        message: lines.join("\n"),
    }
}
