//! Certificates for the clients of a database, and the list of revoked ones.

use super::certificate::Expired;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// A CA for the clients of a database.
#[derive(Debug)]
pub(crate) struct ClientAuthority {
    /// Its own certificate, in PEM form.
    pub(crate) ca: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A client's certificate and its key, in PEM form.
#[derive(Debug, Clone)]
pub(crate) struct ClientPair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl ClientAuthority {
    /// Creates the CA. Two of the same name would be told apart by their signatures alone.
    pub(crate) fn named(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, name);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = ca.self_signed(&key).expect("the CA can sign itself");
        Self { ca: certificate.pem(), issuer: Issuer::new(ca, key) }
    }

    /// Issues a certificate for this role, with this serial number.
    pub(crate) fn issue(&self, role: &str, serial: u64, expired: Expired) -> ClientPair {
        let key = KeyPair::generate().expect("a key can be made");
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name.push(DnType::CommonName, role);
        leaf.serial_number = Some(SerialNumber::from(serial));
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if expired == Expired::Certificate {
            leaf.not_after = date_time_ymd(2020, 1, 1);
        }
        let certificate = leaf.signed_by(&key, &self.issuer).expect("the CA can sign");
        ClientPair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Returns the list of revoked certificates, with this serial number.
    pub(crate) fn revocation_list(&self, serial: u64) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("the CA can sign").pem().expect("it can be written")
    }
}
