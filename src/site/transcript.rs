//! The output of a command, and the fault that explains its exit.

use crate::{
    fault::{Code, Fault},
    proxy::ServerError,
    run::process::{ExitStatus, Output},
    tool::{CommandLine, ListingFormat, MigrationStarted, Recipe, explain_failure},
};
use std::{collections::VecDeque, time::Instant};

/// Number of last lines of a command that are kept to explain its failure.
const KEPT: usize = 200;

/// Maximum number of lines of one command in the log: nobody reads more, and a log that is too long is not shown at
/// all.
const TOLD: usize = 20_000;

/// Maximum number of kept lines of standard output: more than any listing has.
const LISTED: usize = 100_000;

/// Maximum number of kept bytes of standard output.
const LISTED_BYTES: usize = 32 << 20;

/// `lock_not_available` (PostgreSQL manual, appendix A).
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The output of a command.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Lines of standard output; a listing is read from them.
    pub(crate) out: Vec<String>,
    /// Number of bytes in `out`.
    length: usize,
    /// The last lines of standard error.
    err: VecDeque<String>,
    /// The migration that it reported as started last.
    begun: Option<MigrationStarted>,
    /// The format of its listing, if it was run for one.
    listing: Option<ListingFormat>,
    /// Number of lines that were logged.
    told: usize,
}

/// The decision whether a line is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Yes,
    /// It is reported in another form.
    Otherwise,
    /// Too many lines were logged before it.
    TooMany,
}

impl Said {
    /// Starts the transcript of a tool that is run for a listing. Lines of the listing are not logged: the plan shows
    /// them.
    pub(crate) fn of(listing: &ListingFormat) -> Self {
        Self { listing: Some(listing.clone()), ..Self::default() }
    }

    /// Returns whether this line is logged, and counts it.
    pub(crate) fn shows(&mut self, line: &str) -> Shown {
        if self.listing.as_ref().is_some_and(|listing| listing.matches_line(line)) {
            return Shown::Otherwise;
        }
        if self.told == TOLD {
            return Shown::TooMany;
        }
        self.told += 1;
        Shown::Yes
    }

    /// Adds a piece of output. Returns the migration whose start it reports, if that differs from the last one.
    pub(crate) fn take(&mut self, recipe: &Recipe, output: Output<'_>) -> Option<MigrationStarted> {
        match output {
            Output::Stdout(line) if self.out.len() < LISTED && self.length < LISTED_BYTES => {
                self.length += line.len();
                self.out.push(line.to_owned());
            }
            Output::Stderr(line) => {
                if self.err.len() == KEPT {
                    self.err.pop_front();
                }
                self.err.push_back(line.to_owned());
            }
            Output::Stdout(_) | Output::PartialLine(_) => {}
        }
        let (Output::Stdout(line) | Output::Stderr(line) | Output::PartialLine(line)) = output;
        let begun = recipe.started_migration(line).filter(|begun| self.begun.as_ref() != Some(begun))?;
        self.begun = Some(begun);
        self.begun.clone()
    }

    /// Returns all kept lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> + Clone {
        self.out.iter().chain(&self.err).map(String::as_str)
    }

    /// Returns the last lines of standard error, which explain a failure, or of standard output if there are none.
    fn last_words(&self) -> Vec<String> {
        if self.err.is_empty() {
            let skipped = self.out.len().saturating_sub(KEPT);
            return self.out.iter().skip(skipped).cloned().collect();
        }
        self.err.iter().cloned().collect()
    }
}

/// Observations of the proxy that help to explain a command's exit.
#[derive(Debug, Default)]
pub(crate) struct Around {
    /// The last fault of the endpoint's connections.
    pub(crate) trouble: Option<Fault>,
    /// The last error that the server sent through the endpoint.
    pub(crate) error: Option<ServerError>,
}

impl Around {
    /// Drops findings that predate the command.
    pub(crate) fn since(self, before: &Self, began: Instant) -> Self {
        Self {
            trouble: self.trouble.filter(|trouble| before.trouble.as_ref() != Some(trouble)),
            error: self.error.filter(|error| error.at >= began),
        }
    }
}

/// Returns the fault of a command that did not exit with 0. The proxy's own fault comes before the tool's explanation,
/// and the server's SQLSTATE before the tool's output, which may be in another language.
pub(crate) fn failure(recipe: &Recipe, line: &CommandLine, status: ExitStatus, said: &Said, around: Around) -> Fault {
    let shown = line.display_text();
    let words = said.last_words();
    let begun = said.begun.as_ref().map(|begun| begun.name.as_str());
    let explained = |ending: &str| explain_failure(recipe, ending, &words, begun);
    if let Some(cause) = around.trouble {
        return explained(&format!("`{shown}` failed")).detail.into_iter().fold(cause, Fault::detail);
    }
    match status {
        ExitStatus::OutOfMemory => {
            Fault::new(Code::OutOfMemory, format!("`{shown}` was killed because it needed more memory than it may use"))
        }
        ExitStatus::Signalled(signal) => {
            Fault::new(Code::ToolKilled, format!("`{shown}` was ended by signal {signal}"))
        }
        // A shell's exit codes for "not found" and "not executable" (POSIX, 2.8.2).
        ExitStatus::Exited(126 | 127) => {
            let fault = explained(&format!("`{shown}` can't be started"));
            // A known failure has a more specific fix.
            if fault.code == Code::ToolMissing { fault } else { fault.code(Code::ToolMissing) }
        }
        ExitStatus::Exited(code) => {
            let fault = explained(&format!("`{shown}` ended with code {code}"));
            match around.error.filter(|error| error.sqlstate == LOCK_NOT_AVAILABLE) {
                Some(error) if fault.code == Code::ToolFailed => fault.code(Code::LockTimeout).sqlstate(error.sqlstate),
                _ => fault,
            }
        }
    }
}
