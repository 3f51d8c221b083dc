//! Notifications: short messages to people who are not at the run, sent to a webhook. One renderer per form; none of
//! them ever decides the outcome of the run.

mod delivery;
mod discord;
mod json;
mod message;
mod slack;
mod teams;
mod waits;

pub(super) use delivery::notify_of_outcome;
pub use waits::notify_of_waits;
