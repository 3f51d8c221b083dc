//! How a run goes: its events, what ends it, what programs say and how they end.

pub mod aside;
pub mod event;
mod facts;
pub mod flow;
pub mod ladder;
pub mod program;
pub mod stop;
pub mod watch;
