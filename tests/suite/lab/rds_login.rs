//! A PostgreSQL that logs clients in as Amazon RDS does: the password is a token, whose signature and age PAM checks.

use super::postgres::{Options, Postgres};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

/// The id of the key that signs.
pub(crate) const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
/// The key itself.
pub(crate) const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY";

/// The server, and the service of PAM that belongs to it.
#[derive(Debug)]
pub(crate) struct RdsServer {
    /// The server.
    pub(crate) postgres: Arc<Postgres>,
    service: PathBuf,
}

impl RdsServer {
    /// Starts the server.
    pub(crate) fn start() -> Self {
        let postgres = Postgres::start(&Options::default());
        let name = format!("bastion-migrate-lab-{}", postgres.port());
        let (script, key) = (postgres.directory().join("check-token.py"), postgres.directory().join("secret-key"));
        fs::write(&script, include_str!("check-rds-token.py")).expect("there is room");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::write(&key, SECRET_ACCESS_KEY).expect("there is room");
        let service = PathBuf::from("/etc/pam.d").join(&name);
        let exec = format!("pam_exec.so expose_authtok quiet /usr/bin/python3 {} {}", script.display(), key.display());
        fs::write(&service, format!("auth required {exec}\naccount required pam_permit.so\n"))
            .expect("the tests run as root");
        postgres.reconfigure(&format!("hostssl all all 127.0.0.1/32 pam pamservice={name}"), &[], &[]);
        Self { postgres, service }
    }
}

impl Drop for RdsServer {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.service));
    }
}
