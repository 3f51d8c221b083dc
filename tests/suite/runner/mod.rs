//! The runner's side of the protocol: the environment of a step, the interpretation of its log and command files, and
//! the masks. Written from the sources of actions/runner (release 2.336), not from our own code.

mod annotation;
mod command;
pub(crate) mod environment;
pub(crate) mod event;
pub(crate) mod file;
pub(crate) mod log;
pub(crate) mod manifest;
pub(crate) mod mask;
pub(crate) mod paths;
pub(crate) mod summary;

pub(crate) use annotation::Annotation;
pub(crate) use log::Log;
