//! Hints for an input without a value.

use crate::fault::Code;

/// Hints for any input without a value.
#[derive(Debug, Default)]
pub(super) struct MissingHints {
    /// Fix that is more specific than the usual one.
    pub(super) fix_text: Option<String>,
    pub(super) elsewhere: Vec<String>,
}

impl MissingHints {
    /// Returns the fix for an input without a value.
    pub(super) fn fix(&self) -> &str {
        self.fix_text.as_deref().unwrap_or(Code::InputMissing.fix())
    }

    /// Returns the values that are set under other names, one sentence each.
    pub(super) fn elsewhere(&self) -> impl Iterator<Item = String> {
        self.elsewhere.iter().cloned()
    }
}
