//! The way to the first machine of a run's connection: to the first hop or, without one, to the database. Knows neither
//! SSH nor databases.
//!
//! [`WayIn`] is the way as data, [`OpenWay`] the open one, which returns a stream for each connection. `proxy` passes a
//! SOCKS or an HTTP proxy. A `command` has its standard input and output as the stream, as OpenSSH's `ProxyCommand` has:
//! in a container of its image or as a process of this machine (`crate::program`). `relay` is the program of our own that
//! reaches the loopback of the runner from such a container.

mod command_stream;
mod open_way;
mod proxy;
mod proxy_command;
mod relay;
mod way_in;

pub use command_stream::CommandStream;
pub use open_way::{OpenWay, WayStream, may_pass};
pub use proxy_command::unknown_token;
pub use relay::{is_relay, run_relay};
pub use way_in::{ProxyLogin, ProxyProtocol, ProxyServer, WayIn};
