//! bastion-migrate takes a database migration from a workflow, through a pinned SSH bastion, to a private PostgreSQL.

mod app;
pub mod executor;
pub mod fault;
pub mod github;
pub mod input;
pub mod ledger;
pub mod migrate;
pub mod postgres;
pub mod reach;
pub mod report;
pub mod run;
pub mod secret;
pub mod ssh;

use input::Request;
use report::{Log, Surface};
use std::{
    ffi::OsString,
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

/// Runs the program: reads what is asked, masks the secrets, does it.
#[must_use]
pub fn start(args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> ExitCode {
    let colourless = env.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
    let ask = match input::read(args, env) {
        Request::Run(ask) => *ask,
        Request::Print { text } => {
            // Who closed the pipe does not want to read it.
            drop(std::io::stdout().write_all(text.as_bytes()));
            return ExitCode::SUCCESS;
        }
    };
    let screen = match (std::io::stdout().is_terminal(), colourless) {
        (false, _) => Surface::Pipe,
        (true, true) => Surface::Terminal,
        (true, false) => Surface::Colour,
    };
    let log = Log::new(&ask.runner, screen, &ask.secrets);
    log.listen();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => ExitCode::from(runtime.block_on(app::run(ask, log))),
        Err(_) => ExitCode::from(fault::Code::Bug.class().exit_code()),
    }
}
