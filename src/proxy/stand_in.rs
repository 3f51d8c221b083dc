//! A server that stands in for another one. Its clients name the database, the role and the password of the original; their
//! sessions are with the database and the role of the target. So no setting of theirs has to change.

use super::{
    client_source::ClientStream,
    error_response,
    first_packets::{decline_encryption, read_first_packet},
    own_login::{self, LoginFailure, read_message_of},
    password_proof::{PASSWORD_MESSAGE, PasswordProof},
    session_watch::{SessionWatch, WatchSlot},
    startup_packet::{self, FirstPacket},
    stats::ProxyStats,
    upstream::{SecuredStream, Upstream},
    watched_relay::relay_watched,
};
use crate::{
    fault::{Code, Fault},
    postgres::{
        backend_messages::{AUTHENTICATION, TLS_ACCEPTED},
        wire_format::{encode_message, split_c_string},
    },
    secret::Secret,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

/// Time limit for each step of a client before its session.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// Number of packets before the session: a GSSAPI request, a TLS request, and the start-up packet.
const MAX_FIRST_PACKETS: usize = 3;

/// The stand-in of a server.
pub struct StandIn {
    /// The passwords of which a client has to know one; a client of an empty list needs none.
    passwords: Vec<Secret>,
    tls: TlsAcceptor,
    watch: WatchSlot,
}

impl StandIn {
    /// Creates the stand-in of a host, with a certificate of its own for clients that ask for TLS.
    ///
    /// # Errors
    /// `bug`, if no certificate can be made.
    pub fn new(host: &str, passwords: Vec<Secret>) -> Result<Self, Fault> {
        let failed = |error: &dyn std::error::Error| {
            Fault::new(Code::Bug, format!("no certificate could be made for the copy: {error}"))
        };
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let certificate = CertificateParams::new(vec![host.to_owned()]).and_then(|params| params.self_signed(&key));
        let certificate = certificate.map_err(|error| failed(&error))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(|error| failed(&error))?;
        Ok(Self { passwords, tls: TlsAcceptor::from(Arc::new(config)), watch: WatchSlot::default() })
    }

    /// Watches the requests that begin from now on; none ends the watch.
    pub fn set_watch(&self, watch: Option<SessionWatch>) {
        self.watch.set(watch);
    }

    /// Serves a client up to its end. `settings` adds ours to a start-up packet. The error is the last message to the client.
    pub(super) async fn serve_client(
        &self,
        client: &mut ClientStream,
        upstream: &Upstream<'_>,
        stats: &ProxyStats,
        settings: impl Fn(&[u8]) -> Result<Vec<u8>, Vec<u8>>,
    ) -> Result<(), Vec<u8>> {
        for _ in 0..MAX_FIRST_PACKETS {
            let Ok(Ok(packet)) = timeout(STEP_TIMEOUT, read_first_packet(client)).await else { return Ok(()) };
            match startup_packet::classify_packet(&packet) {
                FirstPacket::GssRequest => decline_encryption(client).await,
                FirstPacket::TlsRequest => {
                    drop(client.write_all(&[TLS_ACCEPTED]).await);
                    drop(client.flush().await);
                    let Ok(Ok(mut secured)) = timeout(STEP_TIMEOUT, self.tls.accept(client)).await else {
                        stats.record_fault(refused_certificate());
                        return Ok(());
                    };
                    let Ok(Ok(packet)) = timeout(STEP_TIMEOUT, read_first_packet(&mut secured)).await else {
                        return Ok(());
                    };
                    let served = self.serve_packet(&mut secured, &packet, (upstream, stats), settings).await;
                    if let Err(last) = served {
                        drop(secured.write_all(&last).await);
                    }
                    drop(secured.shutdown().await);
                    return Ok(());
                }
                _ => return self.serve_packet(client, &packet, (upstream, stats), settings).await,
            }
        }
        Err(error_response::protocol_violation())
    }

    async fn serve_packet(
        &self,
        client: &mut (impl AsyncRead + AsyncWrite + Unpin),
        packet: &[u8],
        (upstream, stats): (&Upstream<'_>, &ProxyStats),
        settings: impl Fn(&[u8]) -> Result<Vec<u8>, Vec<u8>>,
    ) -> Result<(), Vec<u8>> {
        match startup_packet::classify_packet(packet) {
            FirstPacket::CancelRequest => {
                upstream.forward_cancel(packet, stats).await;
                Ok(())
            }
            FirstPacket::Startup => {
                if !self.is_known(client).await {
                    return Err(error_response::fatal_error("28P01", "password authentication failed", "", ""));
                }
                let target = upstream.target();
                let translated = startup_packet::with_identity(packet, &target.user, &target.name)
                    .ok_or_else(error_response::protocol_violation)?;
                let translated = settings(&translated)?;
                let failed = |LoginFailure { fault, packet }: LoginFailure| {
                    stats.record_fault(fault);
                    packet
                };
                let opened = Box::pin(upstream.open_secured(&translated)).await;
                let secured = opened.map_err(LoginFailure::of_fault).map_err(failed)?;
                let SecuredStream { stream: mut server, server_end_point, .. } = secured;
                let password = target.password.clone().unwrap_or_else(|| Secret::new(""));
                let proof = PasswordProof::new(&target.user, password, server_end_point);
                let first = own_login::log_in(&mut server, target, Some(proof)).await.map_err(failed)?;
                stats.update_traffic(|traffic| traffic.settled += 1);
                drop(client.write_all(&first).await);
                relay_watched(client, server, &self.watch, stats).await;
                Ok(())
            }
            _ => Err(error_response::protocol_violation()),
        }
    }

    /// Asks a client for its password, and returns whether it is one of those that are known.
    async fn is_known(&self, client: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
        /// The request for a password in clear text (PostgreSQL manual, 55.7).
        const CLEARTEXT: [u8; 4] = 3_u32.to_be_bytes();
        if self.passwords.is_empty() {
            return true;
        }
        let asked = async {
            client.write_all(&encode_message(AUTHENTICATION, &CLEARTEXT)).await.ok()?;
            client.flush().await.ok()?;
            read_message_of(client, &[PASSWORD_MESSAGE]).await.ok()?
        };
        let Ok(Some((_, body))) = timeout(STEP_TIMEOUT, asked).await else { return false };
        let given = split_c_string(&body).map(|(password, _)| password).unwrap_or_default();
        self.passwords.iter().any(|password| password.expose().as_bytes() == given)
    }
}

impl fmt::Debug for StandIn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StandIn").field("passwords", &self.passwords.len()).finish_non_exhaustive()
    }
}

fn refused_certificate() -> Fault {
    let cause =
        "a client ended its TLS with the copy: it checks the server's certificate, and the copy has one of its own";
    let fix = "let the app's settings take `sslmode` from the environment (PGSSLMODE, DATABASE_URL), which is `disable` in a rehearsal";
    Fault::new(Code::TlsUntrusted, cause).fix(fix)
}
