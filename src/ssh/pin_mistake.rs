//! Texts that are pasted into `ssh-known-hosts` or `ssh-fingerprint` and pin nothing: each is recognised by its form.

use super::algorithms::ALGORITHMS;
use crate::fault::{Code, Fault};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};

/// The kind of a line that pins nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LineMistake {
    /// A fingerprint, `SHA256:…`.
    Fingerprint,
    /// A fingerprint of the old kind, 16 bytes with colons.
    Md5,
    /// A key without a host's name in front: a line of a `.pub` file, with the key in SSH's binary form.
    NoHost(Vec<u8>),
    /// A private key, or a part of its file.
    PrivateKey,
    /// A public key in another form than OpenSSH's.
    ForeignKey,
    /// An address alone.
    HostAlone,
    /// A message of `ssh-keyscan` or `ssh`.
    Message,
    /// A certificate: the key of its CA belongs there.
    Certificate,
    /// A whole line, except that a part of the key is missing or changed.
    DamagedKey,
    /// Anything else.
    Other,
}

impl LineMistake {
    /// Recognises a line that is trimmed, and has single spaces between its words.
    pub(super) fn of(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let has = |test: fn(&str) -> bool| words.iter().any(|word| test(word));
        if line.contains("PRIVATE KEY-----") || line.starts_with("PuTTY-User-Key-File") {
            return Self::PrivateKey;
        }
        if has(|word| word.contains("-cert-v01@openssh.com")) {
            return Self::Certificate;
        }
        if has(|word| word.starts_with("SHA256:")) {
            return Self::Fingerprint;
        }
        if has(is_md5) {
            return Self::Md5;
        }
        if words.first().is_some_and(|word| is_key_type(word)) {
            return Self::NoHost(words.get(1).and_then(|word| STANDARD.decode(word).ok()).unwrap_or_default());
        }
        if line.starts_with("-----") || line.starts_with("---- ") {
            return Self::ForeignKey;
        }
        if words.iter().skip(1).any(|word| is_key_type(word)) {
            return Self::DamagedKey;
        }
        if has(|word| word.ends_with(':')) && words.len() > 2 {
            return Self::Message;
        }
        let is_address = words.len() == 1 && line.contains('.') && !line.contains('/');
        if is_address { Self::HostAlone } else { Self::Other }
    }

    /// Returns the problem, as the end of a sentence about the line, and the fix; `name` is that of the host.
    fn explain(&self, name: &str) -> (&'static str, String) {
        let scan = format!("paste what `ssh-keyscan` prints for `{name}`");
        match self {
            Self::Fingerprint => (
                "is a fingerprint",
                "move it to `ssh-fingerprint`, which pins the bastion, and leave the line out here".to_owned(),
            ),
            Self::Md5 => ("is an MD5 fingerprint, which proves nothing today", scan),
            Self::NoHost(_) => {
                ("has no host name in front of the key", format!("put `{name}` and a space at the start of the line"))
            }
            Self::PrivateKey => (
                "belongs to a private key",
                format!("put the private key into `ssh-private-key`, and here {}", scan.replacen("paste ", "", 1)),
            ),
            Self::ForeignKey => (
                "is not in OpenSSH's form",
                format!("{scan}; `ssh-keygen -i -f FILE` converts a public key in another form"),
            ),
            Self::HostAlone => ("is a host without its key", scan),
            Self::Message => {
                ("is a message, not a key", format!("run `ssh-keyscan` where the server can be reached, and {scan}"))
            }
            Self::Certificate => (
                "is a certificate",
                "write the public key of its CA in its place: `@cert-authority *.example.com ssh-ed25519 AAAA…`"
                    .to_owned(),
            ),
            Self::DamagedKey => ("has a key that is damaged or cut off", scan),
            Self::Other => ("is not a known_hosts line, which has a host name, a key type and a key", scan),
        }
    }

    /// Returns the fault of a text without a single key.
    pub(super) fn fault(&self, number: usize) -> Fault {
        let (problem, fix) = self.explain("the bastion");
        let fault = Fault::new(Code::PinInvalid, format!("line {number} of `ssh-known-hosts` {problem}"));
        match self {
            Self::Fingerprint => fault.fix("move it to `ssh-fingerprint`, and leave `ssh-known-hosts` empty"),
            Self::NoHost(_) => fault.fix(
                "put the bastion's name, exactly as in `ssh-host`, and a space at the start of the line (`[name]:port` if the \
                 port is not 22), or paste what `ssh-keyscan` prints",
            ),
            Self::Other => fault,
            _ => fault.fix(fix.replace("`the bastion`", "the bastion")),
        }
    }

    /// Returns a remark about a line beside others, for a host that is not pinned.
    pub(super) fn remark(&self, number: usize, name: &str) -> String {
        let (problem, fix) = self.explain(name);
        format!("line {number} of `ssh-known-hosts` {problem}: {fix}")
    }
}

/// Returns the fault of a revocation that can't be read.
pub(super) fn revocation_fault(number: usize) -> Fault {
    let cause = format!("line {number} of `ssh-known-hosts` revokes a key and can't be read");
    let fix = "correct the line, or remove it: otherwise the key that it revokes would be accepted";
    Fault::new(Code::PinInvalid, cause).fix(fix)
}

fn is_key_type(word: &str) -> bool {
    word == "ssh-rsa" || ALGORITHMS.contains(&word) || ["ssh-dss", "sk-ssh-ed25519@openssh.com"].contains(&word)
}

/// Returns whether a word is an MD5 fingerprint: 16 bytes in hexadecimal digits, with colons between.
fn is_md5(word: &str) -> bool {
    let bytes: Vec<&str> = word.trim_start_matches("MD5:").split(':').collect();
    bytes.len() == 16 && bytes.iter().all(|byte| byte.len() == 2 && byte.chars().all(|digit| digit.is_ascii_hexdigit()))
}

/// Parses the fingerprints in `ssh-fingerprint`: one, or the lines that `ssh-keygen -lf` prints for several keys.
/// Returns them in base64 without padding.
///
/// # Errors
/// `pin-invalid`.
pub(super) fn parse_fingerprints(text: &str) -> Result<Vec<String>, Fault> {
    let words = || text.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
    let fault = |cause: &str, fix: &str| Err(Fault::new(Code::PinInvalid, cause).fix(fix));
    if text.contains("PRIVATE KEY-----") {
        return fault(
            "`ssh-fingerprint` is a private key",
            "move it to `ssh-private-key`, and give the fingerprint of the server's key",
        );
    }
    if words().any(is_key_type) {
        return fault(
            "`ssh-fingerprint` is a whole key, not its fingerprint",
            "if it is a line of known_hosts, which begins with the host's name, move it to `ssh-known-hosts`; \
             otherwise give the fingerprint that `ssh-keygen -lf` prints for it",
        );
    }
    let marked: Vec<&str> = words().filter(|word| word.starts_with("SHA256:")).collect();
    let found = if marked.is_empty() { words().take(1).collect() } else { marked };
    let digests: Vec<&str> =
        found.iter().map(|word| word.strip_prefix("SHA256:").unwrap_or(word).trim_end_matches('=')).collect();
    let is_digest = |digest: &&str| STANDARD_NO_PAD.decode(digest).is_ok_and(|digest| digest.len() == 32);
    if !digests.is_empty() && digests.iter().all(is_digest) {
        return Ok(digests.into_iter().map(ToOwned::to_owned).collect());
    }
    let fix = "give what `ssh-keygen -lf` prints for the server's public key";
    if found.iter().any(|word| !word.starts_with("SHA256:") && word.contains(':')) {
        return fault("`ssh-fingerprint` is not a SHA256 fingerprint; an MD5 fingerprint proves nothing today", fix);
    }
    fault("`ssh-fingerprint` is not a fingerprint of the form SHA256:… with 43 characters after the colon", fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJA+l9qthPOJ/VYsMGurUr8BmfKN8ub6eGwSUJjca094";

    #[test]
    fn recognises_a_line_by_its_form() {
        for (line, mistake) in [
            ("256 SHA256:rHARUo62wukhlwGwU7WOPDabbIK67jfd9lycBgytCtA h (ED25519)".to_owned(), LineMistake::Fingerprint),
            ("SHA256:rHARUo62wukhlwGwU7WOPDabbIK67jfd9lycBgytCtA".to_owned(), LineMistake::Fingerprint),
            ("16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48".to_owned(), LineMistake::Md5),
            ("256 MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48 h".to_owned(), LineMistake::Md5),
            (format!("ssh-ed25519 {KEY} root@h"), LineMistake::NoHost(STANDARD.decode(KEY).unwrap())),
            ("ssh-rsa AAAA".to_owned(), LineMistake::NoHost(vec![0, 0, 0])),
            ("-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(), LineMistake::PrivateKey),
            ("-----BEGIN PUBLIC KEY-----".to_owned(), LineMistake::ForeignKey),
            ("---- BEGIN SSH2 PUBLIC KEY ----".to_owned(), LineMistake::ForeignKey),
            ("bastion.example.com".to_owned(), LineMistake::HostAlone),
            ("getaddrinfo bastion.example: Name or service not known".to_owned(), LineMistake::Message),
            ("ssh: connect to host h port 22: Connection refused".to_owned(), LineMistake::Message),
            ("h ssh-ed25519-cert-v01@openssh.com AAAA".to_owned(), LineMistake::Certificate),
            ("h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJA+".to_owned(), LineMistake::DamagedKey),
            ("yes".to_owned(), LineMistake::Other),
        ] {
            assert_eq!(LineMistake::of(&line), mistake, "{line}");
        }
    }

    #[test]
    fn reads_every_fingerprint_of_a_list() {
        let print = "rHARUo62wukhlwGwU7WOPDabbIK67jfd9lycBgytCtA";
        let list = format!("3072 SHA256:{} h (RSA)\n256 SHA256:{print} h (ED25519)\n", "A".repeat(43));
        assert_eq!(parse_fingerprints(&list).unwrap(), ["A".repeat(43), print.to_owned()]);
        assert_eq!(parse_fingerprints(&format!("\"SHA256:{print}\"")).unwrap(), [print]);
        assert!(parse_fingerprints(&format!("SHA256:{print} SHA256:abc")).is_err());
    }
}
