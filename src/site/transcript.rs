//! What a command has said, and why it failed.

use crate::{
    fault::{Code, Fault},
    proxy::ServerError,
    run::process::{Output, Status},
    tool::{Begun, Line, Listing, Recipe, explain},
};
use std::{collections::VecDeque, time::Instant};

/// The last lines of a command that are kept to say why it failed.
const KEPT: usize = 200;

/// Lines of one command that are told: nobody reads more of them, and a log that is too long is shown by nothing.
const TOLD: usize = 20_000;

/// Lines of a listing; more migrations than this nobody has.
const LISTED: usize = 100_000;

/// Bytes of them, of lines as they come.
const LISTED_BYTES: usize = 32 << 20;

/// `lock_not_available` (PostgreSQL manual, appendix A).
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What a command has said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// On standard output: a listing is read from it.
    pub(crate) out: Vec<String>,
    /// Bytes of that.
    length: usize,
    /// The last lines on standard error.
    err: VecDeque<String>,
    /// The migration that it began last.
    begun: Option<Begun>,
    /// What its list is, where it is asked for one.
    listing: Option<Listing>,
    /// Lines that were told.
    told: usize,
}

/// Whether a line belongs into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Yes,
    /// It is told otherwise.
    Otherwise,
    /// There were too many before it.
    TooMany,
}

impl Said {
    /// Nothing yet, of a tool that is asked for this list: its plan has that once more.
    pub(crate) fn of(listing: &Listing) -> Self {
        Self { listing: Some(listing.clone()), ..Self::default() }
    }

    /// Whether this line of it belongs into the log.
    pub(crate) fn shows(&mut self, line: &str) -> Shown {
        if self.listing.as_ref().is_some_and(|listing| listing.has_line(line)) {
            return Shown::Otherwise;
        }
        if self.told == TOLD {
            return Shown::TooMany;
        }
        self.told += 1;
        Shown::Yes
    }

    /// Takes in what it says; returns the migration that it begins with that, if it is another one than before.
    pub(crate) fn take(&mut self, recipe: &Recipe, output: Output<'_>) -> Option<Begun> {
        match output {
            Output::Out(line) if self.out.len() < LISTED && self.length < LISTED_BYTES => {
                self.length += line.len();
                self.out.push(line.to_owned());
            }
            Output::Err(line) => {
                if self.err.len() == KEPT {
                    self.err.pop_front();
                }
                self.err.push_back(line.to_owned());
            }
            Output::Out(_) | Output::Begun(_) => {}
        }
        let (Output::Out(line) | Output::Err(line) | Output::Begun(line)) = output;
        let begun = recipe.begins(line).filter(|begun| self.begun.as_ref() != Some(begun))?;
        self.begun = Some(begun);
        self.begun.clone()
    }

    /// Everything that is kept of it.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> + Clone {
        self.out.iter().chain(&self.err).map(String::as_str)
    }

    /// Why it failed stands on standard error, if it says anything there.
    fn last_words(&self) -> Vec<String> {
        if self.err.is_empty() {
            let skipped = self.out.len().saturating_sub(KEPT);
            return self.out.iter().skip(skipped).cloned().collect();
        }
        self.err.iter().cloned().collect()
    }
}

/// What else is known of a command's end.
#[derive(Debug, Default)]
pub(crate) struct Around {
    /// What the tunnel's end had to complain of meanwhile.
    pub(crate) trouble: Option<Fault>,
    /// The last error that the server sent over the tunnel's end, if it was after this moment.
    pub(crate) error: Option<ServerError>,
}

impl Around {
    /// Nothing that was known when the command began is its doing.
    pub(crate) fn since(self, before: &Self, began: Instant) -> Self {
        Self {
            trouble: self.trouble.filter(|trouble| before.trouble.as_ref() != Some(trouble)),
            error: self.error.filter(|error| error.at >= began),
        }
    }
}

/// The fault of a command that did not end with 0. The tunnel's own trouble comes before what the command makes of it, and the
/// server's code before the command's words, which may be in another language.
pub(crate) fn failure(recipe: &Recipe, line: &Line, status: Status, said: &Said, around: Around) -> Fault {
    let shown = line.shown();
    let words = said.last_words();
    let begun = said.begun.as_ref().map(|begun| begun.name.as_str());
    let explained = |ending: &str| explain(recipe, ending, &words, begun);
    if let Some(cause) = around.trouble {
        return explained(&format!("`{shown}` failed")).detail.into_iter().fold(cause, Fault::detail);
    }
    match status {
        Status::OutOfMemory => Fault::new(Code::OutOfMemory, format!("`{shown}` wanted more memory than it may have")),
        Status::Signalled(signal) => Fault::new(Code::ToolKilled, format!("`{shown}` was ended by signal {signal}")),
        // A shell's words for "not found" and "not executable" (POSIX, 2.8.2).
        Status::Exited(126 | 127) => {
            let fault = explained(&format!("`{shown}` can't be started"));
            // What is known of the very failure says better how to mend it.
            if fault.code == Code::ToolMissing { fault } else { fault.code(Code::ToolMissing) }
        }
        Status::Exited(code) => {
            let fault = explained(&format!("`{shown}` ended with code {code}"));
            match around.error.filter(|error| error.sqlstate == LOCK_NOT_AVAILABLE) {
                Some(error) if fault.code == Code::ToolFailed => fault.code(Code::LockTimeout).sqlstate(error.sqlstate),
                _ => fault,
            }
        }
    }
}
