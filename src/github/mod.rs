//! The runner's protocol and GitHub's API; no business words.

pub mod api;
pub mod command;
pub mod env;
#[cfg(test)]
pub(crate) mod fake;
pub mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod token;
