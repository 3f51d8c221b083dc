//! The output of one command, followed over one connection and the next.

use super::{
    fault,
    protocol::{FrameParser, ScriptFrame},
    script::ShellScript,
};
use crate::{
    fault::{Code, Fault},
    run::process::{ExitStatus, LineBuffer, Output, OutputChunk},
    secret::Redactor,
};

/// SIGKILL: the assumed signal of a command that ended without a status (signal(7)).
const SIGKILL: i64 = 9;

/// Number of bytes kept of the output that precedes our script.
const MAX_LOGIN_OUTPUT: usize = 2 << 10;

/// One output stream of the command.
#[derive(Debug, Default)]
struct OutputStream {
    parser: Option<FrameParser>,
    /// Set when our script has announced the command's output.
    following: bool,
    lines: LineBuffer,
    /// Number of bytes received of the command's own output.
    received: u64,
}

/// Follows one command.
#[derive(Debug)]
pub(super) struct Follower {
    run_id: String,
    script: ShellScript,
    out: OutputStream,
    err: OutputStream,
    /// Our script's last message over this connection.
    last_control: Option<String>,
    /// Number of bytes on both streams at the command's end.
    final_sizes: Option<(u64, u64)>,
    /// Output that preceded our script.
    login_output: Vec<u8>,
    /// The command's last line on standard error.
    last_stderr_line: Option<String>,
    /// Number of lines that were sent to its standard input.
    lines_sent: u32,
    /// Set when the exit was reported.
    exit_state: ExitState,
}

/// Knowledge of a command's exit. Once known it stays known, for a caller that asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExitState {
    Unknown,
    Known,
}

/// The result of following a command over one channel.
pub(super) enum FollowOutcome {
    Exited(ExitStatus),
    /// The command did not start, and never will.
    NeverStarted,
    /// The last line of its input never came, and never will.
    Unconfirmed,
    /// The command did not start, for this reason.
    Refused(Fault),
    /// The command may still run; unless the connection has a fault of its own, this is why it is not followed any
    /// more.
    Detached(Fault),
}

impl Follower {
    /// Creates a follower; the redactor hides secrets in the command's output.
    pub(super) fn new(run: String, script: ShellScript, redactor: &Redactor) -> Self {
        let stream = || OutputStream { lines: LineBuffer::with_redactor(redactor.clone()), ..OutputStream::default() };
        Self {
            run_id: run,
            script,
            out: stream(),
            err: stream(),
            last_control: None,
            final_sizes: None,
            login_output: Vec::new(),
            last_stderr_line: None,
            lines_sent: 0,
            exit_state: ExitState::Unknown,
        }
    }

    /// Returns the run's name on the server.
    pub(super) fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Returns whether the command may still be running.
    pub(super) fn may_be_running(&self) -> bool {
        self.exit_state == ExitState::Unknown
    }

    /// Records that the exit was reported.
    pub(super) fn mark_exited(&mut self) {
        self.exit_state = ExitState::Known;
    }

    /// Counts a line that is sent to its standard input.
    pub(super) fn count_line(&mut self) {
        self.lines_sent += 1;
    }

    /// Returns the number of lines that were sent to its standard input.
    pub(super) fn lines_sent(&self) -> u32 {
        self.lines_sent
    }

    /// Returns the number of bytes received on standard output and error.
    pub(super) fn bytes_received(&self) -> (u64, u64) {
        (self.out.received, self.err.received)
    }

    /// Resets the state that belongs to one channel.
    pub(super) fn begin_channel(&mut self, token: &str) {
        for stream in [&mut self.out, &mut self.err] {
            stream.parser = Some(FrameParser::new(token));
            stream.following = false;
        }
        self.last_control = None;
        self.final_sizes = None;
        self.login_output.clear();
    }

    /// Returns whether our script has sent its last message and all output has arrived.
    pub(super) fn has_complete_output(&self) -> bool {
        let (out, err) = self.final_sizes.unwrap_or_default();
        let is_over = self.last_control.as_deref().is_some_and(|control| control != "following");
        is_over && self.out.received >= out && self.err.received >= err
    }

    pub(super) fn receive_chunk(&mut self, chunk: OutputChunk<'_>, on_output: &mut impl FnMut(Output<'_>)) {
        match chunk {
            OutputChunk::Stdout(bytes) => self.receive_stdout(bytes, on_output),
            OutputChunk::Stderr(bytes) => self.receive_stderr(bytes, on_output),
        }
    }

    fn receive_stdout(&mut self, bytes: &[u8], on_output: &mut impl FnMut(Output<'_>)) {
        let Self { out, last_control, final_sizes, login_output, .. } = self;
        let OutputStream { parser: Some(parser), following, lines, received } = out else { return };
        parser.parse_chunk(bytes, |frame| match frame {
            ScriptFrame::Control(control) => match parse_sizes(control) {
                Some(sizes) => *final_sizes = Some(sizes),
                None => {
                    *following |= control == "following";
                    *last_control = Some(control.to_owned());
                }
            },
            ScriptFrame::Raw(raw) if *following => {
                *received += byte_count(raw);
                lines.push_bytes(raw).iter().for_each(|line| on_output(Output::Stdout(line)));
                lines.partial_line().iter().for_each(|partial| on_output(Output::PartialLine(partial)));
            }
            ScriptFrame::Raw(raw) if login_output.len() < MAX_LOGIN_OUTPUT => login_output.extend_from_slice(raw),
            ScriptFrame::Raw(_) => {}
        });
    }

    fn receive_stderr(&mut self, bytes: &[u8], on_output: &mut impl FnMut(Output<'_>)) {
        let Self { err, last_stderr_line, .. } = self;
        let OutputStream { parser: Some(parser), following, lines, received } = err else { return };
        parser.parse_chunk(bytes, |frame| match frame {
            ScriptFrame::Control(control) => *following |= control == "following",
            ScriptFrame::Raw(raw) if *following => {
                *received += byte_count(raw);
                for line in lines.push_bytes(raw) {
                    on_output(Output::Stderr(&line));
                    *last_stderr_line = Some(line);
                }
            }
            // Output of the login's start-up files.
            ScriptFrame::Raw(_) => {}
        });
    }

    /// Returns the outcome after the channel has ended.
    pub(super) fn channel_outcome(&mut self, on_output: &mut impl FnMut(Output<'_>)) -> FollowOutcome {
        let is_complete = self.has_complete_output();
        let Some(message) = self.last_control.take() else {
            return FollowOutcome::Detached(fault::no_shell(&self.login_output));
        };
        if !is_complete {
            let cause = format!("the process that follows `{}` on the server was ended there", self.script.title);
            return FollowOutcome::Detached(Fault::new(Code::BastionLost, cause));
        }
        let (first, rest) = message.split_once(' ').unwrap_or((&message, ""));
        match first {
            "ended" | "killed" => {
                self.flush_partial_lines(on_output);
                let code = rest.parse().map_or(ExitStatus::Signalled(SIGKILL), ExitStatus::from_code);
                FollowOutcome::Exited(if first == "killed" { ExitStatus::Signalled(SIGKILL) } else { code })
            }
            "unprepared" => {
                self.flush_partial_lines(on_output);
                FollowOutcome::Refused(fault::setup_failed(
                    rest,
                    self.script.virtual_environment(),
                    self.last_stderr_line.as_deref(),
                ))
            }
            "never" => FollowOutcome::NeverStarted,
            "unconfirmed" => FollowOutcome::Unconfirmed,
            "taken" => FollowOutcome::Refused(fault::slot_taken()),
            _ => match fault::start_refusal(&message, &self.script) {
                Some(fault) => FollowOutcome::Refused(fault),
                None => {
                    FollowOutcome::Detached(Fault::new(Code::Bug, "the script on the server sent an unknown message"))
                }
            },
        }
    }

    /// Passes on unfinished lines, which nothing will complete.
    fn flush_partial_lines(&mut self, on_output: &mut impl FnMut(Output<'_>)) {
        self.out.lines.take_rest().iter().for_each(|line| on_output(Output::Stdout(line)));
        for line in self.err.lines.take_rest() {
            on_output(Output::Stderr(&line));
            self.last_stderr_line = Some(line);
        }
    }
}

/// Parses `sizes <bytes of standard output> <bytes of standard error>`.
fn parse_sizes(message: &str) -> Option<(u64, u64)> {
    let (out, err) = message.strip_prefix("sizes ")?.split_once(' ')?;
    Some((out.parse().ok()?, err.parse().ok()?))
}

fn byte_count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
