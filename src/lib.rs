//! bastion-migrate takes a database migration from a workflow, through a pinned SSH bastion, to a private PostgreSQL.
//!
//! [`start`] reads what was asked ([`input`]) and hands it to `app`, the run on one screen: [`reach`] opens the way ([`ssh`]),
//! [`executor`] does the work over it ([`postgres`], [`ledger`], [`migrate`]), and whatever happens is told as an event
//! ([`run`]) from which the [`report`] is folded. A failure is a [`fault`], a secret a [`secret`], and [`github`] is the
//! runner's protocol. Begin to read in `app`; `docs/architecture.md` says why it is cut like this.

mod app;
mod bug;
pub mod engine;
pub mod executor;
pub mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod github;
pub mod input;
pub mod ledger;
pub mod migrate;
pub mod postgres;
pub mod reach;
pub mod report;
pub mod run;
pub mod secret;
pub mod server;
pub mod ssh;
pub mod tool;

use executor::Handover;
use fault::{Code, Fault};
use input::{Ask, Request};
use report::{Log, Report, Surface};
use run::event::Event;
use std::{
    ffi::OsString,
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

/// What the process is.
enum Started {
    Run(Box<Ask>),
    Sidecar(Box<Ask>, Handover),
    Sweep(Box<github::env::Runner>),
}

/// Runs the program: reads what is asked, masks the secrets, does it.
#[must_use]
pub fn start(args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> ExitCode {
    let colourless = env.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
    let request = input::read(args, env);
    if let Request::Print { text } = &request {
        // Who closed the pipe does not want to read it.
        drop(std::io::stdout().write_all(text.as_bytes()));
        return ExitCode::SUCCESS;
    }
    let screen = match (std::io::stdout().is_terminal(), colourless) {
        (false, _) => Surface::Pipe,
        (true, true) => Surface::Terminal,
        (true, false) => Surface::Colour,
    };
    let started = match request {
        Request::Run(ask) => Started::Run(ask),
        Request::Sweep(runner) => Started::Sweep(runner),
        Request::Sidecar => match serde_json::from_reader::<_, Handover>(std::io::stdin()) {
            Ok(handover) => Started::Sidecar(Box::new(input::handed_over(&handover.inputs)), handover),
            // Whoever started it without telling it anything does not listen either.
            Err(_) => return ExitCode::from(Code::Bug.class().exit_code()),
        },
        Request::Print { .. } => return ExitCode::SUCCESS,
    };
    let (runner, secrets, command, environment) = match &started {
        Started::Run(ask) | Started::Sidecar(ask, _) => {
            (ask.runner.clone(), ask.secrets.clone(), ask.command, ask.environment.clone())
        }
        Started::Sweep(runner) => ((**runner).clone(), Vec::new(), None, None),
    };
    let crashed = Report::new(command, environment, &runner);
    let mut log = Log::new(&runner, screen, &secrets);
    log.listen();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let fault = Fault::new(Code::Bug, "there is nothing to run on").because(&error);
            log.event(&Event::Fault(fault), Duration::ZERO);
            return ExitCode::from(Code::Bug.class().exit_code());
        }
    };
    let code = bug::caught(
        || match started {
            Started::Run(ask) => runtime.block_on(app::run(*ask, log)),
            Started::Sidecar(ask, handover) => runtime.block_on(app::serve(*ask, &handover, log)),
            Started::Sweep(runner) => runtime.block_on(app::sweep(&runner, log)),
        },
        |said| runtime.block_on(app::crashed(crashed, said, &runner, Log::new(&runner, screen, &secrets))),
    );
    // A name that is still being resolved is nobody's any more; dropping the runtime would wait for it.
    runtime.shutdown_background();
    ExitCode::from(code)
}
