//! The certificate by which we log in to the database, with its private key.

use crate::{
    fault::{Code, Fault},
    secret::Secret,
};
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use std::time::SystemTime;
use x509_cert::{
    Certificate,
    der::{
        Decode as _,
        asn1::{PrintableStringRef, Utf8StringRef},
        oid::ObjectIdentifier,
    },
};

/// The attribute `commonName` (RFC 5280, appendix A), which PostgreSQL compares with the role.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The beginnings of an encrypted private key: PKCS #8 (RFC 5958), and OpenSSL's older form.
const ENCRYPTED: [&str; 2] = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];

/// A client certificate. Its key belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate in PEM form, followed by those of intermediate CAs.
    pub chain: String,
    /// The private key in PEM form, not encrypted.
    pub key: Secret,
    /// The common name of its subject, if it has one.
    pub common_name: Option<String>,
}

/// The two texts of a client certificate, each with its name in messages.
#[derive(Debug, Clone, Copy)]
pub struct CertificateTexts<'a> {
    /// The certificate.
    pub chain: (&'a str, &'a str),
    /// The key.
    pub key: (&'a Secret, &'a str),
}

impl ClientCertificate {
    /// Reads a certificate and its key, and checks that they belong together and that the certificate is valid now.
    ///
    /// # Errors
    /// `client-cert-invalid`, `client-cert-expired`.
    pub fn parse(texts: CertificateTexts<'_>) -> Result<Self, Fault> {
        let ((chain, chain_label), (key, key_label)) = (texts.chain, texts.key);
        let certificates = read_chain(chain, chain_label)?;
        let leaf = certificates.first().and_then(|first| Certificate::from_der(first).ok());
        let leaf = leaf.ok_or_else(|| invalid(format!("{chain_label} contains no certificate that can be read")))?;
        check_dates(&leaf, chain_label)?;
        check_pair(certificates, read_key(key, key_label)?, (chain_label, key_label))?;
        Ok(Self { chain: chain.to_owned(), key: key.clone(), common_name: common_name(&leaf) })
    }

    /// Returns the certificates and the key for TLS.
    ///
    /// # Errors
    /// `client-cert-invalid`.
    pub(super) fn for_tls(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Fault> {
        Ok((read_chain(&self.chain, "`database-cert`")?, read_key(&self.key, "`database-key`")?))
    }
}

fn invalid(cause: String) -> Fault {
    Fault::new(Code::ClientCertInvalid, cause)
}

fn read_chain(pem: &str, label: &str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| invalid(format!("{label} is not in PEM form")).with_causes(&error))?;
    if found.is_empty() {
        return Err(invalid(format!("{label} contains no `-----BEGIN CERTIFICATE-----`")));
    }
    Ok(found)
}

fn read_key(pem: &Secret, label: &str) -> Result<PrivateKeyDer<'static>, Fault> {
    if ENCRYPTED.iter().any(|mark| pem.expose().contains(mark)) {
        return Err(invalid(format!("{label} is encrypted with a passphrase")).fix(
            "store the key without its passphrase in the secret: `openssl pkey -in encrypted.key -out plain.key`",
        ));
    }
    // The error names no byte of the text.
    PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_error| {
        invalid(format!("{label} contains no private key in PEM form"))
            .fix("put the whole key into `database-key`, first and last line included; for a key in DER form: `openssl pkey -inform DER -in client.pk8 -out client.key`")
    })
}

fn check_dates(leaf: &Certificate, label: &str) -> Result<(), Fault> {
    let validity = &leaf.tbs_certificate.validity;
    let now = SystemTime::now();
    if let Ok(since) = now.duration_since(validity.not_after.to_system_time()) {
        let days = since.as_secs() / SECONDS_PER_DAY;
        return Err(Fault::new(Code::ClientCertExpired, format!("{label} expired {days} days ago")));
    }
    if validity.not_before.to_system_time() > now {
        let cause = format!("{label} is valid only from {} on", validity.not_before);
        return Err(Fault::new(Code::ClientCertExpired, cause)
            .fix("wait until then, issue the certificate again, or correct the clock of the runner"));
    }
    Ok(())
}

const SECONDS_PER_DAY: u64 = 86_400;

/// Checks that the key belongs to the certificate.
fn check_pair(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    (chain_label, key_label): (&str, &str),
) -> Result<(), Fault> {
    CertifiedKey::from_der(certificates, key, &ring::default_provider()).map(drop).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            invalid(format!("{key_label} is not the key of {chain_label}")).fix(
                "put the certificate and the key of one pair into both; if `database-cert` is a chain, its own certificate comes first",
            )
        }
        other => invalid(format!("{key_label} is of a kind that TLS can't use here"))
            .fix("issue a certificate for an RSA key of 2048 bits or more, an ECDSA key on P-256 or P-384, or an Ed25519 key")
            .with_causes(&other),
    })
}

/// Returns the common name of the subject: the last one, as in PostgreSQL (`X509_NAME_get_text_by_NID` gives the first
/// found, and refuses an embedded NUL).
fn common_name(leaf: &Certificate) -> Option<String> {
    let attributes = leaf.tbs_certificate.subject.0.iter().flat_map(|name| name.0.iter());
    let value = attributes.into_iter().find(|attribute| attribute.oid == COMMON_NAME).map(|found| &found.value)?;
    let utf8 = Utf8StringRef::try_from(value).map(|text| text.as_str().to_owned());
    utf8.or_else(|_| PrintableStringRef::try_from(value).map(|text| text.as_str().to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    fn pair(change: impl FnOnce(&mut CertificateParams)) -> (String, Secret) {
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name.push(DnType::CommonName, "app");
        change(&mut leaf);
        (leaf.self_signed(&key).unwrap().pem(), Secret::new(key.serialize_pem()))
    }

    fn parse(chain: &str, key: &Secret) -> Result<ClientCertificate, Fault> {
        ClientCertificate::parse(CertificateTexts { chain: (chain, "`database-cert`"), key: (key, "`database-key`") })
    }

    #[test]
    fn reads_a_pair_and_the_name_in_it() {
        let (chain, key) = pair(|_| ());
        assert_eq!(parse(&chain, &key).unwrap().common_name.as_deref(), Some("app"));
    }

    #[test]
    fn refuses_a_key_that_is_encrypted_or_of_another_certificate() {
        let ((chain, _), (_, other)) = (pair(|_| ()), pair(|_| ()));
        let fault = parse(&chain, &other).unwrap_err();
        assert_eq!(fault.cause, "`database-key` is not the key of `database-cert`");
        let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIF\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let fault = parse(&chain, &Secret::new(text)).unwrap_err();
        assert_eq!(
            (fault.code, fault.cause.as_str()),
            (Code::ClientCertInvalid, "`database-key` is encrypted with a passphrase")
        );
        let fault = parse(&chain, &Secret::new("nothing")).unwrap_err();
        assert_eq!(fault.cause, "`database-key` contains no private key in PEM form");
        let fault = parse("nothing", &other).unwrap_err();
        assert_eq!(fault.cause, "`database-cert` contains no `-----BEGIN CERTIFICATE-----`");
    }

    #[test]
    fn refuses_a_certificate_outside_of_its_dates() {
        let (chain, key) = pair(|leaf| leaf.not_after = date_time_ymd(2020, 1, 1));
        assert!(parse(&chain, &key).unwrap_err().cause.starts_with("`database-cert` expired "));
        let (chain, key) = pair(|leaf| leaf.not_before = date_time_ymd(2090, 1, 1));
        let fault = parse(&chain, &key).unwrap_err();
        assert_eq!(fault.code, Code::ClientCertExpired);
        assert!(fault.cause.starts_with("`database-cert` is valid only from 2090"), "{}", fault.cause);
    }
}
