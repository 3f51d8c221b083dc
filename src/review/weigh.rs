//! Weighing a plan: its statements, as they would run on this database now, the worst first.

use super::{
    blocking_sessions::{ExpectedWait, SessionsInTheWay, find_blocking_sessions},
    effect::{Certainty, LockDuration, RelationLock, StatementEffect, TableWork},
    lock_target::{TargetLock, TargetSearch, TargetWeight, held_up},
    plan_notes::{lock_room_note, server_notes},
    plan_progress::PlanProgress,
    risk_rules::{Concern, Finding},
    script::ScriptTransaction,
    script_effects::ScriptEffects,
    table_facts::TableFacts,
    weigh_time::{Exposure, exposure_of, time_findings},
    weighed_destruction::{AllowedLoss, weigh_destruction},
    work_time::WorkRates,
};
use crate::{
    run::{Content, DestroyedObject, HeldUp, PlanReview, StatementReview},
    settings::RiskSettings,
};
use std::cmp::Reverse;

/// The most locks that are listed for a statement.
const MAX_LOCKS: usize = 20;

/// The knowledge with which a plan is weighed.
#[derive(Debug, Clone, Copy)]
pub struct Scales<'a> {
    /// The facts of the database.
    pub facts: &'a TableFacts,
    /// The settings.
    pub settings: &'a RiskSettings,
    /// The rates at which the server works.
    pub rates: &'a WorkRates,
    /// The losses that are allowed.
    pub allowed: &'a [AllowedLoss],
}

/// Weighs the migrations of a plan in their order.
#[must_use]
pub fn weigh_plan(scripts: &[ScriptEffects<'_>], scales: &Scales<'_>) -> PlanReview {
    let count = scripts.iter().map(|script| script.effects.len()).sum();
    let (mut progress, mut statements, mut notes) = (PlanProgress::default(), Vec::with_capacity(count), Vec::new());
    for script in scripts {
        let mut held: Vec<TargetLock> = Vec::new();
        for (index, effect) in script.effects.iter().enumerate() {
            let weighed = weigh_statement(effect, &held, &progress, scales);
            statements.push(StatementReview {
                migration: script.migration.clone(),
                statement: index,
                ..weighed.review
            });
            progress.add(effect);
            match script.transaction {
                ScriptTransaction::Whole => hold(&mut held, weighed.kept),
                ScriptTransaction::AsWritten => held.clear(),
            }
        }
        notes.extend(lock_room_note(script, &held, scales.facts));
    }
    notes.extend(server_notes(scripts, &statements, scales.facts));
    let weight =
        |review: &StatementReview| Reverse((review.risk, review.estimate.as_ref().map(|estimate| estimate.to_ms)));
    // The sort is stable, so statements of the same weight stay in the order of the plan. It takes the room of a second list.
    if !statements.is_sorted_by_key(weight) {
        statements.sort_by_key(weight);
    }
    let risk = statements.iter().map(|review| review.risk).max().unwrap_or_default();
    PlanReview { risk, statements, notes }
}

/// A weighed statement, and the locks that its transaction keeps.
struct WeighedStatement {
    review: StatementReview,
    kept: Vec<TargetLock>,
}

fn weigh_statement(
    effect: &StatementEffect,
    held: &[TargetLock],
    progress: &PlanProgress,
    scales: &Scales<'_>,
) -> WeighedStatement {
    let Scales { facts, settings, rates, allowed } = *scales;
    let search = TargetSearch { facts, progress, small_table: settings.small_table };
    let found = |lock: &RelationLock| {
        let (mode, duration) = (lock.mode, lock.duration);
        search.find(&lock.relation).into_iter().map(move |target| (duration, (mode, target)))
    };
    let targets: Vec<(LockDuration, TargetLock)> = effect.locks.iter().flat_map(found).collect();
    let kept = targets.iter().filter(|(duration, _)| *duration == LockDuration::Transaction);
    let kept: Vec<TargetLock> = kept.map(|(_, lock)| lock.clone()).collect();
    let locks: Vec<TargetLock> = targets.into_iter().map(|(_, lock)| lock).collect();
    let exposure = exposure_of(effect, &search, rates);
    let destroys = weigh_destruction(effect, facts, progress, allowed);
    let sessions = find_blocking_sessions(effect, &locks, facts, settings.queries);
    let blocks = held_up_by(effect, &locks, &search);
    let mut findings = time_findings(blocks, &locks, held, &exposure);
    findings.extend(fact_findings(effect, &locks, &exposure, facts));
    findings.extend(destroys.iter().filter_map(destruction_finding));
    findings.extend(waiting_finding(&sessions));
    findings.sort_by_key(|finding| Reverse(finding.concern.risk()));
    let risk = findings.iter().map(|finding| finding.concern.risk()).max().unwrap_or_default();
    let review = StatementReview {
        summary: effect.summary.clone(),
        locks: list_locks(&locks),
        blocks,
        work: exposure.work,
        estimate: exposure.estimate,
        destroys,
        in_the_way: sessions.sessions,
        risk,
        reasons: findings.into_iter().map(|finding| finding.sentence).collect(),
        ..StatementReview::default()
    };
    WeighedStatement { review, kept }
}

/// Adds locks to those that a transaction holds, each table once with its strongest lock.
fn hold(held: &mut Vec<TargetLock>, kept: Vec<TargetLock>) {
    for (mode, target) in kept {
        match held.iter_mut().find(|(_, known)| known.label == target.label) {
            Some((known, _)) => *known = mode.max(*known),
            None => held.push((mode, target)),
        }
    }
}

/// Returns the work of others that the statement's own locks hold up. Changed rows stay locked, too.
fn held_up_by(effect: &StatementEffect, locks: &[TargetLock], search: &TargetSearch<'_>) -> HeldUp {
    let of_locks = locks.iter().filter(|(_, target)| target.is_used()).map(|(mode, _)| held_up(*mode));
    let changes_rows = |work: &TableWork| {
        matches!(work, TableWork::ChangeRows(_) | TableWork::ChangeAllRows(_)) && !search.is_new(work.relation())
    };
    let of_rows = effect.work.iter().any(changes_rows).then_some(HeldUp::Writes);
    of_locks.chain(of_rows).max().unwrap_or_default()
}

fn list_locks(locks: &[TargetLock]) -> Vec<String> {
    let mut listed: Vec<String> = Vec::new();
    for (mode, target) in locks {
        let text = format!("{} on {}", mode.name(), target.describe());
        if !listed.contains(&text) {
            listed.push(text);
        }
    }
    let more = listed.len().saturating_sub(MAX_LOCKS);
    if more > 0 {
        listed.truncate(MAX_LOCKS);
        listed.push(format!("and {more} more locks"));
    }
    listed
}

/// Returns findings about the knowledge itself: code, names that are not there, and a database that could not be asked.
fn fact_findings(
    effect: &StatementEffect,
    locks: &[TargetLock],
    exposure: &Exposure,
    facts: &TableFacts,
) -> Vec<Finding> {
    let finding = |concern, sentence| Finding { concern, sentence };
    let mut findings = Vec::new();
    if let Certainty::MayBeMore(reason) = &effect.certainty {
        findings.push(finding(Concern::MayDoMore, format!("It may do more than its text shows: {reason}.")));
    }
    let concerns_tables = !locks.is_empty() || !effect.work.is_empty();
    if let Some(reason) = facts.unknown.as_ref().filter(|_| concerns_tables) {
        findings.push(finding(Concern::FactsUnknown, format!("The size of its tables is unknown: {reason}.")));
    }
    let missing = locks.iter().filter(|(_, target)| target.weight == TargetWeight::Missing);
    let mut missing: Vec<&str> = missing.map(|(_, target)| target.label.as_str()).collect();
    missing.dedup();
    findings.extend(missing.into_iter().map(|label| {
        finding(Concern::NotFound, format!("{label} is not in this database now, so its size is unknown."))
    }));
    findings.extend(exposure.facts.iter().map(|fact| finding(Concern::Fact, fact.clone())));
    findings
}

/// Returns the finding about a thing that is destroyed. A loss that is allowed is a fact like others.
fn destruction_finding(object: &DestroyedObject) -> Option<Finding> {
    let DestroyedObject { what, facts, content, allowed, .. } = object;
    let (concern, suffix) = match (content, allowed) {
        (Content::Nothing, _) => return None,
        (_, Some(reason)) => (Concern::Fact, format!(" It is allowed: {}.", reason.trim_end_matches('.'))),
        (Content::Something, None) => (Concern::DestroysContent, String::new()),
        (Content::Unknown, None) => (Concern::DestroysUnknown, String::new()),
    };
    Some(Finding { concern, sentence: format!("It destroys data (`{what}`): {facts}.{suffix}") })
}

fn waiting_finding(sessions: &SessionsInTheWay) -> Option<Finding> {
    let others = match sessions.sessions.len() {
        1 => "a session that is",
        _ => "sessions that are",
    };
    let sentence = format!("It would have to wait for {others} in the way now, and others would queue behind it.");
    (sessions.wait == ExpectedWait::Long).then_some(Finding { concern: Concern::WaitsForOthers, sentence })
}
