//! The runner's protocol and GitHub's API, without any knowledge of migrations.

mod api_client;
mod api_failure;
pub mod approvals;
pub mod command_file;
pub mod comment;
#[cfg(test)]
mod comment_tests;
#[cfg(test)]
#[path = "../../tests/suite/lab/github/mod.rs"]
#[expect(dead_code, reason = "the suite, which has this server in its lab, uses the rest")]
pub(crate) mod fake_api;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod own_comments;
pub mod pull_request;
pub mod runner;
pub mod workflow_command;
