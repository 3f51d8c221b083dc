//! TLS to the database, verified against the database's own name.

use super::{
    backend_messages::{ENCRYPTION_DECLINED, ERROR_RESPONSE, TLS_ACCEPTED},
    client_certificate::ClientCertificate,
    frontend_messages::SSL_REQUEST,
    identity_refusal,
    target::{DatabaseTarget, SslMode, TlsStart},
    wire_format::encode_packet,
};
use crate::{
    fault::{Code, Fault},
    transport::TransportStream,
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use std::{io, sync::Arc, time::SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;
use x509_cert::{Certificate, der::Decode as _};

/// Returns the driver's connector for this target, or none if TLS is off.
///
/// # Errors
/// `ca-invalid` if `database-ca` contains no certificate.
pub(crate) fn tls_connector(target: &DatabaseTarget) -> Result<Option<MakeRustlsConnect>, Fault> {
    Ok(verified_config(target)?.map(MakeRustlsConnect::new))
}

/// Returns the means to connect to this target without the driver, or none if TLS is off.
///
/// # Errors
/// `ca-invalid`; `tls-wrong-name` for a host for which there can be no certificate.
pub(crate) fn verified_client(
    target: &DatabaseTarget,
) -> Result<Option<(Arc<ClientConfig>, ServerName<'static>)>, Fault> {
    let Some(config) = verified_config(target)? else { return Ok(None) };
    Ok(Some((Arc::new(config), server_name(target)?)))
}

fn verified_config(target: &DatabaseTarget) -> Result<Option<ClientConfig>, Fault> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match effective_mode(target) {
        SslMode::Disable => return Ok(None),
        SslMode::Require => Arc::new(LenientVerifier { chain: None, provider: Arc::clone(&provider) }),
        SslMode::VerifyCa => Arc::new(LenientVerifier {
            chain: Some(web_pki_verifier(target, &provider)?),
            provider: Arc::clone(&provider),
        }),
        SslMode::VerifyFull => web_pki_verifier(target, &provider)?,
    };
    client_config(provider, verifier, target, target.identity.certificate.as_ref()).map(Some)
}

/// Returns the means to read the server's certificate without verifying it.
pub(crate) fn unverified_client(target: &DatabaseTarget) -> Result<(Arc<ClientConfig>, ServerName<'static>), Fault> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(LenientVerifier { chain: None, provider: Arc::clone(&provider) });
    let config = client_config(provider, verifier, target, None)?;
    Ok((Arc::new(config), server_name(target)?))
}

fn server_name(target: &DatabaseTarget) -> Result<ServerName<'static>, Fault> {
    ServerName::try_from(target.host.clone()).map_err(|error| wrong_name_fault(target, &error))
}

fn client_config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    target: &DatabaseTarget,
    certificate: Option<&ClientCertificate>,
) -> Result<ClientConfig, Fault> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::new(Code::Bug, "no TLS version can be used").with_causes(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let (chain, key) = certificate.for_tls()?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                Fault::new(Code::ClientCertInvalid, "`database-cert` can't be used for TLS").with_causes(&error)
            })?
        }
    };
    if target.tls_start == TlsStart::Direct {
        config.alpn_protocols = vec![POSTGRESQL_PROTOCOL.to_vec()];
    }
    Ok(config)
}

/// The protocol's name in ALPN, without which PostgreSQL refuses a handshake that was not requested (PostgreSQL manual,
/// 54.2.12).
const POSTGRESQL_PROTOCOL: &[u8] = b"postgresql";

/// Returns the effective mode: `require` with a CA means `verify-ca`, as in libpq (PostgreSQL manual, 34.19.1).
pub(crate) fn effective_mode(target: &DatabaseTarget) -> SslMode {
    if target.sslmode == SslMode::Require && target.ca.is_some() { SslMode::VerifyCa } else { target.sslmode }
}

/// Brings the stream to the point where the handshake begins.
pub(crate) async fn begin_tls(stream: &mut TransportStream, target: &DatabaseTarget) -> Result<(), Fault> {
    match target.tls_start {
        TlsStart::Requested => request_tls(stream, target).await,
        TlsStart::Direct => Ok(()),
    }
}

/// Returns the fault of a server that closes the connection at the handshake, if it was not requested: an older one reads it
/// as a start-up packet of an invalid length.
pub(crate) fn direct_tls_fault(error: &io::Error, target: &DatabaseTarget) -> Option<Fault> {
    let is_closed = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
    (target.tls_start == TlsStart::Direct && is_closed).then(|| {
        let at = format!("`{}:{}`", target.host, target.port);
        let cause = format!(
            "{at} closed the connection at the start of TLS, and `database-url` has `direct` as its `sslnegotiation`, \
             which needs PostgreSQL 17 or newer with TLS switched on"
        );
        let fix = "remove `sslnegotiation` from `database-url`: then the server is asked for TLS first";
        Fault::new(Code::TlsUnavailable, cause).fix(fix)
    })
}

/// Requests TLS from the server and reads its response of one byte. tokio-postgres treats every byte other than `S`
/// as a server without TLS, even the `H` of a web server.
pub(crate) async fn request_tls(stream: &mut TransportStream, target: &DatabaseTarget) -> Result<(), Fault> {
    let at = format!("`{}:{}`", target.host, target.port);
    let connection_closed = |error: io::Error| {
        Fault::new(Code::DatabaseUnready, format!("{at} closed the connection before it was ready")).with_causes(&error)
    };
    let mut response = [0];
    stream.write_all(&encode_packet(&SSL_REQUEST.to_be_bytes())).await.map_err(connection_closed)?;
    stream.read_exact(&mut response).await.map_err(connection_closed)?;
    match response {
        [TLS_ACCEPTED] => Ok(()),
        // The first byte of a server that could not fork a backend.
        [ERROR_RESPONSE] => Err(Fault::new(Code::DatabaseUnready, format!("{at} can't take a connection now"))),
        [ENCRYPTION_DECLINED] => {
            Err(Fault::new(Code::TlsUnavailable, format!("{at} offers no TLS, and `database-sslmode` asks for it")))
        }
        _ => Err(not_postgres_fault(target)),
    }
}

/// Returns the fault for a port that belongs to another service.
pub(crate) fn not_postgres_fault(target: &DatabaseTarget) -> Fault {
    let at = format!("`{}:{}`", target.host, target.port);
    Fault::new(Code::DatabaseNotPostgres, format!("the service at {at} is not a PostgreSQL server"))
}

/// Checks that a text can be used as the CA; `named` is its name in messages.
///
/// # Errors
/// `ca-invalid` or `tls-expired`, with the reason.
pub fn check_ca(pem: &str, named: &str) -> Result<(), Fault> {
    root_store(pem, named).map(drop)
}

fn root_store(pem: &str, named: &str) -> Result<RootCertStore, Fault> {
    let mut store = RootCertStore::empty();
    let mut expired = None;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate
            .map_err(|error| Fault::new(Code::CaInvalid, format!("{named} is not in PEM form")).with_causes(&error))?;
        if let Some(since) = expiry_time(&certificate).filter(|since| *since < SystemTime::now()) {
            expired = Some(since);
            continue;
        }
        store.add(certificate).map_err(|error| {
            Fault::new(Code::CaInvalid, format!("{named} holds no usable certificate")).with_causes(&error)
        })?;
    }
    match (store.is_empty(), expired) {
        (false, _) => Ok(store),
        (true, None) => Err(Fault::new(Code::CaInvalid, format!("{named} contains no `-----BEGIN CERTIFICATE-----`"))),
        (true, Some(since)) => {
            let days = since.elapsed().unwrap_or_default().as_secs() / 86_400;
            Err(Fault::new(Code::TlsExpired, format!("{named} expired {days} days ago"))
                .fix("put the CA's current certificate into `database-ca`"))
        }
    }
}

/// Returns the expiry time of a certificate. rustls does not check the dates of a trust anchor (RFC 5280, 6.1.1
/// leaves that to the party that chooses the anchors). A certificate that can't be parsed is refused when it is
/// added.
fn expiry_time(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    Some(Certificate::from_der(certificate).ok()?.tbs_certificate.validity.not_after.to_system_time())
}

fn web_pki_verifier(
    target: &DatabaseTarget,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Fault> {
    let store = match &target.ca {
        Some(pem) => root_store(pem, "`database-ca`")?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
    };
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .build()
        .map_err(|error| Fault::new(Code::CaInvalid, "`database-ca` can't be used").with_causes(&error))
}

/// Certificate verifier for the weaker modes, as in libpq: `verify-ca` checks everything but the name, `require`
/// without a CA checks nothing. Both verify the handshake's signature, so that the server proves that it owns the
/// certificate that channel binding relies on.
#[derive(Debug)]
struct LenientVerifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for LenientVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Returns the fault for a failed TLS handshake.
pub(crate) fn tls_fault(error: &rustls::Error, target: &DatabaseTarget) -> Fault {
    let host = &target.host;
    // An sshd's greeting starts with `S`, the byte with which PostgreSQL accepts TLS, but no TLS follows.
    if matches!(error, rustls::Error::InvalidMessage(_)) {
        return not_postgres_fault(target).with_causes(error);
    }
    if let Some(fault) = identity_refusal::alert_fault(error, target) {
        return fault.with_causes(error);
    }
    let (code, cause) = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                (Code::TlsWrongName, format!("the server's certificate is not for `{host}`"))
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                (Code::TlsExpired, format!("the certificate of `{host}`, or its CA, has expired"))
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                (Code::TlsExpired, format!("the certificate of `{host}` is not valid yet"))
            }
            _ => (Code::TlsUntrusted, format!("the certificate of `{host}` can't be trusted")),
        },
        _ => (Code::TlsUntrusted, format!("the TLS handshake with `{host}` failed")),
    };
    Fault::new(code, cause).with_causes(error)
}

/// Returns the connector that starts TLS on one stream to the target.
pub(crate) fn tls_for_stream(
    connector: &MakeRustlsConnect,
    target: &DatabaseTarget,
) -> Result<
    impl TlsConnect<TransportStream, Stream: Send + Unpin + 'static, Error = io::Error, Future: Send + 'static> + use<>,
    Fault,
> {
    let mut connector = connector.clone();
    MakeTlsConnect::<TransportStream>::make_tls_connect(&mut connector, &target.host)
        .map_err(|error| wrong_name_fault(target, &error))
}

fn wrong_name_fault(target: &DatabaseTarget, error: &(dyn std::error::Error + 'static)) -> Fault {
    Fault::new(Code::TlsWrongName, format!("a certificate can't be issued for `{}`", target.host)).with_causes(error)
}
