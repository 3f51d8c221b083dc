//! A failure as data: stage, code, cause, fix, position in a file. The only error type of the crate.

mod chain;
mod code;
mod excerpt;

pub use code::{Class, Code};
pub use excerpt::Excerpt;

use std::fmt;

/// A stage of the run, in the order of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Reading and validating the inputs.
    Inputs,
    /// The SSH connection, hop by hop.
    Bastion,
    /// The connection to PostgreSQL, until it accepts queries.
    Database,
    /// The image of the tool, and the engine that runs it.
    Image,
    /// The run lock.
    Lock,
    /// Steps before the migration, and the health check.
    Before,
    /// Comparing the ledger with the files.
    Plan,
    /// The run of the migrations on a copy.
    Rehearse,
    /// The backup before the migration.
    Backup,
    /// Applying the migrations.
    Migrate,
    /// Verifying the result against the ledger.
    Verify,
    /// Steps after the migration.
    After,
    /// Outputs, summary, comment.
    Report,
}

impl Stage {
    /// Returns the stage's name as users see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inputs => "inputs",
            Self::Bastion => "bastion",
            Self::Database => "database",
            Self::Image => "image",
            Self::Lock => "lock",
            Self::Before => "before",
            Self::Plan => "plan",
            Self::Rehearse => "rehearse",
            Self::Backup => "backup",
            Self::Migrate => "migrate",
            Self::Verify => "verify",
            Self::After => "after",
            Self::Report => "report",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A position in a migration file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FilePosition {
    /// The path as the user wrote it, relative to the workspace.
    pub file: String,
    /// 1-based.
    pub line: Option<usize>,
    /// 1-based, in characters.
    pub column: Option<usize>,
    /// The line itself, shown with a caret under the column. It is serialized as it is shown, and not read back.
    #[serde(skip_deserializing)]
    pub excerpt: Option<Excerpt>,
}

impl FilePosition {
    /// Creates a position that names a whole file.
    #[must_use]
    pub fn of_file(file: &str) -> Self {
        Self { file: file.to_owned(), line: None, column: None, excerpt: None }
    }
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{cause}")]
pub struct Fault {
    /// The stage in which it happened.
    pub stage: Stage,
    /// The kind of failure.
    pub code: Code,
    /// The cause in one sentence, without secrets.
    pub cause: String,
    /// The fix: a hint what to do.
    pub fix: String,
    /// The position in a file, if it is about a file.
    pub place: Option<FilePosition>,
    /// PostgreSQL's error code, if it is about a statement or a connection.
    pub sqlstate: Option<String>,
    /// Further lines for the reader: the server's detail and hint, a line to paste.
    pub detail: Vec<String>,
}

impl Fault {
    /// Creates a fault of this kind, with the kind's usual stage and fix.
    #[must_use]
    pub fn new(code: Code, cause: impl Into<String>) -> Self {
        Self {
            stage: code.stage(),
            code,
            cause: cause.into(),
            fix: code.fix().to_owned(),
            place: None,
            sqlstate: None,
            detail: Vec::new(),
        }
    }

    /// Sets a specific fix.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// Changes the kind, and with it the fix.
    #[must_use]
    pub fn code(mut self, code: Code) -> Self {
        self.code = code;
        code.fix().clone_into(&mut self.fix);
        self
    }

    /// Sets the stage.
    #[must_use]
    pub fn in_stage(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// Sets the position in a file.
    #[must_use]
    pub fn in_file(mut self, place: FilePosition) -> Self {
        self.place = Some(place);
        self
    }

    /// Sets PostgreSQL's error code.
    #[must_use]
    pub fn sqlstate(mut self, sqlstate: impl Into<String>) -> Self {
        self.sqlstate = Some(sqlstate.into());
        self
    }

    /// Adds a line of detail.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.detail.push(line.into());
        self
    }

    /// Adds the causes of an underlying error as lines of detail.
    #[must_use]
    pub fn with_causes(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        self.detail.extend(chain::cause_lines(error));
        self
    }
}
