//! The source of a listener's clients: a socket here, or a port of the server's loopback.

use crate::transport::{ChannelStream, RemotePort};
use std::{future::pending, net::IpAddr, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Mutex,
    time::sleep,
};
use tokio_util::either::Either;

/// Pause after a failed accept, such as without a free file descriptor: the next one would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connection of a client.
pub(super) type ClientStream = Either<TcpStream, ChannelStream>;

/// The source of clients.
#[derive(Debug)]
pub(super) enum ClientSource {
    /// A socket here.
    Socket(TcpListener),
    /// A port of the server's loopback.
    RemotePort(Mutex<RemotePort>, u16),
}

impl ClientSource {
    /// Returns the next client, from this address if one is given.
    pub(super) async fn accept(&self, allowed_address: Option<IpAddr>) -> ClientStream {
        match self {
            Self::Socket(socket) => loop {
                match socket.accept().await {
                    Ok((client, from)) if allowed_address.is_none_or(|only| only == from.ip()) => {
                        // Small queries must not wait for the previous acknowledgement; without the option the socket
                        // still works.
                        drop(client.set_nodelay(true));
                        return Either::Left(client);
                    }
                    // Dropping the client closes it.
                    Ok(_) => {}
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            },
            Self::RemotePort(port, _) => match port.lock().await.accept().await {
                Some(client) => Either::Right(client),
                None => pending().await,
            },
        }
    }
}
