//! Faults as annotations of the run's page and of the changed files. The runner also writes an annotation into the log,
//! line by line, so the log needs no other lines for that fault.

use super::log_lines::{self, LogLine};
use crate::{
    fault::Fault,
    github::workflow_command::{Annotation, Level, MESSAGE_LIMIT},
};

/// Maximum number of annotations of each level that GitHub records for one step.
pub(super) const MAX_PER_LEVEL: usize = 10;

/// Maximum length of a cause, in characters, that leaves room for the fix under it.
const MAX_CAUSE_LENGTH: usize = 1_500;

/// A fault as an annotation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FaultAnnotation {
    pub(super) annotation: Annotation,
    /// The lines that do not fit into the annotation.
    pub(super) remaining_lines: Vec<String>,
}

/// Returns the fault as an annotation of this level.
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

/// Returns the annotation for faults that have none, by their number.
pub(super) fn annotate_remaining(level: Level, count: usize) -> Annotation {
    let noun = match (level, count) {
        (Level::Error, 1) => "error",
        (Level::Error, _) => "errors",
        (Level::Warning | Level::Notice, 1) => "warning",
        (Level::Warning | Level::Notice, _) => "warnings",
    };
    Annotation {
        level,
        file: None,
        line: None,
        column: None,
        title: "bastion-migrate".to_owned(),
        message: format!(
            "{count} more {noun} in the log and in the summary: GitHub shows {MAX_PER_LEVEL} annotations of a step"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::fault::Code;

    fn annotate_first(events: &sample::SampleEvents) -> FaultAnnotation {
        annotate_fault(Level::Error, &sample::report_of(events).faults[0])
    }

    #[test]
    fn puts_the_failure_on_its_line() {
        let FaultAnnotation { annotation, remaining_lines } = annotate_first(&sample::failed_events());
        insta::assert_snapshot!(annotation, @r##"::error file=migrations/0004_drop_name.sql,line=2,col=13,title=bastion-migrate::statement-failed in migrate: relation "userz" does not exist%0A  --> migrations/0004_drop_name.sql:2:13%0A   | ALTER TABLE userz DROP name;%0A   |             ^%0A  SQLSTATE 42P01%0A  HINT: ##[error]look at `users`%0A  fix: correct the file and run again; the file was rolled back and files before it stay applied%0A  see https://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#statement-failed"##);
        assert_eq!(remaining_lines, [""; 0]);
    }

    #[test]
    fn a_fault_without_a_file_annotates_the_run() {
        insta::assert_snapshot!(annotate_first(&sample::unpinned_events()).annotation, @"::error title=bastion-migrate::host-key-unpinned in bastion: no key is pinned for `bastion.example.org`%0A  bastion.example.org ssh-ed25519 AAAA%0A  fix: compare the fingerprint with the server's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there), then put the line shown into `ssh-known-hosts`%0A  see https://github.com/bastion-migrate/bastion-migrate/blob/main/docs/errors.md#host-key-unpinned");
    }

    #[test]
    fn lines_that_do_not_fit_are_returned_and_the_fix_always_fits() {
        let long = Fault::new(Code::LockHeld, "x".repeat(9_000)).fix("wait").detail("by pid 7");
        let FaultAnnotation { annotation, remaining_lines } = annotate_fault(Level::Warning, &long);
        assert!(
            annotation.message.contains("\n  fix: wait\n") && !annotation.message.contains("by pid 7"),
            "{annotation}"
        );
        assert!(annotation.to_string().len() < 4_500);
        assert_eq!(remaining_lines, [format!("  {}", "x".repeat(9_000)), "  by pid 7".to_owned()]);
    }
}
