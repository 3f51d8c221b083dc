//! bastion-migrate takes a database migration from a workflow, through a pinned SSH bastion, to a private PostgreSQL.

pub mod fault;
pub mod github;
pub mod input;
pub mod migrate;
pub mod postgres;
pub mod report;
pub mod run;
pub mod secret;
pub mod ssh;

use std::{ffi::OsString, process::ExitCode};

/// Runs the program.
#[must_use]
pub fn start(_args: Vec<OsString>, _env: Vec<(OsString, OsString)>) -> ExitCode {
    ExitCode::SUCCESS
}
