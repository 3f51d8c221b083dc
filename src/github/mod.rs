//! The runner's protocol and GitHub's API; no business words.

pub mod api;
pub mod command;
pub mod env;
pub mod file;
mod token;
