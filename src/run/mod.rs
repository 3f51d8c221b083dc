//! How a run goes: its events, and what ends it.

pub mod event;
pub mod stop;
pub mod watch;
