//! The only vocabulary of progress: what the stages tell, what the log prints, what the report is folded from.

pub use super::facts::{BastionFacts, DatabaseFacts, ImageFacts, TunnelFacts, Usage};
use super::flow::Flow;
use crate::{
    fault::{Fault, Stage},
    secret::Redactor,
};
use std::{borrow::Cow, fmt, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// One thing that happened. Text in it that comes from outside (a server, a file) is hostile until it is rendered.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A stage began.
    Entered(Stage),
    /// A stage ended well.
    Left(Stage),
    /// A sentence for the reader, in our own words.
    Note(String),
    /// Something is waited for or tried again.
    Waiting {
        /// What is waited for, as in "waiting for …".
        what: String,
        /// Why it is not there yet.
        why: String,
    },
    /// The SSH connection stands.
    Bastion(BastionFacts),
    /// The database answers.
    Database(DatabaseFacts),
    /// The run lock is ours.
    Locked {
        /// How long it took to get it.
        waited: Duration,
    },
    /// It is known what there is to do.
    Planned(PlanFacts),
    /// What the ledger has, for somebody who has asked.
    Standing {
        /// In its own order.
        recorded: Vec<MigrationId>,
    },
    /// A migration began.
    Started(MigrationId),
    /// A statement of a migration without a transaction is done.
    Statement {
        /// Which migration.
        version: i64,
        /// 1-based.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// A migration is committed together with its ledger row.
    Applied {
        /// Which migration.
        version: i64,
        /// How long the server took.
        took: Duration,
    },
    /// A migration that was not in the plan belongs into the report: a tool has recorded it although nobody had listed it, or
    /// the ledger does not have it any more.
    Found(MigrationId),
    /// A migration that was planned before there was any ledger belongs into this schema.
    Placed {
        /// Which migration.
        version: i64,
        /// Its schema.
        schema: String,
    },
    /// A tool's migration is in the ledger since this run.
    Recorded {
        /// Which migration.
        version: i64,
        /// How long it took, if the ledger says so.
        took: Option<Duration>,
    },
    /// A migration is not in the ledger any more since this run, which went back.
    RolledBack {
        /// Which migration.
        version: i64,
    },
    /// A migration failed, or was stopped, and is not in the ledger.
    Failed {
        /// Which migration.
        version: i64,
    },
    /// A migration was stopped with the run, and is not in the ledger.
    Cancelled {
        /// Which migration.
        version: i64,
    },
    /// A migration was told as applied, and a crash of the server undid it before it was on disk.
    Forgotten {
        /// Which migration.
        version: i64,
    },
    /// Nobody knows whether the migration was committed.
    InDoubt {
        /// Which migration.
        version: i64,
    },
    /// What the server said on the way (RAISE NOTICE, warnings). Hostile text.
    Notice {
        /// `NOTICE`, `WARNING`, …
        severity: String,
        /// The message.
        text: String,
        /// What it is about; nothing where it was no file that made the server say it.
        about: Option<About>,
    },
    /// A tool begins a migration, as its own words tell.
    Begun {
        /// As the tool names it. Hostile text.
        name: String,
        /// In which schema, if the tool says so. Hostile text.
        schema: Option<String>,
        /// How well the moment is known.
        clock: Clock,
    },
    /// A tool has done with a migration, as far as is heard; what became of it, its ledger says.
    Ended {
        /// As the tool names it. Hostile text.
        name: String,
        /// In which schema, if the tool says so. Hostile text.
        schema: Option<String>,
        /// How long it took; nothing where nobody knows.
        took: Option<Duration>,
    },
    /// A tool was started.
    Calling {
        /// Its command, as a reader would type it.
        command: String,
    },
    /// A line of a tool's output. Hostile text.
    Output {
        /// The line.
        line: String,
    },
    /// Lines of a tool that are too many for a log.
    Cut {
        /// How many.
        lines: u64,
    },
    /// Messages of a server or a tool that nobody could be told one by one.
    Skipped {
        /// How many.
        messages: u64,
    },
    /// Somebody waits for somebody else's lock. Of queries of others it has the first words.
    Blocked {
        /// Who waits for whom, for what.
        text: String,
    },
    /// The image is there.
    Image(ImageFacts),
    /// What the container of one command used.
    Used {
        /// The command, as a reader would type it.
        command: String,
        /// What it used.
        usage: Usage,
    },
    /// What is in the schema that was not there before.
    Schema {
        /// A table, column, index or constraint each.
        added: Vec<String>,
    },
    /// The tunnel for later steps is open.
    Tunnel(TunnelFacts),
    /// By which way our settings reached the tool's sessions.
    Settings {
        /// As a phrase.
        way: String,
    },
    /// Every step that there is, in order.
    Steps(Vec<StepId>),
    /// What became of a step.
    Step {
        /// Which.
        id: StepId,
        /// What.
        fate: StepFate,
    },
    /// The database was read again after others had it that should change nothing.
    Compared(Changes),
    /// What was applied, read again, is what it should be.
    Verified(Proof),
    /// A fault that does not decide the outcome: something at teardown, a comment that could not be written.
    Warning(Fault),
    /// A fault that decides the outcome.
    Fault(Fault),
}

/// A text of the user's, of which the server says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A migration of the plan, by its version.
    Migration(i64),
    /// A file that is none.
    File(String),
}

/// How well the moment is known at which a tool said something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clock {
    /// It is heard as it is said.
    #[default]
    Exact,
    /// It is looked for now and then.
    Coarse,
}

/// Before what, or after what, a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Before the migration.
    Before,
    /// It is the migration, or a part of it.
    Migrate,
    /// After the migration is proven.
    After,
}

impl Phase {
    /// As people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Migrate => "migrate",
            Self::After => "after",
        }
    }
}

/// Names one step.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StepId {
    /// Where in the run.
    pub phase: Phase,
    /// Its place there, from 0.
    #[serde(skip)]
    pub at: usize,
    /// As people call it.
    pub name: String,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepFate {
    /// Its turn did not come.
    NotRun,
    /// It began.
    Running,
    /// It ended well.
    Done,
    /// It failed.
    Failed,
}

/// What others have changed in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// Ledger and schema are as they were.
    None,
    /// They are not.
    Some,
}

/// Who says that a migration took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The ledger in the database, read over our own connection.
    Ledger,
    /// The tool's own listing: no database is given.
    Listing,
}

/// Names one migration.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct MigrationId {
    /// The number in front of the file's name; of a tool's migration, its place in the plan.
    pub version: i64,
    /// The rest of it, without the ending; of a tool's migration, what the tool calls it.
    pub name: String,
    /// The file, as the user wrote the path; empty for a tool's migration, whose files only the tool knows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// In which schema, where a tool keeps one ledger for each tenant; else empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schema: String,
    /// What a tool's list says of it beside its name, for people: it names nothing. Hostile text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
}

impl MigrationId {
    /// The file, or what [`Self::label`] says.
    #[must_use]
    pub fn path(&self) -> Cow<'_, str> {
        if self.file.is_empty() { self.label() } else { Cow::from(&self.file) }
    }

    /// What [`Self::label`] says, and the title behind it.
    #[must_use]
    pub fn entitled(&self) -> Cow<'_, str> {
        let label = self.label();
        if self.title.is_empty() { label } else { Cow::from(format!("{label} ({})", self.title)) }
    }

    /// What people call it: `0003_add_email` of `migrations/0003_add_email.sql`, or the tool's own name, behind its schema if
    /// there is one for each tenant.
    #[must_use]
    pub fn label(&self) -> Cow<'_, str> {
        if !self.schema.is_empty() {
            return Cow::from(format!("{}: {}", self.schema, self.name));
        }
        if self.file.is_empty() {
            return Cow::from(&self.name);
        }
        let name = self.file.rsplit('/').next().unwrap_or(&self.file);
        Cow::from(name.strip_suffix(".sql").unwrap_or(name))
    }
}

/// What a run does with the migrations of its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It applies them.
    Apply,
    /// It records them as if they were applied.
    Record,
    /// It takes them back.
    RollBack,
}

/// Whether a plan has everything that there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// It has.
    Whole,
    /// Nobody knows: the tool can't list its migrations, or can't yet.
    Unknown,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PlanFacts {
    /// What is done with them.
    #[serde(skip)]
    pub change: Change,
    /// Whether these are all.
    #[serde(skip)]
    pub coverage: Coverage,
    /// `plain` or `sqlx`.
    pub layout: String,
    /// The ledger table, qualified.
    pub ledger: String,
    /// How many the ledger already has.
    pub recorded: usize,
    /// What would be applied, in order.
    pub pending: Vec<MigrationId>,
    /// Names the plan: the same digest, the same work.
    pub digest: String,
}

impl Event {
    /// Whether it is one of those that come in floods, and that nothing hangs on.
    fn is_message(&self) -> bool {
        matches!(self, Self::Notice { .. } | Self::Output { .. })
    }
}

/// Where events go, in the order in which they are told: cheap to clone, never blocks. Messages, and they alone, may be counted
/// and left out. What has to be cut before it is told is redacted with [`Self::redactor`] before it is cut: a half of a secret
/// is not found any more.
#[derive(Clone)]
pub struct Events {
    ear: Arc<dyn Fn(Event) + Send + Sync>,
    flow: Flow,
    redactor: Redactor,
    /// A file that all that the server says is about.
    file: Option<Arc<str>>,
}

impl Events {
    /// Events for this ear. `flow` knows how much of what it was told is not written yet.
    #[must_use]
    pub fn new(ear: impl Fn(Event) + Send + Sync + 'static, flow: Flow) -> Self {
        Self { ear: Arc::new(ear), flow, redactor: Redactor::default(), file: None }
    }

    /// Events that wait for whoever looks at them, however many they are.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        // When nobody looks any more there is nobody left to tell.
        (Self::new(move |event| drop(sender.send(event)), Flow::default()), receiver)
    }

    /// The same, for a run that has secrets.
    #[must_use]
    pub fn hiding(self, redactor: Redactor) -> Self {
        Self { redactor, ..self }
    }

    /// The same for a session in which this file runs, and nothing else.
    #[must_use]
    pub fn about(self, file: &str) -> Self {
        Self { file: Some(Arc::from(file)), ..self }
    }

    /// Hides the secrets of the run.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Tells it.
    pub fn tell(&self, event: Event) {
        if event.is_message() && !self.flow.takes_message() {
            return;
        }
        self.tell_skipped();
        (self.ear)(match (event, &self.file) {
            (Event::Notice { severity, text, about: None }, Some(file)) => {
                Event::Notice { severity, text, about: Some(About::File(file.to_string())) }
            }
            (event, _) => event,
        });
    }

    /// Tells how many messages were left out, if nobody was told yet.
    pub fn tell_skipped(&self) {
        let messages = self.flow.take_skipped();
        if messages > 0 {
            (self.ear)(Event::Skipped { messages });
        }
    }

    /// Tells a sentence in our own words.
    pub fn note(&self, sentence: impl Into<String>) {
        self.tell(Event::Note(sentence.into()));
    }

    /// Waits until there is room for further messages. To be waited for by whoever passes on messages of others, each time.
    pub async fn room(&self) {
        self.flow.room().await;
    }

    /// Lets this work go on only while there is room for the messages that it passes on.
    pub async fn paced<T>(&self, work: impl Future<Output = T>) -> T {
        self.flow.paced(work).await
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
    fn what_matters_is_told_whatever_is_left_out_before_it() {
        let (sender, mut told) = mpsc::unbounded_channel();
        let flow = Flow::default();
        let events = Events::new(move |event| drop(sender.send(event)), flow.clone());
        events.tell(notice(1));
        flow.hurry();
        flow.grow(usize::MAX / 2);
        (2..9).for_each(|number| events.tell(notice(number)));
        events.tell(Event::Failed { version: 1 });
        events.tell(notice(9));
        events.tell_skipped();
        events.tell_skipped();
        let mut all = Vec::new();
        while let Ok(event) = told.try_recv() {
            all.push(event);
        }
        let skipped = |messages| Event::Skipped { messages };
        assert_eq!(all, [notice(1), skipped(7), Event::Failed { version: 1 }, skipped(1)]);
    }
}
