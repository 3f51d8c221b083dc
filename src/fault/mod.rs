//! A failure as data: stage, code, cause, fix, place. The only error type of the crate.

mod chain;
mod code;
mod excerpt;

pub use code::{Class, Code};
pub use excerpt::Excerpt;

use std::fmt;

/// Where in the run something happened; the order is the order of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Reading and validating what the user asked for.
    Inputs,
    /// The SSH connection, hop by hop.
    Bastion,
    /// A stream to PostgreSQL that answers queries.
    Database,
    /// The image of the tool, and the engine that runs it.
    Image,
    /// The run lock.
    Lock,
    /// Steps before the migration, and the question whether it can begin.
    Before,
    /// Ledger against files.
    Plan,
    /// Applying.
    Migrate,
    /// Proving from the ledger what happened.
    Verify,
    /// Steps after the migration.
    After,
    /// Outputs, summary, comment.
    Report,
}

impl Stage {
    /// The stage's name as users read it.
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
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Place {
    /// The path as the user wrote it, relative to the workspace.
    pub file: String,
    /// 1-based.
    pub line: Option<usize>,
    /// 1-based, in characters.
    pub column: Option<usize>,
    /// The line itself, to be shown with a caret under the column.
    pub excerpt: Option<Excerpt>,
}

impl Place {
    /// A file as such.
    #[must_use]
    pub fn whole(file: &str) -> Self {
        Self { file: file.to_owned(), line: None, column: None, excerpt: None }
    }
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{cause}")]
pub struct Fault {
    /// Where in the run.
    pub stage: Stage,
    /// What kind.
    pub code: Code,
    /// What is wrong, in one sentence, without a secret in it.
    pub cause: String,
    /// What to do about it.
    pub fix: String,
    /// Where in a file, if it is about a file.
    pub place: Option<Place>,
    /// PostgreSQL's own code, if it is about a statement or a connection to it.
    pub sqlstate: Option<String>,
    /// Further lines for the reader: the server's detail and hint, the line to paste.
    pub detail: Vec<String>,
}

impl Fault {
    /// A fault of this kind, with the kind's own stage and fix.
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

    /// The same with a fix for this very situation.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// The same as another kind of failure, with that kind's own fix.
    #[must_use]
    pub fn code(mut self, code: Code) -> Self {
        self.code = code;
        code.fix().clone_into(&mut self.fix);
        self
    }

    /// The same, met in this stage.
    #[must_use]
    pub fn at(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// The same with its position in a file.
    #[must_use]
    pub fn in_file(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The same with PostgreSQL's code.
    #[must_use]
    pub fn sqlstate(mut self, sqlstate: impl Into<String>) -> Self {
        self.sqlstate = Some(sqlstate.into());
        self
    }

    /// The same with one more line for the reader.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.detail.push(line.into());
        self
    }

    /// The same with the causes of an underlying error as further lines.
    #[must_use]
    pub fn because(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        self.detail.extend(chain::causes(error));
        self
    }
}
