//! The rounds of the real program against a copy: the pending migrations, then the same again, then back and forward.

use super::{copy::MadeCopies, temporary_files::temporary_bytes};
use crate::{
    executor::{Approvers, Executor, RehearsalSubject},
    fault::{Code, Fault},
    github::runner::Runner,
    rehearsal::{CopyRound, CopyServer, WatchedEnd, WatchedRun, settings_for_copy},
    run::{RehearsalFacts, event::Events},
    schema::{SchemaDescription, changes_of_run},
    settings::{ExecutorSettings, Settings},
    site::Sites,
    stage::single_fault,
};
use std::{
    pin::pin,
    time::{Duration, Instant},
};

/// The most changes of the schema in a report.
const MAX_CHANGES: usize = 200;

/// The beginning of a line of a tool's output with values of rows, as psycopg prints the server's detail.
const DETAIL: &str = "DETAIL:";

/// The program in the original.
#[derive(Clone, Copy)]
pub(super) struct OriginalRun<'r> {
    pub(super) settings: &'r Settings,
    pub(super) runner: &'r Runner,
    pub(super) events: &'r Events,
    pub(super) sites: &'r Sites<'r>,
}

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

/// Runs all rounds, and adds a sentence about each to the facts. In the first one, the sessions of a tool are watched.
///
/// # Errors
/// `rehearsal-failed` if the migrations can't be applied, or if the second round had something to do.
pub(super) async fn run_rounds(
    original: OriginalRun<'_>,
    subject: &RehearsalSubject<'_>,
    (server, copies): (&CopyServer, &MadeCopies),
    watched: Option<&mut WatchedRun>,
    facts: &mut RehearsalFacts,
) -> Result<(), Vec<Fault>> {
    let without_rows = |faults| match &subject.ledger {
        Some(_) => copies.without_output(faults),
        None => copies.without_rows(faults),
    };
    let round = |round: CopyRound, watched| async move {
        let settings = settings_for_copy(original.settings, copies.for_rounds.clone(), &round);
        let quiet = copies.events_of_round(original.events);
        run_round(original, (&settings, quiet), watched).await.map_err(without_rows)
    };
    let first = round(CopyRound::Forward, watched).await.map_err(as_failures)?;
    facts.rounds.push(format!("the pending migrations were applied in {}", in_seconds(first.took)));
    let changes = changes_of_run(&copies.schema, &first.schema).into_iter().flat_map(|change| change.lines);
    facts.changes = copies.lines_without_rows(changes.take(MAX_CHANGES).collect());
    let temporary = temporary_bytes(server, &copies.for_rounds, original.events).await.map_err(single_fault)?;
    facts.temp_bytes = temporary;
    let second = round(CopyRound::Forward, None).await.map_err(as_failures)?;
    if second.work == RoundWork::Something {
        let cause = "on the copy, a second run after the first one had something to do again";
        return Err(vec![Fault::new(Code::RehearsalFailed, cause)]);
    }
    facts.rounds.push("a second run had nothing to do".to_owned());
    let targets = match &subject.ways_back {
        Ok(targets) => targets,
        Err(reason) => {
            if !reason.is_empty() {
                facts.rounds.push(format!("they can't be rolled back: {reason}"));
            }
            return Ok(());
        }
    };
    let (mut took, mut back) = (Duration::ZERO, None);
    for target in targets {
        match round(CopyRound::Back(target.clone()), None).await {
            Ok(end) => {
                took += end.took;
                back = Some(end);
            }
            Err(faults) => {
                let cause = faults.first().map(|fault| fault.cause.clone()).unwrap_or_default();
                facts.rounds.push(format!("they can't be rolled back: {cause}"));
                return Ok(());
            }
        }
    }
    let Some(back) = back else { return Ok(()) };
    let restored = compare(copies, (&copies.schema, &back.schema), &subject.ledger_names);
    facts.rounds.push(format!("they were rolled back in {}, and the schema {restored}", in_seconds(took)));
    match round(CopyRound::Forward, None).await {
        Ok(again) => {
            let same = compare(copies, (&first.schema, &again.schema), &[]);
            facts.rounds.push(format!("they were applied again in {}, and the schema {same}", in_seconds(again.took)));
        }
        Err(faults) => {
            let cause = faults.first().map(|fault| fault.cause.clone()).unwrap_or_default();
            facts.rounds.push(format!("they can't be applied again after that: {cause}"));
        }
    }
    Ok(())
}

/// Runs the program once, as it would run against the database itself.
async fn run_round(
    original: OriginalRun<'_>,
    (settings, quiet): (&Settings, Events),
    watched: Option<&mut WatchedRun>,
) -> Result<RoundEnd, Vec<Fault>> {
    let OriginalRun { runner, sites, .. } = original;
    let began = Instant::now();
    let mut sites = match settings.executor {
        ExecutorSettings::Tool(_) => sites.for_copy(settings, runner, &quiet).await.map_err(single_fault)?,
        ExecutorSettings::Sql => {
            let mut sites = Sites::new(settings, runner, &quiet).map_err(single_fault)?;
            sites.open_transport().await.map_err(single_fault)?;
            sites
        }
    };
    let mut executor = Executor::new(settings, runner, &quiet, &Approvers::default()).await?;
    let ended = Box::pin(run_to_end(&mut executor, &mut sites, began, watched)).await;
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
    mut watched: Option<&mut WatchedRun>,
) -> Result<RoundEnd, Vec<Fault>> {
    executor.connect(sites).await.map_err(single_fault)?;
    executor.take_run_lock().await.map_err(single_fault)?;
    executor.plan(sites).await?;
    let work = if executor.has_work() { RoundWork::Something } else { RoundWork::Nothing };
    if work == RoundWork::Something {
        executor.check_led(sites).await.map_err(single_fault)?;
        match watched.as_deref_mut() {
            Some(watched) => migrate_watched(executor, sites, watched).await?,
            None => executor.migrate(sites).await?,
        }
        executor.verify(sites).await?;
    }
    let took = began.elapsed();
    let schema = executor.current_schema().await.map_err(single_fault)?;
    watched.into_iter().for_each(|watched| watched.take_last_schema(&schema));
    Ok(RoundEnd { work, took, schema })
}

/// Migrates while what passes is taken.
async fn migrate_watched(
    executor: &mut Executor<'_>,
    sites: &mut Sites<'_>,
    watched: &mut WatchedRun,
) -> Result<(), Vec<Fault>> {
    let (watch, mut exchanges) = watched.watch();
    sites.set_watch(Some(&watch));
    // The sites have it now, as long as it lasts.
    drop(watch);
    let ended = {
        let mut work = pin!(executor.migrate(sites));
        loop {
            tokio::select! {
                ended = &mut work => break ended,
                Some(exchange) = exchanges.recv() => watched.take(&exchange),
            }
        }
    };
    sites.set_watch(None);
    while let Ok(exchange) = exchanges.try_recv() {
        watched.take(&exchange);
    }
    let failed = executor.failed_migration(sites);
    watched.end(match &ended {
        Ok(()) => WatchedEnd::Completed,
        Err(_) => WatchedEnd::Failed(failed),
    });
    ended
}

/// The fix for a tool that refuses the certificate of the copy, or looks for that of its CA.
const OWN_CERTIFICATE: &str = "let the app's settings take `sslmode` from the environment (PGSSLMODE, DATABASE_URL), which is \
    `disable` in a rehearsal: the copy has a certificate of its own";

/// Returns the faults of the first round as those of a rehearsal, without the values of rows in a server's detail.
fn as_failures(faults: Vec<Fault>) -> Vec<Fault> {
    let failed = faults.into_iter().map(|fault| {
        // It is known what to do where the copy is not reached.
        if matches!(fault.code, Code::ToolElsewhere | Code::ForwardingForbidden | Code::ListenerUnavailable) {
            return fault;
        }
        // The fix that is known for other databases is to give the tool the CA.
        let fix = match fault.code {
            Code::ToolFailed if fault.cause.contains("certificate") => OWN_CERTIFICATE.to_owned(),
            _ => fault.fix.clone(),
        };
        let cause = format!("on the copy, {}", fault.cause);
        let detail = fault.detail.iter().filter(|line| !line.trim_start().starts_with(DETAIL)).cloned().collect();
        Fault { cause, detail, ..fault }.code(Code::RehearsalFailed).fix(fix)
    });
    failed.collect()
}

/// Returns the result of a comparison, as the rest of a sentence about a schema. The ledger stays when it is empty.
fn compare(
    copies: &MadeCopies,
    (before, after): (&SchemaDescription, &SchemaDescription),
    ledgers: &[String],
) -> String {
    let is_of_ledger = |line: &String| ledgers.iter().any(|ledger| line.contains(ledger.as_str()));
    let changes = changes_of_run(before, after);
    let changes = changes.into_iter().filter(|change| !change.lines.iter().any(is_of_ledger));
    let lines = copies.lines_without_rows(changes.flat_map(|change| change.lines).collect());
    match lines.split_first() {
        None => "is as before".to_owned(),
        Some((first, [])) => format!("is not as before: `{first}`"),
        Some((first, more)) => format!("is not as before: `{first}` and {} more lines", more.len()),
    }
}

fn in_seconds(took: Duration) -> String {
    format!("{}.{} s", took.as_secs(), took.subsec_millis() / 100)
}
