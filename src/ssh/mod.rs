//! The SSH client: the only module that knows SSH, and the only user of `ssh2`.
//!
//! A [`Tunnel`] is a chain of connections, one per hop. Each one first logs in (`session`: blocking, with timeouts, on
//! a thread) and then moves bytes (`driver`: one task that owns the session and never blocks) over its `socket`,
//! through each `channel`, to a `stream` or a `process`. `host_key` verifies the host key by the lines in `known_hosts`, and
//! `host_certificate` the certificate of a host. `key_text` finds the private key in its text, `openssh_key` reads its
//! unencrypted header, `public_half` its public half, and `private_key` checks that all of it can be read.
//! `user_certificate` checks the certificate that belongs to it.
//! `forward` explains why a server refused to open a connection.

mod algorithms;
mod auth;
mod ca_signature;
mod certificate;
mod certificate_text;
mod channel;
mod channel_open_queue;
mod clock;
mod connection;
mod driver;
mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod glob;
mod host_certificate;
mod host_key;
mod key_text;
mod known_hosts;
mod libssh2;
mod login;
mod openssh_key;
mod pin_mistake;
mod private_key;
mod public_half;
mod public_key;
mod receive_buffer;
mod remote_port;
mod remote_process;
mod route;
#[cfg(test)]
mod scripted;
mod session;
mod socket;
mod stream;
mod trial;
mod tunnel;
mod user_certificate;

pub use clock::seconds_since_1970;
pub use host_key::check_pins;
pub use key_text::hidden_forms;
pub use private_key::check_private_key;
pub use remote_port::RemotePort;
pub use remote_process::{ProcessExit, RemoteProcess};
pub use route::{Hop, Login, Route};
pub use stream::ChannelStream;
pub use trial::try_route;
pub use tunnel::Tunnel;
pub use user_certificate::{CertificateUse, UserCertificate};
