//! Certificates for the private database, new for each server.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};

/// The part that is out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    Nothing,
    Certificate,
    Authority,
}

/// A server's certificate and the CA that signed it, in PEM form.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Certificate {
    /// Creates a certificate for this name alone.
    pub(crate) fn named(name: &str, expired: Expired) -> Self {
        let ca_key = KeyPair::generate().expect("a key can be made");
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "bastion-migrate lab CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        if expired == Expired::Authority {
            ca.not_after = date_time_ymd(2020, 1, 1);
        }
        let ca_certificate = ca.self_signed(&ca_key).expect("the CA can sign itself");

        let key = KeyPair::generate().expect("a key can be made");
        let mut leaf = CertificateParams::new([name.to_owned()]).expect("the name is a DNS name");
        leaf.distinguished_name.push(DnType::CommonName, name);
        if expired == Expired::Certificate {
            leaf.not_after = date_time_ymd(2020, 1, 1);
        }
        let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).expect("the CA can sign");
        Self { ca: ca_certificate.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
    }
}
