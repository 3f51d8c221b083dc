//! The text of a certificate, as `ssh-keygen -s` writes it into `…-cert.pub`: finds it in its surroundings, and explains
//! other texts in its place.

use super::{
    certificate::{SshCertificate, TYPE_SUFFIX},
    public_key::key_type,
};
use crate::fault::{Code, Fault};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};

/// Length of the longest base64 of a certificate; that of an RSA key of 16384 bits by a CA like it has 8 kB.
const MAX_LENGTH: usize = 32 << 10;

/// Reads a certificate from a pasted text: with or without its type in front, over several lines, in quotation marks, or
/// with its line break as `\n`.
///
/// # Errors
/// `certificate-invalid`, with what the text is.
pub(super) fn read_certificate_text(text: &str) -> Result<SshCertificate, Fault> {
    let text = text.replace("\\r", "").replace("\\n", "\n").replace('\u{feff}', "");
    let blobs = certificate_blobs(&text);
    match blobs.as_slice() {
        [] => Err(explain_other_text(&text)),
        [blob] => SshCertificate::parse(blob).ok_or_else(|| invalid_certificate("it is cut off or damaged")),
        [_, _, ..] => Err(invalid_certificate("it is several certificates")
            .fix("give the one that was made for `ssh-private-key`; the same key logs in on every hop")),
    }
}

/// Returns every certificate in the text, in SSH's binary form. White space in its base64 is left out: terminals and
/// forms break long lines.
fn certificate_blobs(text: &str) -> Vec<Vec<u8>> {
    let words: Vec<&str> =
        text.split_whitespace().map(|word| word.trim_matches(['"', '\'', ',', '`', '{', '}'])).collect();
    let is_type = |word: &&str| word.ends_with(TYPE_SUFFIX);
    let mut starts: Vec<usize> =
        words.iter().enumerate().filter(|(_, word)| is_type(word)).map(|(at, _)| at + 1).collect();
    if starts.is_empty() {
        starts.push(0);
    }
    starts.into_iter().filter_map(|start| longest_blob(words.get(start..)?)).collect()
}

/// Returns the bytes of as many words as make one base64 text; a comment behind it does not fit in.
fn longest_blob(words: &[&str]) -> Option<Vec<u8>> {
    let decode = |text: &str| STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok();
    let is_certificate = |blob: &Vec<u8>| key_type(blob).ends_with(TYPE_SUFFIX);
    let mut text = String::new();
    let mut found = None;
    for word in words {
        text.push_str(word);
        if text.len() > MAX_LENGTH {
            break;
        }
        let Some(blob) = decode(&text).filter(is_certificate) else { continue };
        let is_whole = SshCertificate::parse(&blob).is_some();
        found = Some(blob);
        if is_whole {
            break;
        }
    }
    found
}

/// Explains a text that is no certificate.
fn explain_other_text(text: &str) -> Fault {
    let words: Vec<&str> = text.split_whitespace().collect();
    let first = words.first().copied().unwrap_or_default();
    if text.contains("PRIVATE KEY-----") {
        return invalid_certificate("it is a private key")
            .fix("put the private key into `ssh-private-key`, and the content of the `-cert.pub` file here");
    }
    if words.iter().any(|word| word.ends_with(TYPE_SUFFIX)) {
        return invalid_certificate("it is cut off or damaged");
    }
    if text.contains("BEGIN CERTIFICATE") {
        return invalid_certificate("it is an X.509 certificate, which SSH does not have")
            .fix("give what `ssh-keygen -s` has made; a certificate for PostgreSQL is no certificate for SSH");
    }
    if ["ssh-", "ecdsa-", "sk-"].iter().any(|start| first.starts_with(start)) {
        return invalid_certificate("it is a public key that no CA has signed")
            .fix("let the CA sign it, and give the content of the `-cert.pub` file that it makes; a key in authorized_keys needs no `ssh-certificate`");
    }
    let is_path = words.len() == 1 && (first.ends_with(".pub") || first.starts_with(['/', '~', '.']));
    if is_path {
        return invalid_certificate("it is the path of a file, not the certificate itself")
            .fix("put the content of the file into `ssh-certificate`");
    }
    invalid_certificate("it does not begin with a type such as ssh-ed25519-cert-v01@openssh.com")
}

/// Returns a fault about the certificate.
pub(super) fn invalid_certificate(why: &str) -> Fault {
    Fault::new(Code::CertificateInvalid, format!("`ssh-certificate` can't be used: {why}"))
}
