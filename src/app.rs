//! The run on one screen: stages in order, teardown in reverse, the report before the teardown.

use crate::{
    executor::{Executor, Handover, Sidecar, Sites, sweep as sweep_away},
    fault::{Code, Fault, Stage},
    github::env::Runner,
    input::{Ask, Command, Settings, When},
    report::{Log, Report, publish},
    run::{
        event::{Event, Events},
        stop::{CLOSE_BUDGET, STOP_BUDGET, Signals},
        watch::{Ended, Watch},
    },
};
use std::{cell::RefCell, time::Duration};
use tokio::time::{Instant, timeout};

/// Runs what was asked for and returns the process's exit code.
pub(crate) async fn run(ask: Ask, log: Log) -> u8 {
    let began = Instant::now();
    let report = Report::new(ask.command, ask.environment.clone(), &ask.runner);
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => return crashed(report, format!("no handler for signals: {error}"), &ask.runner, log).await,
    };
    let (events, receiver) = Events::channel();
    let events = events.hiding(log.redactor().clone());
    let told = RefCell::new((report, log));
    let time_limit = ask.settings.as_ref().map_or(Duration::ZERO, |settings| settings.safety.timeout);
    let mut watch = Watch::new(receiver, signals, time_limit, |event| {
        let (report, log) = &mut *told.borrow_mut();
        let at = began.elapsed();
        tracing::debug!(at_ms = at.as_millis(), ?event);
        report.fold(&event, at);
        log.event(&event, at);
    });
    ask.warnings.iter().for_each(|warning| events.tell(Event::Warning(warning.clone())));

    let mut run =
        match ask.settings.as_ref().map_err(Clone::clone).and_then(|settings| Run::new(settings, &ask, &events)) {
            Ok(run) => Some(run),
            Err(faults) => {
                faults.into_iter().for_each(|fault| events.tell(Event::Fault(fault)));
                None
            }
        };
    if let Some(run) = &mut run {
        match watch.over(Box::pin(run.stages())).await {
            Ended::Done(Ok(())) => {}
            Ended::Done(Err(faults)) => faults.into_iter().for_each(|fault| events.tell(Event::Fault(fault))),
            Ended::Stopped(stop) => {
                let stopped = watch.within(STOP_BUDGET, run.stop()).await;
                let fault = stop.fault(time_limit);
                let at = told.borrow().0.open_stage().unwrap_or(fault.stage);
                events.tell(Event::Fault(run.after_stop(fault.at(at), stopped)));
            }
        }
    }
    watch.drain();

    drop(watch);
    let (report, mut log) = told.into_inner();
    let github = ask.settings.as_ref().ok().map(|settings| &settings.github);
    publish(&report, &ask.runner, github, &mut log).await;
    if let Some(run) = run
        && let Err(fault) = timeout(CLOSE_BUDGET, run.close()).await.unwrap_or(Ok(()))
    {
        log.event(&Event::Warning(fault), began.elapsed());
    }
    log.verdict(&report);
    report.exit_code()
}

/// The post stage: removes what the main stage made and could not remove, because it was killed. There is nothing to do after
/// a stage that ended by itself, and nothing to report of an executor that makes nothing.
pub(crate) async fn sweep(runner: &Runner, mut log: Log) -> u8 {
    let Some(run) = &runner.state_run else { return 0 };
    match sweep_away(run).await {
        Ok(said) => said.into_iter().for_each(|sentence| log.event(&Event::Note(sentence), Duration::ZERO)),
        Err(fault) => log.event(&Event::Warning(fault), Duration::ZERO),
    }
    0
}

/// The sidecar of `command: tunnel`: serves later steps until it is told to end, or the job is gone.
pub(crate) async fn serve(ask: Ask, handover: &Handover, mut log: Log) -> u8 {
    let began = Instant::now();
    let Ok(signals) = Signals::install() else { return Code::Bug.class().exit_code() };
    let (events, receiver) = Events::channel();
    let events = events.hiding(log.redactor().clone());
    let told = RefCell::new(&mut log);
    let mut watch =
        Watch::new(receiver, signals, TUNNEL_LIFE, |event| told.borrow_mut().event(&event, began.elapsed()));
    let failed = |fault: Fault| {
        let text = serde_json::to_string(&fault).unwrap_or_default();
        events.tell(Event::Fault(fault));
        events.note(format!("{} fault {text}", handover.token));
    };
    let settings = match &ask.settings {
        Ok(settings) => settings,
        Err(faults) => {
            faults.iter().take(1).cloned().for_each(failed);
            watch.drain();
            return Code::InputInvalid.class().exit_code();
        }
    };
    let mut sidecar = Sidecar::new(settings, &ask.runner, handover, events.clone());
    if let Ended::Done(Err(fault)) = watch.over(Box::pin(sidecar.serve())).await {
        failed(fault);
    }
    match timeout(CLOSE_BUDGET, sidecar.close()).await {
        Ok(Ok(passed)) => events.note(passed),
        Ok(Err(fault)) => events.tell(Event::Warning(fault)),
        Err(_) => events.note("the tunnel could not be closed in time"),
    }
    watch.drain();
    0
}

/// Tells of a panic as of any other failure.
pub(crate) async fn crashed(mut report: Report, said: String, runner: &Runner, mut log: Log) -> u8 {
    let fault = Event::Fault(Fault::new(Code::Bug, format!("bastion-migrate itself failed: {said}")));
    report.fold(&fault, Duration::ZERO);
    log.event(&fault, Duration::ZERO);
    publish(&report, runner, None, &mut log).await;
    log.verdict(&report);
    report.exit_code()
}

/// No job is longer.
const TUNNEL_LIFE: Duration = Duration::from_hours(5 * 24);

struct Run<'a> {
    settings: &'a Settings,
    events: &'a Events,
    executor: Executor<'a>,
    sites: Sites<'a>,
    lock: Lock,
}

/// Whether the run lock is ours: nobody else's work goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    NotYet,
    Ours,
}

impl<'a> Run<'a> {
    fn new(settings: &'a Settings, ask: &'a Ask, events: &'a Events) -> Result<Self, Vec<Fault>> {
        let executor = Executor::new(settings, &ask.runner, &ask.handover, events)?;
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

    /// Everything for which there is a way.
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
                // In this order, as a run does that was cut off.
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

    /// The fault of a stopped run, which says when the stop itself did not succeed.
    fn after_stop(&self, fault: Fault, stopped: Option<Result<(), Fault>>) -> Fault {
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

/// Lets one stage run, and tells of its beginning and of its good end. Its faults say in which stage they were met.
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
