//! The suite: one binary, a file per feature.

mod bastion;
mod lab;
