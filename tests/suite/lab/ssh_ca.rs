//! A CA of `ssh-keygen`, and OpenSSH's own client as the yardstick of a verdict.
#![expect(clippy::disallowed_methods, reason = "the lab runs ssh and ssh-keygen")]

use super::{
    process::run_checked,
    sshd::{Sshd, keygen},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A CA for SSH keys.
#[derive(Debug)]
pub(crate) struct SshCa {
    dir: TempDir,
}

impl SshCa {
    /// Creates a CA with a key of these `ssh-keygen` arguments, like `-t ed25519`.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("ssh-ca").tempdir().expect("the lab works");
        // sshd's unprivileged child reads the public keys.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("the lab works");
        keygen(&dir.path().join("ca"), &[&["-N", ""], arguments].concat());
        Self { dir }
    }

    /// Creates a CA with an ed25519 key.
    pub(crate) fn ed25519() -> Self {
        Self::new(&["-t", "ed25519"])
    }

    /// Returns the path of the file with its public key.
    pub(crate) fn public_path(&self) -> PathBuf {
        self.dir.path().join("ca.pub")
    }

    /// Returns its public key as `type base64`.
    pub(crate) fn public_key(&self) -> String {
        let text = fs::read_to_string(self.public_path()).expect("the lab works");
        text.split(' ').take(2).map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// Signs a public key with these `ssh-keygen` arguments, like `-n deploy`, and returns the certificate.
    pub(crate) fn sign(&self, public_key: &str, arguments: &[&str]) -> String {
        let key = self.dir.path().join("key.pub");
        fs::write(&key, format!("{public_key}\n")).expect("the lab works");
        let mut keygen = Command::new("ssh-keygen");
        keygen.arg("-q").arg("-s").arg(self.dir.path().join("ca")).args(arguments).arg(&key).stderr(Stdio::null());
        run_checked(&mut keygen);
        fs::read_to_string(self.dir.path().join("key-cert.pub")).expect("the lab works")
    }

    /// Signs the key of a server's user, for that user, from an hour ago for two hours.
    pub(crate) fn sign_user(&self, sshd: &Sshd) -> String {
        self.sign(&sshd.public_key(), &["-I", "deploy 7", "-n", &sshd.user(), "-V", "-1h:+1h"])
    }
}

/// Returns whether OpenSSH's own client accepts the server and logs in, and its messages.
pub(crate) fn openssh_logs_in(sshd: &Sshd, host: &str, known_hosts: &str, certificate: Option<&str>) -> (bool, String) {
    openssh_does(sshd, host, (known_hosts, certificate), &["true"])
}

/// Returns whether OpenSSH's own client opens a connection from the server to itself with this certificate, and its messages.
pub(crate) fn openssh_forwards(sshd: &Sshd, certificate: &str) -> (bool, String) {
    let target = format!("127.0.0.1:{}", sshd.port);
    openssh_does(sshd, "127.0.0.1", (&sshd.known_hosts_line(), Some(certificate)), &["-W", &target])
}

/// Runs OpenSSH's own client; the last arguments are a command, or options in place of one.
fn openssh_does(
    sshd: &Sshd,
    host: &str,
    (known_hosts, certificate): (&str, Option<&str>),
    last: &[&str],
) -> (bool, String) {
    let dir = tempfile::tempdir().expect("the lab works");
    let path = |name: &str| dir.path().join(name);
    fs::write(path("known_hosts"), known_hosts).expect("the lab works");
    fs::write(path("key"), sshd.key().expose()).expect("the lab works");
    fs::set_permissions(path("key"), fs::Permissions::from_mode(0o600)).expect("the lab works");
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"])
        .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "UpdateHostKeys=no", "-o", "ConnectTimeout=5"])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", path("known_hosts").display()))
        .arg("-i")
        .arg(path("key"));
    // A key in PEM format does not show which certificate belongs to it.
    fs::write(path("key.pub"), sshd.public_key()).expect("the lab works");
    if let Some(certificate) = certificate {
        fs::write(path("certificate"), certificate).expect("the lab works");
        ssh.arg("-o").arg(format!("CertificateFile={}", path("certificate").display()));
    }
    ssh.args(["-p", &sshd.port.to_string(), "-l", &sshd.user()]).stdin(Stdio::null());
    match last {
        ["-W", ..] => ssh.args(last).arg(host),
        command => ssh.arg(host).args(command),
    };
    let output = ssh.output().expect("ssh is installed");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}
