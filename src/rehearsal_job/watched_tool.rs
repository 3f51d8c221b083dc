//! Watches a tool on a copy, and holds its statements against the forecast with the tables of the database itself.

use super::{
    copy::MadeCopies,
    rounds::{OriginalRun, run_rounds},
    statements::{contradiction, loop_warning, read_facts},
};
use crate::{
    executor::RehearsalSubject,
    fault::{Code, Fault},
    postgres::{DatabaseTarget, SessionSettings},
    rehearsal::{CopyServer, FailedStatement, RehearsedScript, WatchedRun, WatchedScripts, install_lock_report},
    review::{Scales, WorkRates, allowed_losses},
    run::{RehearsalFacts, event::Event},
    schema::description_function,
    stage::single_fault,
};

/// The name of the session that looks at a copy.
const LOOKING: &str = "bastion-migrate-rehearsal";

/// The most characters that are shown of a statement that failed.
const MAX_STATEMENT: usize = 300;

/// Version of the server if it is unknown: the oldest that is supported (`server_version_num`).
const OLDEST_VERSION: u32 = 140_000;

/// Runs the tool on a copy, watches the first of its rounds, and adds what was seen to the facts, however it ended.
///
/// # Errors
/// As [`run_rounds`]; `rehearsal-copy`, or a lost connection.
pub(super) async fn rehearse_tool(
    original: OriginalRun<'_>,
    subject: &RehearsalSubject<'_>,
    (server, copies): (&CopyServer, &MadeCopies),
    facts: &mut RehearsalFacts,
) -> Result<(), Vec<Fault>> {
    let no_ledger = || Fault::new(Code::Bug, "there is no ledger by which the tool's statements are known");
    let ledger = subject.ledger.clone().ok_or_else(no_ledger).map_err(single_fault)?;
    if let Err(fault) = install_reports(original, (server, copies)).await {
        if fault.code.ends_session() {
            return Err(single_fault(fault));
        }
        facts.lacks.push(format!("it can't report the locks of statements outside of a transaction: {}", fault.cause));
    }
    let startup = SessionSettings::named(LOOKING);
    let session = server.open_session(&copies.for_rounds, &startup, original.events).await.map_err(single_fault)?;
    let begun = WatchedRun::begin(&session.client, ledger, subject.pending.to_vec()).await;
    session.close().await;
    let mut watched = begun.map_err(single_fault)?;
    let ended = run_rounds(original, subject, (server, copies), Some(&mut watched), facts).await;
    hold_against_forecast(original, (subject, copies), &watched, facts).await.map_err(single_fault)?;
    facts.migrations = copies.changes_without_rows(watched.changes().to_vec());
    ended.map_err(|faults| with_failed_statement(faults, copies, &watched))
}

async fn install_reports(original: OriginalRun<'_>, (server, copies): (&CopyServer, &MadeCopies)) -> Result<(), Fault> {
    let target = DatabaseTarget { role: None, ..copies.for_rounds.clone() };
    let session = server.open_session(&target, &SessionSettings::named(LOOKING), original.events).await?;
    // Without the function, the text of its query is sent each time.
    drop(session.client.batch_execute(&description_function()).await);
    let installed = install_lock_report(&session.client).await;
    session.close().await;
    installed
}

/// Adds the statement at which the tool gave up to its fault.
fn with_failed_statement(mut faults: Vec<Fault>, copies: &MadeCopies, watched: &WatchedRun) -> Vec<Fault> {
    if let (Some(first), Some(failed)) = (faults.first_mut(), watched.failed()) {
        let FailedStatement { text, error, migration } = match &copies.guard {
            Some(guard) => guard.guard_failure(failed),
            None => failed.clone(),
        };
        let of = migration.map(|id| format!(" of {}", id.label())).unwrap_or_default();
        let text: String = text.chars().take(MAX_STATEMENT).collect();
        first.detail.insert(0, format!("the statement that failed{of}: `{text}`: {error}"));
    }
    faults
}

async fn hold_against_forecast(
    original: OriginalRun<'_>,
    (subject, copies): (&RehearsalSubject<'_>, &MadeCopies),
    watched: &WatchedRun,
    facts: &mut RehearsalFacts,
) -> Result<(), Fault> {
    let settings = original.settings;
    let version = subject.session.server_version().unwrap_or(OLDEST_VERSION);
    let mut scripts = WatchedScripts::of_run(watched, subject.scripts, version);
    copies.guard.iter().for_each(|guard| scripts.guard_observed(guard));
    let rehearsed: Vec<RehearsedScript<'_>> = scripts.rehearsed();
    let tables = read_facts(settings, subject, &rehearsed).await?;
    let allowed = allowed_losses(&settings.safety.allowances);
    let scales =
        Scales { facts: &tables, settings: &settings.safety.risk, rates: &WorkRates::TYPICAL, allowed: &allowed };
    facts.statements = scripts.hold_against_forecast(&rehearsed, &scales, copies.guard.as_ref());
    facts.unobserved.clone_from(&scripts.unobserved);
    let warnings =
        facts.statements.iter().filter_map(|statement| contradiction(statement).or_else(|| loop_warning(statement)));
    warnings.for_each(|fault| original.events.emit(Event::Warning(fault)));
    Ok(())
}
