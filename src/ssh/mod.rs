//! Everything that knows SSH, and the only users of `ssh2`.

mod hop;

pub use hop::{Hop, Login, Route};
