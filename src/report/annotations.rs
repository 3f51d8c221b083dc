//! What the run's page and the changed files show beside themselves. The runner writes it into the log, too, line by line: so there it
//! is all that is told of a fault.

use super::log_lines::{self, Line};
use crate::{
    fault::Fault,
    github::workflow_command::{Annotation, Level, MESSAGE_LIMIT},
};

/// How many of each level GitHub records for one step.
pub(super) const RECORDED: usize = 10;

/// How much of a cause leaves room for the fix under it, in characters.
const CAUSE: usize = 1_500;

/// A fault as an annotation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beside {
    pub(super) note: Annotation,
    /// What has no room in it.
    pub(super) rest: Vec<String>,
}

/// This fault as an annotation of this level.
pub(crate) fn beside(level: Level, fault: &Fault) -> Beside {
    let texts = |lines: Vec<Line>| lines.into_iter().filter_map(Line::text).collect::<Vec<_>>();
    let headline = |cause: &str| format!("{} in {}: {}", fault.code, fault.stage, log_lines::indented(cause));
    let (facts, advice) = (log_lines::facts(fault), texts(log_lines::advice(fault, log_lines::Tone::Plain)));
    let whole = [vec![headline(&fault.cause)], facts.clone(), advice.clone()].concat().join("\n");
    let (message, rest) = match whole.encode_utf16().count() <= MESSAGE_LIMIT {
        true => (whole, Vec::new()),
        false => {
            let cause: String = fault.cause.chars().take(CAUSE).collect();
            let cut =
                if cause == fault.cause { None } else { Some(format!("  {}", log_lines::indented(&fault.cause))) };
            let short = [vec![headline(&cause)], advice].concat().join("\n");
            (short, cut.into_iter().chain(facts).collect())
        }
    };
    let note = Annotation {
        level,
        file: fault.place.as_ref().map(|place| place.file.clone()),
        line: fault.place.as_ref().and_then(|place| place.line),
        column: fault.place.as_ref().and_then(|place| place.column),
        title: "bastion-migrate".to_owned(),
        message,
    };
    Beside { note, rest }
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::fault::Code;

    fn of(told: &sample::Told) -> Beside {
        beside(Level::Error, &sample::report(told).faults[0])
    }

    #[test]
    fn puts_the_failure_on_its_line() {
        let Beside { note, rest } = of(&sample::failed());
        insta::assert_snapshot!(note, @r##"::error file=migrations/0004_drop_name.sql,line=2,col=13,title=bastion-migrate::statement-failed in migrate: relation "userz" does not exist%0A  --> migrations/0004_drop_name.sql:2:13%0A   | ALTER TABLE userz DROP name;%0A   |             ^%0A  SQLSTATE 42P01%0A  HINT: ##[error]look at `users`%0A  fix: correct the file and run again; the file was rolled back and files before it stay applied%0A  see https://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#statement-failed"##);
        assert_eq!(rest, [""; 0]);
    }

    #[test]
    fn a_fault_without_a_file_stands_beside_the_run() {
        insta::assert_snapshot!(of(&sample::unpinned()).note, @"::error title=bastion-migrate::host-key-unpinned in bastion: no key is pinned for `bastion.example.org`%0A  bastion.example.org ssh-ed25519 AAAA%0A  fix: compare the fingerprint with the server's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there), then put the line shown into `ssh-known-hosts`%0A  see https://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#host-key-unpinned");
    }

    #[test]
    fn what_has_no_room_stands_below_and_the_fix_always_has() {
        let long = Fault::new(Code::LockHeld, "x".repeat(9_000)).fix("wait").detail("by somebody");
        let Beside { note, rest } = beside(Level::Warning, &long);
        assert!(note.message.contains("\n  fix: wait\n") && !note.message.contains("by somebody"), "{note}");
        assert!(note.to_string().len() < 4_500);
        assert_eq!(rest, [format!("  {}", "x".repeat(9_000)), "  by somebody".to_owned()]);
    }
}
