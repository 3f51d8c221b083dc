//! Early ends of a run: a signal or the run's own time limit.
//!
//! The runner sends SIGINT, SIGTERM 7.5 s later, and kills another 2.5 s later (actions/runner, `ProcessInvoker`).
//! Everything from the first signal to the end of the process therefore has to fit into 7 s: 4 s to stop the work, 1 s
//! for a comment, 1.5 s to close, and the rest for writing the log.

use crate::fault::{Code, Fault};
use std::{io, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Time limit for stopping the work: cancelling the statement and rolling back the transaction.
pub const STOP_BUDGET: Duration = Duration::from_secs(4);

/// Time limit for a comment on the pull request, in addition to the time that stopping the work has left.
pub const REPORT_BUDGET: Duration = Duration::from_secs(1);

/// Time limit for recording the end of the run in the database; it is part of the time for the report.
pub const AUDIT_BUDGET: Duration = Duration::from_secs(1);

/// Time limit for writing the rest of the log.
pub const LOG_BUDGET: Duration = Duration::from_millis(250);

/// Time limit for reading the inputs after a signal arrived.
pub const INPUT_BUDGET: Duration = Duration::from_secs(1);

/// Time limit for closing session and tunnel, after the report is written.
pub const CLOSE_BUDGET: Duration = Duration::from_millis(1_500);

/// The reason why a run was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A signal of this name.
    Signal(&'static str),
    /// The input `timeout`.
    Timeout,
}

impl StopReason {
    /// Returns the fault that decides the outcome. `timeout` is the value of the input.
    #[must_use]
    pub fn stop_fault(self, timeout: Duration) -> Fault {
        match self {
            Self::Signal(name) => Fault::new(Code::Cancelled, format!("stopped by {name}")),
            Self::Timeout => Fault::new(Code::TimedOut, format!("not done after {} s (`timeout`)", timeout.as_secs())),
        }
    }
}

/// The two signals that mean "stop". The process is PID 1 in its container: without handlers the kernel ignores both.
#[derive(Debug)]
pub struct Signals {
    pub(super) interrupt: Signal,
    pub(super) terminate: Signal,
}

impl Signals {
    /// Installs the handlers. Call it before any other I/O.
    ///
    /// # Errors
    /// The system's error.
    pub fn install() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }
}
