//! The output of one command, followed over one connection and the next.

use super::{
    fault,
    protocol::{Heard, Reply},
    script::Script,
};
use crate::{
    fault::{Code, Fault},
    run::process::{Lines, Output, Status},
    secret::Redactor,
    ssh::Piece,
};

/// SIGKILL: the assumed signal of a command that ended without a status (signal(7)).
const KILLED: i64 = 9;

/// Number of bytes kept of the output that precedes our script.
const NOISE: usize = 2 << 10;

/// One output stream of the command.
#[derive(Debug, Default)]
struct Stream {
    reply: Option<Reply>,
    /// Set when our script has announced the command's output.
    following: bool,
    lines: Lines,
    /// Number of bytes received of the command's own output.
    heard: u64,
}

/// Follows one command.
#[derive(Debug)]
pub(super) struct Listening {
    run: String,
    script: Script,
    out: Stream,
    err: Stream,
    /// Our script's last message over this connection.
    word: Option<String>,
    /// Output that preceded our script.
    noise: Vec<u8>,
    /// The command's last line on standard error.
    last: Option<String>,
    /// Set when the exit was reported.
    ended: Ended,
}

/// Knowledge of a command's exit. Once known it stays known, for a caller that asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    NotYet,
    Told,
}

/// The result of following a command over one channel.
pub(super) enum Outcome {
    Ended(Status),
    /// The command did not start, and never will.
    Never,
    /// The command did not start, for this reason.
    Refused(Fault),
    /// The command may still run; unless the connection has a fault of its own, this is why it is not followed any
    /// more.
    Open(Fault),
}

impl Listening {
    /// Creates a follower; the redactor hides secrets in the command's output.
    pub(super) fn new(run: String, script: Script, redactor: &Redactor) -> Self {
        let stream = || Stream { lines: Lines::hiding(redactor.clone()), ..Stream::default() };
        Self {
            run,
            script,
            out: stream(),
            err: stream(),
            word: None,
            noise: Vec::new(),
            last: None,
            ended: Ended::NotYet,
        }
    }

    /// Returns the run's name on the server.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Returns whether the command may still be running.
    pub(super) fn is_open(&self) -> bool {
        self.ended == Ended::NotYet
    }

    /// Records that the exit was reported.
    pub(super) fn end(&mut self) {
        self.ended = Ended::Told;
    }

    /// Returns the number of bytes received on standard output and error.
    pub(super) fn heard(&self) -> (u64, u64) {
        (self.out.heard, self.err.heard)
    }

    /// Resets the state that belongs to one channel.
    pub(super) fn begin(&mut self, token: &str) {
        for stream in [&mut self.out, &mut self.err] {
            stream.reply = Some(Reply::new(token));
            stream.following = false;
        }
        self.word = None;
        self.noise.clear();
    }

    pub(super) fn take(&mut self, piece: Piece<'_>, tell: &mut impl FnMut(Output<'_>)) {
        match piece {
            Piece::Out(bytes) => self.take_out(bytes, tell),
            Piece::Err(bytes) => self.take_err(bytes, tell),
        }
    }

    fn take_out(&mut self, bytes: &[u8], tell: &mut impl FnMut(Output<'_>)) {
        let Self { out, word, noise, .. } = self;
        let Stream { reply: Some(reply), following, lines, heard } = out else { return };
        reply.take(bytes, |said| match said {
            // A keepalive.
            Heard::Word(".") => {}
            Heard::Word(said) => {
                *following |= said == "following";
                *word = Some(said.to_owned());
            }
            Heard::Raw(raw) if *following => {
                *heard += length(raw);
                lines.take(raw).iter().for_each(|line| tell(Output::Out(line)));
                lines.begun().iter().for_each(|begun| tell(Output::Begun(begun)));
            }
            Heard::Raw(raw) if noise.len() < NOISE => noise.extend_from_slice(raw),
            Heard::Raw(_) => {}
        });
    }

    fn take_err(&mut self, bytes: &[u8], tell: &mut impl FnMut(Output<'_>)) {
        let Self { err, last, .. } = self;
        let Stream { reply: Some(reply), following, lines, heard } = err else { return };
        reply.take(bytes, |said| match said {
            Heard::Word(said) => *following |= said == "following",
            Heard::Raw(raw) if *following => {
                *heard += length(raw);
                for line in lines.take(raw) {
                    tell(Output::Err(&line));
                    *last = Some(line);
                }
            }
            // Output of the login's start-up files.
            Heard::Raw(_) => {}
        });
    }

    /// Returns the outcome after the channel has ended.
    pub(super) fn outcome(&mut self, tell: &mut impl FnMut(Output<'_>)) -> Outcome {
        let Some(word) = self.word.take() else { return Outcome::Open(fault::no_shell(&self.noise)) };
        let (first, rest) = word.split_once(' ').unwrap_or((&word, ""));
        match first {
            "ended" | "killed" => {
                self.finish(tell);
                let code = rest.parse().map_or(Status::Signalled(KILLED), Status::of_code);
                Outcome::Ended(if first == "killed" { Status::Signalled(KILLED) } else { code })
            }
            "unprepared" => {
                self.finish(tell);
                Outcome::Refused(fault::unprepared(rest, self.script.environment(), self.last.as_deref()))
            }
            "never" => Outcome::Never,
            "taken" => Outcome::Refused(fault::taken()),
            "following" => {
                let cause = format!("the process that follows `{}` on the server was ended there", self.script.title);
                Outcome::Open(Fault::new(Code::BastionLost, cause))
            }
            _ => match fault::before_the_start(&word, &self.script) {
                Some(fault) => Outcome::Refused(fault),
                None => Outcome::Open(Fault::new(Code::Bug, "the script on the server sent an unknown message")),
            },
        }
    }

    /// Passes on unfinished lines, which nothing will complete.
    fn finish(&mut self, tell: &mut impl FnMut(Output<'_>)) {
        self.out.lines.end().iter().for_each(|line| tell(Output::Out(line)));
        for line in self.err.lines.end() {
            tell(Output::Err(&line));
            self.last = Some(line);
        }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
