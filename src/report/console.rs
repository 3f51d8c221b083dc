//! The output stream of the log: every line is redacted and escaped here before it is written.

use super::{log_lines::Tone, masks::mask_lines, visible_text::replace_control};
use crate::{
    github::workflow_command::{self, Fence, Level},
    secret::Redactor,
};
use indicatif::ProgressBar;
use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A shared handle to the stream. The log and the libraries' traces share it, so that the lines of a fence stay
/// together.
#[derive(Clone)]
pub(super) struct Console {
    stream: Arc<Mutex<ConsoleStream>>,
    redactor: Redactor,
    surface: ConsoleKind,
}

struct ConsoleStream {
    writer: Box<dyn Write + Send>,
    progress_bar: Option<ProgressBar>,
    /// Set once a write failed: the output is not read any more. The run continues, and the other surfaces report it.
    closed: bool,
    /// Levels of the faults so far. GitHub records only the first annotations of each.
    fault_levels: Vec<Level>,
}

impl Console {
    pub(super) fn new(to: Box<dyn Write + Send>, redactor: Redactor, surface: ConsoleKind) -> Self {
        Self {
            stream: Arc::new(Mutex::new(ConsoleStream {
                writer: to,
                progress_bar: None,
                closed: false,
                fault_levels: Vec::new(),
            })),
            redactor,
            surface,
        }
    }

    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(super) fn surface(&self) -> ConsoleKind {
        self.surface
    }

    /// Counts a fault, and returns the number of faults of its level before it.
    pub(super) fn count_fault(&self, level: Level) -> usize {
        let before = self.fault_count(level);
        self.lock_stream().fault_levels.push(level);
        before
    }

    /// Returns the number of faults of this level.
    pub(super) fn fault_count(&self, level: Level) -> usize {
        self.lock_stream().fault_levels.iter().filter(|other| **other == level).count()
    }

    /// Shows this bar under the lines from now on, or removes it.
    pub(super) fn set_progress_bar(&self, bar: Option<ProgressBar>) {
        if let Some(old) = std::mem::replace(&mut self.lock_stream().progress_bar, bar) {
            old.finish_and_clear();
        }
    }

    /// Returns the bar that is shown.
    pub(super) fn progress_bar(&self) -> Option<ProgressBar> {
        self.lock_stream().progress_bar.clone()
    }

    /// Writes a command for the runner, which is escaped already.
    pub(super) fn write_command(&self, line: &str) {
        self.write_lines(&[line.to_owned()]);
    }

    /// Writes a text for people; it may come from any source.
    pub(super) fn write_text(&self, tone: Tone, text: &str) {
        let redacted = self.redactor.redact(text);
        let lines = redacted.replace("\r\n", "\n");
        let lines = lines.split(['\r', '\n']).map(replace_controls);
        let lines: Vec<String> = match self.surface {
            ConsoleKind::Actions => {
                fence_commands(lines.map(|line| workflow_command::without_old_commands(&line)).collect())
            }
            ConsoleKind::Pipe | ConsoleKind::PlainTerminal => lines.collect(),
            ConsoleKind::ColourTerminal => lines.map(|line| colour_line(tone, &line)).collect(),
        };
        self.write_lines(&lines);
    }

    /// Writes a library's trace event, if the user enabled debug logging.
    fn write_debug(&self, text: &str) {
        match self.surface {
            ConsoleKind::Actions => self.write_command(&workflow_command::debug_command(&self.redactor.redact(text))),
            ConsoleKind::Pipe | ConsoleKind::PlainTerminal | ConsoleKind::ColourTerminal => {
                self.write_text(Tone::Quiet, &format!("debug: {text}"));
            }
        }
    }

    /// Writes lines, behind the commands that mask the secrets that the run has obtained since the last ones.
    fn write_lines(&self, lines: &[String]) {
        let added = self.redactor.take_added();
        let masks = added.iter().filter(|_| self.surface == ConsoleKind::Actions).flat_map(mask_lines);
        let lines: Vec<String> = masks.chain(lines.iter().cloned()).collect();
        let lines = lines.as_slice();
        let mut out = self.lock_stream();
        match out.progress_bar.clone() {
            Some(bar) => bar.suspend(|| out.write_lines(lines)),
            None => out.write_lines(lines),
        }
    }

    fn lock_stream(&self) -> MutexGuard<'_, ConsoleStream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConsoleStream {
    fn write_lines(&mut self, lines: &[String]) {
        if !self.closed && !lines.is_empty() {
            let text = lines.join("\n") + "\n";
            self.closed = self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.flush()).is_err();
        }
    }
}

/// Encloses lines that contain commands in a fence: the runner executes no command between its two lines.
fn fence_commands(lines: Vec<String>) -> Vec<String> {
    if !lines.iter().any(|line| workflow_command::needs_fence(line)) {
        return lines;
    }
    let fence = Fence::new();
    std::iter::once(fence.opening_line()).chain(lines).chain(std::iter::once(fence.closing_line())).collect()
}

fn replace_controls(line: &str) -> String {
    line.chars().map(replace_control).collect()
}

fn colour_line(tone: Tone, line: &str) -> String {
    let code = match tone {
        Tone::Neutral => return line.to_owned(),
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Warning => "33",
        Tone::Quiet => "2",
    };
    format!("\x1b[{code}m{line}\x1b[0m")
}

/// The writer for the libraries' traces. `tracing-subscriber` writes one event per call.
pub(super) struct TraceWriter(pub(super) Console);

impl Write for TraceWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_debug(String::from_utf8_lossy(event).trim_end());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Console").field("surface", &self.surface).finish_non_exhaustive()
    }
}

/// The reader of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsoleKind {
    /// The GitHub Actions runner: it executes commands and folds groups.
    Actions,
    /// A file or another program.
    Pipe,
    /// A terminal without colours (`NO_COLOR`).
    PlainTerminal,
    /// A terminal with colours.
    ColourTerminal,
}
