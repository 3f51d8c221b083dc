//! A finding of the lint.

use crate::fault::{Code, Fault, FilePosition};

/// A finding of the lint in the SQL of a migration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LintFinding {
    /// The consequence.
    pub level: FindingLevel,
    /// The migration's name.
    pub migration: String,
    /// The rule, by squawk's name.
    pub rule: String,
    /// The problem, as squawk describes it.
    pub message: String,
    /// squawk's advice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The 1-based line in the migration's SQL.
    pub line: usize,
    /// The position in the file, if the SQL is in one that the user wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<FilePosition>,
}

/// The consequence of a finding.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingLevel {
    /// It is reported.
    Warning,
    /// It ends the run.
    Error,
    /// It is accepted, for this reason.
    Allowed(String),
}

impl LintFinding {
    /// Returns the finding as a fault, with the line that accepts it.
    #[must_use]
    pub fn to_fault(&self) -> Fault {
        let Self { migration, rule, message, help, line, place, .. } = self;
        let where_it_is = match place {
            Some(_) => String::new(),
            None => format!(" on line {line} of the SQL of `{migration}`"),
        };
        let help = help.as_deref().map(|help| format!("{}; ", help.trim().trim_end_matches('.')));
        let fix = format!(
            "{}or accept it, with the reason, in `allow`: `{rule} {migration}: REASON`",
            help.unwrap_or_else(|| "change the statement, ".to_owned())
        );
        let fault = Fault::new(Code::Lint, format!("{rule}{where_it_is}: {message}")).fix(fix);
        place.iter().cloned().fold(fault, Fault::in_file)
    }
}
