//! A program of the user's, as data.

use crate::{docker::RegistryCredentials, secret::Secret};

/// A program that an input names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserProgram {
    /// The input that names it, without backticks.
    pub input: &'static str,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The image in which it runs; without one it is a process on this machine.
    pub image: Option<ProgramImage>,
    /// The variables that a process on this machine takes from ours.
    pub inherited: Vec<(String, Secret)>,
    /// The variables whose values are in the input.
    pub env: Vec<(String, Secret)>,
    /// The variables that are passed on, which are secrets.
    pub passed: Vec<(String, Secret)>,
}

/// The image of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramImage {
    /// Its reference.
    pub reference: String,
    /// The login at its registry, if it is an image that the run pulls with one.
    pub credentials: Option<RegistryCredentials>,
}

impl UserProgram {
    /// Returns the program as the user knows it, for messages: its name without the arguments, and the input.
    #[must_use]
    pub fn shown(&self) -> String {
        let name = self.argv.first().map(String::as_str).unwrap_or_default();
        format!("the command `{name}` of `{}`", self.input)
    }

    /// Returns its environment: in an image in addition to the image's own, on this machine all of it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, Secret)> {
        [self.inherited.as_slice(), &self.env, &self.passed].concat()
    }
}
