//! What the run's page and the changed files show beside themselves.

use super::{log_lines, run_report::Report};
use crate::{
    fault::Fault,
    github::workflow_command::{Annotation, Level},
};

/// How many of each level GitHub records for one step.
const RECORDED: usize = 10;

/// How much of a cause leaves room for the fix under it, in characters.
const CAUSE: usize = 1_500;

/// The faults, then the warnings; the first of each.
#[must_use]
pub fn annotations(report: &Report) -> Vec<Annotation> {
    let errors = report.faults.iter().take(RECORDED).map(|fault| annotation(Level::Error, fault));
    errors.chain(report.warnings.iter().take(RECORDED).map(warning)).collect()
}

/// One fault that does not decide the outcome.
pub(super) fn warning(fault: &Fault) -> Annotation {
    annotation(Level::Warning, fault)
}

fn annotation(level: Level, fault: &Fault) -> Annotation {
    let cause: String = fault.cause.chars().take(CAUSE).collect();
    let mut lines = vec![cause, format!("fix: {}", fault.fix)];
    if let Some(excerpt) = fault.place.as_ref().and_then(|place| place.excerpt.as_ref()) {
        lines.push(excerpt.shown());
    }
    lines.extend(fault.sqlstate.iter().map(|sqlstate| format!("SQLSTATE {sqlstate}")));
    lines.extend(fault.detail.iter().cloned());
    lines.push(format!("{}{}", log_lines::ERRORS, fault.code));
    Annotation {
        level,
        file: fault.place.as_ref().map(|place| place.file.clone()),
        line: fault.place.as_ref().and_then(|place| place.line),
        column: fault.place.as_ref().and_then(|place| place.column),
        title: format!("bastion-migrate: {} in {}", fault.code, fault.stage),
        message: lines.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::fault::Code;

    #[test]
    fn puts_the_failure_on_its_line() {
        let notes = annotations(&sample::report(&sample::failed()));
        assert_eq!(notes.len(), 1);
        insta::assert_snapshot!(notes[0], @r#"::error file=migrations/0004_drop_name.sql,line=2,col=13,title=bastion-migrate%3A statement-failed in migrate::relation "userz" does not exist%0Afix: correct the file and run again; the file was rolled back and files before it stay applied%0AALTER TABLE userz DROP name;%0A            ^%0ASQLSTATE 42P01%0AHINT: ##[error]look at `users`%0Ahttps://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#statement-failed"#);
    }

    #[test]
    fn a_fault_without_a_file_stands_beside_the_run() {
        insta::assert_snapshot!(annotations(&sample::report(&sample::unpinned()))[0], @"::error title=bastion-migrate%3A host-key-unpinned in bastion::no key is pinned for `bastion.example.org`%0Afix: compare the fingerprint with the server's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there), then put the line shown into `ssh-known-hosts`%0Abastion.example.org ssh-ed25519 AAAA%0Ahttps://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#host-key-unpinned");
    }

    #[test]
    fn records_no_more_than_github_does_and_keeps_the_fix_of_a_long_cause() {
        let mut report = sample::report(&sample::success());
        report.warnings = vec![Fault::new(Code::LockHeld, "x".repeat(9_000)).fix("wait"); 30];
        let notes = annotations(&report);
        assert_eq!(notes.len(), 10);
        assert!(notes.iter().all(|note| note.level == Level::Warning && note.message.contains("\nfix: wait\n")));
        assert!(notes[0].to_string().len() < 4_500);
    }
}
