//! Observation of a running command: its output and its connections, as evidence for faults.

use super::{
    Sites,
    database_endpoint::DatabaseEndpoint,
    migration_times::EndedMigration,
    running_command::RunningCommand,
    transcript::{LineVisibility, ProxyFindings, Transcript},
};
use crate::{
    fault::Fault,
    run::{
        event::{ClockPrecision, Event},
        process::Output,
    },
    settings::Site,
    tool::MigrationStarted,
};
use std::{cell::RefCell, time::Instant};

impl Sites<'_> {
    pub(super) fn handle_output(&self, site: &Site, output: Output<'_>, transcript: &RefCell<Transcript>) {
        if transcript.borrow_mut().take_sql(output) {
            return;
        }
        let now = Instant::now();
        if let Some(started) = transcript.borrow_mut().push_output(&self.recipe, output) {
            let MigrationStarted { name, schema } = started.clone();
            // Output on the server is written to a file that is polled.
            let clock = match site {
                Site::Server => ClockPrecision::Coarse,
                Site::Image(_) => ClockPrecision::Exact,
            };
            let ended = self.running_migrations.borrow_mut().start_migration(started.clone(), now, clock);
            self.report_ended(ended);
            self.events.emit(Event::ToolMigrationStarted { name, schema, clock });
            self.last_started.replace(Some(started));
        }
        let (Output::Stdout(line) | Output::Stderr(line)) = output else { return };
        if let Some(done) = self.recipe.ends(line) {
            let ended = self.running_migrations.borrow_mut().finish_migration(&done, now);
            self.report_ended(ended);
        }
        if let Some(command) = &mut *self.running_command.borrow_mut() {
            command.push_line(&self.recipe, line);
        }
        match transcript.borrow_mut().count_line(line) {
            LineVisibility::Logged => self.events.emit(Event::Output { line: line.to_owned() }),
            LineVisibility::OverLimit => self.omitted_lines.set(self.omitted_lines.get() + 1),
            LineVisibility::ReportedElsewhere => {}
        }
    }

    pub(super) fn report_ended(&self, ended_migrations: impl IntoIterator<Item = EndedMigration>) {
        for EndedMigration { migration: MigrationStarted { name, schema }, took } in ended_migrations {
            self.events.emit(Event::Ended { name, schema, took });
        }
    }

    /// Reports how many lines of the command were left out of the log, if any.
    pub(super) fn report_omitted_lines(&self) {
        let lines = self.omitted_lines.take();
        if lines > 0 {
            self.events.emit(Event::LinesOmitted { lines });
        }
    }

    pub(super) fn proxy_findings(&self) -> ProxyFindings {
        self.endpoints().next().map(DatabaseEndpoint::proxy_findings).unwrap_or_default()
    }

    /// Returns the number of connections that the endpoint for containers has accepted, if there is one.
    pub(crate) fn connection_count(&self) -> Option<u64> {
        self.endpoints().filter_map(DatabaseEndpoint::connection_count).reduce(|sum, count| sum + count)
    }

    /// Returns the migration that the tool reported as started last.
    pub(crate) fn last_started(&self) -> Option<MigrationStarted> {
        self.last_started.borrow().clone()
    }

    /// Forgets the migration that a listing or a step reported: it does not belong to the work that follows.
    pub(crate) fn forget_last_started(&self) {
        self.last_started.replace(None);
    }

    /// Records the command that now runs.
    pub(crate) fn command_started(&self, command_text: String) {
        self.running_command.replace(Some(RunningCommand::new(command_text, self.connection_count())));
    }

    /// Records that the command has ended.
    pub(crate) fn command_ended(&self) {
        if let Some(command) = &mut *self.running_command.borrow_mut() {
            command.mark_ended();
        }
    }

    /// Adds the running command to the timeout fault of a run or step.
    pub(crate) fn with_timeout_context(&self, fault: Fault) -> Fault {
        match &*self.running_command.borrow() {
            Some(command) => command.with_timeout_context(fault, self.connection_count()),
            None => fault,
        }
    }

    /// Adds evidence of failure to the warning that nothing proves the last command's work.
    pub(crate) fn with_contrary_evidence(&self, warning: Fault) -> Fault {
        match &*self.running_command.borrow() {
            Some(command) => command.with_contrary_evidence(warning, self.connection_count()),
            None => warning,
        }
    }
}
