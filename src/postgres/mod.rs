//! Talking to one PostgreSQL over any stream.

mod sslmode;
mod target;
pub mod url;
mod url_parameters;

pub use sslmode::SslWish;
pub use target::{SslMode, Target};
pub use url_parameters::RootCert;
