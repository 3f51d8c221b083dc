//! The events of a run: stages emit them, the log prints them, the report is folded from them.

use super::{
    aftercare::AftercareFacts,
    backpressure::LogFlow,
    doctor_finding::DoctorFinding,
    facts::{BackupFacts, BastionFacts, DatabaseFacts, ImageFacts, ResourceUsage, TunnelFacts},
    ledger_entry::{HalfDoneMigration, LedgerEntry},
    long_wait::LongWait,
    migration_id::MigrationId,
    past_run::PastRun,
    plan_facts::PlanFacts,
    rehearsal_facts::RehearsalFacts,
    reviewed_plan::ReviewedPlan,
};
use crate::{
    fault::{Fault, Stage},
    secret::Redactor,
};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// One event. Text that comes from outside (a server, a file) is untrusted until it is rendered.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A stage began.
    StageStarted(Stage),
    /// A stage succeeded.
    StageDone(Stage),
    /// A sentence for the reader, written by this program.
    Note(String),
    /// The run waits for something or retries it.
    Waiting {
        /// The thing that is waited for, as in "waiting for …".
        what: String,
        /// The reason why it is not ready.
        why: String,
    },
    /// The run has waited long for the work of others, and still does; once per wait.
    LongWait(LongWait),
    /// The SSH connection is open.
    Bastion(BastionFacts),
    /// The database accepts queries.
    Database(DatabaseFacts),
    /// This run holds the run lock.
    Locked {
        /// Time that it took to get the lock.
        waited: Duration,
    },
    /// `command: doctor` has made a check.
    Examined(DoctorFinding),
    /// The plan is made.
    Planned(PlanFacts),
    /// The plan was reviewed.
    Reviewed(Arc<ReviewedPlan>),
    /// The plan was rehearsed.
    Rehearsed(Arc<RehearsalFacts>),
    /// The backup is planned, or made and proven.
    Backup(BackupFacts),
    /// The migrations in the ledger, for a command that lists them.
    LedgerListed {
        /// The migrations, in the ledger's order.
        recorded: Vec<LedgerEntry>,
        /// Migrations that were started and not finished.
        half_done: Vec<HalfDoneMigration>,
    },
    /// The runs of the past, the newest first, for a command that lists them.
    History(Vec<PastRun>),
    /// A migration started.
    Started(MigrationId),
    /// A statement of a migration without a transaction was executed.
    StatementDone {
        /// The migration, by its index in the plan.
        index: usize,
        /// The statement's number, 1-based.
        number: usize,
        /// Number of statements in the migration.
        of: usize,
    },
    /// A migration without a transaction continues: an earlier attempt has executed its first statements.
    Resumed {
        /// The migration, by its index in the plan.
        index: usize,
        /// Number of statements that are done.
        done: usize,
        /// Number of statements in the migration.
        of: usize,
    },
    /// A migration was committed together with its ledger row.
    Applied {
        /// The migration, by its index in the plan.
        index: usize,
        /// Time that the server took.
        took: Duration,
    },
    /// A migration that is not in the plan has to be in the report: a tool recorded it without having listed it, or the
    /// ledger no longer contains it.
    Unplanned(MigrationId),
    /// A migration that was planned before any ledger existed belongs to this schema.
    SchemaAssigned {
        /// The migration, by its index in the plan.
        index: usize,
        /// Its schema.
        schema: String,
    },
    /// A tool's migration was recorded in the ledger during this run.
    Recorded {
        /// The migration, by its index in the plan.
        index: usize,
        /// Duration, if the ledger has it.
        took: Option<Duration>,
    },
    /// A migration was recorded without being applied.
    Baselined {
        /// The migration, by its index in the plan.
        index: usize,
    },
    /// A migration was removed from the ledger by this run, which rolls back.
    RolledBack {
        /// The migration, by its index in the plan.
        index: usize,
    },
    /// A migration was removed from the ledger without being rolled back.
    Unrecorded {
        /// The migration, by its index in the plan.
        index: usize,
    },
    /// A migration failed, or was stopped, and is not in the ledger.
    Failed {
        /// The migration, by its index in the plan.
        index: usize,
    },
    /// A migration was stopped with the run, and is not in the ledger.
    Cancelled {
        /// The migration, by its index in the plan.
        index: usize,
    },
    /// A migration that was reported as applied was undone by a server crash before it was on disk.
    LostInCrash {
        /// The migration, by its index in the plan.
        index: usize,
    },
    /// It is unknown whether the migration was committed.
    InDoubt {
        /// The migration, by its index in the plan.
        index: usize,
    },
    /// A message of the server (RAISE NOTICE, warnings). Untrusted text.
    Notice {
        /// `NOTICE`, `WARNING`, …
        severity: String,
        /// The message.
        text: String,
        /// The file or migration that caused it; `None` if no file did.
        about: Option<NoticeSubject>,
    },
    /// A tool started a migration, according to its output.
    ToolMigrationStarted {
        /// The tool's name of the migration. Untrusted text.
        name: String,
        /// The schema, if the tool names it. Untrusted text.
        schema: Option<String>,
        /// The precision of the start time.
        clock: ClockPrecision,
    },
    /// A tool finished a migration, as far as can be observed; the ledger shows the result.
    Ended {
        /// The tool's name of the migration. Untrusted text.
        name: String,
        /// The schema, if the tool names it. Untrusted text.
        schema: Option<String>,
        /// Duration, if it is known.
        took: Option<Duration>,
    },
    /// A command of a tool was started.
    CommandStarted {
        /// The command, as a user would type it.
        command: String,
    },
    /// A line of a tool's output. Untrusted text.
    Output {
        /// The line.
        line: String,
    },
    /// Lines of a tool's output were left out because they were too many for a log.
    LinesOmitted {
        /// Number of lines.
        lines: u64,
    },
    /// Messages of a server or a tool were dropped.
    MessagesSkipped {
        /// Number of messages.
        messages: u64,
    },
    /// A session waits for another session's lock. Only the first words of other sessions' queries are included.
    Blocked {
        /// The waiting session, the blocking session, and the lock.
        text: String,
    },
    /// The image is available locally.
    Image(ImageFacts),
    /// Resources that the container of one command used.
    ResourceUsage {
        /// The command, as a user would type it.
        command: String,
        /// The resources.
        usage: ResourceUsage,
    },
    /// The run changed the schema.
    SchemaChanged {
        /// The changes, each as lines of a diff. Untrusted text.
        changes: Vec<String>,
    },
    /// The tunnel for later steps is open.
    Tunnel(TunnelFacts),
    /// The session settings of this run reached the tool's sessions.
    SettingsDelivered {
        /// The way they were delivered, as a phrase.
        way: String,
    },
    /// All steps, in order.
    Steps(Vec<StepId>),
    /// A step changed its state.
    StepChanged {
        /// The step.
        id: StepId,
        /// Its new state.
        fate: StepState,
    },
    /// The database was read again after foreign commands ran that should not have changed it.
    ReadOnlyChecked(ReadOnlyResult),
    /// The applied migrations were read again and are as expected.
    Verified(Proof),
    /// The after-care is done.
    Aftercare(AftercareFacts),
    /// A fault that does not change the outcome: something at teardown, a comment that could not be written.
    Warning(Fault),
    /// A fault that decides the outcome.
    Fault(Fault),
}

/// The user's file that a message of the server is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeSubject {
    /// A migration of the plan, by its index.
    Migration(usize),
    /// A file that is not a migration.
    File(String),
}

/// Precision of the time at which a tool printed a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClockPrecision {
    /// Output is read as it is printed.
    #[default]
    Exact,
    /// Output is polled.
    Coarse,
}

/// The phase of the run that a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepPhase {
    /// Before the migration.
    Before,
    /// Instead of the tool's migration command, or a part of it.
    Migrate,
    /// After the migration is verified.
    After,
}

impl StepPhase {
    /// Returns the name that users see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Migrate => "migrate",
            Self::After => "after",
        }
    }
}

/// Identifies one step.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StepId {
    /// The phase.
    pub phase: StepPhase,
    /// Its index in the phase, from 0.
    #[serde(skip)]
    pub at: usize,
    /// Its display name.
    pub name: String,
}

/// State of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// It was not reached.
    NotRun,
    /// It was started.
    Running,
    /// It succeeded.
    Done,
    /// It failed.
    Failed,
}

/// Result of comparing the database before and after foreign commands that should not change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnlyResult {
    /// Ledger and schema are unchanged.
    Unchanged,
    /// Ledger or schema changed.
    Changed,
}

/// Evidence that a migration took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The ledger in the database, read over this run's own connection.
    Ledger,
    /// The tool's own listing, because no database is given.
    Listing,
}

impl Event {
    /// Returns whether the event is a message: these come in floods, and the outcome does not depend on them.
    fn is_message(&self) -> bool {
        matches!(self, Self::Notice { .. } | Self::Output { .. })
    }
}

/// Sink for events, in the order in which they are emitted: cheap to clone, never blocks. Only messages may be dropped
/// (and are counted then). Text that has to be cut must be redacted with [`Self::redactor`] before it is cut: a partial
/// secret is not recognised.
#[derive(Clone)]
pub struct Events {
    sink: Arc<dyn Fn(Event) + Send + Sync>,
    flow: LogFlow,
    redactor: Redactor,
    /// The file that all server messages are attributed to.
    file: Option<Arc<str>>,
}

impl Events {
    /// Creates a sink that passes events to `sink`. `flow` counts the output that is queued and not yet written.
    #[must_use]
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static, flow: LogFlow) -> Self {
        Self { sink: Arc::new(sink), flow, redactor: Redactor::default(), file: None }
    }

    /// Creates a sink that queues events without limit for the receiver.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        // A closed receiver is no error: the events are not needed any more.
        (Self::new(move |event| drop(sender.send(event)), LogFlow::default()), receiver)
    }

    /// Adds the redactor of a run that has secrets.
    #[must_use]
    pub fn with_redactor(self, redactor: Redactor) -> Self {
        Self { redactor, ..self }
    }

    /// Attributes the server messages to this file, for a session that runs nothing else.
    #[must_use]
    pub fn for_file(self, file: &str) -> Self {
        Self { file: Some(Arc::from(file)), ..self }
    }

    /// Returns a sink that also queues the long waits for the receiver.
    #[must_use]
    pub fn with_queue_of_waits(self) -> (Self, mpsc::UnboundedReceiver<LongWait>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let sink = self.sink;
        let both = move |event: Event| {
            if let Event::LongWait(wait) = &event {
                // A closed receiver is no error: nobody is told.
                drop(sender.send(wait.clone()));
            }
            sink(event);
        };
        (Self { sink: Arc::new(both), ..self }, receiver)
    }

    /// Returns the redactor of the run's secrets.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Returns a sink that passes only the output of commands on, and a receiver of all other events: for work whose
    /// result is reported by other means.
    #[must_use]
    pub fn output_only(&self) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let sink = Arc::clone(&self.sink);
        let divided = move |event: Event| match event {
            Event::CommandStarted { .. }
            | Event::Output { .. }
            | Event::LinesOmitted { .. }
            | Event::MessagesSkipped { .. } => sink(event),
            // A closed receiver is no error: the events are not needed any more.
            event => drop(sender.send(event)),
        };
        (Self { sink: Arc::new(divided), ..self.clone() }, receiver)
    }

    /// Returns a sink that passes only the starts of commands on: for commands whose output may not be shown.
    #[must_use]
    pub fn starts_only(&self) -> Self {
        let sink = Arc::clone(&self.sink);
        let starts = move |event: Event| {
            if matches!(event, Event::CommandStarted { .. }) {
                sink(event);
            }
        };
        Self { sink: Arc::new(starts), ..self.clone() }
    }

    /// Emits an event, unless it is a message and there is no room.
    pub fn emit(&self, event: Event) {
        if event.is_message() && !self.flow.admit_message() {
            return;
        }
        self.emit_skipped();
        (self.sink)(match (event, &self.file) {
            (Event::Notice { severity, text, about: None }, Some(file)) => {
                Event::Notice { severity, text, about: Some(NoticeSubject::File(file.to_string())) }
            }
            (event, _) => event,
        });
    }

    /// Emits the number of dropped messages, if any were dropped since the last time.
    pub fn emit_skipped(&self) {
        let messages = self.flow.take_skipped();
        if messages > 0 {
            (self.sink)(Event::MessagesSkipped { messages });
        }
    }

    /// Emits a note.
    pub fn emit_note(&self, text: impl Into<String>) {
        self.emit(Event::Note(text.into()));
    }

    /// Waits until there is room for further messages. A source that passes on foreign messages awaits this before
    /// each.
    pub async fn wait_for_room(&self) {
        self.flow.wait_for_room().await;
    }

    /// Polls `work` only while there is room for the messages that it emits.
    pub async fn run_paced<T>(&self, work: impl Future<Output = T>) -> T {
        self.flow.run_paced(work).await
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Events")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(number: u64) -> Event {
        Event::Notice { severity: "NOTICE".to_owned(), text: number.to_string(), about: None }
    }

    #[test]
    fn an_event_is_emitted_after_the_count_of_messages_dropped_before_it() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let flow = LogFlow::default();
        let events = Events::new(move |event| drop(sender.send(event)), flow.clone());
        events.emit(notice(1));
        flow.stop_throttling();
        flow.add_unwritten(usize::MAX / 2);
        (2..9).for_each(|number| events.emit(notice(number)));
        events.emit(Event::Failed { index: 1 });
        events.emit(notice(9));
        events.emit_skipped();
        events.emit_skipped();
        let mut received = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            received.push(event);
        }
        let skipped = |messages| Event::MessagesSkipped { messages };
        assert_eq!(received, [notice(1), skipped(7), Event::Failed { index: 1 }, skipped(1)]);
    }
}
