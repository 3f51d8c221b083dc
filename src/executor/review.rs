//! The review of a plan, for every executor: the effects of its SQL, weighed by what the tables are like now, and the
//! findings of the lint. It only reads.

use crate::{
    fault::{Fault, FilePosition},
    postgres::{Session, wait::answer_within},
    review::{
        FactsQuestion, HiddenPart, MigrationScript, PlacedFinding, PlanNames, PlanPath, PlanTables, Scales,
        ScriptEffects, StatementEffect, TableFacts, WorkRates, allowed_losses, finding_refusals, lint_plan,
        names_to_ask, read_table_facts, refusals, statement_effects, unused_allowances, weigh_plan,
    },
    run::{
        LintFinding, ReviewedPlan, ShownScript,
        blocking::run_blocking,
        event::{Event, Events},
    },
    settings::{Command, Settings},
};

use std::{collections::HashMap, sync::Arc};

/// The subject of a review.
pub(super) struct ReviewSubject<'a> {
    /// The SQL of the pending migrations.
    pub(super) scripts: Vec<MigrationScript>,
    /// A session with the database, if there is one.
    pub(super) session: Option<&'a Session>,
    /// The search path of the sessions in which the plan will run.
    pub(super) path: PlanPath,
    /// Returns the position in a file of a byte of a migration's SQL; the migration is given by its index in the plan.
    pub(super) place_of: &'a dyn Fn(usize, usize) -> Option<FilePosition>,
}

/// The scripts with the effects of their statements.
pub(super) type ReadScripts = Vec<(MigrationScript, Vec<StatementEffect>)>;

/// A reviewed plan, for the work that follows.
pub(super) struct ReviewResult {
    /// The tables that the plan changes.
    pub(super) tables: PlanTables,
    /// The scripts, if they are to be rehearsed.
    pub(super) scripts: ReadScripts,
    /// The positions of their statements, by the index of the migration and that of the statement.
    pub(super) places: StatementPlaces,
}

/// Positions of statements in files, by the index of the migration and that of the statement.
pub(crate) type StatementPlaces = HashMap<(usize, usize), FilePosition>;

/// The most statements that a report lists.
const MAX_STATEMENTS: usize = 100;

/// Version of the server if it is unknown: the oldest that is supported (`server_version_num`).
const OLDEST_VERSION: u32 = 140_000;

/// Reviews a plan, reports the review, and refuses what the settings do not accept.
///
/// # Errors
/// A fault for each finding and each statement that is refused; a lost connection.
pub(super) async fn review_plan(
    settings: &Settings,
    events: &Events,
    subject: ReviewSubject<'_>,
) -> Result<ReviewResult, Vec<Fault>> {
    let ReviewSubject { scripts, session, path, place_of } = subject;
    if !matches!(settings.command, Command::Migrate | Command::Plan | Command::Rehearse) || scripts.is_empty() {
        return Ok(ReviewResult::without_scripts(PlanTables::unknown("its SQL is not shown")));
    }
    let version = session.and_then(Session::server_version).unwrap_or(OLDEST_VERSION);
    let read = run_blocking(move || read_scripts(scripts, version)).await;
    let tables = PlanTables::of_scripts(&read, path.clone());
    let facts = read_facts(settings, session, &read, path).await.map_err(|fault| vec![fault])?;
    let (risk, lint, allowances) = (&settings.safety.risk, &settings.safety.lint, &settings.safety.allowances);
    let (read, facts, review, findings) = {
        let (risk, lint, allowances) = (risk.clone(), lint.clone(), allowances.clone());
        run_blocking(move || {
            let effects: Vec<ScriptEffects<'_>> =
                read.iter().map(|(script, effects)| effects_of(script, effects)).collect();
            let scales = Scales {
                facts: &facts,
                settings: &risk,
                rates: &WorkRates::TYPICAL,
                allowed: &allowed_losses(&allowances),
            };
            let review = weigh_plan(&effects, &scales);
            let findings = lint_plan(&read, &facts, (&lint, &allowances), version);
            (read, facts, review, findings)
        })
        .await
    };
    drop(facts);
    let mut plan = ReviewedPlan { review, ..ReviewedPlan::default() };
    let effects_of: HashMap<usize, &[StatementEffect]> =
        read.iter().map(|(script, effects)| (script.id.index, effects.as_slice())).collect();
    for statement in &mut plan.review.statements {
        let effect = effects_of.get(&statement.migration.index).and_then(|effects| effects.get(statement.statement));
        statement.place = effect.and_then(|effect| place_of(statement.migration.index, effect.span.start));
    }
    plan.findings = findings
        .into_iter()
        .map(|PlacedFinding { index, byte, finding }| LintFinding { place: place_of(index, byte), ..finding })
        .collect();
    plan.unused_allowances = unused_allowances(allowances, &plan.review, &plan.findings);
    let scripts = if settings.command == Command::Rehearse { read.clone() } else { Vec::new() };
    let places = places_of(&scripts, place_of);
    plan.scripts = read.into_iter().map(|(script, _)| shown_script(script)).collect();
    let refused: Vec<Fault> =
        refusals(&plan.review, risk).into_iter().chain(finding_refusals(&plan.findings)).collect();
    forget_harmless(&mut plan);
    events.emit(Event::Reviewed(Arc::new(plan)));
    if refused.is_empty() { Ok(ReviewResult { tables, scripts, places }) } else { Err(refused) }
}

impl ReviewResult {
    /// Returns the result of a review without anything to rehearse.
    pub(super) fn without_scripts(tables: PlanTables) -> Self {
        Self { tables, scripts: Vec::new(), places: HashMap::new() }
    }
}

fn places_of(scripts: &ReadScripts, place_of: &dyn Fn(usize, usize) -> Option<FilePosition>) -> StatementPlaces {
    let of_script = |(script, effects): &(MigrationScript, Vec<StatementEffect>)| {
        let index = script.id.index;
        let placed = effects
            .iter()
            .enumerate()
            .filter_map(|(number, effect)| place_of(index, effect.span.start).map(|place| ((index, number), place)));
        placed.collect::<Vec<_>>()
    };
    scripts.iter().flat_map(of_script).collect()
}

/// Forgets the last statements of a long plan: the worst come first. Nobody reads them, and a report has its limits.
fn forget_harmless(plan: &mut ReviewedPlan) {
    let statements = &mut plan.review.statements;
    let forgotten = statements.split_off(statements.len().min(MAX_STATEMENTS));
    statements.shrink_to_fit();
    if let Some(worst) = forgotten.first() {
        let (count, risk) = (forgotten.len(), worst.risk.name());
        plan.review.notes.push(format!("{count} more statements are not listed; their risk is at most {risk}."));
    }
}

fn read_scripts(scripts: Vec<MigrationScript>, version: u32) -> ReadScripts {
    let read = scripts.into_iter().map(|script| {
        let effects = statement_effects(&script, version);
        (script, effects)
    });
    read.collect()
}

fn effects_of<'a>(script: &'a MigrationScript, effects: &'a [StatementEffect]) -> ScriptEffects<'a> {
    ScriptEffects { migration: &script.id, transaction: script.transaction, effects }
}

/// Asks for the facts of the tables in the plan; for nothing if the plan creates all of them itself.
async fn read_facts(
    settings: &Settings,
    session: Option<&Session>,
    read: &ReadScripts,
    path: PlanPath,
) -> Result<TableFacts, Fault> {
    let names: PlanNames = names_to_ask(read.iter().flat_map(|(_, effects)| effects));
    if names.is_empty() {
        return Ok(TableFacts::default());
    }
    let Some(session) = session else { return Ok(TableFacts::unknown("no database is given")) };
    let queries = settings.safety.risk.queries;
    let question = FactsQuestion { names, path, queries, small_table: settings.safety.lint.small_table };
    match answer_within(settings.wait_timeout, read_table_facts(&session.client, &question)).await {
        // The server has answered: the session is as before, and a plan without facts is worth more than none.
        Err(fault) if fault.sqlstate.is_some() => Ok(TableFacts::unknown(fault.cause)),
        facts => facts,
    }
}

fn shown_script(script: MigrationScript) -> ShownScript {
    let MigrationScript { id, sql, hidden, .. } = script;
    let hidden = hidden.into_iter().map(|part| match part {
        HiddenPart::Code(code) => format!("runs {code}: not shown"),
        HiddenPart::Everything(reason) => format!("not shown: {reason}"),
    });
    ShownScript { migration: id, sql, hidden: hidden.collect() }
}
