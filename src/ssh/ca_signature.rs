//! The signature of a CA under a certificate: ECDSA by `ssh-key`, ed25519 and RSA by `ring`.

use super::public_key::{key_type, printable_name, read_string};
use ring::signature::{
    ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use signature::Verifier as _;
use ssh_key::PublicKey;

/// Fewest bits of the RSA key of a CA: `ring` checks no shorter one.
const LEAST_RSA_BITS: usize = 2048;

/// A signature in SSH's binary form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CaSignature {
    /// Name of the algorithm, such as `rsa-sha2-512`.
    pub(super) algorithm: String,
    /// The value alone.
    value: Vec<u8>,
    /// Algorithm and value, as they stand in the certificate.
    encoded: Vec<u8>,
}

impl CaSignature {
    /// Parses a signature (RFC 4253, 6.6); keys in hardware tokens have two more fields.
    pub(super) fn parse(encoded: &[u8]) -> Option<Self> {
        let (name, rest) = read_string(encoded)?;
        let (value, rest) = read_string(rest)?;
        let algorithm = printable_name(name)?;
        if !rest.is_empty() && !algorithm.starts_with("sk-") {
            return None;
        }
        Some(Self { algorithm, value: value.to_vec(), encoded: encoded.to_vec() })
    }
}

/// The reason why a signature proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SignatureDefect {
    /// It is not that of the CA, over these fields.
    Forged,
    /// Its algorithm is too weak, or can't be checked here; the end of a sentence about the certificate.
    Unusable(String),
}

/// Checks a CA's signature. As in OpenSSH's `CASignatureAlgorithms`, RSA with SHA-1 counts for nothing.
///
/// # Errors
/// The reason why it proves nothing.
pub(super) fn check_ca_signature(
    authority: &[u8],
    signed: &[u8],
    signature: &CaSignature,
) -> Result<(), SignatureDefect> {
    let unusable = |problem: &str| Err(SignatureDefect::Unusable(problem.to_owned()));
    let authority_type = key_type(authority);
    let is_valid = match (authority_type.as_str(), signature.algorithm.as_str()) {
        ("ssh-ed25519", "ssh-ed25519") => verify_ed25519(authority, signed, signature),
        ("ssh-rsa", "ssh-rsa") => return unusable("its CA signed it with SHA-1, which proves nothing today"),
        ("ssh-rsa", _) if rsa_bits(authority) < LEAST_RSA_BITS => {
            return unusable("its CA has an RSA key of fewer than 2048 bits");
        }
        ("ssh-rsa", "rsa-sha2-256") => verify_rsa(authority, signed, signature, &RSA_PKCS1_2048_8192_SHA256),
        ("ssh-rsa", "rsa-sha2-512") => verify_rsa(authority, signed, signature, &RSA_PKCS1_2048_8192_SHA512),
        ("ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521", algorithm)
            if algorithm == authority_type =>
        {
            verify_ecdsa(authority, signed, signature)
        }
        _ => return unusable(&format!("a signature by a CA of type {authority_type} can't be checked here")),
    };
    is_valid.ok_or(SignatureDefect::Forged)
}

fn verify_ed25519(authority: &[u8], signed: &[u8], signature: &CaSignature) -> Option<()> {
    let (_, rest) = read_string(authority)?;
    let (point, _) = read_string(rest)?;
    UnparsedPublicKey::new(&ED25519, point).verify(signed, &signature.value).ok()
}

/// Returns the number of bits of an RSA key, up to seven more than it has.
fn rsa_bits(authority: &[u8]) -> usize {
    let modulus =
        read_string(authority).and_then(|(_, rest)| read_string(rest)).and_then(|(_, rest)| read_string(rest));
    modulus.map_or(0, |(modulus, _)| unsigned(modulus).len() * 8)
}

/// Returns a number without the zero that SSH has in front if it would be negative otherwise (RFC 4251, 5).
fn unsigned(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0]).unwrap_or(number)
}

fn verify_rsa(
    authority: &[u8],
    signed: &[u8],
    signature: &CaSignature,
    parameters: &'static RsaParameters,
) -> Option<()> {
    let (_, rest) = read_string(authority)?;
    let (exponent, rest) = read_string(rest)?;
    let (modulus, _) = read_string(rest)?;
    let key = RsaPublicKeyComponents { n: unsigned(modulus), e: unsigned(exponent) };
    key.verify(parameters, signed, &signature.value).ok()
}

fn verify_ecdsa(authority: &[u8], signed: &[u8], signature: &CaSignature) -> Option<()> {
    let key = PublicKey::from_bytes(authority).ok()?;
    let signature = ssh_key::Signature::try_from(signature.encoded.as_slice()).ok()?;
    key.key_data().verify(signed, &signature).ok()
}
