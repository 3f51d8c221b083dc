//! A program that runs elsewhere, in a container or as a process of its own, as its streams and its exit.

use super::process::ExitStatus;
use bytes::Bytes;
use futures_util::Stream;
use std::{fmt, pin::Pin};
use tokio::io::AsyncWrite;

/// A chunk of a program's output, with its own bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramOutput {
    /// Standard output.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
}

/// A started program. Dropping it closes its standard input.
pub struct StartedProgram {
    /// Its standard input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    /// Its output, which ends with the program.
    pub output: Pin<Box<dyn Stream<Item = ProgramOutput> + Send>>,
    /// Its exit status, to be asked for after the output has ended; `None` if it can't be found.
    pub exit: Pin<Box<dyn Future<Output = Option<ExitStatus>> + Send>>,
}

impl fmt::Debug for StartedProgram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StartedProgram")
    }
}
