//! A connection through a SOCKS 5 proxy (RFC 1928), with a user and a password if there are any (RFC 1929).

use super::ProxyRefusal;
use crate::way::way_in::{ProxyLogin, ProxyServer};
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

const VERSION: u8 = 5;

/// Version of the exchange of user and password (RFC 1929, 2).
const LOGIN_VERSION: u8 = 1;

// Methods of authentication (RFC 1928, 3).
const NO_LOGIN: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xFF;

const CONNECT: u8 = 1;

// Types of addresses (RFC 1928, 4).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Asks for a connection. Reads no byte beyond the reply: the target may speak first.
pub(super) async fn open_connection(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &ProxyServer,
    host: &str,
    port: u16,
) -> Result<(), ProxyRefusal> {
    let offered: &[u8] = match proxy.login {
        Some(_) => &[VERSION, 2, NO_LOGIN, USER_AND_PASSWORD],
        None => &[VERSION, 1, NO_LOGIN],
    };
    stream.write_all(offered).await?;
    stream.flush().await?;
    let [version, method] = read_bytes(stream).await?;
    check_version(version)?;
    match (method, &proxy.login) {
        (NO_LOGIN, _) => {}
        (USER_AND_PASSWORD, Some(login)) => log_in(stream, login).await?,
        (NO_METHOD, None) => return Err(ProxyRefusal::Login("requires a login, and none is given".to_owned())),
        (NO_METHOD, Some(_)) => {
            return Err(ProxyRefusal::Login("accepts neither a user with a password nor no login at all".to_owned()));
        }
        (other, _) => return Err(ProxyRefusal::Protocol(format!("chose the unknown method {other}"))),
    }
    stream.write_all(&connect_request(host, port)).await?;
    stream.flush().await?;
    let [version, reply, _reserved, address_type] = read_bytes(stream).await?;
    check_version(version)?;
    if reply != 0 {
        return Err(ProxyRefusal::Target(reply_text(reply)));
    }
    skip_address(stream, address_type).await
}

async fn log_in(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), login: &ProxyLogin) -> Result<(), ProxyRefusal> {
    let mut request = Zeroizing::new(vec![LOGIN_VERSION]);
    for part in [login.user.as_str(), login.password.expose()] {
        // The inputs limit both to 255 bytes.
        request.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        request.extend_from_slice(part.as_bytes());
    }
    stream.write_all(&request).await?;
    stream.flush().await?;
    let [_version, status] = read_bytes(stream).await?;
    match status {
        0 => Ok(()),
        _ => Err(ProxyRefusal::Login("does not accept the user and the password".to_owned())),
    }
}

fn connect_request(host: &str, port: u16) -> Vec<u8> {
    let mut request = vec![VERSION, CONNECT, 0];
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            // No host name is longer than 255 bytes (RFC 1035, 2.3.4); the inputs see to it.
            request.extend_from_slice(&[NAME, u8::try_from(host.len()).unwrap_or(u8::MAX)]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    request
}

/// Reads the address that the proxy connects from, and its port.
async fn skip_address(stream: &mut (impl AsyncRead + Unpin), address_type: u8) -> Result<(), ProxyRefusal> {
    let length = match address_type {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(stream.read_u8().await?),
        other => return Err(ProxyRefusal::Protocol(format!("answers with the unknown type of address {other}"))),
    };
    let mut rest = vec![0; length + 2];
    stream.read_exact(&mut rest).await?;
    Ok(())
}

async fn read_bytes<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; N], ProxyRefusal> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn check_version(version: u8) -> Result<(), ProxyRefusal> {
    match version {
        VERSION => Ok(()),
        _ => Err(ProxyRefusal::Protocol("does not speak SOCKS 5".to_owned())),
    }
}

/// Returns the meaning of a reply (RFC 1928, 6).
fn reply_text(reply: u8) -> String {
    let text = match reply {
        1 => "general failure",
        2 => "its rules do not allow the connection",
        3 => "the network is unreachable",
        4 => "the host is unreachable, or its name is unknown there",
        5 => "the connection is refused",
        6 => "the time to live expired",
        7 => "it does not support the command",
        8 => "it does not support this type of address",
        other => return format!("reply {other}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{secret::Secret, way::way_in::ProxyProtocol};

    fn proxy(login: Option<ProxyLogin>) -> ProxyServer {
        ProxyServer {
            protocol: ProxyProtocol::Socks5,
            host: "p".to_owned(),
            port: 1,
            login,
            origin: "`ssh-proxy`".to_owned(),
        }
    }

    async fn exchange(
        login: Option<ProxyLogin>,
        host: &str,
        replies: &[u8],
    ) -> (Result<(), ProxyRefusal>, Vec<u8>, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 12);
        theirs.write_all(replies).await.unwrap();
        let result = open_connection(&mut ours, &proxy(login), host, 5432).await;
        theirs.shutdown().await.unwrap();
        let mut unread = Vec::new();
        ours.read_to_end(&mut unread).await.unwrap();
        drop(ours);
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        (result, sent, unread)
    }

    #[tokio::test]
    async fn sends_the_name_and_reads_no_byte_too_many() {
        let (result, sent, unread) = exchange(None, "db", b"\x05\x00\x05\x00\x00\x03\x01x\x00\x01SSH-").await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(sent, b"\x05\x01\x00\x05\x01\x00\x03\x02db\x15\x38");
        assert_eq!(unread, b"SSH-");
    }

    #[tokio::test]
    async fn logs_in_and_sends_addresses_as_such() {
        let login = ProxyLogin { user: "me".to_owned(), password: Secret::new("pw") };
        let (result, sent, _) =
            exchange(Some(login), "192.0.2.1", b"\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00").await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(sent, b"\x05\x02\x00\x02\x01\x02me\x02pw\x05\x01\x00\x01\xc0\x00\x02\x01\x15\x38");
    }

    #[tokio::test]
    async fn tells_the_refusals_apart() {
        for (replies, kind) in [
            (&b"\x05\xff"[..], "Login"),
            (b"\x05\x00\x05\x02\x00\x01", "Target"),
            (b"\x05\x00\x05\x05\x00\x01", "Target"),
            (b"HT", "Protocol"),
            (b"\x05\x09", "Protocol"),
        ] {
            let refusal = format!("{:?}", exchange(None, "db", replies).await.0.unwrap_err());
            assert!(refusal.starts_with(kind), "{refusal}");
        }
        let login = ProxyLogin { user: "me".to_owned(), password: Secret::new("pw") };
        let refused = exchange(Some(login), "db", b"\x05\x02\x01\x01").await.0.unwrap_err();
        assert!(matches!(refused, ProxyRefusal::Login(_)), "{refused:?}");
    }
}
