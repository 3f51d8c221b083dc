//! A TCP connection through a proxy, which resolves the name of the target.

mod http_connect;
mod socks;

use super::way_in::{ProxyProtocol, ProxyServer, shown_address};
use crate::fault::{Code, Fault};
use std::{io, time::Duration};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

/// The reason why a proxy opened no connection.
#[derive(Debug)]
enum ProxyRefusal {
    /// It requires a login, or does not accept this one.
    Login(String),
    /// It does not reach the target, or may not.
    Target(String),
    /// It does not speak the protocol.
    Protocol(String),
    /// The connection to it broke.
    Broken(io::Error),
}

impl From<io::Error> for ProxyRefusal {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Connects to a target through the proxy, within `limit`.
///
/// # Errors
/// `proxy-failed`, `proxy-login`, `proxy-target`.
pub(super) async fn connect_through(
    proxy: &ProxyServer,
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<TcpStream, Fault> {
    let connecting = async {
        let mut stream = dial_proxy(proxy).await?;
        let opened = match proxy.protocol {
            ProxyProtocol::Http => http_connect::open_tunnel(&mut stream, proxy, &shown_address(host, port)).await,
            ProxyProtocol::Socks5 => socks::open_connection(&mut stream, proxy, host, port).await,
        };
        opened.map_err(|refusal| refusal_fault(proxy, &shown_address(host, port), refusal))?;
        Ok(stream)
    };
    timeout(limit, connecting).await.unwrap_or_else(|_late| {
        let cause = format!("the proxy `{proxy}` ({}) has not opened a connection in time", proxy.origin);
        Err(Fault::new(Code::ProxyFailed, cause))
    })
}

async fn dial_proxy(proxy: &ProxyServer) -> Result<TcpStream, Fault> {
    let failed =
        |problem: &str| Fault::new(Code::ProxyFailed, format!("the proxy `{proxy}` ({}) {problem}", proxy.origin));
    let addresses: Vec<_> = match lookup_host((proxy.host.as_str(), proxy.port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => return Err(failed("has a name without an address").with_causes(&error)),
    };
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => failed("refuses the connection"),
        _ => failed("can't be reached").with_causes(&error),
    })?;
    // Small packets must not wait for the acknowledgement of the previous one; a socket without this option works, too.
    drop(stream.set_nodelay(true));
    Ok(stream)
}

fn refusal_fault(proxy: &ProxyServer, target: &str, refusal: ProxyRefusal) -> Fault {
    let named = format!("the proxy `{proxy}` ({})", proxy.origin);
    match refusal {
        ProxyRefusal::Login(reason) => Fault::new(Code::ProxyLogin, format!("{named} {reason}")),
        ProxyRefusal::Target(reason) => {
            Fault::new(Code::ProxyTarget, format!("{named} opens no connection to `{target}`: {reason}"))
        }
        ProxyRefusal::Protocol(reason) => Fault::new(Code::ProxyFailed, format!("{named} {reason}")),
        ProxyRefusal::Broken(error) => {
            let cause = format!("{named} closed the connection before it had opened one to `{target}`");
            Fault::new(Code::ProxyFailed, cause).with_causes(&error)
        }
    }
}

/// Returns the printable part of an answer, shortened.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|letter| !letter.is_control()).take(LONGEST_QUOTE).collect()
}

/// Longest part of an answer that is quoted, in characters.
const LONGEST_QUOTE: usize = 80;
