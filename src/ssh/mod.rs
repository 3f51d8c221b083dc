//! Everything that knows SSH, and the only users of `ssh2`.
//!
//! A [`Tunnel`] is a chain of links, one per hop. Each link connects (`session`, blocking, with timeouts, on a thread) and then
//! moves bytes (`pump`, a task that never waits, the one owner of the session): over the `wire`, through each `channel`, to a
//! `stream` or a `process`. The host key is judged in `host_key`. The private key is found in its text by `key_text`, its cover
//! is read by `openssh_key` and all of it in `key`. What the server says to an open is explained in `refusal`.

mod auth;
mod channel;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hop;
mod host_key;
mod key;
mod key_text;
mod link;
mod login;
mod opens;
mod openssh_key;
mod outlet;
mod process;
mod pump;
mod refusal;
#[cfg(test)]
mod scripted;
mod session;
mod stream;
mod tunnel;
mod wire;

pub use hop::{Hop, Login, Route};
pub use host_key::check_pins;
pub use key::check_key;
pub use process::{End, Piece, Process};
pub use stream::Stream;
pub use tunnel::Tunnel;
