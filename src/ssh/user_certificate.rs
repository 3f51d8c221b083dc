//! The certificate of the user who logs in: checked before any connection as far as this is possible, and named as the
//! cause if a server refuses it.

use super::{
    ca_signature::SignatureDefect,
    certificate::{CertificateKind, CertificateValidity, SshCertificate, describe_end, format_second},
    certificate_text::{invalid_certificate, read_certificate_text},
    public_half::public_half,
    public_key::describe_key,
};
use crate::{
    fault::{Code, Fault},
    secret::Secret,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The critical options that sshd knows (PROTOCOL.certkeys).
const KNOWN_OPTIONS: [&str; 3] = ["force-command", "source-address", "verify-required"];

/// The extension without which sshd opens no connections to other hosts.
const FORWARDING: &str = "permit-port-forwarding";

/// A certificate that belongs to the private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCertificate {
    certificate: SshCertificate,
    /// Type and base64, as libssh2 reads it.
    line: String,
}

/// The use that a run makes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateUse {
    /// The server connects to the database, or to the next hop.
    Forwarding,
    /// The server runs commands.
    Commands,
}

impl UserCertificate {
    /// Reads a certificate, and checks everything that is known about it without a connection: that it is a user's, that
    /// it belongs to the key, its time and its options. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// `certificate-invalid`, `certificate-key`, `certificate-expired`, `certificate-not-yet-valid`,
    /// `certificate-options`.
    pub fn read(text: &str, key: Option<&Secret>, now: u64) -> Result<Self, Fault> {
        let certificate = read_certificate_text(text)?;
        check_form(&certificate)?;
        let Some(key) = key else {
            let cause =
                "`ssh-certificate` has a value, and `ssh-private-key` has none: a certificate alone proves nothing";
            return Err(Fault::new(Code::CertificateKey, cause).fix(format!(
                "set `ssh-private-key` to the key that was signed, {}",
                describe_key(&certificate.plain_key)
            )));
        };
        if let Some(public) = public_half(key).filter(|public| *public != certificate.plain_key) {
            let cause = format!(
                "`ssh-certificate` belongs to the key {}, and `ssh-private-key` is {}",
                describe_key(&certificate.plain_key),
                describe_key(&public)
            );
            return Err(Fault::new(Code::CertificateKey, cause));
        }
        let line = format!("{} {}", certificate.algorithm, STANDARD.encode(certificate.encoded()));
        let read = Self { certificate, line };
        read.check_time(now)?;
        read.check_known_options()?;
        Ok(read)
    }

    /// Checks that the certificate allows what a run does with the connection.
    ///
    /// # Errors
    /// `certificate-options`.
    pub fn check_uses(&self, uses: &[CertificateUse]) -> Result<(), Fault> {
        let forced = self.certificate.critical_options.iter().find(|(name, _)| name == "force-command");
        if let (Some((_, command)), true) = (forced, uses.contains(&CertificateUse::Commands)) {
            let cause = format!(
                "`ssh-certificate` has the option `force-command`: the server runs `{command}` in place of every command of this run"
            );
            let fix = "let the CA sign the key without `force-command` (`ssh-keygen -O`, or `default_critical_options` of a role in Vault)";
            return Err(self.options_fault(cause).fix(fix));
        }
        if uses.contains(&CertificateUse::Forwarding)
            && !self.certificate.extensions.iter().any(|name| name == FORWARDING)
        {
            let cause = format!(
                "`ssh-certificate` lacks the extension `{FORWARDING}`: the server opens no connection to the database or to the next hop"
            );
            let fix = "let the CA sign the key with `permit-port-forwarding`: `ssh-keygen -s` without `-O clear` and `-O no-port-forwarding`, \
                `default_extensions` of a role in Vault";
            return Err(self.options_fault(cause).fix(fix));
        }
        Ok(())
    }

    /// Returns the facts of `ssh-keygen -L`: key id, principals, end, CA.
    #[must_use]
    pub fn describe(&self) -> String {
        self.certificate.describe()
    }

    /// Returns when the certificate ends, if it does so within these seconds: `until 2026-12-01 05:00:00 UTC`. `now` is in
    /// seconds since 1970.
    #[must_use]
    pub fn ends_within(&self, now: u64, seconds: u64) -> Option<String> {
        let end = self.certificate.valid_before;
        (end < now.saturating_add(seconds)).then(|| describe_end(end))
    }

    /// Returns type and base64.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// Returns the fault of a log-in in which a server has refused the certificate. The server does not say why, so the
    /// certificate's own facts are looked at in the order of their weight. `now` is in seconds since 1970.
    pub(super) fn refusal_fault(&self, hop: &str, user: &str, now: u64) -> Fault {
        let certificate = &self.certificate;
        let id = certificate.shown_key_id();
        let facts = format!("the certificate is {}", self.describe());
        if let Err(fault) = self.check_time(now) {
            return fault.detail(facts);
        }
        if !certificate.principals.iter().any(|principal| principal == user) {
            let cause = format!(
                "`{hop}` refused user `{user}` with the certificate `{id}`, which is for {}",
                certificate.shown_principals()
            );
            return Fault::new(Code::CertificatePrincipal, cause)
                .fix(format!(
                    "let the CA sign the key for `{user}`, set `ssh-user` to a user that the certificate names, or let the server's \
                     `AuthorizedPrincipalsFile` of `{user}` name one of its principals"
                ))
                .detail(facts);
        }
        let authority = describe_key(&certificate.authority);
        let cause = format!("`{hop}` refused user `{user}` with the certificate `{id}` of the CA {authority}");
        let remarks = self.restrictions();
        let fault = Fault::new(Code::CertificateRefused, cause).detail(facts);
        remarks.into_iter().fold(fault, Fault::detail)
    }

    /// Returns what else may be the reason of a refusal.
    fn restrictions(&self) -> Vec<String> {
        let addresses = self.certificate.critical_options.iter().find(|(name, _)| name == "source-address");
        let by_address = addresses
            .map(|(_, list)| format!("the certificate counts only for connections from {list} (`source-address`)"));
        let by_hash = (self.certificate.signature_algorithm() == "ssh-rsa")
            .then(|| "its CA signed it with SHA-1 (`ssh-rsa`), which sshd refuses since OpenSSH 8.2".to_owned());
        by_address.into_iter().chain(by_hash).collect()
    }

    fn check_time(&self, now: u64) -> Result<(), Fault> {
        let Self { certificate, .. } = self;
        let id = certificate.shown_key_id();
        let clock = format_second(now);
        match certificate.validity_at(now) {
            CertificateValidity::Valid => Ok(()),
            CertificateValidity::Over => {
                let end = format_second(certificate.valid_before);
                let cause = format!("`ssh-certificate` (`{id}`) ended at {end}, and it is {clock}");
                Err(Fault::new(Code::CertificateExpired, cause))
            }
            CertificateValidity::NotYet => {
                let begin = format_second(certificate.valid_after);
                let cause = format!("`ssh-certificate` (`{id}`) is valid only from {begin}, and it is {clock}");
                Err(Fault::new(Code::CertificateNotYetValid, cause))
            }
        }
    }

    fn check_known_options(&self) -> Result<(), Fault> {
        let options = &self.certificate.critical_options;
        let Some((name, _)) = options.iter().find(|(name, _)| !KNOWN_OPTIONS.contains(&name.as_str())) else {
            return Ok(());
        };
        let cause = format!("`ssh-certificate` has the critical option `{name}`, which no OpenSSH server accepts");
        Err(self.options_fault(cause))
    }

    fn options_fault(&self, cause: String) -> Fault {
        Fault::new(Code::CertificateOptions, cause).detail(format!("the certificate is {}", self.describe()))
    }
}

/// Checks the kind, the type of the key, and the signature.
fn check_form(certificate: &SshCertificate) -> Result<(), Fault> {
    if certificate.algorithm.starts_with("sk-") {
        return Err(invalid_certificate("its key is stored in a hardware token, which a runner does not have")
            .fix("let the CA sign a key of type ed25519"));
    }
    if certificate.algorithm.starts_with("ssh-dss") {
        return Err(invalid_certificate("its key is a DSA key, which OpenSSH no longer accepts")
            .fix("let the CA sign a key of type ed25519"));
    }
    if certificate.kind != Some(CertificateKind::User) {
        return Err(invalid_certificate("it is a host's certificate, not a user's")
            .fix("let the CA sign the key without `-h` (`cert_type=user` in Vault)"));
    }
    if certificate.check_signature() == Err(SignatureDefect::Forged) {
        return Err(invalid_certificate("its signature does not fit its content: a part of it was changed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = include_str!("../../tests/cases/certificates/hosts.txt");

    #[test]
    fn explains_other_texts_in_place_of_a_certificate() {
        let words = |name: &str| {
            let line = HOSTS.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
            line.split(' ').skip(1).map(ToOwned::to_owned).collect::<Vec<String>>()
        };
        let [words, user] = ["ca_ed25519_256", "user"].map(words);
        let certificate = format!("{} {}", words[2], words[3]);
        let mut changed = STANDARD.decode(&user[3]).unwrap();
        let at = changed.windows(7).position(|bytes| bytes == b"bastion").unwrap();
        changed[at] = b'B';
        for (text, why) in [
            ("hunter2".to_owned(), "does not begin with a type"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n".to_owned(), "a private key"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".to_owned(), "an X.509 certificate"),
            (format!("{} {}", words[0], words[1]), "a public key that no CA has signed"),
            ("~/.ssh/id_ed25519-cert.pub".to_owned(), "the path of a file"),
            (certificate.chars().take(200).collect(), "cut off or damaged"),
            (format!("{certificate}\n{certificate}\n"), "several certificates"),
            (certificate.clone(), "a host's certificate"),
            (STANDARD.encode(&changed), "its signature does not fit"),
        ] {
            let fault = UserCertificate::read(&text, None, 0).unwrap_err();
            assert_eq!(fault.code, Code::CertificateInvalid, "{text}");
            assert!(fault.cause.contains(why), "{text}: {}", fault.cause);
        }
    }
}
