//! The only printer: events become lines on standard output, the only stream, because the runner keeps no order across two.

use super::{
    outcome::Report,
    redact::Redacted as _,
    sink::{Sink, Traces},
    verdict::Verdict,
    words::{self, Line, Names, Tone},
};
use crate::{
    fault::{Fault, Stage},
    github::{
        command::{self, Annotation},
        env::Runner,
    },
    run::event::Event,
    secret::{Redactor, Secret},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{self, Write},
    time::Duration,
};

/// What reads standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// The runner: commands are obeyed, groups fold.
    Actions,
    /// A file or another program.
    Pipe,
    /// A terminal of somebody who wants no colour (`NO_COLOR`).
    Terminal,
    /// A terminal.
    Colour,
}

/// A line of a multi-line secret shorter than this is not masked: the runner has no minimum, and would then hide every
/// `=` of the whole job.
const SHORTEST_MASK: usize = 4;

/// Tells the run while it happens.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    runner_debug: bool,
    names: Names,
    open: Option<Stage>,
}

impl Log {
    /// A log on standard output. Inside of Actions the surface is Actions, whatever `screen` says, and the secrets are masked
    /// before anything else is written.
    #[must_use]
    pub fn new(runner: &Runner, screen: Surface, secrets: &[Secret]) -> Self {
        Self::to(Box::new(io::stdout()), runner, screen, secrets)
    }

    /// The same on another stream.
    #[must_use]
    pub fn to(out: Box<dyn Write + Send>, runner: &Runner, screen: Surface, secrets: &[Secret]) -> Self {
        let surface = if runner.in_actions { Surface::Actions } else { screen };
        let sink = Sink::new(out, Redactor::new(secrets), surface);
        let masks = secrets.iter().filter(|_| surface == Surface::Actions).flat_map(masks);
        masks.for_each(|value| sink.command(&command::add_mask(value)));
        Self { sink, runner_debug: runner.debug, names: Names::new(), open: None }
    }

    /// What hides the secrets on every other surface.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        self.sink.redactor()
    }

    /// Makes the traces of this crate and its libraries part of the log, if the user asked for debug logging. For the
    /// process, once.
    pub fn listen(&self) {
        if self.runner_debug {
            // The second of two logs in one process has nothing to add.
            drop(tracing::subscriber::set_global_default(self.traces()));
        }
    }

    fn traces(&self) -> impl tracing::Subscriber + Send + Sync + use<> {
        let sink = self.sink.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(move || Traces(sink.clone()))
            .finish()
    }

    /// Tells what happened `at` this time since the run began.
    pub fn event(&mut self, event: &Event, at: Duration) {
        let event = event.redacted(self.sink.redactor());
        if let Event::Planned(facts) = &event {
            self.names = facts.pending.iter().map(|id| (id.version, stem(&id.file))).collect();
        }
        self.progress(&event);
        for line in words::lines(&event, &self.names, at) {
            self.line(&line);
        }
    }

    /// The last line: the run in one sentence.
    pub fn verdict(&mut self, report: &Report) {
        self.sink.show(None);
        self.line(&Line::End);
        let verdict = Verdict::of(&report.redacted(self.sink.redactor()));
        let tone = if report.faults.is_empty() { Tone::Good } else { Tone::Bad };
        let next = verdict.next.map(|next| format!("; next: {next}")).unwrap_or_default();
        self.sink.text(tone, &format!("{}{next}", verdict.what));
    }

    /// Shows a message beside a file or the run; outside of Actions there is nothing beside.
    pub fn annotate(&self, note: &Annotation) {
        if self.sink.surface() == Surface::Actions {
            let redact = |text: &String| self.sink.redactor().redact(text);
            let note = Annotation {
                file: note.file.as_ref().map(redact),
                title: redact(&note.title),
                message: redact(&note.message),
                ..note.clone()
            };
            self.sink.command(&note.to_string());
        }
    }

    /// Tells a fault that does not decide the outcome, met while the report was written.
    pub(super) fn warn(&mut self, fault: &Fault, at: Duration) {
        self.event(&Event::Warning(fault.clone()), at);
        self.annotate(&super::annotate::warning(&fault.redacted(self.sink.redactor())));
    }

    fn line(&mut self, line: &Line) {
        let actions = self.sink.surface() == Surface::Actions;
        match line {
            Line::Text(tone, text) => self.sink.text(*tone, text),
            Line::Heading(stage) => {
                self.line(&Line::End);
                self.open = Some(*stage);
                if actions {
                    self.sink.command(&command::group(stage.name()));
                } else {
                    self.sink.text(Tone::Plain, stage.name());
                }
            }
            Line::End => {
                if self.open.take().is_some() && actions {
                    self.sink.command(command::END_GROUP);
                }
            }
        }
    }

    /// The bar over the pending migrations, for a person who waits.
    fn progress(&self, event: &Event) {
        let person = matches!(self.sink.surface(), Surface::Terminal | Surface::Colour);
        match event {
            Event::Started(id) if person => {
                let bar = self.sink.bar().unwrap_or_else(|| self.new_bar());
                bar.set_message(self.names.get(&id.version).cloned().unwrap_or_default());
                if self.sink.bar().is_none() {
                    self.sink.show(Some(bar));
                }
            }
            Event::Applied { .. } => self.sink.bar().into_iter().for_each(|bar| bar.inc(1)),
            Event::Left(_) | Event::Fault(_) => self.sink.show(None),
            _ => {}
        }
    }

    fn new_bar(&self) -> ProgressBar {
        let style = ProgressStyle::with_template("  {bar:30} {pos}/{len} {msg}");
        let total = u64::try_from(self.names.len()).ok();
        ProgressBar::with_draw_target(total, ProgressDrawTarget::stdout())
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}

/// What the runner is told to hide: each line of the secret, because the log has only lines.
fn masks(secret: &Secret) -> Vec<&str> {
    let whole = secret.expose().trim();
    let lines: Vec<&str> = whole.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_MASK).collect();
    match (whole.is_empty(), lines.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![whole],
        (false, false) => lines,
    }
}

/// `0003_add_email` of `migrations/0003_add_email.sql`: the migration as its author calls it.
fn stem(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".sql").unwrap_or(name).to_owned()
}
