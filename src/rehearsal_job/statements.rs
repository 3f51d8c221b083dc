//! Watches each statement on a copy, and holds it against the forecast with the tables of the database itself.

use super::copy::MadeCopies;
use crate::{
    executor::RehearsalSubject,
    fault::{Code, Fault},
    postgres::{SessionSettings, StatementTimeouts, wait::answer_within},
    rehearsal::{
        CopyServer, LOOP, ObservedRun, RehearsedScript, fold_forms, hold_against_forecast, observe_scripts,
        observed_effects,
    },
    review::{FactsQuestion, PlanNames, Scales, TableFacts, WorkRates, allowed_losses, read_table_facts},
    run::{
        ForecastVerdict, RehearsalFacts, RehearsedStatement,
        event::{Event, Events},
    },
    settings::Settings,
};

/// The name of the session that is watched.
const WATCHED: &str = "bastion-migrate-rehearsal";

/// Runs the scripts in the copy for watching, and adds what was seen to the facts.
///
/// # Errors
/// `rehearsal-copy`, or a lost connection.
pub(super) async fn watch_statements(
    settings: &Settings,
    events: &Events,
    subject: &RehearsalSubject<'_>,
    (server, copies): (&CopyServer, &MadeCopies),
    facts: &mut RehearsalFacts,
) -> Result<(), Fault> {
    let (quiet, mut messages) = events.output_only();
    let timeouts =
        StatementTimeouts { lock: settings.safety.lock_timeout, statement: settings.safety.statement_timeout };
    let startup = SessionSettings::migrating(WATCHED, timeouts, Some(&copies.watched));
    let session = server.open_session(&copies.watched, &startup, &quiet).await?;
    let place = (subject.path, &copies.schema);
    let observed = observe_scripts(&session.client, &mut messages, subject.scripts, place).await;
    session.close().await;
    let ObservedRun { scripts: mut observed, changes, unobserved } = observed?;
    facts.migrations = copies.changes_without_rows(changes);
    copies.guard.iter().for_each(|guard| guard.guard_observed(&mut observed));
    let rehearsed = observed_effects(subject.scripts, &observed);
    let tables = read_facts(settings, subject, &rehearsed).await?;
    let allowed = allowed_losses(&settings.safety.allowances);
    let scales =
        Scales { facts: &tables, settings: &settings.safety.risk, rates: &WorkRates::TYPICAL, allowed: &allowed };
    facts.statements = fold_forms(hold_against_forecast(&rehearsed, &scales), &rehearsed);
    for statement in &mut facts.statements {
        let seen = &mut statement.seen;
        seen.place = subject.places.get(&(seen.migration.index, seen.statement)).cloned();
    }
    let warnings =
        facts.statements.iter().filter_map(|statement| contradiction(statement).or_else(|| loop_warning(statement)));
    warnings.for_each(|fault| events.emit(Event::Warning(fault)));
    facts.unobserved = unobserved;
    Ok(())
}

/// Returns the warning about a statement that does more than was forecast. One that fails has a fault of its own.
pub(super) fn contradiction(statement: &RehearsedStatement) -> Option<Fault> {
    let is_news = statement.verdict == ForecastVerdict::Contradicted && statement.error.is_none();
    let cause = format!("on the copy, `{}`: {}", statement.seen.summary, statement.differences.join("; "));
    let fault = Fault::new(Code::ForecastContradicted, cause);
    is_news.then(|| statement.seen.place.iter().cloned().fold(fault, Fault::in_file))
}

/// Returns the warning about many statements of one form in one migration.
pub(super) fn loop_warning(statement: &RehearsedStatement) -> Option<Fault> {
    let RehearsedStatement { times, seen, .. } = statement;
    (*times >= LOOP).then(|| {
        let cause = format!("{times} statements of one form from `{}`: `{}`", seen.migration.label(), seen.summary);
        let fault = Fault::new(Code::StatementLoop, cause);
        seen.place.iter().cloned().fold(fault, Fault::in_file)
    })
}

/// Reads the facts of all tables that were forecast or observed, in the database itself.
pub(super) async fn read_facts(
    settings: &Settings,
    subject: &RehearsalSubject<'_>,
    rehearsed: &[RehearsedScript<'_>],
) -> Result<TableFacts, Fault> {
    let names = PlanNames::of(rehearsed.iter().flat_map(RehearsedScript::effects));
    if names.is_empty() {
        return Ok(TableFacts::default());
    }
    let question = FactsQuestion {
        names,
        path: subject.path.clone(),
        queries: settings.safety.risk.queries,
        small_table: settings.safety.lint.small_table,
    };
    match answer_within(settings.wait_timeout, read_table_facts(&subject.session.client, &question)).await {
        Err(fault) if fault.sqlstate.is_some() => Ok(TableFacts::unknown(fault.cause)),
        facts => facts,
    }
}
