//! The review of a plan in a few words, for the first line of each surface.

use super::wording::{count_of, format_millis};
use crate::run::{Estimate, HeldUp, ReviewedPlan, Risk, StatementReview};

/// Returns the verdict, as the rest of a sentence that names the migrations.
pub(super) fn verdict(plan: &ReviewedPlan) -> String {
    let worst = plan.review.statements.first().filter(|worst| worst.risk > Risk::Low);
    let worst = match worst {
        Some(worst) => format!("{} risk: {}", plan.review.risk.name(), statement_effect(worst)),
        None => format!("{} risk", plan.review.risk.name()),
    };
    let hidden = plan.scripts.iter().filter(|script| !script.hidden.is_empty()).count();
    let hidden = match hidden {
        0 => String::new(),
        hidden => format!(", {} not shown in full", count_of(hidden, "migration")),
    };
    format!("{worst}, {}{hidden}", destruction(plan))
}

/// Returns the statement and what others notice of it.
pub(super) fn statement_effect(statement: &StatementReview) -> String {
    let held_up = match statement.blocks {
        HeldUp::Nothing => return format!("`{}`", statement.summary),
        HeldUp::Writes => "blocks writes",
        HeldUp::ReadsAndWrites => "blocks reads and writes",
    };
    let time = statement.estimate.as_ref().map(|time| format!(" for {}", time_span(time))).unwrap_or_default();
    let locks = statement.locks.first().map(|lock| format!(" ({lock})")).unwrap_or_default();
    format!("`{}` {held_up}{time}{locks}", statement.summary)
}

/// Reports whether an approver should look at the statement.
pub(super) fn is_notable(statement: &StatementReview) -> bool {
    statement.risk > Risk::Low || !statement.destroys.is_empty() || !statement.in_the_way.is_empty()
}

/// Returns all that is known about a statement besides its effect: reasons, destruction, estimate, sessions in the way.
pub(super) fn statement_details(statement: &StatementReview) -> Vec<String> {
    let destroyed = statement.destroys.iter().map(|object| {
        let allowed = object.allowed.as_ref().map(|reason| format!("; allowed: {reason}")).unwrap_or_default();
        format!("{}: {}{allowed}", object.what, object.facts)
    });
    let estimate = statement
        .estimate
        .as_ref()
        .map(|time| format!("{}, {} confidence: {}", time_span(time), time.confidence.name(), time.basis));
    let in_the_way = statement.in_the_way.iter().map(|session| format!("in the way now: {session}"));
    statement.reasons.iter().cloned().chain(destroyed).chain(estimate).chain(in_the_way).collect()
}

/// Returns an estimated time.
fn time_span(time: &Estimate) -> String {
    match (format_millis(time.from_ms), format_millis(time.to_ms)) {
        (from, to) if from == to => to,
        (from, to) => format!("{from} to {to}"),
    }
}

/// Names what is destroyed.
fn destruction(plan: &ReviewedPlan) -> String {
    let mut destroyed = plan.destroyed();
    match (destroyed.next(), destroyed.count()) {
        (None, _) => "nothing destructive".to_owned(),
        (Some(first), 0) => format!("destructive: `{first}`"),
        (Some(first), more) => format!("destructive: `{first}` and {more} more"),
    }
}
