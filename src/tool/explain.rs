//! Explains a tool's failure from its output. The explanation is for people: a tool can print anything, so no decision
//! depends on its output.

use super::{known_failure::KnownFailure, recipe::Recipe};
use crate::fault::{Code, Fault};
use regex_lite::Captures;

/// Number of the tool's last lines that are shown with the fault.
const SHOWN_LINES: usize = 12;

/// Placeholder in a fix for the last migration that was started, in the form of a target.
const MIGRATION_PLACEHOLDER: &str = "{migration}";

fn fault(
    failure: &KnownFailure,
    recipe: &Recipe,
    groups: &Captures<'_>,
    line: &str,
    migration_name: Option<&str>,
) -> Fault {
    let expand = |text: &str| {
        let mut expanded = String::new();
        // Groups are numbered; `${NAME}` in a fix is text for the reader to copy.
        groups.expand(&text.replace("${", "$${"), &mut expanded);
        expanded
    };
    let code = failure.code.as_deref().and_then(|name| Code::ALL.iter().find(|code| code.name() == name));
    let cause = failure.cause.as_deref().map_or_else(|| line.trim().to_owned(), expand);
    let fix = expand(&failure.fix).replace(MIGRATION_PLACEHOLDER, &migration_as_target(recipe, migration_name));
    Fault::new(code.copied().unwrap_or(Code::ToolFailed), cause).fix(fix)
}

/// Returns the started migration as a target. A fix may be pasted into a shell, so only a valid target is inserted.
fn migration_as_target(recipe: &Recipe, migration_name: Option<&str>) -> String {
    let target = recipe.target.as_ref();
    let target_text = target.zip(migration_name).and_then(|(target, migration_name)| target.target_for(migration_name));
    target_text.unwrap_or_else(|| target.map_or("MIGRATION", |target| &target.words).to_owned())
}

/// Returns the fault for a tool that failed. `ending` describes how it ended, `output` are its last lines of output,
/// `migration_name` is the last migration that it started.
#[must_use]
pub fn explain_failure(recipe: &Recipe, ending: &str, output: &[String], migration_name: Option<&str>) -> Fault {
    let headline = error_line(recipe, output);
    let fault = match_known_failure(recipe, headline, output, migration_name)
        .unwrap_or_else(|| Fault::new(Code::ToolFailed, headline.unwrap_or(ending)));
    let last_lines =
        output.iter().skip(output.len().saturating_sub(SHOWN_LINES)).map(|line| line.trim_end().to_owned());
    last_lines.fold(fault.detail(ending), Fault::detail)
}

/// Returns the last line that states the error. A position, a stack trace or buffered output may follow it.
fn error_line<'l>(recipe: &Recipe, output: &'l [String]) -> Option<&'l str> {
    let mut lines = output.iter().rev().map(|line| line.trim()).filter(|line| !line.is_empty());
    let is_error = |line: &&str| recipe.error.as_ref().is_some_and(|error| error.is_match(line));
    lines.clone().find(is_error).or_else(|| lines.next())
}

/// Matches the known failures against the error line, then against all lines from the last one back: the app may have
/// handled an earlier error.
fn match_known_failure(
    recipe: &Recipe,
    headline: Option<&str>,
    output: &[String],
    migration_name: Option<&str>,
) -> Option<Fault> {
    let related_failures = recipe
        .fails_like
        .as_deref()
        .and_then(Recipe::by_name)
        .map(|other_recipe| other_recipe.failures)
        .unwrap_or_default();
    let common = KnownFailure::load_common();
    let match_line = |line: &str| {
        recipe.failures.iter().chain(&related_failures).chain(&common).find_map(|failure| {
            let groups = failure.pattern.0.captures(line)?;
            Some(fault(failure, recipe, &groups, line, migration_name))
        })
    };
    // A lock timeout makes us run the tool again, so one that the tool handled long before its end must not count.
    let caught = |fault: &Fault| fault.code == Code::LockTimeout;
    let in_any_line = output.iter().rev().filter_map(|line| match_line(line)).find(|fault| !caught(fault));
    headline.and_then(match_line).or(in_any_line)
}
#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn the_fix_for_a_missing_manage_py_names_the_input() {
        let django = Recipe::by_name("django").unwrap();
        for line in [
            "python: can't open file '/app/manage.py': [Errno 2] No such file or directory",
            "FileNotFoundError: [Errno 2] No such file or directory: '/app/manage.py'",
        ] {
            let fault = explain_failure(&django, "it ended with code 2", &lines_of(&[line]), None);
            assert!(fault.fix.contains("`manage: python -m pretix`"), "{fault:?}");
        }
    }

    #[test]
    fn asyncpg_is_shown_a_url_that_it_reads() {
        for name in ["alembic", "custom"] {
            let line = "TypeError: connect() got an unexpected keyword argument 'sslmode'";
            let fault =
                explain_failure(&Recipe::by_name(name).unwrap(), "it ended with code 1", &lines_of(&[line]), None);
            let url = "`env: DATABASE_URL=postgresql+asyncpg://${DATABASE_ADDRESS}?ssl=${DATABASE_SSLMODE}`";
            assert!(fault.fix.contains(url), "{fault:?}");
        }
    }

    #[test]
    fn a_known_failure_has_its_own_fix() {
        let django = Recipe::by_name("django").unwrap();
        let lines = lines_of(&[
            "Traceback (most recent call last):",
            "django.db.utils.ProgrammingError: relation \"carriers_carrier\" already exists",
            "",
        ]);
        let fault = explain_failure(&django, "`python manage.py migrate` ended with code 1", &lines, None);
        assert_eq!(fault.code, Code::ToolFailed);
        assert_eq!(fault.cause, "django.db.utils.ProgrammingError: relation \"carriers_carrier\" already exists");
        assert!(fault.fix.contains("--fake"), "{}", fault.fix);
        assert!(fault.detail[0].contains("code 1") && fault.detail[1].contains("Traceback"));
    }

    #[test]
    fn the_cause_of_an_unknown_failure_is_its_last_line() {
        let fault = explain_failure(
            &Recipe::by_name("custom").unwrap(),
            "ended with code 2",
            &lines_of(&["a", "b ", " "]),
            None,
        );
        assert_eq!((fault.code, fault.cause.as_str()), (Code::ToolFailed, "b"));
        assert_eq!(
            explain_failure(&Recipe::by_name("custom").unwrap(), "ended with code 2", &[], None).cause,
            "ended with code 2"
        );
    }

    /// psycopg appends the server's position and details; Django flushes its own unfinished line at exit.
    #[test]
    fn text_after_the_error_is_not_the_cause() {
        let django = Recipe::by_name("django").unwrap();
        for (error, after) in [
            ("django.db.utils.ProgrammingError: relation \"x\" does not exist", "LINE 1: select * from x"),
            ("django.db.utils.IntegrityError: duplicate key value", "DETAIL:  Key (name)=(a) already exists."),
            ("django.core.management.base.CommandError: No such app", "HINT:  none"),
            ("AssertionError", "                      ^"),
        ] {
            let lines =
                lines_of(&["Running migrations:", "Traceback (most recent call last):", "  File \"a.py\", line 1"]);
            let lines = [lines, lines_of(&[error, after, "  Applying orders.0003_bad..."])].concat();
            assert_eq!(explain_failure(&django, "ended with code 1", &lines, None).cause, error);
        }
        let node =
            lines_of(&["throw new Error()", "Error: no SSL", "    at Socket.emit (node:events:517:28)", "Node.js v18"]);
        assert_eq!(
            explain_failure(&Recipe::by_name("custom").unwrap(), "ended with code 1", &node, None).cause,
            "Error: no SSL"
        );
    }

    #[test]
    fn the_fix_names_the_migration_if_it_is_a_valid_target() {
        let django = Recipe::by_name("django").unwrap();
        let lines = lines_of(&["django.db.utils.ProgrammingError: relation \"x\" already exists"]);
        let fix = |migration_name| explain_failure(&django, "", &lines, migration_name).fix;
        assert!(fix(Some("settings.0017_ticket")).contains("migrate settings 0017_ticket --fake"));
        for migration_name in [None, Some("x.$(reboot)"), Some("x.-y"), Some("nothing")] {
            assert!(fix(migration_name).contains("migrate APP MIGRATION --fake"), "{}", fix(migration_name));
        }
    }

    #[test]
    fn the_error_line_counts_before_the_lines_after_it() {
        let django = Recipe::by_name("django").unwrap();
        let lines =
            lines_of(&["django.db.utils.ProgrammingError: relation \"x\" already exists", "bash: Permission denied"]);
        assert!(explain_failure(&django, "", &lines, None).fix.contains("--fake"));
    }

    /// A lock timeout makes us run the tool again; one that the tool handled, or merely printed, must not.
    #[test]
    fn a_handled_lock_timeout_is_no_reason_to_retry() {
        let lines = lines_of(&["canceling statement due to lock timeout", "going on", "ValueError: the end"]);
        for name in ["django", "custom"] {
            let fault = explain_failure(&Recipe::by_name(name).unwrap(), "", &lines, None);
            assert_eq!((fault.code, fault.cause.as_str()), (Code::ToolFailed, "ValueError: the end"), "{name}");
        }
    }

    #[test]
    fn a_lock_timeout_has_its_own_code() {
        let lines = lines_of(&["django.db.utils.OperationalError: canceling statement due to lock timeout"]);
        assert_eq!(explain_failure(&Recipe::by_name("django").unwrap(), "", &lines, None).code, Code::LockTimeout);
        assert_eq!(explain_failure(&Recipe::by_name("custom").unwrap(), "", &lines, None).code, Code::LockTimeout);
    }
}
