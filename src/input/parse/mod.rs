//! Parses single values, mappings and steps.

mod address;
mod health;
mod image_reference;
mod mapping;
mod site;
pub(crate) mod step;
mod steps;
pub(crate) mod value;
pub(crate) mod words;

pub(crate) use address::Address;
pub(crate) use health::{Draft, Question};
pub(crate) use image_reference::reference;
pub(crate) use mapping::{NotScalar, Origin, about, scalar, what_is_wrong, written};
pub(crate) use site::{EXECUTORS, Executor, Own};
pub(crate) use steps::Drafts;
pub(crate) use words::words;
