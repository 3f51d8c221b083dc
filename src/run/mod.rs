//! How a run goes: its events, what ends it, what programs say and how they end.

pub mod backpressure;
pub mod blocking;
pub mod event;
mod facts;
pub mod lock_retries;
pub mod process;
pub mod shutdown;
pub mod supervisor;

pub use facts::{BastionFacts, DatabaseFacts, ImageFacts, TunnelFacts, Usage};
