//! The proof of a password by each method that a server may ask for: in plain text, as MD5, by SCRAM-SHA-256 with and
//! without channel binding (PostgreSQL manual, 55.2.1 and 55.3).

use crate::{
    postgres::wire_format::{encode_message, push_c_string, split_c_string},
    secret::Secret,
};
use postgres_protocol::authentication::{
    md5_hash,
    sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
};
use zeroize::Zeroizing;

// Requests of the server in an `Authentication…` message (PostgreSQL manual, 55.7).
const OK: [u8; 4] = 0_u32.to_be_bytes();
const CLEARTEXT_PASSWORD: [u8; 4] = 3_u32.to_be_bytes();
const MD5_PASSWORD: [u8; 4] = 5_u32.to_be_bytes();
const SASL: [u8; 4] = 10_u32.to_be_bytes();
const SASL_CONTINUE: [u8; 4] = 11_u32.to_be_bytes();
const SASL_FINAL: [u8; 4] = 12_u32.to_be_bytes();

/// The type of a `PasswordMessage`, a `SASLInitialResponse` and a `SASLResponse`.
pub(super) const PASSWORD_MESSAGE: u8 = b'p';

/// The proof of one log-in.
pub(super) struct PasswordProof {
    user: String,
    password: Secret,
    server_end_point: Option<Vec<u8>>,
    scram: ScramState,
}

/// The state of an exchange by SCRAM.
enum ScramState {
    NotBegun,
    Begun(Box<ScramSha256>),
    /// The server has proven that it knows the password, too.
    Proven,
}

/// The next step of a log-in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProofStep {
    /// To be sent to the server.
    Answer(Zeroizing<Vec<u8>>),
    /// The server has to send its next message.
    Await,
    /// The log-in has succeeded.
    LoggedIn,
}

/// The reason why there is no next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProofFailure {
    /// The server asks for something else than a password.
    OtherMethod,
    /// The server does not prove that it knows the password, which by SCRAM it must.
    Unproven,
}

impl PasswordProof {
    pub(super) fn new(user: &str, password: Secret, server_end_point: Option<Vec<u8>>) -> Self {
        Self { user: user.to_owned(), password, server_end_point, scram: ScramState::NotBegun }
    }

    /// Returns the step after an `Authentication…` message with this body.
    pub(super) fn next_step(&mut self, body: &[u8]) -> Result<ProofStep, ProofFailure> {
        let Some((request, rest)) = body.split_first_chunk() else { return Err(ProofFailure::OtherMethod) };
        match (*request, &mut self.scram) {
            (OK, ScramState::Begun(_)) => Err(ProofFailure::Unproven),
            (OK, ScramState::NotBegun | ScramState::Proven) => Ok(ProofStep::LoggedIn),
            (CLEARTEXT_PASSWORD, ScramState::NotBegun) => Ok(password_message(self.password.expose().as_bytes())),
            (MD5_PASSWORD, ScramState::NotBegun) => {
                let salt = rest.first_chunk().ok_or(ProofFailure::OtherMethod)?;
                let hash = md5_hash(self.user.as_bytes(), self.password.expose().as_bytes(), *salt);
                Ok(password_message(Zeroizing::new(hash).as_bytes()))
            }
            (SASL, ScramState::NotBegun) => self.begin_scram(rest),
            (SASL_CONTINUE, ScramState::Begun(scram)) => {
                scram.update(rest).map_err(|_invalid| ProofFailure::Unproven)?;
                Ok(response(scram.message()))
            }
            (SASL_FINAL, ScramState::Begun(scram)) => {
                scram.finish(rest).map_err(|_invalid| ProofFailure::Unproven)?;
                self.scram = ScramState::Proven;
                Ok(ProofStep::Await)
            }
            _ => Err(ProofFailure::OtherMethod),
        }
    }

    /// Begins with the best mechanism of the server's list, as the driver does for our own sessions.
    fn begin_scram(&mut self, mechanisms: &[u8]) -> Result<ProofStep, ProofFailure> {
        let (mut has_plain, mut has_plus, mut rest) = (false, false, mechanisms);
        while let Some((name, after)) = split_c_string(rest).filter(|(name, _)| !name.is_empty()) {
            has_plain |= name == SCRAM_SHA_256.as_bytes();
            has_plus |= name == SCRAM_SHA_256_PLUS.as_bytes();
            rest = after;
        }
        let (mechanism, binding) = match self.server_end_point.take() {
            Some(end_point) if has_plus => (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(end_point)),
            Some(_) if has_plain => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            None if has_plain => (SCRAM_SHA_256, ChannelBinding::unsupported()),
            Some(_) | None => return Err(ProofFailure::OtherMethod),
        };
        let scram = ScramSha256::new(self.password.expose().as_bytes(), binding);
        let first = scram.message();
        let mut body = Vec::new();
        push_c_string(&mut body, mechanism.as_bytes());
        body.extend(u32::try_from(first.len()).unwrap_or_default().to_be_bytes());
        body.extend(first);
        self.scram = ScramState::Begun(Box::new(scram));
        Ok(response(&body))
    }
}

fn password_message(password: &[u8]) -> ProofStep {
    let mut body = Zeroizing::new(Vec::new());
    push_c_string(&mut body, password);
    response(&body)
}

fn response(body: &[u8]) -> ProofStep {
    ProofStep::Answer(Zeroizing::new(encode_message(PASSWORD_MESSAGE, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(server_end_point: Option<&[u8]>) -> PasswordProof {
        PasswordProof::new("md5_user", Secret::new("password"), server_end_point.map(<[u8]>::to_vec))
    }

    fn answer(proof: &mut PasswordProof, body: &[u8]) -> Vec<u8> {
        match proof.next_step(body) {
            Ok(ProofStep::Answer(message)) => message.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_in_plain_text_and_as_md5() {
        assert_eq!(answer(&mut proof(None), b"\0\0\0\x03"), b"p\0\0\0\x0dpassword\0");
        // The vector of postgres-protocol.
        let hash = answer(&mut proof(None), b"\0\0\0\x05\x2a\x3d\x8f\xe0");
        assert_eq!(hash, b"p\0\0\0\x28md562af4dd09bbb41884907a838a3233294\0");
    }

    #[test]
    fn binds_the_channel_where_both_sides_can() {
        const BOTH: &[u8] = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        const PLAIN: &[u8] = b"\0\0\0\x0aSCRAM-SHA-256\0\0";
        for (end_point, offer, mechanism, header) in [
            (Some(b"hash".as_slice()), BOTH, "SCRAM-SHA-256-PLUS\0", "p=tls-server-end-point,,n=,r="),
            (Some(b"hash"), PLAIN, "SCRAM-SHA-256\0", "y,,n=,r="),
            (None, BOTH, "SCRAM-SHA-256\0", "n,,n=,r="),
        ] {
            let message = answer(&mut proof(end_point), offer);
            let text = String::from_utf8_lossy(&message);
            assert!(text.contains(mechanism) && text.contains(header), "{text:?}");
        }
    }

    #[test]
    fn a_server_that_skips_its_own_proof_is_refused() {
        let mut begun = proof(None);
        answer(&mut begun, b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        assert_eq!(begun.next_step(b"\0\0\0\0"), Err(ProofFailure::Unproven));
        assert_eq!(begun.next_step(b"\0\0\0\x0bnonsense"), Err(ProofFailure::Unproven));
    }

    #[test]
    fn another_method_is_not_answered() {
        for request in [b"\0\0\0\x07".as_slice(), b"\0\0\0\x0aOAUTHBEARER\0\0", b"\0\0\0\x0cv=x", b"\0\0\0\x05", b"\0"]
        {
            assert_eq!(proof(None).next_step(request), Err(ProofFailure::OtherMethod), "{request:?}");
        }
        assert_eq!(proof(None).next_step(b"\0\0\0\0"), Ok(ProofStep::LoggedIn));
    }
}
