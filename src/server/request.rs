//! One call of the server: a script on the standard input of a shell. What it needs stands in the script, so the line that
//! starts the shell is always the same, and the server's process list has nothing of ours.

use super::script::quoted;
use crate::fault::{Code, Fault};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Starts the shell. Any login shell understands it.
pub(super) const LINE: &str = "sh -s";

const PRELUDE: &str = include_str!("script/prelude.sh");

/// A script in the making.
pub(super) struct Call {
    /// Known to the script and to us.
    pub(super) token: String,
    values: Zeroizing<String>,
}

impl Call {
    /// # Errors
    /// When there is no randomness.
    pub(super) fn new() -> Result<Self, Fault> {
        let token = token()?;
        let mut call = Self { token: token.clone(), values: Zeroizing::new(String::new()) };
        call.set("token", &token);
        Ok(call)
    }

    /// A variable of the script.
    pub(super) fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.assign(name, &quoted(value))
    }

    /// The same with a value that is a word of the shell already.
    pub(super) fn assign(&mut self, name: &str, word: &str) -> &mut Self {
        // A String takes all that is written.
        writeln!(self.values, "{name}={word}").unwrap_or_default();
        self
    }

    /// The whole of it. It is a function that is called in the last line: nothing of a script is done that did not arrive
    /// to its end.
    pub(super) fn text(&self, parts: &[&str]) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.values.len() + PRELUDE.len() + (8 << 10)));
        for part in ["main() {\n", &self.values, PRELUDE].iter().chain(parts).chain(&["}\nmain\n"]) {
            text.push_str(part);
        }
        text
    }
}

/// 128 bits that nobody can guess.
///
/// # Errors
/// When there is no randomness.
pub(super) fn token() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fault::new(Code::Bug, format!("the system has no randomness: {error}")))?;
    Ok(u128::from_le_bytes(bytes).to_string())
}
