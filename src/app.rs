//! The run on one screen: stages in order, teardown in reverse, the report before the teardown.

use crate::{
    executor::Executor,
    fault::{Code, Fault, Stage},
    github::runner::Runner,
    input::Ask,
    panic::Panics,
    report::{Log, Teller, publish},
    run::{
        backpressure::Flow,
        event::{Event, Events},
        shutdown::{CLOSE_BUDGET, LOG_BUDGET, REPORT_BUDGET, STOP_BUDGET, Stop},
        supervisor::{Ended, Watch},
    },
    settings::{Command, GithubSettings, Settings, When},
    site::Sites,
    tunnel::{Handover, Sidecar, Tiding, cleanup::sweep as sweep_away},
};
use std::{
    pin::pin,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// The process-wide state that a run uses.
#[derive(Debug)]
pub(crate) struct Desk<'d> {
    pub(crate) teller: &'d Teller,
    pub(crate) panics: &'d Panics,
    pub(crate) flow: &'d Flow,
}

/// Runs a parsed invocation and returns the process's exit code. `early` is a signal that arrived while the inputs were
/// read.
pub(crate) async fn run(ask: Ask, desk: &Desk<'_>, mut watch: Watch, early: Option<Stop>) -> u8 {
    let Desk { teller, panics, flow } = desk;
    let events = teller.events();
    let time_limit = ask.settings.as_ref().map_or(Duration::ZERO, |settings| settings.safety.timeout);
    if ask.settings.is_ok() {
        watch.limit(time_limit);
    }
    ask.warnings.iter().for_each(|warning| events.tell(Event::Warning(warning.clone())));
    let mut run = None;
    let ended = match (early, &ask.settings) {
        (Some(stop), _) => Ended::Stopped(stop),
        (None, Err(faults)) => Ended::Done(Ok(Err(faults.clone()))),
        (None, Ok(settings)) => {
            let work = Box::pin(work(&mut run, settings, &ask, &events));
            watch.over(panics.caught_in(work)).await
        }
    };
    let broken_off = match ended {
        Ended::Done(Ok(Ok(()))) => None,
        Ended::Done(Ok(Err(faults))) => {
            faults.into_iter().for_each(|fault| events.tell(Event::Fault(fault)));
            None
        }
        Ended::Done(Err(said)) => Some(bug(&said)),
        Ended::Stopped(stop) => Some(stop.fault(time_limit)),
    };
    if let Some(fault) = broken_off {
        flow.hurry();
        let at = teller.report().open_stage().unwrap_or(fault.stage);
        let fault = match &run {
            Some(run) => {
                let stopped = watch.within(STOP_BUDGET, panics.caught_in(Box::pin(run.stop()))).await;
                run.after_stop(fault.at(at), stopped.map(|done| done.unwrap_or_else(|said| Err(bug(&said)))))
            }
            None => fault.at(at),
        };
        events.tell(Event::Fault(fault));
    }
    events.tell_skipped();
    let github = ask.settings.as_ref().ok().map(|settings| &settings.github);
    publish_within(teller, &ask.runner, github, &mut watch).await;
    if let Some(run) = run
        && let Err(fault) = timeout(CLOSE_BUDGET, run.close()).await.unwrap_or(Ok(()))
    {
        teller.log().event(&Event::Warning(fault), teller.elapsed());
    }
    end(teller, flow, &mut watch).await
}

/// Opens a run and executes its stages.
async fn work<'a>(
    run: &mut Option<Run<'a>>,
    settings: &'a Settings,
    ask: &'a Ask,
    events: &'a Events,
) -> Result<(), Vec<Fault>> {
    run.insert(Run::new(settings, ask, events).await?).stages().await
}

/// Ends a process that received a signal while it read its inputs: writes the usual report, but no comment.
pub(crate) async fn unasked(stop: Stop, desk: &Desk<'_>, runner: &Runner, mut watch: Watch) -> u8 {
    desk.teller.events().tell(Event::Fault(stop.fault(Duration::ZERO).at(Stage::Inputs)));
    publish_within(desk.teller, runner, None, &mut watch).await;
    end(desk.teller, desk.flow, &mut watch).await
}

/// Writes every part of the report. If the run has to end meanwhile, only the comment is cut off: the other parts are
/// written without waiting.
async fn publish_within(teller: &Teller, runner: &Runner, github: Option<&GithubSettings>, watch: &mut Watch) {
    let (report, mut log) = (teller.report(), teller.log());
    let mut publishing = pin!(publish(&report, runner, github, &mut log));
    let written = match watch.over(publishing.as_mut()).await {
        Ended::Done(_) => true,
        Ended::Stopped(_) => watch.within(REPORT_BUDGET, publishing).await.is_some(),
    };
    if !written {
        let fault = Fault::new(Code::CommentUnwritten, "the comment could not be written before the step had to end");
        teller.log().event(&Event::Warning(fault), teller.elapsed());
    }
}

/// Prints the final line, waits until the log is written, and returns the exit code.
async fn end(teller: &Teller, flow: &Flow, watch: &mut Watch) -> u8 {
    teller.verdict();
    if flow.is_hurried() || matches!(watch.over(flow.written()).await, Ended::Stopped(_)) {
        watch.within(LOG_BUDGET, flow.written()).await;
    }
    teller.report().exit_code()
}

/// Runs the post stage: removes leftovers of a main stage that was killed before it could remove them. A stage that
/// ended by itself leaves nothing to do, and an executor that creates nothing has nothing to report.
pub(crate) async fn sweep(runner: &Runner, mut log: Log, watch: &mut Watch, flow: &Flow) -> u8 {
    let Some(run) = &runner.state_run else { return 0 };
    let mut sweeping = pin!(sweep_away(run));
    let swept = match watch.over(sweeping.as_mut()).await {
        Ended::Done(swept) => Some(swept),
        Ended::Stopped(_) => watch.within(STOP_BUDGET, sweeping).await,
    };
    match swept.unwrap_or_else(|| Ok(vec!["stopped before everything was removed".to_owned()])) {
        Ok(said) => said.into_iter().for_each(|sentence| log.event(&Event::Note(sentence), Duration::ZERO)),
        Err(fault) => log.event(&Event::Warning(fault), Duration::ZERO),
    }
    watch.within(CLOSE_BUDGET, flow.written()).await;
    0
}

/// Runs the sidecar of `command: tunnel`: serves later steps until it is told to stop or the job has ended.
pub(crate) async fn serve(ask: Ask, handover: &Handover, log: Log, watch: &mut Watch, flow: &Flow) -> u8 {
    let began = Instant::now();
    let redactor = log.redactor().clone();
    let log = Mutex::new(log);
    let token = handover.token.clone();
    // What the other side has a use for it is told in a form of its own, and tells itself.
    let hear = move |event| {
        let event = Tiding::of(&event).map_or(event, |tiding| Event::Note(tiding.written(&token)));
        log.lock().unwrap_or_else(PoisonError::into_inner).event(&event, began.elapsed());
    };
    let events = Events::new(hear, flow.clone()).hiding(redactor);
    watch.limit(TUNNEL_LIFE);
    let failed = |fault: Fault| events.tell(Event::Fault(fault));
    let code = match &ask.settings {
        Ok(settings) => {
            let mut sidecar = Sidecar::new(settings, &ask.runner, handover, events.clone());
            if let Ended::Done(Err(fault)) = watch.over(Box::pin(sidecar.serve())).await {
                failed(fault);
            }
            match timeout(CLOSE_BUDGET, sidecar.close()).await {
                Ok(Ok(passed)) => events.note(passed),
                Ok(Err(fault)) => events.tell(Event::Warning(fault)),
                Err(_) => events.note("the tunnel could not be closed in time"),
            }
            0
        }
        Err(faults) => {
            faults.iter().take(1).cloned().for_each(failed);
            Code::InputInvalid.class().exit_code()
        }
    };
    watch.within(CLOSE_BUDGET, flow.written()).await;
    code
}

/// Reports a panic that was not caught further down like any other failure, in the report as it stood then.
pub(crate) async fn crashed(said: &str, teller: &Teller, flow: &Flow, runner: &Runner) -> u8 {
    flow.hurry();
    teller.break_off(bug(said));
    let (report, mut log) = (teller.report(), teller.log());
    publish(&report, runner, None, &mut log).await;
    teller.verdict();
    drop(timeout(CLOSE_BUDGET, flow.written()).await);
    report.exit_code()
}

fn bug(said: &str) -> Fault {
    Fault::new(Code::Bug, format!("bastion-migrate itself failed: {said}"))
}

/// Longest duration of a GitHub job.
const TUNNEL_LIFE: Duration = Duration::from_hours(5 * 24);

struct Run<'a> {
    settings: &'a Settings,
    events: &'a Events,
    executor: Executor<'a>,
    sites: Sites<'a>,
    lock: Lock,
}

/// State of the run lock. While this run holds it, no other run works on the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    NotYet,
    Ours,
}

impl<'a> Run<'a> {
    async fn new(settings: &'a Settings, ask: &'a Ask, events: &'a Events) -> Result<Self, Vec<Fault>> {
        let executor = Executor::new(settings, &ask.runner, &ask.handover, events).await?;
        let sites = Sites::new(settings, &ask.runner, events).map_err(one)?;
        Ok(Self { settings, events, executor, sites, lock: Lock::NotYet })
    }

    async fn stages(&mut self) -> Result<(), Vec<Fault>> {
        let Self { settings, events, executor, sites, .. } = self;
        if settings.command == Command::Tunnel {
            return stage(events, Stage::Image, async { executor.open().await.map_err(one) }).await;
        }
        if sites.needs_engine() {
            stage(events, Stage::Image, async { sites.prepare().await.map_err(one) }).await?;
        }
        match settings.route {
            Some(_) => stage(events, Stage::Bastion, async { sites.connect().await.map_err(one) }).await?,
            None => sites.connect().await.map_err(one)?,
        }
        let Err(faults) = self.work().await else { return Ok(()) };
        let Self { events, executor, sites, lock, .. } = self;
        let faults = executor.first_cause(sites, faults).await;
        if *lock == Lock::Ours
            && let Err(fault) = executor.after_failure(sites).await
        {
            events.tell(Event::Warning(fault.at(Stage::After)));
        }
        Err(faults)
    }

    /// Runs the stages that need the connection.
    async fn work(&mut self) -> Result<(), Vec<Fault>> {
        let Self { settings, events, executor, sites, lock } = self;
        let writes = settings.command.writes();
        if writes {
            executor.announce(sites);
        }
        if settings.database.is_some() {
            stage(events, Stage::Database, async { executor.connect(sites).await.map_err(one) }).await?;
        }
        let enter = sites.enter();
        match writes {
            true => {
                // Slot first, then lock: a reconnecting run takes them in the same order.
                let locking = async {
                    enter.await.map_err(one)?;
                    executor.lock().await.map_err(one)
                };
                stage(events, Stage::Lock, locking).await?;
                *lock = Lock::Ours;
            }
            false => enter.await.map_err(one)?,
        }
        if writes && settings.steps.begin_with_something() {
            stage(events, Stage::Before, async { executor.prepare(sites).await.map_err(one) }).await?;
        }
        stage(events, Stage::Plan, executor.plan(sites)).await?;
        if writes && executor.has_work() {
            if executor.turns().contains(&When::Pending) && settings.steps.before_pending().next().is_some() {
                stage(events, Stage::Before, async { executor.before(sites).await.map_err(one) }).await?;
            }
            stage(events, Stage::Migrate, async { executor.migrate(sites).await.map_err(one) }).await?;
        }
        if writes || settings.command == Command::Verify {
            stage(events, Stage::Verify, executor.verify(sites)).await?;
        }
        if writes && !settings.steps.after.is_empty() {
            stage(events, Stage::After, async { executor.after(sites).await.map_err(one) }).await?;
        }
        Ok(())
    }

    async fn stop(&self) -> Result<(), Fault> {
        self.executor.stop(&self.sites).await
    }

    /// Returns the fault of a stopped run, with a detail if the stop itself failed.
    fn after_stop(&self, fault: Fault, stopped: Option<Result<(), Fault>>) -> Fault {
        let fault = if fault.code == Code::TimedOut { self.sites.cut_short(fault) } else { fault };
        let why = match stopped {
            Some(Ok(())) => return fault,
            Some(Err(why)) => why.cause,
            None => format!("no answer within {} s", STOP_BUDGET.as_secs()),
        };
        self.executor.give_up();
        fault.detail(self.sites.unstopped(&why))
    }

    async fn close(self) -> Result<(), Fault> {
        let closed = self.executor.close().await;
        self.sites.close().await.and(closed)
    }
}

/// Runs one stage and reports its start and its success. Its faults are marked with the stage.
async fn stage<T>(
    events: &Events,
    stage: Stage,
    work: impl Future<Output = Result<T, Vec<Fault>>>,
) -> Result<T, Vec<Fault>> {
    events.tell(Event::Entered(stage));
    let done = work.await.map_err(|faults| faults.into_iter().map(|fault| fault.at(stage)).collect::<Vec<_>>())?;
    events.tell(Event::Left(stage));
    Ok(done)
}

fn one(fault: Fault) -> Vec<Fault> {
    vec![fault]
}
