//! The output of a command, and the fault that explains its exit.

use crate::{
    fault::{Code, Fault},
    proxy::ServerError,
    run::process::{ExitStatus, Output},
    tool::{CommandLine, ListingFormat, MigrationStarted, OutputMark, PrintedSql, Recipe, explain::explain_failure},
};
use std::{collections::VecDeque, time::Instant};

/// Number of last lines of a command that are kept to explain its failure.
const KEPT_LINES: usize = 200;

/// Maximum number of lines of one command in the log: more are hardly useful, and GitHub does not show a log that
/// is too long.
const MAX_LOG_LINES: usize = 20_000;

/// Maximum number of kept lines of standard output: more than any listing has.
const MAX_STDOUT_LINES: usize = 100_000;

/// Maximum number of kept bytes of standard output.
const MAX_STDOUT_BYTES: usize = 32 << 20;

/// `lock_not_available` (PostgreSQL manual, appendix A).
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The output of a command.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// Lines of standard output; a listing is read from them.
    pub(crate) stdout: Vec<String>,
    /// Number of bytes in `stdout`.
    stdout_bytes: usize,
    /// The last lines of standard error.
    last_stderr: VecDeque<String>,
    /// The migration that it reported as started last.
    last_started: Option<MigrationStarted>,
    /// The format of its listing, if it was run for one.
    listing: Option<ListingFormat>,
    /// The SQL that it prints, if it was run for that.
    printed_sql: Option<PrintedSql>,
    /// Number of lines that were logged.
    logged_lines: usize,
}

/// The decision whether a line is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineVisibility {
    Logged,
    /// It is reported in another form.
    ReportedElsewhere,
    /// Too many lines were logged before it.
    OverLimit,
}

impl Transcript {
    /// Starts the transcript of a tool that is run for a listing. Lines of the listing are not logged: the plan shows
    /// them.
    pub(crate) fn for_listing(listing: &ListingFormat) -> Self {
        Self { listing: Some(listing.clone()), ..Self::default() }
    }

    /// Also takes the SQL behind this mark.
    pub(crate) fn and_for_sql(self, mark: &OutputMark) -> Self {
        Self { printed_sql: Some(PrintedSql::new(mark.clone())), ..self }
    }

    /// Returns the SQL that was printed, if the command was run for that.
    pub(crate) fn into_printed_sql(self) -> Option<PrintedSql> {
        self.printed_sql
    }

    /// Takes a line that belongs to the SQL. Returns whether it does.
    pub(crate) fn take_sql(&mut self, output: Output<'_>) -> bool {
        match (&mut self.printed_sql, output) {
            (Some(printed), Output::Stdout(line) | Output::Stderr(line)) => printed.take_line(line),
            (Some(printed), Output::PartialLine(line)) => printed.is_marked(line),
            (None, _) => false,
        }
    }

    /// Returns whether this line is logged, and counts it.
    pub(crate) fn count_line(&mut self, line: &str) -> LineVisibility {
        if self.listing.as_ref().is_some_and(|listing| listing.matches_line(line)) {
            return LineVisibility::ReportedElsewhere;
        }
        if self.logged_lines == MAX_LOG_LINES {
            return LineVisibility::OverLimit;
        }
        self.logged_lines += 1;
        LineVisibility::Logged
    }

    /// Adds a piece of output. Returns the migration whose start it reports, if that differs from the last one.
    pub(crate) fn push_output(&mut self, recipe: &Recipe, output: Output<'_>) -> Option<MigrationStarted> {
        match output {
            Output::Stdout(line) if self.stdout.len() < MAX_STDOUT_LINES && self.stdout_bytes < MAX_STDOUT_BYTES => {
                self.stdout_bytes += line.len();
                self.stdout.push(line.to_owned());
            }
            Output::Stderr(line) => {
                if self.last_stderr.len() == KEPT_LINES {
                    self.last_stderr.pop_front();
                }
                self.last_stderr.push_back(line.to_owned());
            }
            Output::Stdout(_) | Output::PartialLine(_) => {}
        }
        let (Output::Stdout(line) | Output::Stderr(line) | Output::PartialLine(line)) = output;
        let started = recipe.started_migration(line).filter(|started| self.last_started.as_ref() != Some(started))?;
        self.last_started = Some(started);
        self.last_started.clone()
    }

    /// Returns all kept lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> + Clone {
        self.stdout.iter().chain(&self.last_stderr).map(String::as_str)
    }

    /// Returns the last lines of standard error, which explain a failure, or of standard output if there are none.
    fn tail(&self) -> Vec<String> {
        if self.last_stderr.is_empty() {
            let skipped = self.stdout.len().saturating_sub(KEPT_LINES);
            return self.stdout.iter().skip(skipped).cloned().collect();
        }
        self.last_stderr.iter().cloned().collect()
    }
}

/// Observations of the proxy that help to explain a command's exit.
#[derive(Debug, Default)]
pub(crate) struct ProxyFindings {
    /// The last fault of the endpoint's connections.
    pub(crate) proxy_fault: Option<Fault>,
    /// The last error that the server sent through the endpoint.
    pub(crate) server_error: Option<ServerError>,
}

impl ProxyFindings {
    /// Drops findings that predate the command.
    pub(crate) fn new_since(self, before: &Self, began: Instant) -> Self {
        Self {
            proxy_fault: self.proxy_fault.filter(|fault| before.proxy_fault.as_ref() != Some(fault)),
            server_error: self.server_error.filter(|error| error.at >= began),
        }
    }
}

/// Returns the fault of a command that did not exit with 0. The proxy's own fault comes before the tool's explanation,
/// and the server's SQLSTATE before the tool's output, which may be in another language.
pub(crate) fn command_fault(
    recipe: &Recipe,
    line: &CommandLine,
    status: ExitStatus,
    transcript: &Transcript,
    findings: ProxyFindings,
) -> Fault {
    let command_text = line.display_text();
    let last_lines = transcript.tail();
    let migration_name = transcript.last_started.as_ref().map(|migration_name| migration_name.name.as_str());
    let explain = |ending: &str| explain_failure(recipe, ending, &last_lines, migration_name);
    if let Some(cause) = findings.proxy_fault {
        return explain(&format!("`{command_text}` failed")).detail.into_iter().fold(cause, Fault::detail);
    }
    match status {
        ExitStatus::OutOfMemory => Fault::new(
            Code::OutOfMemory,
            format!("`{command_text}` was killed because it needed more memory than it may use"),
        ),
        ExitStatus::Signalled(signal) => {
            Fault::new(Code::ToolKilled, format!("`{command_text}` was ended by signal {signal}"))
        }
        // A shell's exit codes for "not found" and "not executable" (POSIX, 2.8.2).
        ExitStatus::Exited(126 | 127) => {
            let fault = explain(&format!("`{command_text}` can't be started"));
            // A known failure has a more specific fix.
            if fault.code == Code::ToolMissing { fault } else { fault.code(Code::ToolMissing) }
        }
        ExitStatus::Exited(code) => {
            let fault = explain(&format!("`{command_text}` ended with code {code}"));
            match findings.server_error.filter(|error| error.sqlstate == LOCK_NOT_AVAILABLE) {
                Some(error) if fault.code == Code::ToolFailed => fault.code(Code::LockTimeout).sqlstate(error.sqlstate),
                _ => fault,
            }
        }
    }
}
