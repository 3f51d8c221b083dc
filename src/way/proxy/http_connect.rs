//! A tunnel through an HTTP proxy (RFC 9110, 9.3.6).

use super::{ProxyRefusal, printable};
use crate::way::way_in::ProxyServer;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// Longest head of a response, in bytes: more than any proxy sends.
const LONGEST_HEAD: usize = 16 << 10;

/// Asks for a tunnel to `target`, which is `host:port`. Reads no byte beyond the head of the response: the target may
/// speak first.
pub(super) async fn open_tunnel(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &ProxyServer,
    target: &str,
) -> Result<(), ProxyRefusal> {
    let mut request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some(login) = &proxy.login {
        let pair = Zeroizing::new(format!("{}:{}", login.user, login.password.expose()));
        let credentials = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
        // The Basic scheme (RFC 7617), which is the one that every proxy has.
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(&credentials);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let head = read_head(stream).await?;
    judge_head(&head)
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, ProxyRefusal> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        head.push(stream.read_u8().await?);
        let is_http = head.iter().zip(b"HTTP/").all(|(sent, expected)| sent == expected);
        if !is_http || head.len() > LONGEST_HEAD {
            return Err(ProxyRefusal::Protocol("does not speak HTTP".to_owned()));
        }
    }
    Ok(head)
}

fn judge_head(head: &[u8]) -> Result<(), ProxyRefusal> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = printable(line);
    let (_, status) = line.split_once(' ').unwrap_or_default();
    match status.get(..3).and_then(|digits| digits.parse::<u16>().ok()) {
        Some(200..=299) => Ok(()),
        // tinyproxy answers a wrong login with 401.
        Some(401 | 407) => Err(ProxyRefusal::Login(format!("does not let us in: {}", status.trim()))),
        Some(_) => Err(ProxyRefusal::Target(status.trim().to_owned())),
        None => Err(ProxyRefusal::Protocol(format!("does not speak HTTP; it answers `{line}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_the_verdict() {
        assert!(judge_head(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n").is_ok());
        for (head, kind) in [
            (&b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n"[..], "Login"),
            (b"HTTP/1.0 401 Unauthorized\r\n\r\n", "Login"),
            (b"HTTP/1.1 403 Forbidden\r\n\r\n", "Target"),
            (b"HTTP/1.1 503\r\n\r\n", "Target"),
            (b"HTTP/1.1 \xc3\xa9\xc3\xa9\r\n\r\n", "Protocol"),
            (b"HTTP/\r\n\r\n", "Protocol"),
        ] {
            let refusal = format!("{:?}", judge_head(head).unwrap_err());
            assert!(refusal.starts_with(kind), "{refusal}");
        }
    }
}
