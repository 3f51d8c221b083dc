//! How a run goes: its events, its deadline, what can stop it.

pub mod event;
