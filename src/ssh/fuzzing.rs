//! Properties of any text that pins host keys, for `make fuzz` and the tests.

use super::{
    host_key::{HostKeyPins, VerifiedHostKey},
    public_key::key_of_fields,
    route::Hop,
};
use crate::fault::Code;
use base64::{Engine as _, engine::general_purpose::STANDARD};

const KEY_TYPE: &str = "ssh-ed25519";
const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJA+l9qthPOJ/VYsMGurUr8BmfKN8ub6eGwSUJjca094";
const PRINT: &str = "SHA256:rHARUo62wukhlwGwU7WOPDabbIK67jfd9lycBgytCtA";

/// Verifies a server's key by these lines: it is accepted only if an unmarked line contains it, a revocation overrides
/// everything else, and the line that is printed for the key pins it.
///
/// # Panics
/// If one of these does not hold.
pub(crate) fn check_host_key_pins(known_hosts: &str, host: &str, port: u16) {
    let hop = Hop { host: host.to_owned(), port, user: "u".to_owned() };
    let key = STANDARD.decode(KEY).unwrap_or_default();
    let judge = |known_hosts: &str, fingerprint: Option<&str>| {
        let pins = HostKeyPins::parse(Some(known_hosts), fingerprint).map_err(|fault| fault.code)?;
        let algorithms = pins.preferred_algorithms(&hop);
        // Those of certificates only for a host with a CA.
        assert!(matches!(algorithms.split(',').count(), 6 | 12), "{algorithms}");
        pins.verify_key(&hop, &key, 0).map_err(|fault| fault.code)
    };
    // An unreadable revocation is reported first.
    let is_refused =
        |result: Result<VerifiedHostKey, Code>| matches!(result, Err(Code::HostKeyRevoked | Code::PinInvalid));
    let has_it = |line: &str| line.contains(KEY) && !line.replace('\u{feff}', " ").trim_start().starts_with('@');
    let lines_of = known_hosts.replace("\\r\\n", "\n").replace("\\n", "\n");
    let known_hosts = lines_of.as_str();
    let result = judge(known_hosts, None);
    assert!(result.is_err() || known_hosts.lines().any(has_it), "no line has the key");
    let lines: Vec<&str> = known_hosts.lines().collect();
    let (before, after) = lines.split_at(lines.len() / 2);
    let with = |line: &str| [before, &[line], after].concat().join("\n");
    let revoked = with(&format!("@revoked * {KEY_TYPE} {KEY}"));
    for fingerprint in [None, Some(PRINT)] {
        assert!(is_refused(judge(&revoked, fingerprint)), "{revoked:?}");
    }
    let is_name =
        !host.is_empty() && host.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.:".contains(letter));
    if !is_name {
        return;
    }
    let name = host.to_ascii_lowercase();
    let marked = with(&format!("@revoked {name},[{name}]:{port} {KEY_TYPE} {KEY}"));
    assert!(is_refused(judge(&marked, Some(PRINT))), "{marked:?}");
    let negated = format!("*,!{name},![{name}]:* {KEY_TYPE} {KEY}");
    assert_eq!(judge(&negated, None), Err(Code::HostKeyUnpinned), "{negated:?}");
    let unpinned = HostKeyPins::parse(None, None).and_then(|pins| pins.verify_key(&hop, &key, 0));
    let printed = unpinned.err().and_then(|fault| fault.detail.first().cloned()).unwrap_or_default();
    assert!(judge(&printed, None).is_ok(), "{printed:?} is printed and does not pin");
}

/// Verifies any bytes as a server's key, and behind a certificate's type and nonce: without a signature of the CA no
/// certificate counts, whatever is in it.
///
/// # Panics
/// If one counts.
pub(crate) fn check_host_certificate(bytes: &[u8]) {
    let hop = Hop { host: "localhost".to_owned(), port: 22, user: "u".to_owned() };
    let Ok(pins) = HostKeyPins::parse(Some(&format!("@cert-authority * {KEY_TYPE} {KEY}")), None) else { return };
    let mut certificate = key_of_fields(&[b"ssh-ed25519-cert-v01@openssh.com", &[0; 32], &[0; 32]]);
    certificate.extend(bytes);
    for shown in [bytes, certificate.as_slice()] {
        assert!(pins.verify_key(&hop, shown, 0).is_err(), "{shown:?}");
    }
}
