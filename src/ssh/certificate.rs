//! An SSH certificate in its binary form (OpenSSH's PROTOCOL.certkeys): its fields, and its signature. A parser of our
//! own: `ssh-key` 0.6 can't read a certificate that is valid for ever, which is `ssh-keygen`'s default.

use super::{
    ca_signature::{CaSignature, SignatureDefect, check_ca_signature},
    public_key::{describe_key, key_of_fields, key_type, printable_name, read_string},
};
use chrono::{DateTime, Utc};

/// End of the types of all certificates.
pub(super) const TYPE_SUFFIX: &str = "-cert-v01@openssh.com";

/// The time of a certificate that never ends.
const FOREVER: u64 = u64::MAX;

/// Longest text from a certificate that is shown, in characters.
const LONGEST_TEXT: usize = 120;

/// Largest number of principals that are shown.
const MOST_PRINCIPALS: usize = 8;

/// The kind of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateKind {
    /// For a user who logs in.
    User,
    /// For a server.
    Host,
}

/// The fields of a certificate. Untrusted until its signature is checked, and its CA is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SshCertificate {
    /// Type of the certificate, such as `ssh-ed25519-cert-v01@openssh.com`.
    pub(super) algorithm: String,
    /// The certified key alone, in SSH's binary form.
    pub(super) plain_key: Vec<u8>,
    /// `None` for a kind that does not exist.
    pub(super) kind: Option<CertificateKind>,
    /// Name that the CA gave it, for logs.
    pub(super) key_id: String,
    /// The users or hosts; none means any of them in older versions of OpenSSH.
    pub(super) principals: Vec<String>,
    /// First second at which it is valid, since 1970.
    pub(super) valid_after: u64,
    /// First second at which it is no longer valid, since 1970.
    pub(super) valid_before: u64,
    /// Restrictions with their values; a server refuses those that it does not know.
    pub(super) critical_options: Vec<(String, String)>,
    /// Permissions; unknown ones are ignored.
    pub(super) extensions: Vec<String>,
    /// The CA's public key, in SSH's binary form.
    pub(super) authority: Vec<u8>,
    signature: CaSignature,
    /// All of it.
    encoded: Vec<u8>,
    /// Length of the fields before the signature, which it is about, in bytes.
    signed_length: usize,
}

impl SshCertificate {
    /// Parses a certificate; `None` if any byte of it is not as the format has it.
    pub(super) fn parse(blob: &[u8]) -> Option<Self> {
        let (name, rest) = read_string(blob)?;
        let algorithm = printable_name(name)?;
        let plain_type = algorithm.strip_suffix(TYPE_SUFFIX)?.to_owned();
        let (_nonce, mut rest) = read_string(rest)?;
        // PROTOCOL.certkeys: the fields of the plain key behind the nonce.
        let plain_name = match plain_type.as_str() {
            "sk-ssh-ed25519" | "sk-ecdsa-sha2-nistp256" => format!("{plain_type}@openssh.com"),
            _ => plain_type.clone(),
        };
        let mut fields = vec![plain_name.as_bytes()];
        for _ in 0..field_count(&plain_type)? {
            let (field, behind) = read_string(rest)?;
            fields.push(field);
            rest = behind;
        }
        let (_serial, rest) = rest.split_first_chunk::<8>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let (key_id, rest) = read_string(rest)?;
        let (principals, rest) = read_string(rest)?;
        let (valid_after, rest) = rest.split_first_chunk::<8>()?;
        let (valid_before, rest) = rest.split_first_chunk::<8>()?;
        let (critical_options, rest) = read_string(rest)?;
        let (extensions, rest) = read_string(rest)?;
        let (_reserved, rest) = read_string(rest)?;
        let (authority, rest) = read_string(rest)?;
        let signed_length = blob.len() - rest.len();
        let (signature, rest) = read_string(rest)?;
        rest.is_empty().then_some(())?;
        Some(Self {
            plain_key: key_of_fields(&fields),
            kind: match u32::from_be_bytes(*kind) {
                1 => Some(CertificateKind::User),
                2 => Some(CertificateKind::Host),
                _ => None,
            },
            key_id: String::from_utf8_lossy(key_id).into_owned(),
            principals: read_strings(principals)?,
            valid_after: u64::from_be_bytes(*valid_after),
            valid_before: u64::from_be_bytes(*valid_before),
            critical_options: read_options(critical_options)?,
            extensions: read_options(extensions)?.into_iter().map(|(name, _)| name).collect(),
            authority: authority.to_vec(),
            signature: CaSignature::parse(signature)?,
            encoded: blob.to_vec(),
            signed_length,
            algorithm,
        })
    }

    /// Checks the CA's signature.
    ///
    /// # Errors
    /// The reason why it proves nothing.
    pub(super) fn check_signature(&self) -> Result<(), SignatureDefect> {
        let signed = self.encoded.get(..self.signed_length).unwrap_or_default();
        check_ca_signature(&self.authority, signed, &self.signature)
    }

    /// Returns the certificate in SSH's binary form.
    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Returns the algorithm of the CA's signature.
    pub(super) fn signature_algorithm(&self) -> &str {
        &self.signature.algorithm
    }

    /// Returns whether a time, in seconds since 1970, is within the certificate's own.
    pub(super) fn validity_at(&self, now: u64) -> CertificateValidity {
        // PROTOCOL.certkeys: valid after <= current time < valid before.
        if now < self.valid_after {
            return CertificateValidity::NotYet;
        }
        if now >= self.valid_before { CertificateValidity::Over } else { CertificateValidity::Valid }
    }

    /// Returns the name that the CA gave it, printable.
    pub(super) fn shown_key_id(&self) -> String {
        printable(&self.key_id)
    }

    /// Returns the principals as a list.
    pub(super) fn shown_principals(&self) -> String {
        let shown: Vec<String> =
            self.principals.iter().take(MOST_PRINCIPALS).map(|principal| printable(principal)).collect();
        match self.principals.len().saturating_sub(MOST_PRINCIPALS) {
            0 if shown.is_empty() => "no principal".to_owned(),
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        }
    }

    /// Returns the facts of `ssh-keygen -L`: key id, principals, end, CA.
    pub(super) fn describe(&self) -> String {
        format!(
            "`{}` for {}, valid {}, of the CA {}",
            self.shown_key_id(),
            self.shown_principals(),
            describe_end(self.valid_before),
            describe_key(&self.authority)
        )
    }
}

/// The relation of a time to the validity of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateValidity {
    NotYet,
    Valid,
    Over,
}

/// Returns `until 2026-12-01 05:00 UTC`, or `for ever`.
pub(super) fn describe_end(valid_before: u64) -> String {
    if valid_before == FOREVER {
        return "for ever".to_owned();
    }
    format!("until {}", format_second(valid_before))
}

/// Returns a second since 1970 as `2026-12-01 05:00:00 UTC`.
pub(super) fn format_second(second: u64) -> String {
    let time = i64::try_from(second).ok().and_then(|second| DateTime::<Utc>::from_timestamp(second, 0));
    time.map_or_else(|| "a time far away".to_owned(), |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Returns whether a key in SSH's binary form is a certificate.
pub(super) fn is_certificate(blob: &[u8]) -> bool {
    key_type(blob).ends_with(TYPE_SUFFIX)
}

/// Returns the number of the fields of a key besides its type (PROTOCOL.certkeys).
fn field_count(plain_type: &str) -> Option<usize> {
    match plain_type {
        "ssh-ed25519" => Some(1),
        "ssh-rsa" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" | "sk-ssh-ed25519" => Some(2),
        "sk-ecdsa-sha2-nistp256" => Some(3),
        "ssh-dss" => Some(4),
        _ => None,
    }
}

fn read_strings(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut strings = Vec::new();
    while !bytes.is_empty() {
        let (string, rest) = read_string(bytes)?;
        strings.push(String::from_utf8(string.to_vec()).ok()?);
        bytes = rest;
    }
    Some(strings)
}

/// Reads options: names with values, which are strings in a string if they are not empty.
fn read_options(mut bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut options = Vec::new();
    while !bytes.is_empty() {
        let (name, rest) = read_string(bytes)?;
        let (value, rest) = read_string(rest)?;
        let text = read_string(value).map_or(value, |(text, _)| text);
        options.push((printable(&String::from_utf8_lossy(name)), printable(&String::from_utf8_lossy(text))));
        bytes = rest;
    }
    Some(options)
}

/// Returns a text of a certificate, short and without control characters and back-ticks.
pub(super) fn printable(text: &str) -> String {
    let shown: String =
        text.chars().filter(|letter| !letter.is_control() && *letter != '`').take(LONGEST_TEXT).collect();
    if text.chars().count() > LONGEST_TEXT { format!("{shown}…") } else { shown }
}
