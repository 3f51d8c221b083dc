//! What the run's page and the changed files show beside themselves. The runner writes it into the log, too, line by line: so there it
//! is all that is told of a fault.

use super::log_lines::{self, LogLine};
use crate::{
    fault::Fault,
    github::workflow_command::{Annotation, Level, MESSAGE_LIMIT},
};

/// How many of each level GitHub records for one step.
pub(super) const MAX_PER_LEVEL: usize = 10;

/// How much of a cause leaves room for the fix under it, in characters.
const MAX_CAUSE_LENGTH: usize = 1_500;

/// A fault as an annotation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FaultAnnotation {
    pub(super) annotation: Annotation,
    /// What has no room in it.
    pub(super) remaining_lines: Vec<String>,
}

/// This fault as an annotation of this level.
pub(crate) fn annotate_fault(level: Level, fault: &Fault) -> FaultAnnotation {
    let texts = |lines: Vec<LogLine>| lines.into_iter().filter_map(LogLine::into_text).collect::<Vec<_>>();
    let headline =
        |cause: &str| format!("{} in {}: {}", fault.code, fault.stage, log_lines::indent_further_lines(cause));
    let (facts, advice) =
        (log_lines::fault_detail_lines(fault), texts(log_lines::fix_lines(fault, log_lines::Tone::Neutral)));
    let whole = [vec![headline(&fault.cause)], facts.clone(), advice.clone()].concat().join("\n");
    let (message, rest) = match whole.encode_utf16().count() <= MESSAGE_LIMIT {
        true => (whole, Vec::new()),
        false => {
            let cause: String = fault.cause.chars().take(MAX_CAUSE_LENGTH).collect();
            let cut = if cause == fault.cause {
                None
            } else {
                Some(format!("  {}", log_lines::indent_further_lines(&fault.cause)))
            };
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
    FaultAnnotation { annotation: note, remaining_lines: rest }
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::fault::Code;

    fn of(told: &sample::SampleEvents) -> FaultAnnotation {
        annotate_fault(Level::Error, &sample::report_of(told).faults[0])
    }

    #[test]
    fn puts_the_failure_on_its_line() {
        let FaultAnnotation { annotation, remaining_lines } = of(&sample::failed_events());
        insta::assert_snapshot!(annotation, @r##"::error file=migrations/0004_drop_name.sql,line=2,col=13,title=bastion-migrate::statement-failed in migrate: relation "userz" does not exist%0A  --> migrations/0004_drop_name.sql:2:13%0A   | ALTER TABLE userz DROP name;%0A   |             ^%0A  SQLSTATE 42P01%0A  HINT: ##[error]look at `users`%0A  fix: correct the file and run again; the file was rolled back and files before it stay applied%0A  see https://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#statement-failed"##);
        assert_eq!(remaining_lines, [""; 0]);
    }

    #[test]
    fn a_fault_without_a_file_stands_beside_the_run() {
        insta::assert_snapshot!(of(&sample::unpinned_events()).annotation, @"::error title=bastion-migrate::host-key-unpinned in bastion: no key is pinned for `bastion.example.org`%0A  bastion.example.org ssh-ed25519 AAAA%0A  fix: compare the fingerprint with the server's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there), then put the line shown into `ssh-known-hosts`%0A  see https://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#host-key-unpinned");
    }

    #[test]
    fn what_has_no_room_stands_below_and_the_fix_always_has() {
        let long = Fault::new(Code::LockHeld, "x".repeat(9_000)).fix("wait").detail("by somebody");
        let FaultAnnotation { annotation, remaining_lines } = annotate_fault(Level::Warning, &long);
        assert!(
            annotation.message.contains("\n  fix: wait\n") && !annotation.message.contains("by somebody"),
            "{annotation}"
        );
        assert!(annotation.to_string().len() < 4_500);
        assert_eq!(remaining_lines, [format!("  {}", "x".repeat(9_000)), "  by somebody".to_owned()]);
    }
}
