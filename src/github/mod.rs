//! The runner's protocol and GitHub's API, without any knowledge of migrations.

pub mod command_file;
pub mod comment;
#[cfg(test)]
pub(crate) mod fake_api;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod runner;
pub mod workflow_command;
