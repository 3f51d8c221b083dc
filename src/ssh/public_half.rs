//! The public half of a private key, as far as its file has it without a passphrase.

use super::{key_text::normalise_key, openssh_key::KeyHeader, public_key::key_of_fields};
use crate::secret::Secret;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use x509_cert::der::{Decode as _, Reader as _, SliceReader, Tag, Tagged as _, asn1::AnyRef};

/// Object identifiers of the key types in PKCS #8 (RFC 8017, RFC 5480, RFC 8410).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// SSH's names of the curves (RFC 5656, 10.1), by their object identifiers.
const CURVES: [(&[u8], &str); 3] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], "nistp256"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], "nistp384"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "nistp521"),
];

/// Returns the public half in SSH's binary form; `None` if the file has it only encrypted, or not at all.
pub(super) fn public_half(key: &Secret) -> Option<Vec<u8>> {
    let key = normalise_key(key);
    let text = key.expose();
    let first = text.lines().next()?;
    if first.contains("OPENSSH") {
        return KeyHeader::parse(text).map(|header| header.public);
    }
    if first.contains("ENCRYPTED") || text.contains("DEK-Info: ") {
        return None;
    }
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body).ok()?;
    match first {
        "-----BEGIN RSA PRIVATE KEY-----" => rsa_public_half(&der),
        "-----BEGIN EC PRIVATE KEY-----" => ec_public_half(&der, None),
        "-----BEGIN PRIVATE KEY-----" => pkcs8_public_half(&der),
        _ => None,
    }
}

/// Reads `PrivateKeyInfo` (RFC 5208).
fn pkcs8_public_half(der: &[u8]) -> Option<Vec<u8>> {
    let [_version, algorithm, key, ..] = *elements(sequence(der)?)?.as_slice() else { return None };
    let algorithm = elements(algorithm.value())?;
    let (kind, parameters) = (algorithm.first()?.value(), algorithm.get(1).map(|parameters| parameters.value()));
    match kind {
        RSA => rsa_public_half(key.value()),
        EC => ec_public_half(key.value(), parameters),
        ED25519 => {
            let seed = AnyRef::from_der(key.value()).ok()?;
            let pair = Ed25519KeyPair::from_seed_unchecked(seed.value()).ok()?;
            Some(key_of_fields(&[b"ssh-ed25519", pair.public_key().as_ref()]))
        }
        _ => None,
    }
}

/// Reads `RSAPrivateKey` (RFC 8017, A.1.2). Its numbers are written as in SSH.
fn rsa_public_half(der: &[u8]) -> Option<Vec<u8>> {
    let [_version, modulus, exponent, ..] = *elements(sequence(der)?)?.as_slice() else { return None };
    Some(key_of_fields(&[b"ssh-rsa", exponent.value(), modulus.value()]))
}

/// Reads `ECPrivateKey` (RFC 5915), whose public half is optional.
fn ec_public_half(der: &[u8], curve: Option<&[u8]>) -> Option<Vec<u8>> {
    let fields = elements(sequence(der)?)?;
    let tagged = |number: u8| {
        let field = fields
            .iter()
            .find(|field| matches!(field.tag(), Tag::ContextSpecific { number: found, .. } if found.value() == number));
        field.and_then(|field| AnyRef::from_der(field.value()).ok())
    };
    let curve = tagged(0).map(|curve| curve.value().to_vec()).or_else(|| curve.map(<[u8]>::to_vec))?;
    let (_, name) = CURVES.iter().find(|(identifier, _)| *identifier == curve)?;
    // A bit string begins with the number of its unused bits.
    let point = tagged(1)?;
    let point = point.value().strip_prefix(&[0])?;
    Some(key_of_fields(&[format!("ecdsa-sha2-{name}").as_bytes(), name.as_bytes(), point]))
}

/// Returns the content of a sequence.
fn sequence(der: &[u8]) -> Option<&[u8]> {
    let sequence = AnyRef::from_der(der).ok()?;
    (sequence.tag() == Tag::Sequence).then(|| sequence.value())
}

/// Splits the content of a sequence.
fn elements(content: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(content).ok()?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(elements)
}
