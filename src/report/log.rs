//! The log: prints events as lines on standard output. Standard error is not used, because the runner does not keep the
//! order of lines across two streams.

use super::{
    aftermath::Aftermath,
    annotations::{FaultAnnotation, MAX_PER_LEVEL, annotate_fault, annotate_remaining},
    buffered_output::BufferedOutput,
    console::{Console, ConsoleKind, TraceWriter},
    first_run::{awaits_pin, is_expected_stop},
    headline::Headline,
    log_lines::{self, LogLine, MigrationsByIndex, Tone},
    masks::mask_lines,
    redact::Redact as _,
    run_report::RunReport,
    visible_text::replace_control,
};
use crate::{
    fault::{Fault, Stage},
    github::{
        runner::Runner,
        workflow_command::{self, Annotation, Level},
    },
    run::{
        FindingLevel, LintFinding,
        backpressure::LogFlow,
        event::{Event, NoticeSubject, StepId, StepPhase},
    },
    secret::{Redactor, Secret},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    borrow::Cow,
    collections::BTreeSet,
    io::{self, Write},
    time::Duration,
};

/// The log of a running run. Clones write to the same stream.
#[derive(Clone, Debug)]
pub struct Log {
    console: Console,
    runner_debug: bool,
    migrations: MigrationsByIndex,
    /// Number of steps to log; 0 if the migration is the only step, because its command is logged anyway.
    step_count: usize,
    open_stage: Option<Stage>,
    /// Labels of the migrations that a tool reported as started.
    started_by_tool: BTreeSet<String>,
    /// Number of those that are in the ledger and not logged as applied yet.
    recorded_not_logged: usize,
}

impl Log {
    /// Creates a log on standard output. In GitHub Actions, `screen` is ignored, and the secrets are masked before
    /// anything else is written. `flow` counts the bytes that are not written yet.
    #[must_use]
    pub fn new(runner: &Runner, screen: ConsoleKind, secrets: &[Secret], flow: &LogFlow) -> Self {
        let out: Box<dyn Write + Send> = match console_kind(runner, screen) {
            // The progress bar needs unqueued lines, and a terminal is read all the time.
            ConsoleKind::PlainTerminal | ConsoleKind::ColourTerminal => Box::new(io::stdout()),
            ConsoleKind::Actions | ConsoleKind::Pipe => {
                match BufferedOutput::spawn_writer(io::stdout(), flow.clone()) {
                    Ok(buffered) => Box::new(buffered),
                    // Without a thread, every line is written at once.
                    Err(_) => Box::new(io::stdout()),
                }
            }
        };
        Self::on_stream(out, runner, screen, secrets)
    }

    /// Creates a log on another stream.
    #[must_use]
    pub fn on_stream(out: Box<dyn Write + Send>, runner: &Runner, screen: ConsoleKind, secrets: &[Secret]) -> Self {
        let surface = console_kind(runner, screen);
        let console = Console::new(out, Redactor::new(secrets), surface);
        if surface == ConsoleKind::Actions {
            secrets.iter().flat_map(mask_lines).for_each(|line| console.write_command(&line));
        }
        Self {
            console,
            runner_debug: runner.debug,
            migrations: MigrationsByIndex::new(),
            step_count: 0,
            open_stage: None,
            started_by_tool: BTreeSet::new(),
            recorded_not_logged: 0,
        }
    }

    /// Returns the redactor of the run's secrets.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        self.console.redactor()
    }

    /// Writes the traces of this crate and its libraries into the log, if the user enabled debug logging. Applies to
    /// the whole process.
    pub fn install_tracing(&self) {
        if self.runner_debug {
            // Only the first log of a process can install a subscriber.
            drop(tracing::subscriber::set_global_default(self.trace_subscriber()));
        }
    }

    fn trace_subscriber(&self) -> impl tracing::Subscriber + Send + Sync + use<> {
        let console = self.console.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(move || TraceWriter(console.clone()))
            .finish()
    }

    /// Logs an event that happened at this time since the start of the run.
    pub fn log_event(&mut self, event: &Event, at: Duration) {
        let event = match is_redacted_in_its_line(event) {
            true => Cow::Borrowed(event),
            false => Cow::Owned(event.redacted(self.console.redactor())),
        };
        let event = &*event;
        if let Event::Planned(facts) = event {
            self.migrations = facts.pending.iter().map(|id| (id.index, id.clone())).collect();
        }
        if let Event::Unplanned(id) = event {
            self.migrations.insert(id.index, id.clone());
        }
        if let Event::SchemaAssigned { index, schema } = event
            && let Some(id) = self.migrations.get_mut(index)
        {
            id.schema.clone_from(schema);
        }
        if let Event::Steps(ids) = event {
            let alone = matches!(ids.as_slice(), [StepId { phase: StepPhase::Migrate, .. }]);
            self.step_count = if alone { 0 } else { ids.len() };
        }
        if self.is_logged_as_group(event) {
            return;
        }
        if matches!(event, Event::StepChanged { .. }) && self.step_count == 0 {
            return;
        }
        self.update_progress_bar(event);
        match event {
            Event::Fault(fault) if is_expected_stop(fault) && self.write_fault_annotation(Level::Notice, fault) => {
                return;
            }
            Event::Fault(fault) if !is_expected_stop(fault) && self.write_fault_annotation(Level::Error, fault) => {
                return;
            }
            Event::Warning(fault) if self.write_fault_annotation(Level::Warning, fault) => return,
            _ => {}
        }
        for line in log_lines::event_lines(event, &self.migrations, at) {
            self.write_line(&line);
        }
        if let Event::Examined(finding) = event
            && let Some(fault) = finding.fault()
        {
            self.write_found_fault(fault);
        }
        if let Event::Reviewed(plan) = event {
            self.write_findings(&plan.findings);
        }
    }

    /// Writes the fault that a check found.
    fn write_found_fault(&mut self, fault: &Fault) {
        let level = if is_expected_stop(fault) { Level::Notice } else { Level::Error };
        if !self.write_fault_annotation(level, fault) {
            log_lines::error_lines(fault).iter().for_each(|line| self.write_line(line));
        }
    }

    /// Writes the findings that are warnings; those that are errors follow as faults.
    fn write_findings(&mut self, findings: &[LintFinding]) {
        for finding in findings.iter().filter(|finding| finding.level == FindingLevel::Warning) {
            let fault = finding.to_fault();
            if !self.write_fault_annotation(Level::Warning, &fault) {
                let lines = log_lines::event_lines(&Event::Warning(fault), &self.migrations, Duration::ZERO);
                lines.iter().for_each(|line| self.write_line(line));
            }
        }
    }

    /// Returns whether the event is logged later, together with others. The start of each of a tool's migrations is
    /// logged; that they are recorded is logged as one line for all.
    fn is_logged_as_group(&mut self, event: &Event) -> bool {
        match event {
            Event::ToolMigrationStarted { name, schema, .. } => {
                let label = schema.as_ref().map_or_else(|| name.clone(), |schema| format!("{schema}: {name}"));
                self.started_by_tool.insert(label);
            }
            Event::Recorded { index, .. }
                if self.migrations.get(index).is_some_and(|id| self.started_by_tool.contains(&*id.label())) =>
            {
                self.recorded_not_logged += 1;
                return true;
            }
            _ => {}
        }
        if let recorded @ 1.. = std::mem::take(&mut self.recorded_not_logged) {
            let applied = log_lines::count_of(recorded, "migration");
            self.write_line(&LogLine::Text(Tone::Good, format!("  applied {applied} of those started above")));
        }
        false
    }

    /// Logs the last line: the run in one sentence.
    pub fn log_headline(&mut self, report: &RunReport) {
        self.console.set_progress_bar(None);
        self.write_line(&LogLine::StageEnd);
        self.write_remaining_annotations();
        let headline = Headline::from_report(&report.redacted(self.console.redactor()));
        let tone = match report.faults.is_empty() {
            true => Tone::Good,
            false if awaits_pin(report) => Tone::Warning,
            false => Tone::Bad,
        };
        if let Some(Aftermath { state, deploy, next }) = Aftermath::of(&report.redacted(self.console.redactor())) {
            for (word, text) in [("now", state), ("deploy", deploy), ("then", next)] {
                self.console.write_text(Tone::Neutral, &format!("{word:6}  {text}"));
            }
        }
        let next = headline.next_step.map(|next| format!("; next: {next}")).unwrap_or_default();
        self.console.write_text(tone, &format!("{}{next}", headline.sentence));
    }

    /// Writes a fault as an annotation, which the runner also prints as lines of the log. Returns false if the fault
    /// has to be logged as text: outside of Actions, and beyond the number of annotations that GitHub records.
    fn write_fault_annotation(&mut self, level: Level, fault: &Fault) -> bool {
        // The last annotation is for the number of the others.
        let has_room = self.console.count_fault(level) < MAX_PER_LEVEL - 1;
        if self.console.surface() != ConsoleKind::Actions || !has_room {
            return false;
        }
        if level != Level::Warning {
            // A fault inside a folded group would be hidden.
            self.write_line(&LogLine::StageEnd);
        }
        let FaultAnnotation { annotation, remaining_lines } = annotate_fault(level, fault);
        self.write_annotation(&annotation);
        remaining_lines.iter().for_each(|line| self.console.write_text(Tone::Neutral, line));
        true
    }

    /// Writes the last annotation of each level, which GitHub records: the number of those beyond it.
    fn write_remaining_annotations(&self) {
        if self.console.surface() != ConsoleKind::Actions {
            return;
        }
        for level in [Level::Error, Level::Warning] {
            if let more @ 1.. = self.console.fault_count(level).saturating_sub(MAX_PER_LEVEL - 1) {
                self.write_annotation(&annotate_remaining(level, more));
            }
        }
    }

    fn write_annotation(&self, note: &Annotation) {
        // In log lines, the runner still applies the colours of the old command syntax.
        let redact = |text: &String| {
            let text: String = self.console.redactor().redact(text).chars().map(replace_control).collect();
            workflow_command::without_old_commands(&text)
        };
        let note = Annotation {
            file: note.file.as_ref().map(redact),
            title: redact(&note.title),
            message: redact(&note.message),
            ..note.clone()
        };
        self.console.write_command(&note.to_string());
    }

    fn write_line(&mut self, line: &LogLine) {
        let actions = self.console.surface() == ConsoleKind::Actions;
        match line {
            LogLine::Text(tone, text) => self.console.write_text(*tone, text),
            LogLine::StageHeading(stage) => {
                self.write_line(&LogLine::StageEnd);
                self.open_stage = Some(*stage);
                if actions {
                    self.console.write_command(&workflow_command::group_command(stage.name()));
                } else {
                    self.console.write_text(Tone::Neutral, stage.name());
                }
            }
            LogLine::StageEnd => {
                if self.open_stage.take().is_some() && actions {
                    self.console.write_command(workflow_command::END_GROUP);
                }
            }
        }
    }

    /// Updates the progress bar over the pending migrations, on a terminal.
    fn update_progress_bar(&self, event: &Event) {
        let on_terminal = matches!(self.console.surface(), ConsoleKind::PlainTerminal | ConsoleKind::ColourTerminal);
        match event {
            Event::Started(id) if on_terminal => {
                let bar = self.console.progress_bar().unwrap_or_else(|| self.new_progress_bar());
                bar.set_message(self.migrations.get(&id.index).map(|id| id.label().into_owned()).unwrap_or_default());
                if self.console.progress_bar().is_none() {
                    self.console.set_progress_bar(Some(bar));
                }
            }
            Event::Applied { .. } => self.console.progress_bar().into_iter().for_each(|bar| bar.inc(1)),
            Event::StageDone(_) | Event::Fault(_) => self.console.set_progress_bar(None),
            _ => {}
        }
    }

    fn new_progress_bar(&self) -> ProgressBar {
        let style = ProgressStyle::with_template("  {bar:30} {pos}/{len} {msg}");
        let total = u64::try_from(self.migrations.len()).ok();
        ProgressBar::with_draw_target(total, ProgressDrawTarget::stdout())
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}

/// Severities of a message (`PG_DIAG_SEVERITY` in English): no part of a secret becomes one in small letters.
const SEVERITIES: [&str; 5] = ["NOTICE", "WARNING", "INFO", "LOG", "DEBUG"];

/// Returns whether the event becomes one line that contains its text as it is, so that the redaction of the line is enough.
/// There are very many events of these kinds.
fn is_redacted_in_its_line(event: &Event) -> bool {
    let is_one_line = |text: &str| !text.contains(['\r', '\n']);
    match event {
        Event::Notice { severity, text, about: None | Some(NoticeSubject::Migration(_)) } => {
            SEVERITIES.contains(&severity.as_str()) && is_one_line(text)
        }
        Event::Output { line } => is_one_line(line),
        _ => false,
    }
}

fn console_kind(runner: &Runner, screen: ConsoleKind) -> ConsoleKind {
    if runner.in_actions { ConsoleKind::Actions } else { screen }
}

#[cfg(test)]
mod tests {
    use super::{
        super::sample::{self, SharedBuffer},
        *,
    };

    /// Returns the printed text, with the random tokens of fences replaced.
    fn text(buffer: &SharedBuffer) -> String {
        let mut text = buffer.text();
        while let Some(at) = text.find("::stop-commands::").map(|at| at + "::stop-commands::".len()) {
            let token = text.get(at..at + 32).unwrap().to_owned();
            text = text.replace(&token, "TOKEN").replace("::stop-commands::TOKEN", "::stopped::TOKEN");
        }
        text
    }

    fn actions() -> Runner {
        Runner { in_actions: true, ..Runner::default() }
    }

    fn printed(runner: &Runner, screen: ConsoleKind, secrets: &[&str], events: &sample::SampleEvents) -> String {
        let buffer = SharedBuffer::default();
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        let mut log = Log::on_stream(Box::new(buffer.clone()), runner, screen, &secrets);
        events.iter().for_each(|(at, event)| log.log_event(event, Duration::from_millis(*at)));
        log.log_headline(&sample::report_of(events));
        text(&buffer)
    }

    #[test]
    fn logs_a_successful_run_in_actions() {
        insta::assert_snapshot!(printed(&actions(), ConsoleKind::Pipe, &["hunter2"], &sample::successful_events()), @r#"
        ::add-mask::hunter2
        ::group::bastion
          bastion   deploy@bastion.example.org:22 by key
          host key  ssh-ed25519 SHA256:abc
        ::endgroup::
        ::group::database
          waiting for the database (at 150 ms): the server is starting up
          database  shop at db.internal:5432 as owner
          server    PostgreSQL 16.4, TLS verify-full
        ::endgroup::
        ::group::plan
          2 migrations pending, 2 recorded in bastion_migrate.ledger
          pending migrations/0003_add_email.sql
          pending migrations/0004_drop_name.sql
          digest  sha256:4f2c
        ::endgroup::
        ::group::migrate
          applying 0003_add_email
          applied 0003_add_email (12 ms)
          applying 0004_drop_name
        ::stopped::TOKEN
          0004_drop_name: notice: table "x" | skipping
            ::error::no
        ::TOKEN::
          applied 0004_drop_name (1.1 s)
        ::endgroup::
        Applied 2 migrations to shop, and the ledger confirms it (1.6 s)
        "#);
    }

    #[test]
    fn logs_a_failed_run_in_actions() {
        insta::assert_snapshot!(printed(&actions(), ConsoleKind::Pipe, &[], &sample::failed_events()), @r#"
        ::group::bastion
          bastion   deploy@bastion.example.org:22 by key
          host key  ssh-ed25519 SHA256:abc
        ::endgroup::
        ::group::database
          waiting for the database (at 150 ms): the server is starting up
          database  shop at db.internal:5432 as owner
          server    PostgreSQL 16.4, TLS verify-full
        ::endgroup::
        ::group::plan
          2 migrations pending, 2 recorded in bastion_migrate.ledger
          pending migrations/0003_add_email.sql
          pending migrations/0004_drop_name.sql
          digest  sha256:4f2c
        ::endgroup::
        ::group::migrate
          applying 0003_add_email
          applied 0003_add_email (12 ms)
          applying 0004_drop_name
          failed 0004_drop_name
        ::endgroup::
        ::error file=migrations/0004_drop_name.sql,line=2,col=13,title=bastion-migrate::statement-failed in migrate: relation "userz" does not exist%0A  --> migrations/0004_drop_name.sql:2:13%0A   | ALTER TABLE userz DROP name;%0A   |             ^%0A  SQLSTATE 42P01%0A  HINT: # #[error]look at `users`%0A  fix: correct the file and run again; the file was rolled back and files before it stay applied%0A  see https://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#statement-failed
        now     1 of 2 migrations are applied and stay so; `migrations/0004_drop_name.sql` is not applied
        deploy  no code that needs `migrations/0004_drop_name.sql` or what follows it
        then    when the cause is mended, run again with the same inputs: it begins with `migrations/0004_drop_name.sql`
        Failed: 1 of 2 migrations applied to shop (330 ms)
        "#);
    }

    #[test]
    fn logs_a_rejected_bastion_in_plain_lines() {
        insta::assert_snapshot!(printed(&Runner::default(), ConsoleKind::Pipe, &["hunter2"], &sample::unpinned_events()), @"
        bastion
        next step[host-key-unpinned] bastion: no key is pinned for `bastion.example.org`
          bastion.example.org ssh-ed25519 AAAA
          fix: compare the fingerprint with the server's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there), then put the line shown into `ssh-known-hosts`
          see https://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#host-key-unpinned
        Pin the host key to continue (50 ms); next: store the line with `gh variable set SSH_KNOWN_HOSTS --env prod`, and run again
        ");
    }

    #[test]
    fn colours_only_on_a_colour_terminal() {
        let plain = printed(&Runner::default(), ConsoleKind::PlainTerminal, &[], &sample::successful_events());
        let coloured = printed(&Runner::default(), ConsoleKind::ColourTerminal, &[], &sample::successful_events());
        assert!(!plain.contains('\x1b'));
        assert!(coloured.contains("\x1b[32m  applied 0003_add_email (12 ms)\x1b[0m"), "{coloured}");
    }

    #[test]
    fn masks_every_line_of_a_key_before_anything_else() {
        let key = "-----BEGIN-----\nab,c%d:ef\n=\n-----END-----\n";
        let text = printed(&actions(), ConsoleKind::Pipe, &[key, " ", "x", "xyz"], &vec![]);
        let lines: Vec<&str> = text.lines().take(5).collect();
        let masks =
            ["-----BEGIN-----", "ab,c%25d:ef", "-----END-----", "xyz"].map(|mask| format!("::add-mask::{mask}"));
        assert_eq!(lines[..4], masks);
        assert!(!lines[4].starts_with("::add-mask::"));
    }

    #[test]
    fn a_secret_in_a_message_is_redacted_wherever_its_line_is_put_together() {
        let notice = |severity: &str, text: &str, about: Option<NoticeSubject>| {
            (0, Event::Notice { severity: severity.to_owned(), text: text.to_owned(), about })
        };
        let file = |name: &str| Some(NoticeSubject::File(name.to_owned()));
        let events = vec![
            notice("NOTICE", "one pass%20word line", None),
            notice("NOTICE", "two pass\nword lines", Some(NoticeSubject::Migration(1))),
            notice("PASS WORD", "x", None),
            notice("NOTICE", "y", file("pass word.sql")),
            (0, Event::Output { line: "out pass word".to_owned() }),
        ];
        let log = printed(&Runner::default(), ConsoleKind::Pipe, &["pass word", "pass\nword", "PASS WORD"], &events);
        let expected =
            "  notice: one *** line\n  1: notice: two *** lines\n  ***: x\n  ***.sql: notice: y\n  | out ***\n";
        assert!(log.starts_with(expected), "{log}");
    }

    #[test]
    fn hostile_text_is_fenced_and_can_not_move_the_cursor() {
        let text = "a\r::set-output name=x::y\n >>> ##[error]z\x1b[2J";
        let events = vec![(0, Event::Notice { severity: "NOTICE".to_owned(), text: text.to_owned(), about: None })];
        let printed = printed(&actions(), ConsoleKind::Pipe, &[], &events);
        let expected =
            "::stopped::TOKEN\n  notice: a\n    ::set-output name=x::y\n     >>> # #[error]z\u{fffd}[2J\n::TOKEN::\n";
        assert!(printed.starts_with(expected), "{printed}");
    }

    #[test]
    fn a_broken_pipe_does_not_end_the_run() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut log = Log::on_stream(Box::new(Broken), &actions(), ConsoleKind::Pipe, &[Secret::new("secret")]);
        log.log_event(&Event::Verified(crate::run::event::Proof::Ledger), Duration::ZERO);
        log.log_headline(&sample::report_of(&sample::successful_events()));
    }

    #[test]
    fn traces_of_libraries_are_debug_lines_without_secrets() {
        let buffer = SharedBuffer::default();
        let secrets = [Secret::new("hun\"ter2")];
        let log = Log::on_stream(Box::new(buffer.clone()), &actions(), ConsoleKind::Pipe, &secrets);
        tracing::subscriber::with_default(log.trace_subscriber(), || {
            tracing::debug!(password = "hun\"ter2", "first\nsecond");
            tracing::trace!("too much");
        });
        let text = buffer.text();
        let line = text.lines().nth(1).unwrap();
        assert!(line.starts_with("::debug::DEBUG ") && line.contains("***"), "{text}");
        assert!(!line.contains("ter2") && text.lines().count() == 2, "{text}");
    }

    #[test]
    fn the_progress_bar_counts_applied_migrations_and_is_removed_at_the_end() {
        let runner = Runner::default();
        let mut log = Log::on_stream(Box::new(SharedBuffer::default()), &runner, ConsoleKind::PlainTerminal, &[]);
        for (at, event) in sample::successful_events().iter().take_while(|(at, _)| *at < 1_500) {
            log.log_event(event, Duration::from_millis(*at));
        }
        let bar = log.console.progress_bar().unwrap();
        assert_eq!((bar.position(), bar.length()), (2, Some(2)));
        log.log_event(&Event::StageDone(Stage::Migrate), Duration::from_secs(2));
        assert!(log.console.progress_bar().is_none());
    }

    #[test]
    fn the_last_annotation_of_a_level_has_the_number_of_those_beyond_it() {
        let fault = |number: usize| Fault::new(crate::fault::Code::FileSyntax, format!("fault {number}"));
        let log = |count: usize| {
            let mut events = sample::unpinned_events();
            events.retain(|(_, event)| !matches!(event, Event::Fault(_)));
            events.extend((1..=count).map(|number| (60, Event::Fault(fault(number)))));
            printed(&actions(), ConsoleKind::Pipe, &[], &events)
        };
        let fifty = log(50);
        let annotations: Vec<&str> = fifty.lines().filter(|line| line.starts_with("::error ")).collect();
        assert_eq!(annotations.len(), MAX_PER_LEVEL);
        assert!(annotations[8].contains("fault 9%0A"), "{fifty}");
        assert!(annotations[9].contains("::41 more errors in the log"), "{fifty}");
        assert!(fifty.contains("fault 10\n") && fifty.contains("fault 50\n"), "{fifty}");
        assert_eq!(log(9).matches("::error ").count(), 9);
        assert!(!log(9).contains(" more in the log"));
    }
}
