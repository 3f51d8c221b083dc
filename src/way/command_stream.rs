//! The stream that a command carries: its standard input and output. Its standard error goes to the log, and its exit
//! explains the end of the stream.

use crate::{
    fault::{Code, Fault},
    program::is_start_failure,
    run::{
        event::{Event, Events},
        process::{ExitStatus, LineBuffer},
        program::{ProgramOutput, StartedProgram},
    },
};
use bytes::Bytes;
use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The fault of the last stream that its command ended, shared by all streams of a way.
#[derive(Debug, Clone, Default)]
pub(super) struct LastFailure(Arc<Mutex<Option<Fault>>>);

impl LastFailure {
    pub(super) fn get(&self) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, fault: Option<Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

/// The command of a stream, for messages.
#[derive(Debug, Clone)]
pub(super) struct CommandLabel {
    /// The command as the user knows it, in backticks.
    pub(super) shown: String,
    /// The fix of a command that can't be started.
    pub(super) start_fix: String,
}

/// A stream over the standard input and output of a command. Dropping it closes the command's standard input, at which
/// it ends.
pub struct CommandStream {
    program: StartedProgram,
    phase: StreamPhase,
    /// Bytes that the user of the stream has not read yet.
    unread: Bytes,
    stderr: LineBuffer,
    /// The last line on standard error.
    last_line: String,
    has_passed_bytes: bool,
    /// True once the user of the stream has ended it.
    is_closing: bool,
    label: CommandLabel,
    failure: LastFailure,
    events: Events,
}

/// The phase of reading from a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamPhase {
    Running,
    /// Its output has ended; its exit status is asked for.
    Exiting,
    Ended,
}

impl CommandStream {
    pub(super) fn new(program: StartedProgram, label: CommandLabel, failure: LastFailure, events: Events) -> Self {
        let stderr = LineBuffer::with_redactor(events.redactor().clone());
        Self {
            program,
            phase: StreamPhase::Running,
            unread: Bytes::new(),
            stderr,
            last_line: String::new(),
            has_passed_bytes: false,
            is_closing: false,
            label,
            failure,
            events,
        }
    }

    /// Takes the next output. The first bytes clear the failure of an earlier stream: this one works.
    fn take_output(&mut self, output: ProgramOutput) {
        match output {
            ProgramOutput::Stderr(bytes) => {
                let lines = self.stderr.push_bytes(&bytes);
                self.log_lines(lines);
            }
            ProgramOutput::Stdout(bytes) if !self.has_passed_bytes && is_start_failure(&bytes) => {
                self.failure.set(Some(self.not_started_fault(&String::from_utf8_lossy(&bytes))));
                self.phase = StreamPhase::Ended;
            }
            ProgramOutput::Stdout(bytes) => {
                if !self.has_passed_bytes && !bytes.is_empty() {
                    self.has_passed_bytes = true;
                    self.failure.set(None);
                }
                self.unread = bytes;
            }
        }
    }

    fn log_lines(&mut self, lines: Vec<String>) {
        for line in lines {
            if !line.trim().is_empty() {
                self.last_line.clone_from(&line);
            }
            self.events.emit(Event::Output { line });
        }
    }

    /// Records the exit, if it is a failure: the end of a stream that worked is explained by its other end, unless the
    /// command reports a failure itself.
    fn record_exit(&mut self, status: Option<ExitStatus>) {
        let rest = self.stderr.take_rest();
        self.log_lines(rest);
        let is_success = matches!(status, Some(ExitStatus::Exited(0)));
        if self.is_closing || self.has_passed_bytes && (is_success || status.is_none()) {
            return;
        }
        let how = match status {
            Some(ExitStatus::Exited(code)) => format!("ended with exit status {code}"),
            Some(ExitStatus::Signalled(signal)) => format!("was killed by signal {signal}"),
            Some(ExitStatus::OutOfMemory) => "was killed because it used too much memory".to_owned(),
            None => "ended".to_owned(),
        };
        let when = if self.has_passed_bytes { "while it was in use" } else { "before it had connected anything" };
        let mut cause = format!("{} {how} {when}", self.label.shown);
        if !self.last_line.is_empty() {
            cause = format!("{cause}; its last line is: {}", self.last_line.trim());
        }
        self.failure.set(Some(Fault::new(Code::ViaFailed, cause)));
    }

    fn not_started_fault(&self, message: &str) -> Fault {
        let cause = format!("{} can't be started in its image", self.label.shown);
        Fault::new(Code::ViaNotStarted, cause)
            .fix(self.label.start_fix.clone())
            .detail(format!("the engine's message: {}", message.trim()))
    }
}

impl AsyncRead for CommandStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.unread.is_empty() {
                let length = self.unread.len().min(into.remaining());
                into.put_slice(&self.unread.split_to(length));
                return Poll::Ready(Ok(()));
            }
            match self.phase {
                StreamPhase::Running => match ready!(self.program.output.as_mut().poll_next(context)) {
                    Some(output) => self.take_output(output),
                    None => self.phase = StreamPhase::Exiting,
                },
                StreamPhase::Exiting => {
                    let status = ready!(self.program.exit.as_mut().poll(context));
                    self.record_exit(status);
                    self.phase = StreamPhase::Ended;
                }
                StreamPhase::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// A command that has ended takes no more bytes; its exit status, which the reading side finds, explains more than the error
/// of the write.
fn swallow_broken_pipe<T>(result: io::Result<T>, instead: T) -> io::Result<T> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(instead),
        result => result,
    }
}

impl AsyncWrite for CommandStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.program.input.as_mut().poll_write(context, bytes).map(|written| swallow_broken_pipe(written, bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.program.input.as_mut().poll_flush(context).map(|flushed| swallow_broken_pipe(flushed, ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_closing = true;
        self.program.input.as_mut().poll_shutdown(context).map(|closed| swallow_broken_pipe(closed, ()))
    }
}

impl fmt::Debug for CommandStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CommandStream").field("phase", &self.phase).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use std::future::ready as now;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn stream_of(output: Vec<ProgramOutput>, status: i64) -> (CommandStream, LastFailure) {
        let program = StartedProgram {
            input: Box::pin(tokio::io::sink()),
            output: Box::pin(stream::iter(output)),
            exit: Box::pin(now(Some(ExitStatus::Exited(status)))),
        };
        let label = CommandLabel { shown: "the command `x`".to_owned(), start_fix: "install it".to_owned() };
        let failure = LastFailure::default();
        (CommandStream::new(program, label, failure.clone(), Events::channel().0), failure)
    }

    fn out(text: &str) -> ProgramOutput {
        ProgramOutput::Stdout(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn err(text: &str) -> ProgramOutput {
        ProgramOutput::Stderr(Bytes::copy_from_slice(text.as_bytes()))
    }

    async fn read(output: Vec<ProgramOutput>, status: i64) -> (String, Option<Fault>) {
        let (mut stream, failure) = stream_of(output, status);
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        (text, failure.get())
    }

    #[tokio::test]
    async fn passes_standard_output_alone() {
        assert_eq!(read(vec![out("ab"), err("note\n"), out(""), out("c")], 0).await, ("abc".to_owned(), None));
    }

    #[tokio::test]
    async fn the_exit_of_a_command_explains_the_end() {
        let (text, fault) = read(vec![err("no credentials\n"), err("bye")], 255).await;
        let fault = fault.unwrap();
        assert_eq!((text.as_str(), fault.code), ("", Code::ViaFailed));
        let cause =
            "the command `x` ended with exit status 255 before it had connected anything; its last line is: bye";
        assert_eq!(fault.cause, cause);
        let (_, silent) = read(Vec::new(), 0).await;
        assert!(silent.unwrap().cause.ends_with("exit status 0 before it had connected anything"));
        let (_, in_use) = read(vec![out("a")], 1).await;
        assert!(in_use.unwrap().cause.ends_with("ended with exit status 1 while it was in use"));
    }

    #[tokio::test]
    async fn an_engine_that_starts_nothing_passes_no_byte() {
        let message = "OCI runtime exec failed: exec: \"x\": executable file not found in $PATH: unknown\r\n";
        let (text, fault) = read(vec![out(message)], 126).await;
        let fault = fault.unwrap();
        assert_eq!((text.as_str(), fault.code, fault.fix.as_str()), ("", Code::ViaNotStarted, "install it"));
    }

    #[tokio::test]
    async fn a_stream_that_we_end_leaves_no_failure() {
        let (mut stream, failure) = stream_of(vec![out("a")], 1);
        stream.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(failure.get(), None);
    }

    #[tokio::test]
    async fn a_stream_that_works_clears_the_failure_of_an_earlier_one() {
        let (mut stream, failure) = stream_of(vec![out("a")], 0);
        failure.set(Some(Fault::new(Code::ViaFailed, "earlier")));
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(failure.get(), None);
    }
}
