//! A token in a file that an earlier step, or a process beside this one, writes.

use crate::{
    fault::{Code, Fault},
    secret::Secret,
};
use std::{fs, path::PathBuf};

/// The file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFile {
    /// The path as the user wrote it, for messages.
    pub shown: String,
    /// The path to open.
    pub path: PathBuf,
}

impl TokenFile {
    /// Reads the file again.
    pub(super) fn read_token(&self) -> Result<Secret, Fault> {
        let text = fs::read_to_string(&self.path).map(Secret::new).map_err(|error| {
            Fault::new(Code::TokenUnavailable, format!("the file `{}` with the token can't be read", self.shown))
                .fix("write the token into the file in an earlier step, and correct `file` in `database-auth`")
                .with_causes(&error)
        })?;
        let token = Secret::new(text.expose().trim());
        if token.expose().is_empty() || token.expose().contains(['\n', '\0']) {
            let cause = format!("the file `{}` does not contain a token alone", self.shown);
            return Err(Fault::new(Code::TokenUnavailable, cause).fix("write the token into it, and nothing else"));
        }
        Ok(token)
    }

    pub(super) fn refusal_fault(&self, role: &str) -> Fault {
        let cause = format!("the server does not let the role `{role}` log in by the token in `{}`", self.shown);
        Fault::new(Code::TokenRefused, cause)
            .fix("check that the token is for this server and this role, and that it has not expired")
    }

    pub(super) fn expired_fault(&self, minutes: u64) -> Fault {
        Fault::new(Code::TokenExpired, format!("the token in `{}` expired {minutes} minutes ago", self.shown))
            .fix("write the file right before this step, or let `database-auth` get the token by itself")
    }
}
