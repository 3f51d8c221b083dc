//! Runs a database migration from a workflow, through a pinned SSH bastion, against a private PostgreSQL.
//!
//! [`start`] reads the inputs ([`input`]) and hands them to `app`, which shows the run on one screen: [`transport`]
//! opens the connection ([`ssh`]), [`executor`] works over it ([`postgres`], [`ledger`], [`migrate`]), every step of
//! progress is an event ([`run`]), and the [`report`] is folded from the events. A failure is a [`fault`], a secret a
//! [`secret`], and [`github`] implements the runner's protocol. Start reading in `app`; `docs/architecture.md` gives
//! the reasons for the layout.

mod app;
pub mod docker;
pub mod executor;
pub mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod github;
pub mod input;
pub mod layout;
pub mod ledger;
pub mod migrate;
mod panic;
pub mod plan;
pub mod postgres;
pub mod proxy;
pub mod random;
pub mod report;
pub mod run;
pub mod secret;
pub mod server;
pub mod settings;
pub mod site;
pub mod sql;
pub mod ssh;
pub mod tool;
pub mod transport;
pub mod tunnel;

use crate::{
    app::Desk,
    fault::{Code, Fault},
    github::runner::Runner,
    input::{Ask, Request},
    panic::Panics,
    report::{Log, Report, Surface, Teller},
    run::{
        backpressure::Flow,
        blocking::aside,
        event::Event,
        shutdown::{INPUT_BUDGET, Signals},
        supervisor::{Ended, Watch},
    },
    tunnel::Handover,
};
use std::{
    cell::OnceCell,
    ffi::OsString,
    io::{IsTerminal as _, Write as _},
    pin::pin,
    process::ExitCode,
};

/// The most tasks that run between two checks of signals, sockets and timers: a task that is always ready must not
/// delay a signal.
const TURNS: u32 = 16;

/// Runs the program: reads the inputs, masks the secrets, does the work.
#[must_use]
pub fn start(args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> ExitCode {
    let panics = Panics::heard();
    let process = Process { runner: Runner::from_env(&env), screen: screen(&env), flow: Flow::default(), panics };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().event_interval(TURNS).build() {
        Ok(runtime) => runtime,
        Err(error) => return process.can_not_run(&error),
    };
    let teller = OnceCell::new();
    let done = process.panics.caught(|| runtime.block_on(process.run(args, env, &teller)));
    let code = done.unwrap_or_else(|said| {
        let teller = teller.get_or_init(|| process.nameless());
        let told = || runtime.block_on(app::crashed(&said, teller, &process.flow, &process.runner));
        process.panics.caught(told).unwrap_or_else(|_again| Code::Bug.class().exit_code())
    });
    // Dropping the runtime would wait for a name lookup whose result is no longer needed.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Detects the kind of output that the log is written to.
fn screen(env: &[(OsString, OsString)]) -> Surface {
    let colourless = env.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
    match (std::io::stdout().is_terminal(), colourless) {
        (false, _) => Surface::Pipe,
        (true, true) => Surface::Terminal,
        (true, false) => Surface::Colour,
    }
}

/// The process-wide state that exists before the inputs are read.
#[derive(Debug)]
struct Process {
    runner: Runner,
    screen: Surface,
    flow: Flow,
    panics: Panics,
}

impl Process {
    /// Reads the inputs and does what they ask for. Signals are handled from the start.
    async fn run(&self, args: Vec<OsString>, env: Vec<(OsString, OsString)>, teller: &OnceCell<Teller>) -> u8 {
        let signals = match Signals::install() {
            Ok(signals) => signals,
            Err(error) => {
                return app::crashed(
                    &format!("no handler for signals: {error}"),
                    teller.get_or_init(|| self.nameless()),
                    &self.flow,
                    &self.runner,
                )
                .await;
            }
        };
        let mut watch = Watch::new(signals, self.flow.clone());
        let mut reading = pin!(aside(move || input::read(args, env)));
        let (request, early) = match watch.over(reading.as_mut()).await {
            Ended::Done(request) => (Some(request), None),
            Ended::Stopped(stop) => (watch.within(INPUT_BUDGET, reading).await, Some(stop)),
        };
        match (request, early) {
            (Some(Request::Run(ask)), early) => {
                let teller = teller.get_or_init(|| self.teller(&ask));
                Box::pin(app::run(*ask, &self.desk(teller), watch, early)).await
            }
            (None, Some(stop)) => {
                let teller = teller.get_or_init(|| self.nameless());
                app::unasked(stop, &self.desk(teller), &self.runner, watch).await
            }
            (Some(Request::Print { text, exit }), _) => {
                // A reader that closed the pipe does not need the rest.
                drop(std::io::stdout().write_all(text.as_bytes()));
                exit
            }
            (Some(Request::Sweep(runner)), _) => {
                let log = Log::new(&runner, self.screen, &[], &self.flow);
                log.listen();
                app::sweep(&runner, log, &mut watch, &self.flow).await
            }
            (Some(Request::Sidecar), None) => self.serve(&mut watch).await,
            (Some(Request::Sidecar) | None, _) => Code::Cancelled.class().exit_code(),
        }
    }

    async fn serve(&self, watch: &mut Watch) -> u8 {
        let handover = aside(|| serde_json::from_reader::<_, Handover>(std::io::stdin()));
        let handover = match watch.over(handover).await {
            Ended::Done(Ok(handover)) => handover,
            // A parent that sent no handover reads no report either.
            Ended::Done(Err(_)) => return Code::Bug.class().exit_code(),
            Ended::Stopped(_) => return Code::Cancelled.class().exit_code(),
        };
        let ask = input::handed_over(&handover.inputs);
        let log = Log::new(&ask.runner, self.screen, &ask.secrets, &self.flow);
        log.listen();
        app::serve(ask, &handover, log, watch, &self.flow).await
    }

    fn desk<'d>(&'d self, teller: &'d Teller) -> Desk<'d> {
        Desk { teller, panics: &self.panics, flow: &self.flow }
    }

    /// Creates the reporter of a run, and masks the run's secrets first.
    fn teller(&self, ask: &Ask) -> Teller {
        let log = Log::new(&ask.runner, self.screen, &ask.secrets, &self.flow);
        log.listen();
        Teller::new(Report::new(ask.command, ask.environment.clone(), &ask.runner), log, self.flow.clone())
    }

    /// Creates a reporter for a run whose inputs and secrets are not known.
    fn nameless(&self) -> Teller {
        let log = Log::new(&self.runner, self.screen, &[], &self.flow);
        Teller::new(Report::new(None, None, &self.runner), log, self.flow.clone())
    }

    fn can_not_run(&self, error: &std::io::Error) -> ExitCode {
        let fault = Fault::new(Code::Bug, "the async runtime can't be started").because(error);
        let mut log = Log::to(Box::new(std::io::stdout()), &self.runner, self.screen, &[]);
        log.event(&Event::Fault(fault), std::time::Duration::ZERO);
        ExitCode::from(Code::Bug.class().exit_code())
    }
}
