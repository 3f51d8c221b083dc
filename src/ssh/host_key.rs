//! Verifies a server's key against the pinned keys. Pure functions, in place of libssh2's own check, which accepts a
//! `@revoked` key and a negated pattern, and reports a mismatch for a host that is pinned by another key type.

use super::route::Hop;
use crate::fault::{Code, Fault};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use ssh_key::known_hosts::{Entry, HostPatterns, Marker};

/// All pins of a route.
#[derive(Debug, Clone)]
pub(super) struct HostKeyPins {
    entries: Vec<Entry>,
    /// 1-based numbers of the unreadable lines.
    unreadable: Vec<usize>,
    /// Base64 without padding, as in `SHA256:…`.
    fingerprint: Option<String>,
}

/// Checks that the pins can be read, without any network.
///
/// # Errors
/// `pin-invalid`, with the input and the line.
pub fn check_pins(known_hosts: Option<&str>, fingerprint: Option<&str>) -> Result<(), Fault> {
    HostKeyPins::parse(known_hosts, fingerprint).map(drop)
}

/// Host-key algorithms in order of preference, without certificates (they can't be pinned by key) and without SHA-1.
const ALGORITHMS: [&str; 6] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

impl HostKeyPins {
    /// Parses both inputs. An unreadable line does not make the others unreadable.
    pub(super) fn parse(known_hosts: Option<&str>, fingerprint: Option<&str>) -> Result<Self, Fault> {
        let (mut entries, mut unreadable) = (Vec::new(), Vec::new());
        let mut first = None;
        for (number, line) in (1..).zip(known_hosts.unwrap_or_default().lines()) {
            // A byte order mark is not a part of a host's name.
            let line = line.replace('\u{feff}', " ").split_whitespace().collect::<Vec<_>>().join(" ");
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse_entry(&line) {
                Some(entry) => entries.push(entry),
                None if line.starts_with("@revoked") => {
                    let cause = format!("line {number} of `ssh-known-hosts` revokes a key and can't be read");
                    let fix = "correct the line, or remove it: otherwise the key that it revokes would be accepted";
                    return Err(Fault::new(Code::PinInvalid, cause).fix(fix));
                }
                None => {
                    unreadable.push(number);
                    first.get_or_insert((number, line));
                }
            }
        }
        if let ([], Some((number, line))) = (entries.as_slice(), first) {
            return Err(unusable_line_fault(number, &line));
        }
        let fingerprint = fingerprint.map(parse_fingerprint).transpose()?;
        Ok(Self { entries, unreadable, fingerprint })
    }

    /// Returns the algorithms to request, those of pinned keys first.
    pub(super) fn preferred_algorithms(&self, hop: &Hop) -> String {
        let pinned = self.pinned_entries(hop);
        let is_pinned =
            |algorithm: &&str| pinned.iter().any(|entry| algorithm_key_type(algorithm) == entry_key_type(entry));
        let (mut first, rest): (Vec<&str>, Vec<&str>) = ALGORITHMS.into_iter().partition(is_pinned);
        first.extend(rest);
        first.join(",")
    }

    /// Returns `ssh-ed25519 SHA256:…` of the key if it is the pinned one.
    pub(super) fn verify_key(&self, hop: &Hop, key: &[u8]) -> Result<String, Fault> {
        let shown = describe_key(key);
        let marked = |marker| self.entries_for(hop, Some(marker));
        if marked(Marker::Revoked).any(|entry| public_key_bytes(entry) == key) {
            let cause = format!("`{hop}` shows {shown}, which `ssh-known-hosts` marks as revoked");
            return Err(Fault::new(Code::HostKeyRevoked, cause));
        }
        let pinned = self.pinned_entries(hop);
        if pinned.iter().any(|entry| public_key_bytes(entry) == key)
            || self.fingerprint.as_deref() == Some(&key_fingerprint(key))
        {
            return Ok(shown);
        }
        let same_type = pinned
            .iter()
            .filter(|entry| entry_key_type(entry) == blob_key_type(key))
            .map(|entry| describe_key(&public_key_bytes(entry)));
        let by_fingerprint = self.fingerprint.iter().map(|fingerprint| format!("SHA256:{fingerprint}"));
        let expected: Vec<String> = same_type.chain(by_fingerprint).collect();
        if !expected.is_empty() {
            return Err(self.mismatch_fault(hop, &shown, &expected));
        }
        if pinned.is_empty() && marked(Marker::CertAuthority).next().is_some() {
            let cause = format!("`ssh-known-hosts` has only a @cert-authority line for `{hop}`, which shows {shown}");
            return Err(Fault::new(Code::HostKeyAuthority, cause).detail(known_hosts_line(hop, key)));
        }
        Err(self.unpinned_fault(hop, key, &pinned))
    }

    fn mismatch_fault(&self, hop: &Hop, shown: &str, expected: &[String]) -> Fault {
        let cause = format!("`{hop}` shows {shown}, but pinned is {}", expected.join(" or "));
        let fault = Fault::new(Code::HostKeyMismatch, cause);
        if self.fingerprint.is_none() {
            return fault;
        }
        fault.detail("a server has one key of each type: `ssh-fingerprint` must be that of the type shown")
    }

    fn unpinned_fault(&self, hop: &Hop, key: &[u8], pinned: &[&Entry]) -> Fault {
        let shown = describe_key(key);
        let cause = match pinned.first() {
            Some(entry) => format!(
                "`{hop}` is pinned by a key of type {} alone, and the server has none of that type: it shows {shown}",
                entry_key_type(entry)
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
        match self.unreadable.first() {
            Some(number) => fault.detail(format!("line {number} of `ssh-known-hosts` can't be read")),
            None => fault,
        }
    }

    /// Returns the unmarked entries that apply to a hop. As in OpenSSH, an entry without a port applies to another port
    /// only if no entry has that port.
    fn pinned_entries(&self, hop: &Hop) -> Vec<&Entry> {
        let exact: Vec<&Entry> =
            self.entries_for(hop, None).filter(|entry| entry_matches(hop, entry, HostForm::WithPort)).collect();
        if exact.is_empty() { self.entries_for(hop, None).collect() } else { exact }
    }

    fn entries_for(&self, hop: &Hop, marker: Option<Marker>) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.marker() == marker.as_ref()).filter(|entry| {
            entry_matches(hop, entry, HostForm::WithPort) || entry_matches(hop, entry, HostForm::HostOnly)
        })
    }
}

/// The form of a hop's name in `known_hosts`.
#[derive(Clone, Copy)]
enum HostForm {
    /// `[host]:port`, or `host` if the port is 22.
    WithPort,
    /// `host` for every port.
    HostOnly,
}

fn known_hosts_name(hop: &Hop, with: HostForm) -> String {
    let host = hop.host.to_ascii_lowercase();
    match with {
        HostForm::WithPort if hop.port != 22 => format!("[{host}]:{}", hop.port),
        HostForm::WithPort | HostForm::HostOnly => host,
    }
}

fn entry_matches(hop: &Hop, entry: &Entry, with: HostForm) -> bool {
    let name = known_hosts_name(hop, with);
    match entry.host_patterns() {
        HostPatterns::Patterns(patterns) => {
            let matches = |pattern: &str| glob_matches(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes());
            let negated = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(matches);
            !negated && patterns.iter().any(|pattern| matches(pattern))
        }
        HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
            .is_ok_and(|hmac| hmac.chain_update(name.as_bytes()).verify_slice(hash).is_ok()),
    }
}

/// Matches ssh's two wildcards: `*` and `?`. After a mismatch only the last `*` takes one byte more, so that many of
/// them cost no more than pattern times name.
fn glob_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern_position, mut position) = (0, 0);
    // The pattern after the last `*`, and the position in the name at which it was tried.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(position) {
        match (pattern.get(pattern_position), star) {
            (Some(b'*'), _) => {
                pattern_position += 1;
                star = Some((pattern_position, position));
            }
            (Some(expected), _) if *expected == b'?' || expected == byte => {
                (pattern_position, position) = (pattern_position + 1, position + 1);
            }
            (_, Some((after_star, star_position))) => {
                (pattern_position, position) = (after_star, star_position + 1);
                star = Some((after_star, position));
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(pattern_position).all(|rest| *rest == b'*')
}

/// Explains why a line pins nothing, by the kind of text that it is.
fn unusable_line_fault(number: usize, line: &str) -> Fault {
    let fault = |problem: &str| Fault::new(Code::PinInvalid, format!("line {number} of `ssh-known-hosts` {problem}"));
    if line.split(' ').any(|word| word.starts_with("SHA256:")) {
        return fault("is a fingerprint").fix("move it to `ssh-fingerprint`, and leave `ssh-known-hosts` empty");
    }
    if line.split(' ').next().is_some_and(is_key_type) {
        return fault("has no host name in front of the key").fix(
            "put the bastion's name, exactly as in `ssh-host`, and a space at the start of the line (`[name]:port` if the port \
             is not 22), or paste what `ssh-keyscan` prints",
        );
    }
    fault("is not a known_hosts line, which has a host name, a key type and a key")
}

fn is_key_type(word: &str) -> bool {
    word == "ssh-rsa" || ALGORITHMS.contains(&word)
}

fn parse_fingerprint(text: &str) -> Result<String, Fault> {
    let words = || text.split_whitespace();
    if words().any(is_key_type) {
        let cause = "`ssh-fingerprint` is a whole key, not its fingerprint";
        let fix = "if it is a line of known_hosts, which begins with the host's name, move it to `ssh-known-hosts`; \
            otherwise give the fingerprint that `ssh-keygen -lf` prints for it";
        return Err(Fault::new(Code::PinInvalid, cause).fix(fix));
    }
    let word = words().find(|word| word.starts_with("SHA256:")).or_else(|| words().next()).unwrap_or_default();
    let fingerprint = word.strip_prefix("SHA256:").unwrap_or(word).trim_end_matches('=');
    if STANDARD_NO_PAD.decode(fingerprint).is_ok_and(|digest| digest.len() == 32) {
        return Ok(fingerprint.to_owned());
    }
    let cause = if word.contains(':') {
        "`ssh-fingerprint` is not a SHA256 fingerprint; an MD5 fingerprint proves nothing today"
    } else {
        "`ssh-fingerprint` is not a fingerprint of the form SHA256:… with 43 characters after the colon"
    };
    Err(Fault::new(Code::PinInvalid, cause).fix("give what `ssh-keygen -lf` prints for the server's public key"))
}

fn entry_key_type(entry: &Entry) -> String {
    entry.public_key().algorithm().as_str().to_owned()
}

/// Returns the key type of an algorithm: RSA keys have several algorithms.
fn algorithm_key_type(algorithm: &str) -> &str {
    if algorithm.starts_with("rsa-sha2-") { "ssh-rsa" } else { algorithm }
}

/// Parses a line. The library ignores a wrong length before the bytes of a key, and then returns another key than the
/// one that was written.
fn parse_entry(line: &str) -> Option<Entry> {
    let entry: Entry = line.parse().ok()?;
    let is_written =
        line.split(' ').any(|word| STANDARD.decode(word).is_ok_and(|written| written == public_key_bytes(&entry)));
    is_written.then_some(entry)
}

fn public_key_bytes(entry: &Entry) -> Vec<u8> {
    entry.public_key().to_bytes().unwrap_or_default()
}

/// Returns the key type: the first string of the key (RFC 4253, 6.6).
fn blob_key_type(key: &[u8]) -> String {
    let name = key.split_first_chunk::<4>().and_then(|(length, rest)| {
        usize::try_from(u32::from_be_bytes(*length)).ok().and_then(|length| rest.get(..length))
    });
    String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
}

fn key_fingerprint(key: &[u8]) -> String {
    STANDARD_NO_PAD.encode(Sha256::digest(key))
}

fn describe_key(key: &[u8]) -> String {
    format!("{} SHA256:{}", blob_key_type(key), key_fingerprint(key))
}

/// Returns the line to paste into `ssh-known-hosts`.
fn known_hosts_line(hop: &Hop, key: &[u8]) -> String {
    format!("{} {} {}", known_hosts_name(hop, HostForm::WithPort), blob_key_type(key), STANDARD.encode(key))
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
        pins.verify_key(&hop(host, port), &raw(KEY)).map_err(|fault| fault.code)
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
        assert_eq!(pins.verify_key(&hop("x", 22), &raw(KEY)).unwrap_err().code, Code::HostKeyRevoked);
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
        let fault = pins.verify_key(&hop("bastion.example", 22), &raw(KEY)).unwrap_err();
        assert_eq!(fault.code, Code::HostKeyMismatch);
        assert!(fault.cause.contains(PRINT) && fault.cause.matches("SHA256:").count() == 2, "{}", fault.cause);
    }

    #[test]
    fn prints_a_line_that_pins_the_key() {
        for port in [22, 2222] {
            let pins = HostKeyPins::parse(None, None).unwrap();
            let fault = pins.verify_key(&hop("bastion.example", port), &raw(KEY)).unwrap_err();
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
        let fault = pins.verify_key(&hop("bastion.example", 22), &raw(KEY)).unwrap_err();
        assert_eq!(fault.code, Code::HostKeyUnpinned);
        assert!(fault.cause.contains("ecdsa-sha2-nistp256"), "{}", fault.cause);
    }

    #[test]
    fn parses_a_fingerprint_in_every_usual_form() {
        let bare = PRINT.trim_start_matches("SHA256:");
        for text in [PRINT.to_owned(), bare.to_owned(), format!("{PRINT}="), format!(" 256 {PRINT} root@x (ED25519)\n")]
        {
            let pins = HostKeyPins::parse(None, Some(&text)).unwrap();
            assert!(pins.verify_key(&hop("x", 2222), &raw(KEY)).is_ok(), "{text}");
            assert_eq!(pins.verify_key(&hop("x", 2222), &raw(OTHER)).unwrap_err().code, Code::HostKeyMismatch);
        }
        for text in ["", "SHA256:abc", "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", "yes"] {
            assert_eq!(check_pins(None, Some(text)).unwrap_err().code, Code::PinInvalid, "{text}");
        }
    }

    #[test]
    fn either_pin_may_match() {
        let pins = HostKeyPins::parse(Some(&format!("x {OTHER}")), Some(PRINT)).unwrap();
        assert!(
            pins.verify_key(&hop("x", 22), &raw(KEY)).is_ok() && pins.verify_key(&hop("x", 22), &raw(OTHER)).is_ok()
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
