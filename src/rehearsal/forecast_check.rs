//! The observation held against the forecast: both are weighed by the tables of the database itself.

use super::{
    observation::{LockVisibility, ObservedScript, ObservedStatement},
    observed_effect::{is_same, observed_effect},
};
use crate::{
    review::{Certainty, MigrationScript, Scales, ScriptEffects, StatementEffect, TableWork, weigh_plan},
    run::{ForecastVerdict, HeldUp, PlanReview, RehearsedStatement, StatementReview},
    sql::QualifiedName,
};
use std::collections::HashMap;

/// A script with the effects of its statements as they were observed.
#[derive(Debug, Clone)]
pub struct RehearsedScript<'s> {
    script: &'s MigrationScript,
    forecast: &'s [StatementEffect],
    seen: &'s ObservedScript,
    observed: Vec<StatementEffect>,
}

/// Returns the scripts with their observed effects, as far as they were observed.
#[must_use]
pub fn observed_effects<'s>(
    scripts: &'s [(MigrationScript, Vec<StatementEffect>)],
    observed: &'s [ObservedScript],
) -> Vec<RehearsedScript<'s>> {
    let rehearsed = scripts.iter().zip(observed).map(|((script, forecast), seen)| {
        let effects = forecast.iter().zip(&seen.statements);
        let effects = effects.map(|(effect, seen)| observed_effect(effect, effect.span.slice_of(&script.sql), seen));
        RehearsedScript { script, forecast, seen, observed: effects.collect() }
    });
    rehearsed.collect()
}

impl RehearsedScript<'_> {
    /// Returns the index of the migration.
    pub(super) fn index(&self) -> usize {
        self.script.id.index
    }

    /// Returns the text of a statement.
    pub(super) fn text_of(&self, statement: usize) -> &str {
        self.forecast.get(statement).map(|effect| effect.span.slice_of(&self.script.sql)).unwrap_or_default()
    }

    /// Returns all effects, the forecast ones and the observed ones.
    pub fn effects(&self) -> impl Iterator<Item = &StatementEffect> + Clone {
        self.forecast.iter().chain(&self.observed)
    }
}

/// Holds the observation against the forecast. Returns the statements, the worst first.
#[must_use]
pub fn hold_against_forecast(scripts: &[RehearsedScript<'_>], scales: &Scales<'_>) -> Vec<RehearsedStatement> {
    let weigh = |effects: &dyn Fn(&RehearsedScript<'_>) -> Vec<StatementEffect>| -> PlanReview {
        let owned: Vec<Vec<StatementEffect>> = scripts.iter().map(effects).collect();
        let scripts = scripts.iter().zip(&owned).map(|(script, effects)| ScriptEffects {
            migration: &script.script.id,
            transaction: script.script.transaction,
            effects,
        });
        weigh_plan(&scripts.collect::<Vec<_>>(), scales)
    };
    let forecast = weigh(&|script| script.forecast.to_vec());
    let forecast: HashMap<(usize, usize), StatementReview> =
        forecast.statements.into_iter().map(|review| (key(&review), review)).collect();
    let observed = weigh(&|script| script.observed.clone());
    let held = observed.statements.into_iter().filter_map(|seen| {
        let script = scripts.iter().find(|script| script.script.id.index == seen.migration.index)?;
        let [observed_effect, forecast_effect] =
            [script.observed.as_slice(), script.forecast].map(|effects| effects.get(seen.statement));
        let statement = script.seen.statements.get(seen.statement)?;
        let forecast = forecast.get(&key(&seen))?;
        let differences = find_differences((observed_effect?, &seen), (forecast_effect?, forecast), statement);
        Some(rehearsed(seen, statement, differences))
    });
    held.collect()
}

fn key(review: &StatementReview) -> (usize, usize) {
    (review.migration.index, review.statement)
}

fn rehearsed(
    seen: StatementReview,
    statement: &ObservedStatement,
    differences: Vec<(ForecastVerdict, String)>,
) -> RehearsedStatement {
    RehearsedStatement {
        seen,
        times: 1,
        transaction: None,
        took_ms: u64::try_from(statement.took.as_millis()).unwrap_or(u64::MAX),
        rows: statement.rows,
        wal_bytes: statement.wal_bytes,
        notices: statement.notices.clone(),
        error: statement.error.clone(),
        verdict: differences.iter().map(|(verdict, _)| *verdict).max().unwrap_or_default(),
        differences: differences.into_iter().map(|(_, text)| text).collect(),
    }
}

/// An effect and its weight.
type Weighed<'w> = (&'w StatementEffect, &'w StatementReview);

fn find_differences(
    (observed, seen): Weighed<'_>,
    (forecast, planned): Weighed<'_>,
    statement: &ObservedStatement,
) -> Vec<(ForecastVerdict, String)> {
    if let Some(error) = &statement.error {
        return vec![(ForecastVerdict::Contradicted, format!("it fails: {error}"))];
    }
    if statement.visibility == LockVisibility::Gone {
        return Vec::new();
    }
    let mut differences = Vec::new();
    let held_up = |held_up: HeldUp| match held_up {
        HeldUp::Nothing => "nothing",
        HeldUp::Writes => "writes",
        HeldUp::ReadsAndWrites => "reads and writes",
    };
    if seen.blocks != planned.blocks {
        let verdict = match seen.blocks > planned.blocks {
            true => ForecastVerdict::Contradicted,
            false => ForecastVerdict::Milder,
        };
        let locks = seen.locks.first().map(|lock| format!(" ({lock})")).unwrap_or_default();
        differences.push((
            verdict,
            format!("it blocks {}{locks}, and the forecast was {}", held_up(seen.blocks), held_up(planned.blocks)),
        ));
    }
    differences.extend(unforeseen_work(observed, forecast));
    // What depends on code, or on what a table is like, was forecast as the worst case.
    let is_worst_case = forecast.certainty != Certainty::Known;
    if !is_worst_case || differences.is_empty() {
        differences.extend(absent_work(observed, forecast));
    }
    differences
}

/// Returns the work that was observed and not forecast.
fn unforeseen_work(observed: &StatementEffect, forecast: &StatementEffect) -> Vec<(ForecastVerdict, String)> {
    let unforeseen = observed.work.iter().filter_map(|work| {
        let table = work.relation();
        let foreseen = |kind: fn(&TableWork) -> bool| {
            forecast.work.iter().any(|planned| kind(planned) && is_same(planned.relation(), table))
        };
        let is_rewrite = |planned: &TableWork| matches!(planned, TableWork::Rewrite(_));
        let text = match work {
            TableWork::Rewrite(_) if !foreseen(is_rewrite) => format!("it writes all rows of {} anew", display(table)),
            TableWork::BuildIndex(_) if !foreseen(|_| true) => format!("it builds an index on {}", display(table)),
            TableWork::Scan(_) if !foreseen(|_| true) && !is_worked_on(forecast) => {
                format!("it reads all rows of {}", display(table))
            }
            _ => return None,
        };
        Some((ForecastVerdict::Contradicted, format!("{text}, which was not forecast")))
    });
    unforeseen.collect()
}

/// Returns whether the forecast has work whose relation only the catalog knows, or that scans other tables with it.
fn is_worked_on(forecast: &StatementEffect) -> bool {
    forecast.work.iter().any(|work| {
        matches!(work, TableWork::Scan(_) | TableWork::ScanDefaultPartition(_) | TableWork::RebuildIndex(_))
    })
}

/// Returns the heavy work that was forecast and not observed.
fn absent_work<'e>(
    observed: &'e StatementEffect,
    forecast: &'e StatementEffect,
) -> impl Iterator<Item = (ForecastVerdict, String)> + 'e {
    forecast.work.iter().filter_map(|planned| {
        let table = planned.relation();
        let is_seen = observed.work.iter().any(|work| is_same(table, work.relation()));
        let text = match planned {
            TableWork::Rewrite(_) if !is_seen => format!("it does not write the rows of {} anew", display(table)),
            TableWork::Scan(_) if !is_seen && observed.work.is_empty() => {
                format!("it does not read the rows of {}", display(table))
            }
            _ => return None,
        };
        Some((ForecastVerdict::Milder, format!("{text}, which was forecast")))
    })
}

fn display(name: &QualifiedName) -> String {
    let schema = name.schema.as_deref().map(|schema| format!("{schema}.")).unwrap_or_default();
    format!("{schema}{}", name.name)
}
