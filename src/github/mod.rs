//! The runner's protocol and GitHub's API; no business words.

pub mod api;
pub mod command;
pub mod env;
#[cfg(test)]
pub(crate) mod fake;
pub mod file;
pub(crate) mod token;
