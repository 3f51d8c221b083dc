//! The runner's protocol and GitHub's API; no business words.

pub mod env;
