//! The findings about the deployment server. Pure functions.

use super::wording::{count_of, format_bytes};
use crate::{
    fault::{Code, Fault},
    run::{Check, DoctorFinding},
    server::{FreeSpace, ServerState},
};

/// Free space below which a command may not have room for its output, in KiB.
const LOW_SPACE_KIB: u64 = 512 << 10;

/// Judges what the server has for a command, or why it could not be asked.
pub(super) fn judge_server(examined: &Result<ServerState, Fault>, directory: Option<&str>) -> Vec<DoctorFinding> {
    let state = match examined {
        Ok(state) => state,
        Err(fault) => return vec![DoctorFinding::failed(Check::Shell, fault.clone())],
    };
    let ServerState { home, setsid, directory: directory_fault, environment, disks } = state;
    let judge = |check, fault: &Option<Fault>, good: &str| match fault {
        Some(fault) => DoctorFinding::failed(check, fault.clone()),
        None => DoctorFinding::good(check, good),
    };
    let place = directory.map_or_else(|| "the login's home".to_owned(), |directory| format!("`{directory}`"));
    let mut findings = vec![
        DoctorFinding::good(Check::Shell, "the login runs scripts"),
        judge(Check::Home, home, "it can hold the files of a run"),
        judge(Check::Setsid, setsid, "commands can outlive the connection"),
        judge(Check::WorkingDirectory, directory_fault, &place),
    ];
    findings.extend(environment.as_ref().map(|environment| match environment {
        Ok(path) => DoctorFinding::good(Check::Venv, format!("`{path}`")),
        Err(fault) if directory_fault.is_none() => DoctorFinding::failed(Check::Venv, fault.clone()),
        Err(_) => DoctorFinding::not_checked(Check::Venv, "it needs the working directory"),
    }));
    findings.push(judge_disks(disks));
    findings
}

fn judge_disks(disks: &[FreeSpace]) -> DoctorFinding {
    let shown =
        |space: &FreeSpace| format!("{} free on `{}`", format_bytes(space.free_kib.saturating_mul(1024)), space.mount);
    let Some(tightest) = disks.iter().min_by_key(|space| space.free_kib) else {
        return DoctorFinding::not_checked(Check::Disk, "the server has no `df`");
    };
    match tightest.free_kib {
        ..LOW_SPACE_KIB => {
            DoctorFinding::warning_of(Check::Disk, Fault::new(Code::ServerHome, format!("only {}", shown(tightest))))
        }
        _ => DoctorFinding::good(
            Check::Disk,
            format!("{} looked at, the least is {}", count_of(disks.len(), "file system"), shown(tightest)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_with_the_least_space_counts() {
        let disk = |mount: &str, free_kib| FreeSpace { mount: mount.to_owned(), free_kib };
        let low = judge_disks(&[disk("/", 9 << 20), disk("/home", 100)]);
        assert_eq!((low.state.name(), low.detail()), ("warning", "only 103 kB free on `/home`"));
        assert_eq!(judge_disks(&[disk("/", 9 << 20)]).state.name(), "good");
        assert_eq!(judge_disks(&[]).state.name(), "not-checked");
    }

    #[test]
    fn an_environment_is_looked_for_in_a_directory_that_is_there() {
        let missing = |code| Some(Fault::new(code, "x"));
        let state = |directory| ServerState {
            directory,
            environment: Some(Err(Fault::new(Code::ServerSetupFailed, "x"))),
            ..ServerState::default()
        };
        let venv = |state| {
            let findings = judge_server(&Ok(state), None);
            findings.into_iter().find(|finding| finding.check == Check::Venv).unwrap().state.name()
        };
        assert_eq!(venv(state(None)), "failed");
        assert_eq!(venv(state(missing(Code::ServerDirectoryMissing))), "not-checked");
    }
}
