//! Everything that knows SSH, and the only users of `ssh2`.
//!
//! A [`Tunnel`] is a chain of links, one per hop. Each link connects (`session`, blocking, with timeouts, on a thread) and then
//! moves bytes (`pump`, a task that never waits, the one owner of the session): over the `wire`, through each `channel`, to a
//! `stream` or a `process`. The host key is judged in `host_key`. The private key is found in its text by `key_text`, its cover
//! is read by `openssh_key` and all of it in `key`. What the server says to an open is explained in `refusal`.

mod auth;
mod channel;
mod connection;
mod driver;
mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod host_key;
mod key_text;
mod login;
mod open_queue;
mod openssh_key;
mod private_key;
mod process;
mod receive_buffer;
mod route;
#[cfg(test)]
mod scripted;
mod session;
mod socket;
mod stream;
mod tunnel;

pub use host_key::check_pins;
pub use private_key::check_key;
pub use process::{End, Piece, Process};
pub use route::{Hop, Login, Route};
pub use stream::Stream;
pub use tunnel::Tunnel;
