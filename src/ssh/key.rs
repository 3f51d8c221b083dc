//! Reading a private key before there is a network, so that a key that can't be read is never told as a refused log-in.
#![expect(clippy::disallowed_types, reason = "libssh2 reads the key here exactly as it will at log-in")]

use super::session::{FAILED_SEND, code_of};
use crate::{
    fault::{Code, Fault},
    secret::Secret,
};
use ssh_key::{HashAlg, PrivateKey};
use std::os::unix::net::UnixStream;

/// Says whether the private key can be read, before any network.
///
/// # Errors
/// `KeyInvalid` or `KeyPassphrase`.
pub fn check_key(key: &Secret, passphrase: Option<&Secret>) -> Result<(), Fault> {
    let key = normalised(key);
    let text = key.expose();
    let form = form_of(text)?;
    match (form, passphrase) {
        (Form::Encrypted, None) => {
            return Err(Fault::new(
                Code::KeyPassphrase,
                "`ssh-private-key` is encrypted, and `ssh-passphrase` is empty",
            ));
        }
        (Form::Plain | Form::Encrypted, _) => {}
    }
    if is_readable(text, passphrase)? {
        return Ok(());
    }
    Err(match form {
        Form::Encrypted => Fault::new(Code::KeyPassphrase, "`ssh-passphrase` does not open `ssh-private-key`"),
        Form::Plain => damaged("its content can't be decoded"),
    })
}

/// The key with the line ends and the last newline that OpenSSH writes: secrets lose them on their way through forms.
pub(super) fn normalised(key: &Secret) -> Secret {
    let lines: Vec<&str> = key.expose().trim().lines().map(str::trim_end).collect();
    Secret::new(lines.join("\n") + "\n")
}

/// `ssh-ed25519 SHA256:…` of the public half, where the form has it in clear.
pub(super) fn public_half(key: &Secret) -> Option<String> {
    let key = PrivateKey::from_openssh(normalised(key).expose()).ok()?;
    let public = key.public_key();
    Some(format!("{} {}", public.algorithm().as_str(), public.fingerprint(HashAlg::Sha256)))
}

#[derive(Clone, Copy)]
enum Form {
    Plain,
    Encrypted,
}

/// What the text is, judged by its frame: what people paste instead of a private key has a frame of its own.
fn form_of(text: &str) -> Result<Form, Fault> {
    let first = text.lines().next().unwrap_or_default();
    let last = text.lines().last().unwrap_or_default();
    if first.starts_with("PuTTY-User-Key-File") {
        return Err(damaged("it is in PuTTY's own form").fix("convert it: PuTTYgen, Conversions, Export OpenSSH key"));
    }
    let is_public = ["ssh-", "ecdsa-", "sk-", "---- BEGIN SSH2 PUBLIC"].iter().any(|start| first.starts_with(start));
    if is_public || first.contains("PUBLIC KEY") {
        let fix = "put the other file of the pair into the secret, the one whose name does not end in .pub";
        return Err(damaged("it is a public key").fix(fix));
    }
    if !(first.starts_with("-----BEGIN ") && first.ends_with("PRIVATE KEY-----")) {
        return Err(damaged("its first line is not -----BEGIN … PRIVATE KEY-----"));
    }
    if first.contains("-----END ") {
        return Err(damaged("its line breaks are lost: it is one long line"));
    }
    if last != first.replacen("BEGIN", "END", 1) {
        return Err(damaged("its last line is missing: it is cut off"));
    }
    if first.contains("OPENSSH") {
        let key =
            PrivateKey::from_openssh(text).map_err(|error| damaged("its content can't be decoded").because(&error))?;
        if key.public_key().algorithm().as_str().starts_with("sk-") {
            return Err(damaged("it lives in a hardware token, which no runner has").fix("use a key of type ed25519"));
        }
        return Ok(if key.is_encrypted() { Form::Encrypted } else { Form::Plain });
    }
    Ok(if text.contains("ENCRYPTED") { Form::Encrypted } else { Form::Plain })
}

fn damaged(why: &str) -> Fault {
    Fault::new(Code::KeyInvalid, format!("`ssh-private-key` can't be used: {why}"))
}

/// Starts a log-in on a session whose other end is gone. libssh2 reads the key first: if the sending is what fails, the
/// key was good.
fn is_readable(key: &str, passphrase: Option<&Secret>) -> Result<bool, Fault> {
    let defect = |error: &(dyn std::error::Error + 'static)| {
        Fault::new(Code::Bug, "no SSH session could be made to read the private key").because(error)
    };
    let (ours, theirs) = UnixStream::pair().map_err(|error| defect(&error))?;
    drop(theirs);
    let mut session = ssh2::Session::new().map_err(|error| defect(&error))?;
    session.set_tcp_stream(ours);
    if session.handshake().is_ok() {
        return Err(Fault::new(Code::Bug, "an SSH session without a server could be had"));
    }
    let passphrase = passphrase.map(Secret::expose);
    Ok(match session.userauth_pubkey_memory("check", None, key, passphrase) {
        Ok(()) => true,
        Err(error) => code_of(&error) == FAILED_SEND,
    })
}
