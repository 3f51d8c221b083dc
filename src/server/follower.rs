//! What was heard of a command so far, over one connection and the next.

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

/// KILL: the end of who says nothing of it (signal(7)).
const KILLED: i64 = 9;

/// More of what is said before our script begins is not kept.
const NOISE: usize = 2 << 10;

/// One stream of the command.
#[derive(Debug, Default)]
struct Stream {
    reply: Option<Reply>,
    /// Our script has said that the command's output follows.
    following: bool,
    lines: Lines,
    /// Bytes of the command's own that were heard.
    heard: u64,
}

/// One command.
#[derive(Debug)]
pub(super) struct Listening {
    run: String,
    script: Script,
    out: Stream,
    err: Stream,
    /// Our script's last word over this connection.
    word: Option<String>,
    /// What was said before our script began.
    noise: Vec<u8>,
    /// The last line on standard error.
    last: Option<String>,
    /// Whether its end was told.
    ended: Ended,
}

/// Whether the end of a command is known. It stays known: who asks again is told the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    NotYet,
    Told,
}

/// What is known at the end of a channel.
pub(super) enum Outcome {
    Ended(Status),
    /// The command did not begin, and never will.
    Never,
    /// The command did not begin, for this reason.
    Refused(Fault),
    /// It may still run; unless the connection itself knows better, this is why nobody hears it.
    Open(Fault),
}

impl Listening {
    /// Secrets of the run may stand in what the command says.
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

    /// The run's name on the server.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Whether it may still be at work.
    pub(super) fn is_open(&self) -> bool {
        self.ended == Ended::NotYet
    }

    /// Its end was told.
    pub(super) fn end(&mut self) {
        self.ended = Ended::Told;
    }

    /// How many bytes of standard output and error were heard.
    pub(super) fn heard(&self) -> (u64, u64) {
        (self.out.heard, self.err.heard)
    }

    /// A channel begins.
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
            // A sign of life.
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
            // The login's own affair.
            Heard::Raw(_) => {}
        });
    }

    /// A channel has ended.
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
                let cause = format!("what listens to `{}` on the server was ended there", self.script.title);
                Outcome::Open(Fault::new(Code::BastionLost, cause))
            }
            _ => match fault::before_the_start(&word, &self.script) {
                Some(fault) => Outcome::Refused(fault),
                None => Outcome::Open(Fault::new(Code::Bug, "the script on the server said a word that nobody knows")),
            },
        }
    }

    /// What was begun is a line, now that nothing follows.
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
