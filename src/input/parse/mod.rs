//! Parses single values, mappings and steps.

mod address;
mod aftercare;
mod allowance;
mod backup;
mod health;
mod image_reference;
mod lint;
mod mapping;
mod notify;
mod rehearse;
mod risk;
mod site;
mod size;
mod start_when;
pub(crate) mod step;
mod steps;
mod tenants;
pub(crate) mod value;
mod words;

pub(crate) use address::Address;
pub(crate) use aftercare::parse_aftercare;
pub(crate) use allowance::parse_allowances;
pub(crate) use backup::{ParsedBackup, ParsedDestination, ParsedDump, ParsedSnapshot};
pub(crate) use health::{ParsedHealth, ParsedHealthCheck};
pub(crate) use image_reference::parse_image_reference;
pub(crate) use mapping::{NotScalar, YamlOrigin, fault_about, key_text, parse_error_lines, scalar_text};
pub(crate) use notify::parse_notify;
pub(crate) use rehearse::parse_rehearse;
pub(crate) use site::{EXECUTORS, ExecutorChoice, RunSite};
pub(crate) use start_when::parse_start_when;
pub(crate) use steps::ParsedSteps;
pub(crate) use tenants::is_query;
pub(crate) use words::split_words;
