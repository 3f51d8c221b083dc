//! Reads a private key before connecting, so that an unreadable key is never reported as a refused log-in.
#![expect(clippy::disallowed_types, reason = "libssh2 reads the key here exactly as it will at log-in")]

use super::{
    key_text::{check_key_frame, invalid_key, normalise_key},
    libssh2::{FAILED_SEND, error_code},
    openssh_key::KeyHeader,
    public_half::public_half,
    public_key::describe_key,
};
use crate::{
    fault::{Code, Fault},
    secret::Secret,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::os::unix::net::UnixStream;

/// The ciphers of the OpenSSH format that libssh2 can decrypt: each was tested. `ssh-keygen` has one more, 3des-cbc.
const OPENSSH_CIPHERS: [&str; 10] = [
    "none",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
];

/// The ciphers of PEM that libssh2 can decrypt, by their prefix in `DEK-Info`.
const PEM_CIPHERS: [&str; 2] = ["AES-", "DES-EDE3-CBC"];

/// The ciphers of PKCS #8 that libssh2 can decrypt, by the bytes of their object identifiers: AES, triple DES, and
/// triple DES of PKCS #12.
const PKCS8_CIPHERS: [&[u8]; 3] = [
    &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x03],
];

/// Keys that have a PEM format and that no SSH server accepts, by object identifier: DSA, and Bitcoin's curve.
const UNSUPPORTED_KEYS: [(&[u8], &str); 2] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], DSA_UNSUPPORTED),
    (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "its curve is secp256k1, which SSH does not have"),
];

const DSA_UNSUPPORTED: &str = "it is a DSA key, which OpenSSH no longer accepts";

const MAKE_NEW_KEY: &str = "make a new key: `ssh-keygen -t ed25519`";

const REENCRYPT_KEY: &str = "encrypt it again: `ssh-keygen -p -Z aes256-ctr -f KEYFILE`";

/// Checks that the private key can be read, without any network.
///
/// # Errors
/// `key-invalid` or `key-passphrase`.
pub fn check_private_key(key: &Secret, passphrase: Option<&Secret>) -> Result<(), Fault> {
    let key = normalise_key(key);
    let text = key.expose();
    check_key_frame(text)?;
    let encryption = key_encryption(text)?;
    if let (KeyEncryption::Encrypted(_), None) = (encryption, passphrase) {
        let cause = "`ssh-private-key` is encrypted, and `ssh-passphrase` is empty";
        return Err(Fault::new(Code::KeyPassphrase, cause));
    }
    if is_readable(text, passphrase)? {
        return Ok(());
    }
    let closed = Fault::new(Code::KeyPassphrase, "`ssh-passphrase` does not open `ssh-private-key`");
    Err(match encryption {
        KeyEncryption::Encrypted(KeyTypeVisibility::Visible) => closed,
        KeyEncryption::Encrypted(KeyTypeVisibility::Hidden) => {
            closed.detail("if the passphrase is right, the key is not an RSA, ECDSA or ed25519 key")
        }
        KeyEncryption::Plain => invalid_key("its content can't be decoded"),
    })
}

/// Returns `ssh-ed25519 SHA256:…` of the public half, if the file has it unencrypted.
pub(super) fn describe_public_half(key: &Secret) -> Option<String> {
    public_half(key).map(|public| describe_key(&public))
}

#[derive(Clone, Copy)]
enum KeyEncryption {
    Plain,
    Encrypted(KeyTypeVisibility),
}

/// Visibility of the key type before decryption.
#[derive(Clone, Copy)]
enum KeyTypeVisibility {
    Visible,
    Hidden,
}

/// Returns how the key is encrypted, if SSH knows its type and libssh2 can read it.
fn key_encryption(text: &str) -> Result<KeyEncryption, Fault> {
    let first = text.lines().next().unwrap_or_default();
    if first.contains("OPENSSH") {
        return openssh_key_encryption(text);
    }
    if first.contains("BEGIN DSA ") {
        return Err(invalid_key(DSA_UNSUPPORTED).fix(MAKE_NEW_KEY));
    }
    if let Some(info) = text.lines().find_map(|line| line.strip_prefix("DEK-Info: ")) {
        let name = info.split(',').next().unwrap_or_default();
        return if PEM_CIPHERS.iter().any(|cipher| name.starts_with(cipher)) {
            Ok(KeyEncryption::Encrypted(KeyTypeVisibility::Visible))
        } else {
            Err(invalid_key("it is encrypted with a cipher that is not supported here").fix(REENCRYPT_KEY))
        };
    }
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body).map_err(|error| invalid_key("its content can't be decoded").with_causes(&error))?;
    let has = |identifier: &[u8]| der.windows(identifier.len()).any(|bytes| bytes == identifier);
    if first.contains("ENCRYPTED") {
        return if PKCS8_CIPHERS.iter().any(|cipher| has(cipher)) {
            Ok(KeyEncryption::Encrypted(KeyTypeVisibility::Hidden))
        } else {
            Err(invalid_key("it is encrypted with a cipher that is not supported here").fix(REENCRYPT_KEY))
        };
    }
    match UNSUPPORTED_KEYS.iter().find(|(identifier, _)| has(identifier)) {
        Some((_, why)) => Err(invalid_key(why).fix(MAKE_NEW_KEY)),
        None => Ok(KeyEncryption::Plain),
    }
}

fn openssh_key_encryption(text: &str) -> Result<KeyEncryption, Fault> {
    let KeyHeader { cipher, algorithm, .. } =
        KeyHeader::parse(text).ok_or_else(|| invalid_key("its content can't be decoded"))?;
    if !OPENSSH_CIPHERS.contains(&cipher.as_str()) {
        return Err(
            invalid_key(&format!("it is encrypted with {cipher}, which is not supported here")).fix(REENCRYPT_KEY)
        );
    }
    if algorithm.starts_with("sk-") {
        return Err(invalid_key("it is stored in a hardware token, which a runner does not have")
            .fix("use a key of type ed25519"));
    }
    if algorithm == "ssh-dss" {
        return Err(invalid_key(DSA_UNSUPPORTED).fix(MAKE_NEW_KEY));
    }
    Ok(if cipher == "none" { KeyEncryption::Plain } else { KeyEncryption::Encrypted(KeyTypeVisibility::Visible) })
}

/// Returns whether libssh2 can read the key. Starts a log-in on a session whose peer is closed: libssh2 reads the key
/// first, so if only the send fails, the key is good.
fn is_readable(key: &str, passphrase: Option<&Secret>) -> Result<bool, Fault> {
    let defect = |error: &(dyn std::error::Error + 'static)| {
        Fault::new(Code::Bug, "no SSH session could be created to read the private key").with_causes(error)
    };
    let (socket, peer) = UnixStream::pair().map_err(|error| defect(&error))?;
    drop(peer);
    let mut session = ssh2::Session::new().map_err(|error| defect(&error))?;
    session.set_tcp_stream(socket);
    if session.handshake().is_ok() {
        return Err(Fault::new(Code::Bug, "an SSH handshake succeeded without a server"));
    }
    let passphrase = passphrase.map(Secret::expose);
    Ok(match session.userauth_pubkey_memory("check", None, key, passphrase) {
        Ok(()) => true,
        Err(error) => error_code(&error) == FAILED_SEND,
    })
}
