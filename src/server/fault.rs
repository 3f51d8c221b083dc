//! Faults for messages of our scripts on the server.

use super::script::ShellScript;
use crate::fault::{Code, Fault};

/// Output of at least this many bytes may end in a truncated line, with half a secret.
const TRUNCATED_FROM: usize = 2 << 10;

/// Returns the fault of a login that never ran our script; `output` is untrusted.
pub(super) fn no_shell(output: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(output);
    let text =
        if output.len() < TRUNCATED_FROM { &text } else { text.rsplit_once('\n').map_or("", |(complete, _)| complete) };
    let printable = |letter: char| if letter.is_control() { ' ' } else { letter };
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    let fault = Fault::new(
        Code::ServerNoShell,
        "the login on the server starts no shell: the script that runs commands did not start",
    );
    match first {
        Some(first) => fault.detail(format!("the server says: {}", first.chars().map(printable).collect::<String>())),
        None => fault,
    }
}

/// Turns a script's message into the reason why it did not continue; `None` if it is no such message.
pub(super) fn start_refusal(message: &str, script: &ShellScript) -> Option<Fault> {
    let directory = script.working_directory.as_deref().unwrap_or("~");
    let (first, rest) = message.split_once(' ').unwrap_or((message, ""));
    Some(match (first, rest) {
        ("home", path) => home_not_writable(path),
        ("busy", _) => {
            Fault::new(Code::ServerUnstopped, "a command can't be started while another one of this run still runs")
        }
        ("setsid", _) => Fault::new(
            Code::ServerNoSetsid,
            "the server has neither `setsid` nor `perl`, so nothing that runs there could outlive the connection",
        ),
        ("directory", "missing") => {
            let cause = format!("project directory not found: `{directory}` does not exist on the server");
            Fault::new(Code::ServerDirectoryMissing, cause)
        }
        ("directory", "other") => {
            Fault::new(Code::ServerDirectoryMissing, format!("`{directory}` on the server is not a directory"))
        }
        ("directory", forbidden) => {
            let path = forbidden.strip_prefix("forbidden ").unwrap_or(forbidden);
            let cause = format!("permission denied: the login may not enter `{directory}` on the server");
            Fault::new(Code::ServerDirectoryForbidden, cause).detail(format!("the login has no access to `{path}`"))
        }
        _ => return None,
    })
}

/// Returns the fault of a home directory that a run can't write to.
pub(super) fn home_not_writable(path: &str) -> Fault {
    Fault::new(Code::ServerHome, format!("the login can't write into `{path}` on the server"))
}

/// Returns the fault of a command that was sent and never started: only a full disk is known to cause this.
pub(super) fn never_started() -> Fault {
    home_not_writable("~/.bastion-migrate").detail("the command was sent and never started")
}

/// Returns the fault of a failed line of `setup`.
pub(super) fn setup_failed(message: &str, environment: Option<&str>, last: Option<&str>) -> Fault {
    let (code, rest) = message.split_once(' ').unwrap_or((message, ""));
    if let Some(path) = environment.filter(|_| rest == "no-environment") {
        let cause = format!("there is no virtual environment at `{path}` on the server");
        let fix = format!(
            "create it once, on the server and in `working-directory`: `python3 -m venv {path}`, then \
             `{path}/bin/pip install -r requirements.txt`; or correct the path in `setup`"
        );
        return Fault::new(Code::ServerSetupFailed, cause).fix(fix);
    }
    let fault = Fault::new(Code::ServerSetupFailed, format!("a line of `setup` failed on the server with code {code}"));
    match last {
        Some(line) => fault.detail(line),
        None => fault,
    }
}

/// Returns the fault of a slot that another run has taken over, and whose command it has settled.
pub(super) fn slot_taken() -> Fault {
    Fault::new(Code::LockLost, "another run took over this one's slot on the server while the connection was lost")
        .fix("see the report of the next run: it shows how this run's command ended; then run again")
}
