//! The SSH client: the only module that knows SSH, and the only user of `ssh2`.
//!
//! A [`Tunnel`] is a chain of connections, one per hop. Each one first logs in (`session`: blocking, with timeouts, on
//! a thread) and then moves bytes (`driver`: one task that owns the session and never blocks) over its `socket`,
//! through each `channel`, to a `stream` or a `process`. `host_key` verifies the host key. `key_text` finds the private
//! key in its text, `openssh_key` reads its unencrypted header, and `private_key` checks that all of it can be read.
//! `forward` explains why a server refused to open a connection.

mod auth;
mod channel;
mod channel_open_queue;
mod connection;
mod driver;
mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod host_key;
mod key_text;
mod libssh2;
mod login;
mod openssh_key;
mod private_key;
mod receive_buffer;
mod remote_process;
mod route;
#[cfg(test)]
mod scripted;
mod session;
mod socket;
mod stream;
mod trial;
mod tunnel;

pub use host_key::check_pins;
pub use private_key::check_private_key;
pub use remote_process::{ProcessExit, RemoteProcess};
pub use route::{Hop, Login, Route};
pub use stream::ChannelStream;
pub use trial::try_route;
pub use tunnel::Tunnel;
