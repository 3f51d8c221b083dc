//! What ends a run before it is done: a signal or its own time limit.
//!
//! The runner sends SIGINT, 7.5 s later SIGTERM, 2.5 s later it kills (actions/runner, `ProcessInvoker`). Everything from the
//! first signal to the end of the process therefore has 7 s: 4 s to stop the work, 1 s for a comment, 1.5 s to close, and what is
//! left for whoever reads the log.

use crate::fault::{Code, Fault};
use std::{io, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// For stopping the work: the statement cancelled, the transaction rolled back.
pub const STOP_BUDGET: Duration = Duration::from_secs(4);

/// For a comment on the pull request.
pub const REPORT_BUDGET: Duration = Duration::from_secs(1);

/// For whoever reads the log to come to its end.
pub const LOG_BUDGET: Duration = Duration::from_millis(250);

/// For reading what was asked, when a signal has come meanwhile.
pub const INPUT_BUDGET: Duration = Duration::from_secs(1);

/// For closing session and tunnel, after the report is out.
pub const CLOSE_BUDGET: Duration = Duration::from_millis(1_500);

/// Why a run was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// By a signal of this name.
    Signal(&'static str),
    /// By `timeout`.
    Timeout,
}

impl Stop {
    /// The fault that decides the outcome. `timeout` is the input of that name.
    #[must_use]
    pub fn fault(self, timeout: Duration) -> Fault {
        match self {
            Self::Signal(name) => Fault::new(Code::Cancelled, format!("stopped by {name}")),
            Self::Timeout => Fault::new(Code::TimedOut, format!("not done after {} s (`timeout`)", timeout.as_secs())),
        }
    }
}

/// The two signals that mean "stop". We are PID 1 in the container: without handlers the kernel ignores both.
#[derive(Debug)]
pub struct Signals {
    pub(super) interrupt: Signal,
    pub(super) terminate: Signal,
}

impl Signals {
    /// Installs the handlers; before any other I/O.
    ///
    /// # Errors
    /// The system's own.
    pub fn install() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }
}
