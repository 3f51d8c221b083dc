//! The verdict on a server's certificate: as OpenSSH's client gives it, and stricter where a certificate names no host.

use super::{
    ca_signature::SignatureDefect,
    certificate::{CertificateKind, CertificateValidity, SshCertificate, format_second, printable},
    public_key::describe_key,
    route::Hop,
};
use crate::fault::{Code, Fault};

/// The reason why a certificate does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CertificateRefusal {
    /// The signature is not that of its CA: nothing in the certificate can be believed.
    Forged,
    /// No `@cert-authority` line has its CA.
    UnknownAuthority,
    /// Its CA counts, but something in it does not fit.
    Unfit(String),
}

/// Returns the facts of a certificate that counts: its CA is trusted for the hop, it is a host's, it is valid now, and it
/// names the hop. `now` is in seconds since 1970.
pub(super) fn judge_host_certificate(
    certificate: &SshCertificate,
    hop: &Hop,
    trusted: &[&[u8]],
    now: u64,
) -> Result<String, CertificateRefusal> {
    let signature = certificate.check_signature();
    if signature == Err(SignatureDefect::Forged) {
        return Err(CertificateRefusal::Forged);
    }
    if !trusted.contains(&certificate.authority.as_slice()) {
        return Err(CertificateRefusal::UnknownAuthority);
    }
    if let Err(SignatureDefect::Unusable(problem)) = signature {
        return Err(CertificateRefusal::Unfit(problem));
    }
    match find_defect(certificate, hop, now) {
        None => Ok(certificate.describe()),
        Some(defect) => Err(CertificateRefusal::Unfit(defect)),
    }
}

/// Returns the first defect, as the end of a sentence about the certificate.
fn find_defect(certificate: &SshCertificate, hop: &Hop, now: u64) -> Option<String> {
    if certificate.kind != Some(CertificateKind::Host) {
        return Some("it is a user's, not a host's".to_owned());
    }
    match certificate.validity_at(now) {
        CertificateValidity::NotYet => {
            return Some(format!("it is valid only from {}", format_second(certificate.valid_after)));
        }
        CertificateValidity::Over => return Some(format!("it ended at {}", format_second(certificate.valid_before))),
        CertificateValidity::Valid => {}
    }
    let host = hop.host.to_ascii_lowercase();
    // A wildcard is none in a principal. Without principals it would count for every host: OpenSSH 9 accepts that.
    if !certificate.principals.contains(&host) {
        return Some(format!("it is for {}, not for `{}`", certificate.shown_principals(), printable(&host)));
    }
    let (name, _) = certificate.critical_options.first()?;
    Some(format!("it has the critical option `{name}`, and a host's certificate has none"))
}

impl CertificateRefusal {
    /// Returns the reason, for a log.
    pub(super) fn remark(&self) -> String {
        match self {
            Self::Forged => "its certificate is forged".to_owned(),
            Self::Unfit(problem) => format!("its certificate does not count, {problem}"),
            Self::UnknownAuthority => "no @cert-authority line has the CA of its certificate".to_owned(),
        }
    }

    /// Returns the fault of a hop that has no other pin.
    pub(super) fn fault(&self, hop: &Hop, certificate: &SshCertificate, trusted: &[&[u8]]) -> Fault {
        let id = certificate.shown_key_id();
        let facts = format!("the certificate is {}", certificate.describe());
        match self {
            Self::Forged => {
                let cause = format!(
                    "`{hop}` shows the certificate `{id}`, which does not count: its signature is not that of its CA"
                );
                let fix = "find out why before you change anything: an impostor makes such a certificate; if the file on the server \
                    is damaged, let the CA sign the host key again";
                Fault::new(Code::HostCertificate, cause).fix(fix)
            }
            Self::Unfit(problem) => {
                let cause = format!("`{hop}` shows the certificate `{id}`, which does not count: {problem}");
                Fault::new(Code::HostCertificate, cause).detail(facts)
            }
            Self::UnknownAuthority => {
                let expected: Vec<String> = trusted.iter().map(|key| describe_key(key)).collect();
                let authority = describe_key(&certificate.authority);
                let expected = match expected.as_slice() {
                    [] => "no @cert-authority line is for this host".to_owned(),
                    keys => format!("`ssh-known-hosts` trusts {}", keys.join(" or ")),
                };
                let cause = format!("`{hop}` shows a certificate of the CA {authority}, but {expected}");
                Fault::new(Code::HostKeyAuthority, cause).detail(facts)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    const HOSTS: &str = include_str!("../../tests/cases/certificates/hosts.txt");

    /// 2026-06-01.
    const NOW: u64 = 1_780_272_000;

    fn decode(text: &str) -> Vec<u8> {
        STANDARD.decode(text).unwrap()
    }

    /// Returns the CA and the certificate of this name.
    fn case(name: &str) -> (Vec<u8>, Vec<u8>) {
        let line = HOSTS.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        (decode(words[2]), decode(words[4]))
    }

    fn judge(name: &str, host: &str, now: u64) -> Result<String, CertificateRefusal> {
        let (authority, blob) = case(name);
        let hop = Hop { host: host.to_owned(), port: 22, user: "u".to_owned() };
        judge_host_certificate(&SshCertificate::parse(&blob).unwrap(), &hop, &[&authority], now)
    }

    fn refuses(name: &str, host: &str, now: u64, why: &str) {
        match judge(name, host, now) {
            Err(CertificateRefusal::Unfit(defect)) => assert!(defect.contains(why), "{name}: {defect}"),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_certificate_of_every_type_of_ca_counts() {
        for name in ["ca_ed25519_256", "ca_ecdsa_256", "ca_ecdsa_384", "ca_ecdsa_521", "ca_rsa_2048", "ca_rsa_sha256"] {
            for host in ["bastion.example", "Bastion.Example"] {
                let facts = judge(name, host, NOW).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
                let expected = "`bastion 1` for bastion.example, *.internal, valid for ever, of the CA ";
                assert!(facts.starts_with(expected), "{name}: {facts}");
            }
            for host in ["bastion.example.org", "db.internal"] {
                refuses(name, host, NOW, &format!("it is for bastion.example, *.internal, not for `{host}`"));
            }
        }
    }

    #[test]
    fn a_certificate_without_proof_does_not_count() {
        refuses("ca_rsa_sha1", "bastion.example", NOW, "SHA-1");
        refuses("ca_rsa_1024", "bastion.example", NOW, "fewer than 2048 bits");
        refuses("user", "bastion.example", NOW, "a user's");
        refuses("nobody", "bastion.example", NOW, "it is for no principal");
        refuses("option", "bastion.example", NOW, "the critical option `a@example.com`");
        let (_, blob) = case("ca_ed25519_256");
        let (other, _) = case("ca_ecdsa_256");
        let hop = Hop { host: "bastion.example".to_owned(), port: 22, user: "u".to_owned() };
        let verdict = judge_host_certificate(&SshCertificate::parse(&blob).unwrap(), &hop, &[&other], NOW);
        assert_eq!(verdict, Err(CertificateRefusal::UnknownAuthority));
    }

    #[test]
    fn a_certificate_counts_from_its_first_second_to_the_one_before_its_last() {
        // 2026-01-01 and 2027-01-01.
        let (first, end) = (1_767_225_600, 1_798_761_600);
        assert!(judge("dated", "bastion.example", first).is_ok() && judge("dated", "bastion.example", end - 1).is_ok());
        refuses("dated", "bastion.example", first - 1, "only from 2026-01-01 00:00:00 UTC");
        refuses("dated", "bastion.example", end, "it ended at 2027-01-01 00:00:00 UTC");
    }

    #[test]
    fn no_changed_byte_and_no_cut_leaves_a_certificate_that_counts() {
        let hop = Hop { host: "bastion.example".to_owned(), port: 22, user: "u".to_owned() };
        for (name, step) in [("ca_ed25519_256", 1), ("ca_rsa_2048", 1), ("ca_ecdsa_256", 5), ("ca_ecdsa_521", 97)] {
            let (authority, blob) = case(name);
            let counts = |bytes: &[u8]| {
                SshCertificate::parse(bytes)
                    .is_some_and(|certificate| judge_host_certificate(&certificate, &hop, &[&authority], NOW).is_ok())
            };
            assert!(counts(&blob));
            for at in (0..blob.len()).step_by(step) {
                let mut changed = blob.clone();
                changed[at] ^= 1;
                assert!(!counts(&changed), "{name}: byte {at}");
                assert!(!counts(&blob[..at]), "{name}: cut at {at}");
            }
            assert!(!counts(&[blob, vec![0]].concat()), "{name}");
        }
    }
}
