//! The log-in that the proxy does in place of its client: by our certificate, and by a token that no client gets.

use super::{
    backend_event::{BackendEvent, MAX_KEPT},
    error_response,
    password_proof::{PasswordProof, ProofFailure, ProofStep},
};
use crate::{
    fault::{Code, Fault},
    postgres::{
        DatabaseTarget,
        backend_messages::{AUTHENTICATION, ERROR_RESPONSE, FIRST_TYPES},
        fault, identity_refusal, tls,
        wire_format::encode_message,
    },
};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The failure of a log-in, with the last message to the client.
#[derive(Debug)]
pub(crate) struct LoginFailure {
    pub(crate) fault: Fault,
    pub(crate) packet: Vec<u8>,
}

impl LoginFailure {
    /// Creates the failure whose message to the client is ours.
    pub(crate) fn of_fault(fault: Fault) -> Self {
        Self { packet: error_response::connection_failure(&fault), fault }
    }
}

/// Reads the server's messages up to its decision about the log-in, and proves the token if it asks for a password. Returns
/// the messages that the client has to get: with a certificate alone, the server may ask the client for a password.
///
/// # Errors
/// The reason why the server refuses the log-in.
pub(crate) async fn log_in(
    server: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &DatabaseTarget,
    mut proof: Option<PasswordProof>,
) -> Result<Vec<u8>, LoginFailure> {
    let mut passed = Vec::new();
    loop {
        let broken = |error: io::Error| LoginFailure::of_fault(fault::handshake_fault(&error, target));
        let Some((kind, body)) = read_message(server).await.map_err(broken)? else {
            return Err(LoginFailure::of_fault(tls::not_postgres_fault(target)));
        };
        match (kind, &mut proof) {
            (ERROR_RESPONSE, _) => return Err(refusal(&body, target)),
            (AUTHENTICATION, Some(proof)) => match proof.next_step(&body) {
                Ok(ProofStep::Answer(message)) => {
                    server.write_all(&message).await.map_err(broken)?;
                    server.flush().await.map_err(broken)?;
                }
                Ok(ProofStep::Await) => {}
                Ok(ProofStep::LoggedIn) => {
                    passed.extend(encode_message(kind, &body));
                    return Ok(passed);
                }
                Err(failure) => return Err(LoginFailure::of_fault(unproven_fault(failure, target))),
            },
            (AUTHENTICATION, None) => {
                passed.extend(encode_message(kind, &body));
                return Ok(passed);
            }
            // Notices, and the version of the protocol that the server speaks.
            _ => passed.extend(encode_message(kind, &body)),
        }
    }
}

/// Reads one message; none if it is not one that may come before the log-in, or too long.
pub(super) async fn read_message(server: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(u8, Vec<u8>)>> {
    read_message_of(server, FIRST_TYPES).await
}

/// Reads one message of these types; none if it is another one, or too long.
pub(super) async fn read_message_of(
    server: &mut (impl AsyncRead + Unpin),
    types: &[u8],
) -> io::Result<Option<(u8, Vec<u8>)>> {
    let kind = server.read_u8().await?;
    let length = server.read_u32().await?;
    let rest = usize::try_from(length).ok().and_then(|length| length.checked_sub(4));
    let Some(rest) = rest.filter(|rest| *rest <= MAX_KEPT && types.contains(&kind)) else { return Ok(None) };
    let mut body = vec![0; rest];
    server.read_exact(&mut body).await?;
    Ok(Some((kind, body)))
}

/// Returns the failure of a log-in that the server refuses. The client gets the server's own message.
pub(super) fn refusal(body: &[u8], target: &DatabaseTarget) -> LoginFailure {
    let packet = encode_message(ERROR_RESPONSE, body);
    let Some(BackendEvent::Error { sqlstate, message }) = BackendEvent::from_message(ERROR_RESPONSE, body) else {
        return LoginFailure { fault: tls::not_postgres_fault(target), packet };
    };
    let fault = identity_refusal::login_fault(&sqlstate, &message, target)
        .unwrap_or_else(|| Fault::new(Code::DatabaseLogin, "the server refused the connection of a client"));
    LoginFailure { fault: fault.sqlstate(sqlstate).detail(format!("server: {message}")), packet }
}

/// Returns the fault for a server to which the token or the password can't be proven.
fn unproven_fault(failure: ProofFailure, target: &DatabaseTarget) -> Fault {
    let role = &target.user;
    match failure {
        ProofFailure::OtherMethod => {
            let no_token = || {
                let cause = format!(
                    "the server at `{}:{}` asks for a log-in that is not by a password",
                    target.host, target.port
                );
                Fault::new(Code::DatabaseLogin, cause).fix("use a role with a password there")
            };
            let fault = target.identity.token.as_ref().map(|login| login.refusal_fault(role));
            fault
                .unwrap_or_else(no_token)
                .detail("the server asks for something else than a password, as pg_hba.conf has it for this role")
        }
        ProofFailure::Unproven => {
            let at = format!("`{}:{}`", target.host, target.port);
            let cause =
                format!("the server at {at} does not prove that it knows the password of `{role}`, as SCRAM demands");
            Fault::new(Code::DatabaseLogin, cause)
                .fix("find out which server answers there: the one that has this role would prove it; `database-sslmode: verify-full` checks its name")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        https::NetworkSettings,
        postgres::ClientIdentity,
        secret::Secret,
        token_login::{TokenFile, TokenLogin, TokenMethod},
    };
    use tokio::io::duplex;

    fn target() -> DatabaseTarget {
        let file = TokenFile { shown: "token".to_owned(), path: "token".into() };
        let token = Some(TokenLogin::new(TokenMethod::File(file), NetworkSettings::default()));
        DatabaseTarget {
            identity: ClientIdentity { certificate: None, token },
            ..DatabaseTarget::new("db", 5432, "app", "shop")
        }
    }

    /// Returns the outcome, and the bytes that the server received.
    async fn logged_in(sent: &[u8], token: Option<&Secret>) -> (Result<Vec<u8>, LoginFailure>, Vec<u8>) {
        let (mut proxy, mut server) = duplex(1 << 16);
        server.write_all(sent).await.unwrap();
        let proof = token.map(|token| PasswordProof::new("app", token.clone(), None));
        let outcome = log_in(&mut proxy, &target(), proof).await;
        drop(proxy);
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        (outcome, received)
    }

    const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
    const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    const SCRAM: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";

    #[tokio::test]
    async fn answers_the_request_for_a_password_and_hides_it_from_the_client() {
        let token = Secret::new("tok");
        let (outcome, received) = logged_in(&[CLEARTEXT, OK, b"S more"].concat(), Some(&token)).await;
        assert_eq!((outcome.unwrap(), received), (OK.to_vec(), b"p\0\0\0\x08tok\0".to_vec()));
    }

    #[tokio::test]
    async fn leaves_the_request_to_the_client_without_a_token() {
        for request in [CLEARTEXT, SCRAM] {
            let (outcome, received) = logged_in(request, None).await;
            assert_eq!((outcome.unwrap(), received), (request.to_vec(), Vec::new()));
        }
    }

    #[tokio::test]
    async fn a_server_that_asks_for_no_password_gets_no_token() {
        const GSS: &[u8] = b"R\0\0\0\x08\0\0\0\x07";
        let (outcome, received) = logged_in(GSS, Some(&Secret::new("tok"))).await;
        let fault = outcome.unwrap_err().fault;
        assert_eq!((fault.code, received), (Code::TokenRefused, Vec::new()));
        assert!(fault.detail.iter().any(|line| line.contains("something else than a password")), "{fault:?}");
    }

    #[tokio::test]
    async fn a_server_that_lets_everybody_in_is_not_taken_for_one_that_knows_the_password() {
        let (outcome, received) = logged_in(&[SCRAM, OK].concat(), Some(&Secret::new("a-token"))).await;
        assert_eq!(outcome.unwrap_err().fault.code, Code::DatabaseLogin);
        assert!(received.starts_with(b"p") && !received.windows(7).any(|part| part == b"a-token"), "{received:?}");
    }

    #[tokio::test]
    async fn the_client_gets_the_servers_refusal() {
        let mut error = b"SFATAL\0C28P01\0Mpassword authentication failed for user \"app\"\0\0".to_vec();
        error = encode_message(ERROR_RESPONSE, &error);
        let (outcome, _) = logged_in(&[CLEARTEXT, &error].concat(), Some(&Secret::new("tok"))).await;
        let failure = outcome.unwrap_err();
        assert_eq!((failure.packet, failure.fault.code), (error, Code::TokenRefused));
        assert_eq!(failure.fault.sqlstate.as_deref(), Some("28P01"));
    }

    #[tokio::test]
    async fn another_service_is_recognized() {
        let (outcome, _) = logged_in(b"HTTP/1.1 400 Bad Request\r\n", None).await;
        assert_eq!(outcome.unwrap_err().fault.code, Code::DatabaseNotPostgres);
    }
}
