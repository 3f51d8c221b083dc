//! The certificate that a server shows: whose it is, who signed it, and until when it is valid.

use super::{target::DatabaseTarget, tls};
use crate::{fault::Fault, transport::Transport};
use std::time::SystemTime;
use tokio_rustls::TlsConnector;
use x509_cert::{Certificate, der::Decode as _};

/// The certificate of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCertificate {
    /// The name of its owner. Untrusted text.
    pub subject: String,
    /// The name of the CA. Untrusted text.
    pub issuer: String,
    /// The end of its validity.
    pub valid_until: SystemTime,
}

/// Asks the server for TLS and reads its certificate, without trusting it: no query follows.
///
/// # Errors
/// `tls-unavailable`, or the reason why there is no connection or no handshake.
pub async fn read_certificate(
    transport: &Transport,
    target: &DatabaseTarget,
) -> Result<Option<ServerCertificate>, Fault> {
    let mut stream = transport.open_stream(&target.host, target.port).await?;
    tls::begin_tls(&mut stream, target).await?;
    let (config, name) = tls::unverified_client(target)?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| {
        let rustls_error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match rustls_error {
            Some(cause) => tls::tls_fault(cause, target),
            None => tls::direct_tls_fault(&error, target)
                .unwrap_or_else(|| tls::not_postgres_fault(target).with_causes(&error)),
        }
    })?;
    let (_, connection) = stream.get_ref();
    let first = connection.peer_certificates().and_then(<[_]>::first);
    Ok(first.and_then(|der| ServerCertificate::from_der(der.as_ref())))
}

impl ServerCertificate {
    fn from_der(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?.tbs_certificate;
        Some(Self {
            subject: certificate.subject.to_string(),
            issuer: certificate.issuer.to_string(),
            valid_until: certificate.validity.not_after.to_system_time(),
        })
    }
}
