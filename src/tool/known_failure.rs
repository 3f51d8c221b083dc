//! The known failures of a tool: how each is recognised in its output, and what to do about it.

use super::pattern::Pattern;
use crate::fault::Code;
use serde::Deserialize;

/// Failures that can happen with every tool, and with the shell, the server and the Docker engine around it.
const COMMON_FAILURES: &str = include_str!("failures.yaml");

/// A known failure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KnownFailure {
    /// The pattern to search for in each line of the tool's output.
    pub pattern: Pattern,
    /// The fault's code, if it is not `tool-failed`.
    pub code: Option<String>,
    /// The fault's cause, if it is not the line itself; `$1` is the pattern's first group.
    pub cause: Option<String>,
    /// The fault's fix, likewise; `{migration}` is the last migration that was started, in the form of a target.
    pub fix: String,
}

impl KnownFailure {
    /// Returns the failures that do not depend on the tool.
    #[must_use]
    pub fn load_common() -> Vec<Self> {
        // A test parses the file, so it can't fail here.
        serde_yaml::from_str(COMMON_FAILURES).unwrap_or_default()
    }

    /// Returns the code if it does not exist.
    pub(super) fn unknown_code(&self) -> Option<&str> {
        self.code.as_deref().filter(|name| !Code::ALL.iter().any(|code| code.name() == *name))
    }
}
