//! The script that dumps: the same in a container and on the deployment server. It contains no secret.

/// A dump to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpOrder {
    /// A random word that begins each message of the script.
    pub token: String,
    /// The arguments of `pg_dump`.
    pub arguments: Vec<String>,
    /// Major version of the server: an older `pg_dump` refuses it.
    pub server_major: u32,
    /// The command that reads the dump, in shell syntax; without it the dump goes to standard output.
    pub receiver: Option<String>,
}

impl DumpOrder {
    /// Returns the script.
    #[must_use]
    pub fn script(&self) -> String {
        let Self { token, arguments, server_major, receiver } = self;
        let receiver = shell_words::quote(receiver.as_deref().unwrap_or_default());
        let arguments = shell_words::join(arguments);
        let script = include_str!("dump.sh");
        format!("token={token} major={server_major} receiver={receiver}\nset -- {arguments}\n{script}")
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a real shell runs the script")]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

    /// Programs that stand in for those of PostgreSQL: they say what they were asked for.
    fn programs(directory: &Path, pg_dump: &str, version: &str) {
        let dump = format!(
            "#!/bin/sh\ncase \"$1\" in --version) echo 'pg_dump (PostgreSQL) {version} (Debian)'; exit;; esac\n{pg_dump}\n"
        );
        let restore = "#!/bin/sh\ncase \"$1\" in --list) echo '7; 0 16 TABLE DATA public orders app'; head -c 3;; \
            *) grep -q END || { echo 'pg_restore: error: end of file' >&2; exit 1; };; esac\n";
        for (name, text) in [("pg_dump", dump.as_str()), ("pg_restore", restore)] {
            fs::write(directory.join(name), text).unwrap();
            fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn run(shell: &str, pg_dump: &str, version: &str, receiver: Option<&str>) -> (String, String) {
        let home = tempfile::tempdir().unwrap();
        programs(home.path(), pg_dump, version);
        let order = DumpOrder {
            token: "4711".to_owned(),
            arguments: vec!["--table=it's \"$x\"".to_owned()],
            server_major: 15,
            receiver: receiver.map(str::to_owned),
        };
        let path = format!("{}:/usr/bin:/bin", home.path().display());
        let output = Command::new(shell).args(["-c", &order.script()]).env("PATH", path).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    #[test]
    fn the_dump_goes_to_standard_output_and_its_checks_are_reported() {
        for shell in ["dash", "bash"] {
            let (out, err) = run(shell, "printf '%s END' \"$1\"", "15.3", None);
            assert_eq!(out, "--table=it's \"$x\" END", "{shell}");
            let digest = "97d9dcf0a9bd6c9f6f05c2c5bd2b0d1d9e1fd0d6";
            assert!(err.contains("4711 data public orders app\n"), "{err}");
            assert!(err.contains("4711 end 0 0 0 0 0 21 ") && !err.contains(digest), "{err}");
        }
    }

    #[test]
    fn a_dump_that_is_cut_off_does_not_pass_the_check() {
        let (_, err) = run("dash", "printf cut; exit 0", "15.3", None);
        assert!(
            err.contains("pg_restore: error: end of file\n4711 data") && err.contains("4711 end 0 0 1 0 0 3 "),
            "{err}"
        );
        let (_, err) = run("dash", "printf cut; kill -9 $$", "15.3", None);
        assert!(err.contains("4711 end 137 0 1 0 0 3 ") && !err.contains("pg_restore: error"), "{err}");
    }

    #[test]
    fn a_receiver_reads_the_dump_and_meets_no_end_of_a_broken_one() {
        let home = tempfile::tempdir().unwrap();
        let kept = home.path().join("kept");
        let receiver = format!("cat >{0}.part && mv {0}.part {0} && echo stored", kept.display());
        let (out, err) = run("dash", "printf END", "15.3", Some(&receiver));
        assert!(out.is_empty() && err.contains("stored\n") && err.contains("4711 end 0 0 0 0 0 3 "), "{out} {err}");
        assert_eq!(fs::read_to_string(&kept).unwrap(), "END");
        fs::remove_file(&kept).unwrap();
        for broken in ["printf cut; kill -9 $$", "printf cut"] {
            let (_, err) = run("dash", broken, "15.3", Some(&receiver));
            assert!(!kept.exists() && err.contains(" 137 3 "), "{err}");
        }
        let (_, err) = run("dash", "printf END", "15.3", Some("exit 3"));
        assert!(err.contains(" 3 3 ") || err.contains(" 3 0 "), "{err}");
    }

    #[test]
    fn an_older_pg_dump_is_not_run_and_a_newer_one_compresses_with_zstd() {
        let (out, err) = run("dash", "printf END", "14.9", None);
        assert_eq!(
            (out.as_str(), err.as_str()),
            ("", "4711 version pg_dump (PostgreSQL) 14.9 (Debian)\n4711 old 14\n")
        );
        let asks = "case \"$*\" in *--host=/*) echo \"$answer\" >&2; exit 1;; esac; printf '%s END' \"$*\"";
        let with = |answer: &str| run("dash", &format!("answer='{answer}'; {asks}"), "16.1", None).0;
        assert!(with("connection failed").contains("--compress=zstd END"));
        assert!(!with("pg_dump: error: this build does not support compression with ZSTD").contains("zstd"));
    }
}
