//! One stream, one line at a time, no secret: the last thing that every line passes.

use super::{log::Surface, log_lines::Tone};
use crate::{
    github::workflow_command::{self, Fence},
    secret::Redactor,
};
use indicatif::ProgressBar;
use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A shared handle: the log and the libraries' traces write to the same stream, so that a fence can't be torn apart.
#[derive(Clone)]
pub(super) struct Sink {
    out: Arc<Mutex<Out>>,
    redactor: Redactor,
    surface: Surface,
}

struct Out {
    to: Box<dyn Write + Send>,
    bar: Option<ProgressBar>,
    /// Nobody reads any more. That must not end the run: the migration goes on and the other surfaces tell it.
    deaf: bool,
}

impl Sink {
    pub(super) fn new(to: Box<dyn Write + Send>, redactor: Redactor, surface: Surface) -> Self {
        Self { out: Arc::new(Mutex::new(Out { to, bar: None, deaf: false })), redactor, surface }
    }

    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(super) fn surface(&self) -> Surface {
        self.surface
    }

    /// Shows this bar under the lines from now on, or none.
    pub(super) fn show(&self, bar: Option<ProgressBar>) {
        if let Some(old) = std::mem::replace(&mut self.lock().bar, bar) {
            old.finish_and_clear();
        }
    }

    /// The bar that is shown.
    pub(super) fn bar(&self) -> Option<ProgressBar> {
        self.lock().bar.clone()
    }

    /// A line for the runner, escaped already.
    pub(super) fn command(&self, line: &str) {
        self.write(&[line.to_owned()]);
    }

    /// A text for people, from anywhere.
    pub(super) fn text(&self, tone: Tone, text: &str) {
        let redacted = self.redactor.redact(text);
        let lines = redacted.replace("\r\n", "\n");
        let lines = lines.split(['\r', '\n']).map(without_controls);
        let lines: Vec<String> = match self.surface {
            Surface::Actions => fenced(lines.map(|line| workflow_command::without_old_commands(&line)).collect()),
            Surface::Pipe | Surface::Terminal => lines.collect(),
            Surface::Colour => lines.map(|line| coloured(tone, &line)).collect(),
        };
        self.write(&lines);
    }

    /// What a library has to say when the user asked for debug logging.
    fn debug(&self, text: &str) {
        match self.surface {
            Surface::Actions => self.command(&workflow_command::debug_command(&self.redactor.redact(text))),
            Surface::Pipe | Surface::Terminal | Surface::Colour => self.text(Tone::Quiet, &format!("debug: {text}")),
        }
    }

    fn write(&self, lines: &[String]) {
        let mut out = self.lock();
        match out.bar.clone() {
            Some(bar) => bar.suspend(|| out.write(lines)),
            None => out.write(lines),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Out {
    fn write(&mut self, lines: &[String]) {
        if !self.deaf && !lines.is_empty() {
            let text = lines.join("\n") + "\n";
            self.deaf = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush()).is_err();
        }
    }
}

/// The runner obeys nothing between the two lines around it.
fn fenced(lines: Vec<String>) -> Vec<String> {
    if !lines.iter().any(|line| workflow_command::needs_fence(line)) {
        return lines;
    }
    let fence = Fence::new();
    std::iter::once(fence.opening_line()).chain(lines).chain(std::iter::once(fence.closing_line())).collect()
}

fn without_controls(line: &str) -> String {
    line.chars().map(visible).collect()
}

/// A server's message must not move the cursor or retitle the terminal.
pub(super) fn visible(letter: char) -> char {
    if letter.is_control() && !matches!(letter, '\t' | '\n') { char::REPLACEMENT_CHARACTER } else { letter }
}

fn coloured(tone: Tone, line: &str) -> String {
    let code = match tone {
        Tone::Plain => return line.to_owned(),
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Warning => "33",
        Tone::Quiet => "2",
    };
    format!("\x1b[{code}m{line}\x1b[0m")
}

/// The writer of the libraries' traces: `tracing-subscriber` writes one event at a time.
pub(super) struct Traces(pub(super) Sink);

impl Write for Traces {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.debug(String::from_utf8_lossy(event).trim_end());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sink").field("surface", &self.surface).finish_non_exhaustive()
    }
}
