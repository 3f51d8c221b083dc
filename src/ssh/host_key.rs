//! Verifies a server's key, or its certificate, against the pinned keys and CAs. Pure functions: the verdict on a
//! certificate is ours, because libssh2 only checks that the server has the key in it.

use super::{
    algorithms::{ALGORITHMS, CERTIFICATE_ALGORITHMS, algorithm_key_type},
    certificate::{SshCertificate, is_certificate},
    host_certificate::{CertificateRefusal, judge_host_certificate},
    known_hosts::{KnownHosts, PinnedLine, pinned_name},
    pin_mistake::{LineMistake, parse_fingerprints},
    public_key::{describe_key, key_fingerprint, key_type},
    route::Hop,
};
use crate::fault::{Code, Fault};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// All pins of a route.
#[derive(Debug, Clone)]
pub(super) struct HostKeyPins {
    known_hosts: KnownHosts,
    /// Base64 without padding, as in `SHA256:…`; several if a list was given.
    fingerprints: Vec<String>,
}

/// A host key that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VerifiedHostKey {
    /// As in `ssh-ed25519 SHA256:…`.
    pub(super) key: String,
    /// The facts of the certificate that the server has shown, or the reason why it was not used.
    pub(super) certificate: Option<String>,
}

/// Checks that the pins can be read, without any network.
///
/// # Errors
/// `pin-invalid`, with the input and the line.
pub fn check_pins(known_hosts: Option<&str>, fingerprint: Option<&str>) -> Result<(), Fault> {
    HostKeyPins::parse(known_hosts, fingerprint).map(drop)
}

impl HostKeyPins {
    /// Parses both inputs. An unreadable line does not make the others unreadable.
    pub(super) fn parse(known_hosts: Option<&str>, fingerprint: Option<&str>) -> Result<Self, Fault> {
        let known_hosts = KnownHosts::parse(known_hosts.unwrap_or_default())?;
        if let (true, Some((number, mistake))) = (known_hosts.is_empty(), known_hosts.mistakes.first()) {
            return Err(mistake.fault(*number));
        }
        let fingerprints = fingerprint.map(parse_fingerprints).transpose()?.unwrap_or_default();
        Ok(Self { known_hosts, fingerprints })
    }

    /// Returns the algorithms to request: certificates first if a CA counts for the hop, then those of pinned keys.
    pub(super) fn preferred_algorithms(&self, hop: &Hop) -> String {
        let pinned = self.known_hosts.pins(hop);
        let is_pinned =
            |algorithm: &&str| pinned.iter().any(|line| algorithm_key_type(algorithm) == key_type(&line.key));
        let has_authority = !self.known_hosts.authorities(hop).is_empty();
        let certificates = CERTIFICATE_ALGORITHMS.into_iter().filter(|_| has_authority);
        let (first, rest): (Vec<&str>, Vec<&str>) = ALGORITHMS.into_iter().partition(is_pinned);
        certificates.chain(first).chain(rest).collect::<Vec<_>>().join(",")
    }

    /// Returns the key if it is the pinned one, or if its certificate counts. As in OpenSSH, a certificate that does not count leaves the key in it, which may be pinned itself.
    ///
    /// `shown` is a key or a certificate in SSH's binary form, `now` the time in seconds since 1970.
    pub(super) fn verify_key(&self, hop: &Hop, shown: &[u8], now: u64) -> Result<VerifiedHostKey, Fault> {
        if !is_certificate(shown) {
            return self.verify_plain_key(hop, shown).map(|key| VerifiedHostKey { key, certificate: None });
        }
        let certificate = SshCertificate::parse(shown).ok_or_else(|| {
            Fault::new(Code::HostCertificate, format!("`{hop}` shows a certificate that can't be read"))
        })?;
        let authorities = self.known_hosts.authorities(hop);
        let trusted: Vec<&[u8]> = authorities.iter().map(|line| line.key.as_slice()).collect();
        // A revoked CA takes its certificates with it (OpenSSH's check_key_not_revoked).
        self.check_revocation(hop, &certificate.plain_key)?;
        self.check_revocation(hop, &certificate.authority)?;
        let refusal = match judge_host_certificate(&certificate, hop, &trusted, now) {
            Ok(facts) => {
                return Ok(VerifiedHostKey { key: describe_key(&certificate.plain_key), certificate: Some(facts) });
            }
            Err(refusal) => refusal,
        };
        if refusal == CertificateRefusal::Forged {
            return Err(refusal.fault(hop, &certificate, &trusted));
        }
        if self.is_pinned(hop, &certificate.plain_key) {
            let certificate_remark = format!("not used, because the key itself is pinned: {}", refusal.remark());
            return Ok(VerifiedHostKey {
                key: describe_key(&certificate.plain_key),
                certificate: Some(certificate_remark),
            });
        }
        Err(refusal.fault(hop, &certificate, &trusted))
    }

    fn verify_plain_key(&self, hop: &Hop, key: &[u8]) -> Result<String, Fault> {
        let shown = describe_key(key);
        self.check_revocation(hop, key)?;
        if self.is_pinned(hop, key) {
            return Ok(shown);
        }
        let pinned = self.known_hosts.pins(hop);
        let same_type =
            pinned.iter().filter(|line| key_type(&line.key) == key_type(key)).map(|line| describe_key(&line.key));
        let by_fingerprint = self.fingerprints.iter().map(|fingerprint| format!("SHA256:{fingerprint}"));
        let expected: Vec<String> = same_type.chain(by_fingerprint).collect();
        if !expected.is_empty() {
            return Err(self.mismatch_fault(hop, &shown, &expected));
        }
        if pinned.is_empty() && !self.known_hosts.authorities(hop).is_empty() {
            let cause = format!(
                "`ssh-known-hosts` has only a @cert-authority line for `{hop}`, which shows no certificate but the key {shown}"
            );
            return Err(Fault::new(Code::HostKeyAuthority, cause).detail(known_hosts_line(hop, key)));
        }
        Err(self.unpinned_fault(hop, key, &pinned))
    }

    fn is_pinned(&self, hop: &Hop, key: &[u8]) -> bool {
        self.known_hosts.pins(hop).iter().any(|line| line.key == key)
            || self.fingerprints.contains(&key_fingerprint(key))
    }

    fn check_revocation(&self, hop: &Hop, key: &[u8]) -> Result<(), Fault> {
        let Some(line) = self.known_hosts.revoked(hop).into_iter().find(|line| line.key == key) else { return Ok(()) };
        let shown = describe_key(key);
        let cause = format!("`{hop}` shows {shown}, which `ssh-known-hosts` marks as revoked in line {}", line.number);
        Err(Fault::new(Code::HostKeyRevoked, cause))
    }

    fn mismatch_fault(&self, hop: &Hop, shown: &str, expected: &[String]) -> Fault {
        let cause = format!("`{hop}` shows {shown}, but pinned is {}", expected.join(" or "));
        let fault = Fault::new(Code::HostKeyMismatch, cause);
        if self.fingerprints.is_empty() {
            return fault;
        }
        fault.detail("a server has one key of each type: `ssh-fingerprint` must be that of the type shown")
    }

    fn unpinned_fault(&self, hop: &Hop, key: &[u8], pinned: &[&PinnedLine]) -> Fault {
        let shown = describe_key(key);
        let cause = match pinned.first() {
            Some(line) => format!(
                "`{hop}` is pinned by a key of type {} alone, and the server has none of that type: it shows {shown}",
                key_type(&line.key)
            ),
            None => format!("no key is pinned for `{hop}`, which shows {shown}"),
        };
        let mut fault = Fault::new(Code::HostKeyUnpinned, cause).detail(known_hosts_line(hop, key));
        if !pinned.is_empty() {
            fault = fault.fix(
                "find out why the server shows another type of key; only if the fingerprint is the server's own \
                 (`ssh-keygen -lf` on its key there), add the line shown to `ssh-known-hosts`",
            );
        }
        self.remarks(hop, key).into_iter().fold(fault, Fault::detail)
    }

    /// Returns remarks about lines that were meant to pin the key: one for another host, and those that pin nothing.
    fn remarks(&self, hop: &Hop, key: &[u8]) -> Vec<String> {
        let name = pinned_name(hop);
        let other = self.known_hosts.line_for_other_host(hop, key).map(|number| {
            format!("line {number} of `ssh-known-hosts` has this key for another host: add `,{name}` to its first word")
        });
        let mistakes = &self.known_hosts.mistakes;
        let same_key = |(_, mistake): &&(usize, LineMistake)| matches!(mistake, LineMistake::NoHost(of) if of == key);
        let shown = mistakes.iter().find(same_key).or_else(|| mistakes.first());
        other.into_iter().chain(shown.map(|(number, mistake)| mistake.remark(*number, &name))).collect()
    }
}

/// Returns the line to paste into `ssh-known-hosts`.
fn known_hosts_line(hop: &Hop, key: &[u8]) -> String {
    format!("{} {} {}", pinned_name(hop), key_type(key), STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJA+l9qthPOJ/VYsMGurUr8BmfKN8ub6eGwSUJjca094";
    const PRINT: &str = "SHA256:rHARUo62wukhlwGwU7WOPDabbIK67jfd9lycBgytCtA";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDhP3xUi1rTqqeTRlLn/ej+sooQORsCEql1Pfb9JfEA";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBE9onSEKriV3o/4W+U85Mfb6neFc0XPYoA+AKejjE8i5WRehDVPoUxMkZxsgBfDKqX7FP2T+RMFI4cWHIkAHIEI=";
    const HASHED: &str = "|1|rn9lR0bCIInuoKw69WC+0uzInYk=|/g9gXH75L5eqIqdA12qNEp4Vh7k=";

    #[test]
    fn rejects_a_key_of_a_wrong_length() {
        for line in [format!("h {}", KEY.replace("AAAAIJA", "AAAAMJA")), format!("h {KEY}AAAA")] {
            assert_eq!(
                HostKeyPins::parse(Some(&line), None).err().map(|fault| fault.code),
                Some(Code::PinInvalid),
                "{line}"
            );
        }
    }

    fn hop(host: &str, port: u16) -> Hop {
        Hop { host: host.to_owned(), port, user: "deploy".to_owned() }
    }

    fn raw(key: &str) -> Vec<u8> {
        STANDARD.decode(key.split(' ').nth(1).unwrap()).unwrap()
    }

    fn judge(known_hosts: &str, host: &str, port: u16) -> Result<String, Code> {
        let pins = HostKeyPins::parse(Some(known_hosts), None).unwrap();
        pins.verify_key(&hop(host, port), &raw(KEY), 0).map(|verified| verified.key).map_err(|fault| fault.code)
    }

    #[test]
    fn accepts_every_way_to_write_the_host() {
        for names in [
            "bastion.example",
            "BASTION.example",
            "other,bastion.example,10.0.0.1",
            "*.example",
            "bastion.exampl?",
            "*.example,!db.example",
            HASHED,
        ] {
            for host in ["bastion.example", "Bastion.Example"] {
                let result = judge(&format!("{names} {KEY} comment\n"), host, 22);
                assert_eq!(result, Ok(format!("ssh-ed25519 {PRINT}")), "{names}");
            }
        }
        assert!(judge(&format!("[bastion.example]:2222 {KEY}"), "bastion.example", 2222).is_ok());
        assert!(judge(&format!("[*.example]:2222\t{KEY}\r\n"), "bastion.example", 2222).is_ok());
    }

    #[test]
    fn refuses_an_entry_for_another_host() {
        for names in ["bastion", "*.example,!bastion.example", "!bastion.example", "bastion.example.org", "b?n.example"]
        {
            assert_eq!(judge(&format!("{names} {KEY}"), "bastion.example", 22), Err(Code::HostKeyUnpinned), "{names}");
        }
        assert_eq!(judge(&format!("[bastion.example]:2222 {KEY}"), "bastion.example", 22), Err(Code::HostKeyUnpinned));
    }

    #[test]
    fn applies_an_entry_without_a_port_only_if_none_has_the_port() {
        assert!(judge(&format!("bastion.example {KEY}"), "bastion.example", 2222).is_ok());
        let both = format!("bastion.example {KEY}\n[bastion.example]:2222 {OTHER}");
        assert_eq!(judge(&both, "bastion.example", 2222), Err(Code::HostKeyMismatch));
    }

    #[test]
    fn accepts_any_of_several_keys() {
        let text = format!("# keys\n\nbastion.example {OTHER}\nbastion.example {ECDSA}\nbastion.example {KEY}\n");
        assert!(judge(&text, "bastion.example", 22).is_ok());
    }

    #[test]
    fn many_wildcards_cost_little() {
        let stars = "*a".repeat(200);
        let name = "a".repeat(250);
        assert!(judge(&format!("{stars} {KEY}"), &name, 22).is_ok());
        assert_eq!(judge(&format!("{stars}b {KEY}"), &name, 22), Err(Code::HostKeyUnpinned));
    }

    #[test]
    fn refuses_an_unreadable_revocation() {
        let text = format!("bastion.example {KEY}\n@revoked * ssh-ed25519 garbage\n");
        let fault = check_pins(Some(&text), None).unwrap_err();
        assert!(fault.code == Code::PinInvalid && fault.cause.contains("line 2"), "{}", fault.cause);
    }

    #[test]
    fn ignores_byte_order_marks() {
        assert!(judge(&format!("\u{feff}bastion.example {KEY}"), "bastion.example", 22).is_ok());
        let text = format!("bastion.example {KEY}\n\u{feff}@revoked * {KEY}\n");
        assert_eq!(judge(&text, "bastion.example", 22), Err(Code::HostKeyRevoked));
    }

    #[test]
    fn a_revocation_overrides_every_pin() {
        let text = format!("bastion.example {KEY}\n@revoked * {KEY}\n");
        assert_eq!(judge(&text, "bastion.example", 22), Err(Code::HostKeyRevoked));
        let pins = HostKeyPins::parse(Some(&format!("@revoked * {KEY}")), Some(PRINT)).unwrap();
        assert_eq!(pins.verify_key(&hop("x", 22), &raw(KEY), 0).unwrap_err().code, Code::HostKeyRevoked);
        assert!(judge(&format!("bastion.example {KEY}\n@revoked * {OTHER}\n"), "bastion.example", 22).is_ok());
    }

    #[test]
    fn does_not_accept_a_certificate_authority_as_a_key() {
        let result = judge(&format!("@cert-authority *.example {KEY}"), "bastion.example", 22);
        assert_eq!(result, Err(Code::HostKeyAuthority));
    }

    #[test]
    fn reports_both_fingerprints_of_a_mismatch() {
        let pins = HostKeyPins::parse(Some(&format!("bastion.example {OTHER}")), None).unwrap();
        let fault = pins.verify_key(&hop("bastion.example", 22), &raw(KEY), 0).unwrap_err();
        assert_eq!(fault.code, Code::HostKeyMismatch);
        assert!(fault.cause.contains(PRINT) && fault.cause.matches("SHA256:").count() == 2, "{}", fault.cause);
    }

    #[test]
    fn prints_a_line_that_pins_the_key() {
        for port in [22, 2222] {
            let pins = HostKeyPins::parse(None, None).unwrap();
            let fault = pins.verify_key(&hop("bastion.example", port), &raw(KEY), 0).unwrap_err();
            assert!(fault.cause.contains(PRINT), "{}", fault.cause);
            assert!(judge(&fault.detail[0], "bastion.example", port).is_ok(), "{}", fault.detail[0]);
        }
    }

    #[test]
    fn requests_pinned_key_types_first() {
        let algorithms = |text: &str| {
            HostKeyPins::parse(Some(text), None).unwrap().preferred_algorithms(&hop("bastion.example", 22))
        };
        assert!(algorithms(&format!("bastion.example {ECDSA}")).starts_with("ecdsa-sha2-nistp256,ssh-ed25519,"));
        assert!(algorithms(&format!("other {ECDSA}")).starts_with("ssh-ed25519,"));
        assert_eq!(algorithms("").matches(',').count(), ALGORITHMS.len() - 1);
    }

    #[test]
    fn reports_another_key_type_as_unpinned() {
        let pins = HostKeyPins::parse(Some(&format!("bastion.example {ECDSA}")), None).unwrap();
        let fault = pins.verify_key(&hop("bastion.example", 22), &raw(KEY), 0).unwrap_err();
        assert_eq!(fault.code, Code::HostKeyUnpinned);
        assert!(fault.cause.contains("ecdsa-sha2-nistp256"), "{}", fault.cause);
    }

    #[test]
    fn parses_a_fingerprint_in_every_usual_form() {
        let bare = PRINT.trim_start_matches("SHA256:");
        for text in [PRINT.to_owned(), bare.to_owned(), format!("{PRINT}="), format!(" 256 {PRINT} root@x (ED25519)\n")]
        {
            let pins = HostKeyPins::parse(None, Some(&text)).unwrap();
            assert!(pins.verify_key(&hop("x", 2222), &raw(KEY), 0).is_ok(), "{text}");
            assert_eq!(pins.verify_key(&hop("x", 2222), &raw(OTHER), 0).unwrap_err().code, Code::HostKeyMismatch);
        }
        for text in ["", "SHA256:abc", "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", "yes"] {
            assert_eq!(check_pins(None, Some(text)).unwrap_err().code, Code::PinInvalid, "{text}");
        }
    }

    #[test]
    fn either_pin_may_match() {
        let pins = HostKeyPins::parse(Some(&format!("x {OTHER}")), Some(PRINT)).unwrap();
        assert!(
            pins.verify_key(&hop("x", 22), &raw(KEY), 0).is_ok()
                && pins.verify_key(&hop("x", 22), &raw(OTHER), 0).is_ok()
        );
    }

    #[test]
    fn skips_a_bad_line_and_refuses_a_file_of_bad_lines() {
        assert!(
            judge(&format!("bastion.example ssh-rsa garbage\nbastion.example {KEY}"), "bastion.example", 22).is_ok()
        );
        let fault = check_pins(Some(&format!("# pasted\n{KEY}\n")), None).unwrap_err();
        assert!(fault.code == Code::PinInvalid && fault.cause.contains("line 2"), "{}", fault.cause);
        assert!(check_pins(Some("\n# nothing\n"), None).is_ok());
    }
}
