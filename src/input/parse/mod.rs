//! Parses single values, mappings and steps.

mod address;
mod mapping;
mod site;
mod step;
mod steps;
pub(crate) mod value;
mod words;

pub(crate) use address::Address;
pub(crate) use mapping::{Fields, NotScalar, Origin, about, scalar, what_is_wrong, written};
pub(crate) use site::{EXECUTORS, Executor, Own, SITES, Wish};
pub(crate) use steps::{Around, Drafts};
pub(crate) use words::words;
