//! One script for the server, sent on the standard input of a shell. The script contains all of its parameters, so the
//! command line is always the same, and the server's process list shows nothing of ours.

use super::script::quote_word;
use crate::fault::{Code, Fault};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Command that starts the shell. Any login shell understands it.
pub(super) const SHELL_COMMAND: &str = "sh -s";

const PRELUDE: &str = include_str!("script/prelude.sh");

/// A script that is being assembled.
pub(super) struct ScriptRequest {
    /// The secret that only the script and this process know.
    pub(super) token: String,
    values: Zeroizing<String>,
}

impl ScriptRequest {
    /// # Errors
    /// If the system's random generator fails.
    pub(super) fn new() -> Result<Self, Fault> {
        let token = random_token()?;
        let mut request = Self { token: token.clone(), values: Zeroizing::new(String::new()) };
        request.set_variable("token", &token);
        Ok(request)
    }

    /// Sets a variable of the script.
    pub(super) fn set_variable(&mut self, name: &str, value: &str) -> &mut Self {
        self.assign_word(name, &quote_word(value))
    }

    /// Sets a variable to a value that is quoted already.
    pub(super) fn assign_word(&mut self, name: &str, word: &str) -> &mut Self {
        // Writing to a String cannot fail.
        writeln!(self.values, "{name}={word}").unwrap_or_default();
        self
    }

    /// Returns the complete script. Its body is a function that the last line calls: a script that did not arrive
    /// completely does nothing. What follows on the standard input is for its commands, never for the shell.
    pub(super) fn script_text(&self, parts: &[&str]) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.values.len() + PRELUDE.len() + (8 << 10)));
        for part in ["main() {\n", &self.values, PRELUDE].iter().chain(parts).chain(&["}\nmain; exit\n"]) {
            text.push_str(part);
        }
        text
    }
}

/// Returns 128 random bits, in decimal.
///
/// # Errors
/// If the system's random generator fails.
pub(super) fn random_token() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fault::new(Code::Bug, format!("the system's random generator failed: {error}")))?;
    Ok(u128::from_le_bytes(bytes).to_string())
}
