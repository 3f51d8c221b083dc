//! Blocks that other programs read: shells, sshd, PostgreSQL.
#![expect(clippy::disallowed_methods, reason = "asks the programs that a reader gives the block to")]

use crate::lab::{postgres::Database, process::program, sshd::keygen};
use std::{fs, process::Command};

/// Returns what the shell can't parse in a script.
pub(super) fn check_script(script: &str) -> Option<String> {
    let output = Command::new("bash").args(["-n", "-c", script]).output().expect("there is a bash");
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    (!output.status.success() || !reason.is_empty()).then(|| format!("the shell can't parse it: {reason}"))
}

/// Returns what sshd can't read in lines of its configuration, which stand behind a complete one.
pub(super) fn check_sshd_config(lines: &str) -> Option<String> {
    let directory = tempfile::tempdir().expect("there is room");
    let (key, config) = (directory.path().join("key"), directory.path().join("config"));
    keygen(&key, &["-t", "ed25519", "-N", ""]);
    fs::write(&config, format!("HostKey {}\n{lines}", key.display())).expect("there is room");
    let output = Command::new(program("sshd", "openssh-server"))
        .arg("-t")
        .arg("-f")
        .arg(&config)
        .output()
        .expect("there is an sshd");
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    (!output.status.success()).then(|| format!("sshd can't read it: {reason}"))
}

/// Returns what PostgreSQL rejects. Everything is rolled back, roles too.
pub(super) fn check_sql(statements: &str, database: &Database) -> Option<String> {
    // The database of the text is another one here.
    let statements = statements.replace("DATABASE app", &format!("DATABASE {}", database.name()));
    let result = database.session().try_sql(&format!("begin;\n{statements}\nrollback;"));
    result.err().map(|error| format!("PostgreSQL rejects it: {error:?}"))
}
