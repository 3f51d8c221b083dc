//! Runs a database migration from a workflow, through a pinned SSH bastion, against a private PostgreSQL.
//!
//! [`run_program`] reads the inputs ([`input`]) and hands them to `app`; `job` shows the run on one screen: [`transport`]
//! opens the connection ([`ssh`]), [`executor`] works over it ([`postgres`], [`ledger`], [`migrate`]), every step of
//! progress is an event ([`run`]), and the [`report`] is folded from the events. A failure is a [`fault`], a secret a
//! [`secret`], and [`github`] implements the runner's protocol. Start reading in `job`; `docs/architecture.md` gives
//! the reasons for the layout.

mod app;
pub mod audit;
pub mod backup;
pub mod docker;
mod doctor;
pub mod executor;
pub mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod github;
mod history_job;
pub mod https;
pub mod input;
mod job;
pub mod layout;
pub mod ledger;
pub mod migrate;
mod panic;
pub mod plan;
mod post_stage;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod random;
pub mod rehearsal;
mod rehearsal_job;
pub mod report;
pub mod review;
pub mod run;
pub mod schema;
pub mod secret;
pub mod server;
pub mod settings;
pub mod site;
pub mod sql;
pub mod ssh;
mod stage;
pub mod token_login;
pub mod tool;
pub mod transport;
pub mod tunnel;
mod tunnel_process;
pub mod way;

use crate::{
    app::RunContext,
    fault::{Code, Fault},
    github::runner::Runner,
    input::{Invocation, StartMode},
    panic::PanicHook,
    report::{ConsoleKind, Log, Reporter, RunReport},
    run::{
        backpressure::LogFlow,
        blocking::run_blocking,
        event::Event,
        shutdown::{INPUT_BUDGET, Signals},
        supervisor::{Completion, Supervisor},
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
const EVENT_INTERVAL: u32 = 16;

/// Runs the program: reads the inputs, masks the secrets, does the work.
#[must_use]
pub fn run_program(args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> ExitCode {
    let panics = PanicHook::install();
    if way::is_relay(&args) {
        return run_relay(&args);
    }
    let process = ProcessContext {
        runner: Runner::from_env(&env),
        screen: detect_surface(&env),
        flow: LogFlow::default(),
        panics,
    };
    let runtime =
        match tokio::runtime::Builder::new_current_thread().enable_all().event_interval(EVENT_INTERVAL).build() {
            Ok(runtime) => runtime,
            Err(error) => return process.report_no_runtime(&error),
        };
    let reporter = OnceCell::new();
    let done = process.panics.catch_panic(|| runtime.block_on(process.dispatch(args, env, &reporter)));
    let code = done.unwrap_or_else(|message| {
        let reporter = reporter.get_or_init(|| process.anonymous_reporter());
        let report = || runtime.block_on(app::report_crash(&message, reporter, &process.flow, &process.runner));
        process.panics.catch_panic(report).unwrap_or_else(|_again| Code::Bug.class().exit_code())
    });
    // Dropping the runtime would wait for a name lookup whose result is no longer needed.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Runs the program that carries streams in a container of its own. It has no inputs, no log and no report.
fn run_relay(args: &[OsString]) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let code = runtime.block_on(way::run_relay(args));
    // A thread may still wait for standard input.
    runtime.shutdown_background();
    code
}

/// Detects the kind of output that the log is written to.
fn detect_surface(env: &[(OsString, OsString)]) -> ConsoleKind {
    let colourless = env.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
    match (std::io::stdout().is_terminal(), colourless) {
        (false, _) => ConsoleKind::Pipe,
        (true, true) => ConsoleKind::PlainTerminal,
        (true, false) => ConsoleKind::ColourTerminal,
    }
}

/// The process-wide state that exists before the inputs are read.
#[derive(Debug)]
struct ProcessContext {
    runner: Runner,
    screen: ConsoleKind,
    flow: LogFlow,
    panics: PanicHook,
}

impl ProcessContext {
    /// Reads the inputs and does what they ask for. Signals are handled from the start.
    async fn dispatch(&self, args: Vec<OsString>, env: Vec<(OsString, OsString)>, reporter: &OnceCell<Reporter>) -> u8 {
        let signals = match Signals::install() {
            Ok(signals) => signals,
            Err(error) => {
                return app::report_crash(
                    &format!("no handler for signals: {error}"),
                    reporter.get_or_init(|| self.anonymous_reporter()),
                    &self.flow,
                    &self.runner,
                )
                .await;
            }
        };
        let mut supervisor = Supervisor::new(signals, self.flow.clone());
        let mut reading = pin!(run_blocking(move || input::read_start_mode(args, env)));
        let (request, early) = match supervisor.run(reading.as_mut()).await {
            Completion::Done(request) => (Some(request), None),
            Completion::Stopped(stop) => (supervisor.run_for(INPUT_BUDGET, reading).await, Some(stop)),
        };
        match (request, early) {
            (Some(StartMode::Run(invocation)), early) => {
                let reporter = reporter.get_or_init(|| self.reporter_for(&invocation));
                Box::pin(app::run_invocation(*invocation, &self.run_context(reporter), supervisor, early)).await
            }
            (None, Some(stop)) => {
                let reporter = reporter.get_or_init(|| self.anonymous_reporter());
                app::report_early_stop(stop, &self.run_context(reporter), &self.runner, supervisor).await
            }
            (Some(StartMode::Print { text, exit }), _) => {
                // A reader that closed the pipe does not need the rest.
                drop(std::io::stdout().write_all(text.as_bytes()));
                exit
            }
            (Some(StartMode::PostStage(runner)), _) => {
                let log = Log::new(&runner, self.screen, &[], &self.flow);
                log.install_tracing();
                post_stage::run_post_stage(&runner, log, &mut supervisor, &self.flow).await
            }
            (Some(StartMode::Sidecar), None) => Box::pin(self.serve_tunnel(&mut supervisor)).await,
            (Some(StartMode::Sidecar) | None, _) => Code::Cancelled.class().exit_code(),
        }
    }

    async fn serve_tunnel(&self, supervisor: &mut Supervisor) -> u8 {
        let handover = run_blocking(|| serde_json::from_reader::<_, Handover>(std::io::stdin()));
        let handover = match supervisor.run(handover).await {
            Completion::Done(Ok(handover)) => handover,
            // A parent that sent no handover reads no report either.
            Completion::Done(Err(_)) => return Code::Bug.class().exit_code(),
            Completion::Stopped(_) => return Code::Cancelled.class().exit_code(),
        };
        let invocation = input::read_handover(&handover.inputs);
        let log = Log::new(&invocation.runner, self.screen, &invocation.secrets, &self.flow);
        log.install_tracing();
        tunnel_process::run_sidecar(invocation, &handover, log, supervisor, &self.flow).await
    }

    fn run_context<'d>(&'d self, reporter: &'d Reporter) -> RunContext<'d> {
        RunContext { reporter, panics: &self.panics, flow: &self.flow }
    }

    /// Creates the reporter of a run, and masks the run's secrets first.
    fn reporter_for(&self, invocation: &Invocation) -> Reporter {
        let log = Log::new(&invocation.runner, self.screen, &invocation.secrets, &self.flow);
        log.install_tracing();
        let mut report = RunReport::new(invocation.command, invocation.environment.clone(), &invocation.runner);
        report.pin_variable.clone_from(&invocation.pin_variable);
        Reporter::new(report, log, self.flow.clone())
    }

    /// Creates a reporter for a run whose inputs and secrets are not known.
    fn anonymous_reporter(&self) -> Reporter {
        let log = Log::new(&self.runner, self.screen, &[], &self.flow);
        Reporter::new(RunReport::new(None, None, &self.runner), log, self.flow.clone())
    }

    fn report_no_runtime(&self, error: &std::io::Error) -> ExitCode {
        let fault = Fault::new(Code::Bug, "the async runtime can't be started").with_causes(error);
        let mut log = Log::on_stream(Box::new(std::io::stdout()), &self.runner, self.screen, &[]);
        log.log_event(&Event::Fault(fault), std::time::Duration::ZERO);
        ExitCode::from(Code::Bug.class().exit_code())
    }
}
