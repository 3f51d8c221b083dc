//! The log-in of a stand-in at its server, in place of a client that knows another password.

use super::{
    error_response,
    own_login::{LoginFailure, read_message, refusal},
};
use crate::{
    fault::{Code, Fault},
    postgres::{
        DatabaseTarget,
        backend_messages::{AUTHENTICATION, ERROR_RESPONSE},
        fault, tls,
        wire_format::{encode_message, push_c_string},
    },
    secret::Secret,
};
use postgres_protocol::authentication::{
    md5_hash,
    sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// The type of all messages of a client in a log-in (PostgreSQL manual, 55.7).
pub(super) const PASSWORD_MESSAGE: u8 = b'p';

/// Requests of the server in an `Authentication…` message (PostgreSQL manual, 55.7).
const OK: u32 = 0;
const CLEARTEXT: u32 = 3;
const MD5: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// Logs in with the password of the target, up to the server's consent.
///
/// # Errors
/// The reason why the server refuses the log-in.
pub(super) async fn log_in(
    server: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &DatabaseTarget,
) -> Result<(), LoginFailure> {
    let broken = |error: io::Error| LoginFailure::of_fault(fault::handshake_fault(&error, target));
    let password = target.password.as_ref().map(Secret::expose).unwrap_or_default();
    let mut scram = None;
    loop {
        let Some((kind, body)) = read_message(server).await.map_err(broken)? else {
            return Err(LoginFailure::of_fault(tls::not_postgres_fault(target)));
        };
        let request = body.split_first_chunk().map(|(request, rest)| (u32::from_be_bytes(*request), rest));
        let answer = match (kind, request) {
            (ERROR_RESPONSE, _) => return Err(refusal(&body, target)),
            (AUTHENTICATION, Some((OK, _))) => return Ok(()),
            (AUTHENTICATION, Some((CLEARTEXT, _))) => c_string(password),
            (AUTHENTICATION, Some((MD5, rest))) => {
                let salt = rest.first_chunk().copied().unwrap_or_default();
                c_string(&md5_hash(target.user.as_bytes(), password.as_bytes(), salt))
            }
            (AUTHENTICATION, Some((SASL, _))) => {
                let client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
                let message = first_sasl_message(client.message());
                scram = Some(client);
                message
            }
            (AUTHENTICATION, Some((SASL_CONTINUE, rest))) => {
                let client = scram.as_mut().ok_or_else(|| unknown_request(target))?;
                client.update(rest).map_err(broken)?;
                Zeroizing::new(client.message().to_vec())
            }
            (AUTHENTICATION, Some((SASL_FINAL, rest))) => {
                let client = scram.as_mut().ok_or_else(|| unknown_request(target))?;
                client.finish(rest).map_err(broken)?;
                continue;
            }
            (AUTHENTICATION, _) => return Err(unknown_request(target)),
            // Notices, and the version of the protocol that the server speaks.
            _ => continue,
        };
        let message = Zeroizing::new(encode_message(PASSWORD_MESSAGE, &answer));
        server.write_all(&message).await.map_err(broken)?;
        server.flush().await.map_err(broken)?;
    }
}

fn c_string(text: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::new());
    push_c_string(&mut bytes, text.as_bytes());
    bytes
}

fn first_sasl_message(first: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = c_string(SCRAM_SHA_256);
    bytes.extend(u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(first);
    bytes
}

fn unknown_request(target: &DatabaseTarget) -> LoginFailure {
    let at = format!("{}:{}", target.host, target.port);
    let fault =
        Fault::new(Code::DatabaseLogin, format!("the server at {at} asks for a log-in that is not by a password"))
            .fix("use a role with a password there");
    LoginFailure { packet: error_response::connection_failure(&fault), fault }
}
