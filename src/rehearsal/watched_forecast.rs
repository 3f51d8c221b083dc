//! The statements of a tool held against the SQL that its plan shows. A statement that the plan does not show was not forecast
//! at all: it is seen for the first time.

use super::{
    forecast_check::{RehearsedScript, hold_against_forecast, observed_effects},
    observation::{LockAge, ObservedScript, ObservedStatement},
    row_guard::RowGuard,
    statement_kind::StatementKindOnCopy,
    watched_migration::{WatchedMigration, WatchedStatement},
    watched_run::WatchedRun,
};
use crate::{
    review::{Certainty, LockMode, MigrationScript, Scales, ScriptTransaction, StatementEffect, statement_effects},
    run::{ForecastVerdict, MigrationId, RehearsedStatement},
    sql::{Span, statement_form},
};
use std::collections::HashMap;

/// Number of statements of one form in a migration from which on they are a loop.
pub const LOOP: u64 = 100;

/// The label of the statements that belong to no migration.
const REST: &str = "the rest of the run";

/// The statements of a run, as scripts with their forecasts.
#[derive(Debug)]
pub struct WatchedScripts {
    scripts: Vec<(MigrationScript, Vec<StatementEffect>)>,
    observed: Vec<ObservedScript>,
    origins: HashMap<(usize, usize), StatementOrigin>,
    /// What was not observed, as phrases.
    pub unobserved: Vec<String>,
}

/// The origin of a statement in a script.
#[derive(Debug, Clone)]
struct StatementOrigin {
    id: MigrationId,
    times: u64,
    transaction: Option<u64>,
    is_foreseen: bool,
    /// Its form, if its text has values of rows.
    form: Option<String>,
}

impl WatchedScripts {
    /// Reads the statements of a run. `plan` is the SQL that the plan shows.
    #[must_use]
    pub fn of_run(run: &WatchedRun, plan: &[(MigrationScript, Vec<StatementEffect>)], server_version: u32) -> Self {
        let mut scripts =
            Self { scripts: Vec::new(), observed: Vec::new(), origins: HashMap::new(), unobserved: Vec::new() };
        for migration in &run.migrations {
            let id =
                migration.id.clone().unwrap_or_else(|| MigrationId { name: REST.to_owned(), ..MigrationId::default() });
            let mut forecast = Forecast::of(&id, plan);
            for statements in worth_showing(migration).chunk_by(|one, other| one.transaction == other.transaction) {
                scripts.add_script(&id, statements, &mut forecast, server_version);
            }
            if migration.omitted > 0 {
                let omitted = migration.omitted;
                scripts.unobserved.push(format!("{omitted} more statements of {}, of many forms", id.label()));
            }
        }
        scripts
    }

    fn add_script(
        &mut self,
        id: &MigrationId,
        statements: &[&WatchedStatement],
        forecast: &mut Forecast<'_>,
        server_version: u32,
    ) {
        let index = self.scripts.len() + 1;
        let is_whole = statements.first().is_some_and(|statement| statement.transaction.is_some());
        let mut script = MigrationScript {
            id: MigrationId { index, ..id.clone() },
            sql: String::new(),
            transaction: if is_whole { ScriptTransaction::Whole } else { ScriptTransaction::AsWritten },
            hidden: Vec::new(),
        };
        let (mut effects, mut observed) = (Vec::new(), ObservedScript::default());
        for (number, statement) in statements.iter().enumerate() {
            let start = script.sql.len();
            script.sql.push_str(&statement.text);
            let span = Span { start, end: script.sql.len() };
            script.sql.push_str(";\n");
            let planned = forecast.take(&statement.form);
            let is_foreseen = planned.is_some();
            let effect = planned.cloned().unwrap_or_else(|| effect_of(id, statement, server_version));
            effects.push(StatementEffect { span, ..effect });
            observed.statements.push(ObservedStatement { index: number, ..statement.seen.clone() });
            let has_values = statement.kind < StatementKindOnCopy::Schema;
            self.origins.insert(
                (index, number),
                StatementOrigin {
                    id: id.clone(),
                    times: statement.times,
                    transaction: statement.transaction,
                    is_foreseen,
                    form: has_values.then(|| statement.form.to_string()),
                },
            );
        }
        self.scripts.push((script, effects));
        self.observed.push(observed);
    }

    /// Removes the rows of the copy from what was observed.
    pub fn guard_observed(&mut self, guard: &RowGuard) {
        guard.guard_observed(&mut self.observed);
    }

    /// Returns the scripts with their effects as they were observed.
    #[must_use]
    pub fn rehearsed(&self) -> Vec<RehearsedScript<'_>> {
        observed_effects(&self.scripts, &self.observed)
    }

    /// Holds the observation against the forecast. Returns the statements, the worst first; with a guard without the rows of the
    /// copy.
    #[must_use]
    pub fn hold_against_forecast(
        &self,
        rehearsed: &[RehearsedScript<'_>],
        scales: &Scales<'_>,
        guard: Option<&RowGuard>,
    ) -> Vec<RehearsedStatement> {
        let held = hold_against_forecast(rehearsed, scales).into_iter().filter_map(|statement| {
            let (index, number) = (statement.seen.migration.index, statement.seen.statement);
            let mut shown = self.with_origin(statement)?;
            let script = rehearsed.iter().find(|script| script.index() == index)?;
            guard.iter().for_each(|guard| guard.guard_rehearsed(&mut shown, script.text_of(number)));
            Some(shown)
        });
        held.collect()
    }

    fn with_origin(&self, mut statement: RehearsedStatement) -> Option<RehearsedStatement> {
        let origin = self.origins.get(&(statement.seen.migration.index, statement.seen.statement))?;
        statement.seen.migration = origin.id.clone();
        if let Some(form) = &origin.form {
            statement.seen.summary = form.chars().take(MAX_SHOWN).collect();
        }
        (statement.times, statement.transaction) = (origin.times, origin.transaction);
        if !origin.is_foreseen && statement.error.is_none() {
            (statement.verdict, statement.differences) = (ForecastVerdict::Unforeseen, Vec::new());
        }
        Some(statement)
    }
}

/// Characters of a form in a report.
const MAX_SHOWN: usize = 200;

/// The statements of a plan that were not seen yet.
struct Forecast<'p>(Vec<(String, &'p StatementEffect)>);

impl<'p> Forecast<'p> {
    fn of(id: &MigrationId, plan: &'p [(MigrationScript, Vec<StatementEffect>)]) -> Self {
        let same_name = || plan.iter().filter(|(script, _)| script.id.name == id.name);
        // A script stands for all schemas in which its SQL is the same.
        let found = same_name().find(|(script, _)| script.id.schema == id.schema).or_else(|| same_name().next());
        let effects = found.into_iter().flat_map(|(script, effects)| {
            effects.iter().map(|effect| (statement_form(effect.span.slice_of(&script.sql)), effect))
        });
        Self(effects.collect())
    }

    fn take(&mut self, form: &str) -> Option<&'p StatementEffect> {
        let at = self.0.iter().position(|(planned, _)| planned == form)?;
        Some(self.0.remove(at).1)
    }
}

/// Returns the statements of a migration without those that only read and lock nothing, unless they are a loop.
fn worth_showing(migration: &WatchedMigration) -> Vec<&WatchedStatement> {
    let locks = |statement: &WatchedStatement| {
        statement.seen.held.iter().any(|lock| lock.age == LockAge::New && lock.mode > LockMode::RowShare)
    };
    let is_shown = |statement: &&WatchedStatement| {
        statement.kind > StatementKindOnCopy::Read
            || statement.times >= LOOP
            || statement.seen.error.is_some()
            || locks(statement)
    };
    migration.statements.iter().filter(is_shown).collect()
}

/// Returns the effect of a statement that no plan shows, from its own text; of several in one message, the effect of all.
fn effect_of(id: &MigrationId, statement: &WatchedStatement, server_version: u32) -> StatementEffect {
    let script = MigrationScript {
        id: id.clone(),
        sql: statement.text.clone(),
        transaction: ScriptTransaction::AsWritten,
        hidden: Vec::new(),
    };
    let mut effects = statement_effects(&script, server_version).into_iter();
    let Some(mut effect) = effects.next() else {
        let (span, summary) = (Span { start: 0, end: 0 }, statement.form.to_string());
        let (locks, work, destroys, creates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        return StatementEffect { span, summary, locks, work, destroys, creates, certainty: Certainty::Known };
    };
    let mut more = 0;
    for other in effects {
        more += 1;
        effect.locks.extend(other.locks);
        effect.work.extend(other.work);
        effect.destroys.extend(other.destroys);
        effect.creates.extend(other.creates);
    }
    if more > 0 {
        effect.summary = format!("{} and {more} more in one message", effect.summary);
    }
    effect
}
