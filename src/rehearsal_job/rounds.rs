//! The rounds of the real program against a copy: the pending migrations, then the same again, then back and forward.

use super::copy::MadeCopies;
use crate::{
    executor::{Approvers, Executor, RehearsalSubject},
    fault::{Code, Fault},
    github::runner::Runner,
    rehearsal::{CopyRound, settings_for_copy},
    run::{RehearsalFacts, event::Events},
    schema::{SchemaDescription, changes_of_run},
    settings::Settings,
    site::Sites,
    stage::single_fault,
};
use std::time::{Duration, Instant};

/// The end of a round.
struct RoundEnd {
    work: RoundWork,
    took: Duration,
    schema: SchemaDescription,
}

/// What a round had to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RoundWork {
    Something,
    Nothing,
}

/// Runs all rounds, and adds a sentence about each to the facts.
///
/// # Errors
/// `rehearsal-failed` if the migrations can't be applied, or if the second round had something to do.
pub(super) async fn run_rounds(
    (settings, runner): (&Settings, &Runner),
    events: &Events,
    subject: &RehearsalSubject<'_>,
    copies: &MadeCopies,
    facts: &mut RehearsalFacts,
) -> Result<(), Vec<Fault>> {
    let round = |round: CopyRound| async move {
        let settings = settings_for_copy(settings, copies.for_rounds.clone(), &round);
        run_round(&settings, runner, events).await.map_err(|faults| copies.without_rows(faults))
    };
    let first = round(CopyRound::Forward).await.map_err(as_failures)?;
    facts.rounds.push(format!("the pending migrations were applied in {}", in_seconds(first.took)));
    let second = round(CopyRound::Forward).await.map_err(as_failures)?;
    if second.work == RoundWork::Something {
        let cause = "on the copy, a second run after the first one had something to do again";
        return Err(vec![Fault::new(Code::RehearsalFailed, cause)]);
    }
    facts.rounds.push("a second run had nothing to do".to_owned());
    let Some(target) = &subject.last_applied else { return Ok(()) };
    let back = match round(CopyRound::Back(target.clone())).await {
        Ok(back) => back,
        Err(faults) => {
            let cause = faults.first().map(|fault| fault.cause.clone()).unwrap_or_default();
            facts.rounds.push(format!("they can't be rolled back: {cause}"));
            return Ok(());
        }
    };
    let restored = compare(&copies.schema, &back.schema, &subject.ledger_names);
    facts.rounds.push(format!("they were rolled back in {}, and the schema {restored}", in_seconds(back.took)));
    match round(CopyRound::Forward).await {
        Ok(again) => {
            let same = compare(&first.schema, &again.schema, &[]);
            facts.rounds.push(format!("they were applied again in {}, and the schema {same}", in_seconds(again.took)));
        }
        Err(faults) => {
            let cause = faults.first().map(|fault| fault.cause.clone()).unwrap_or_default();
            facts.rounds.push(format!("they can't be applied again after that: {cause}"));
        }
    }
    Ok(())
}

/// Runs the program once, as it would run against the database itself. Its events are about a copy, so nobody sees them.
async fn run_round(settings: &Settings, runner: &Runner, events: &Events) -> Result<RoundEnd, Vec<Fault>> {
    let (quiet, reported) = events.output_only();
    drop(reported);
    let began = Instant::now();
    let mut sites = Sites::new(settings, runner, &quiet).map_err(single_fault)?;
    sites.open_transport().await.map_err(single_fault)?;
    let mut executor = Executor::new(settings, runner, &quiet, &Approvers::default()).await?;
    let ended = run_to_end(&mut executor, &mut sites, began).await;
    executor.close().await;
    let closed = sites.close().await.map_err(single_fault);
    let ended = ended?;
    closed?;
    Ok(ended)
}

async fn run_to_end(
    executor: &mut Executor<'_>,
    sites: &mut Sites<'_>,
    began: Instant,
) -> Result<RoundEnd, Vec<Fault>> {
    executor.connect(sites).await.map_err(single_fault)?;
    executor.take_run_lock().await.map_err(single_fault)?;
    executor.plan(sites).await?;
    let work = if executor.has_work() { RoundWork::Something } else { RoundWork::Nothing };
    if work == RoundWork::Something {
        executor.migrate(sites).await?;
        executor.verify(sites).await?;
    }
    let took = began.elapsed();
    let schema = executor.current_schema().await.map_err(single_fault)?;
    Ok(RoundEnd { work, took, schema })
}

/// Returns the faults of the first round as those of a rehearsal.
fn as_failures(faults: Vec<Fault>) -> Vec<Fault> {
    let failed = faults.into_iter().map(|fault| {
        let (cause, fix) = (format!("on the copy, {}", fault.cause), fault.fix.clone());
        Fault { cause, ..fault }.code(Code::RehearsalFailed).fix(fix)
    });
    failed.collect()
}

/// Returns the result of a comparison, as the rest of a sentence about a schema. The ledger stays when it is empty.
fn compare(before: &SchemaDescription, after: &SchemaDescription, ledgers: &[String]) -> String {
    let is_of_ledger = |line: &String| ledgers.iter().any(|ledger| line.contains(ledger.as_str()));
    let changes = changes_of_run(before, after);
    let changes: Vec<&String> = changes
        .iter()
        .filter(|change| !change.lines.iter().any(is_of_ledger))
        .flat_map(|change| &change.lines)
        .collect();
    match changes.split_first() {
        None => "is as before".to_owned(),
        Some((first, [])) => format!("is not as before: `{first}`"),
        Some((first, more)) => format!("is not as before: `{first}` and {} more lines", more.len()),
    }
}

fn in_seconds(took: Duration) -> String {
    format!("{}.{} s", took.as_secs(), took.subsec_millis() / 100)
}
