//! Talking to one PostgreSQL over any stream.

mod target;

pub use target::{SslMode, Target};
