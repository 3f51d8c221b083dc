//! Why a tool failed, in its own words and in ours.

use super::Recipe;
use crate::fault::{Code, Fault};
use regex_lite::Captures;

/// Lines of the tool's last words that are shown with the fault.
const SHOWN: usize = 12;

/// The fault for a tool that failed: `ending` says how it ended, `said` are the last lines that it said.
#[must_use]
pub fn explain(recipe: &Recipe, ending: &str, said: &[String]) -> Fault {
    let cause = headline(recipe, said).map_or_else(|| ending.to_owned(), ToOwned::to_owned);
    let fault = known(recipe, said).unwrap_or_else(|| Fault::new(Code::ToolFailed, cause));
    let shown = said.iter().skip(said.len().saturating_sub(SHOWN)).map(|line| line.trim_end().to_owned());
    shown.fold(fault.detail(ending), Fault::detail)
}

/// The last line that says why; a position or a stack may follow it, and what was buffered meanwhile.
fn headline<'l>(recipe: &Recipe, said: &'l [String]) -> Option<&'l str> {
    let mut lines = said.iter().rev().map(|line| line.trim()).filter(|line| !line.is_empty());
    let says_why = |line: &&str| recipe.error.as_ref().is_some_and(|error| error.0.is_match(line));
    lines.clone().find(says_why).or_else(|| lines.next())
}

fn known(recipe: &Recipe, said: &[String]) -> Option<Fault> {
    // The last words first: what comes before may have been caught.
    let fits = |line: &str| {
        recipe.failures.iter().find_map(|failure| {
            Some((failure, failure.pattern.0.captures(line)?)).map(|(failure, groups)| fault(failure, &groups, line))
        })
    };
    said.iter().rev().find_map(|line| fits(line))
}

fn fault(failure: &super::Failure, groups: &Captures<'_>, line: &str) -> Fault {
    let expand = |text: &str| {
        let mut expanded = String::new();
        groups.expand(text, &mut expanded);
        expanded
    };
    let code = failure.code.as_deref().and_then(|name| Code::ALL.iter().find(|code| code.name() == name));
    let cause = failure.cause.as_deref().map_or_else(|| line.trim().to_owned(), expand);
    Fault::new(code.copied().unwrap_or(Code::ToolFailed), cause).fix(expand(&failure.fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_known_failure_has_its_own_fix() {
        let django = Recipe::named("django").unwrap();
        let lines = said(&[
            "Traceback (most recent call last):",
            "django.db.utils.ProgrammingError: relation \"carriers_carrier\" already exists",
            "",
        ]);
        let fault = explain(&django, "`python manage.py migrate` ended with code 1", &lines);
        assert_eq!(fault.code, Code::ToolFailed);
        assert_eq!(fault.cause, "django.db.utils.ProgrammingError: relation \"carriers_carrier\" already exists");
        assert!(fault.fix.contains("--fake"), "{}", fault.fix);
        assert!(fault.detail[0].contains("code 1") && fault.detail[1].contains("Traceback"));
    }

    #[test]
    fn an_unknown_failure_is_told_by_its_last_line() {
        let fault = explain(&Recipe::named("custom").unwrap(), "ended with code 2", &said(&["a", "b ", " "]));
        assert_eq!((fault.code, fault.cause.as_str()), (Code::ToolFailed, "b"));
        assert_eq!(explain(&Recipe::named("custom").unwrap(), "ended with code 2", &[]).cause, "ended with code 2");
    }

    /// psycopg adds the server's position and details; Django's own unfinished line comes out when it ends.
    #[test]
    fn what_follows_the_error_is_not_taken_for_it() {
        let django = Recipe::named("django").unwrap();
        for (error, after) in [
            ("django.db.utils.ProgrammingError: relation \"x\" does not exist", "LINE 1: select * from x"),
            ("django.db.utils.IntegrityError: duplicate key value", "DETAIL:  Key (name)=(a) already exists."),
            ("django.core.management.base.CommandError: No such app", "HINT:  none"),
            ("AssertionError", "                      ^"),
        ] {
            let lines = said(&["Running migrations:", "Traceback (most recent call last):", "  File \"a.py\", line 1"]);
            let lines = [lines, said(&[error, after, "  Applying orders.0003_bad..."])].concat();
            assert_eq!(explain(&django, "ended with code 1", &lines).cause, error);
        }
        let node =
            said(&["throw new Error()", "Error: no SSL", "    at Socket.emit (node:events:517:28)", "Node.js v18"]);
        assert_eq!(explain(&Recipe::named("custom").unwrap(), "ended with code 1", &node).cause, "Error: no SSL");
    }

    #[test]
    fn a_lock_timeout_is_told_as_one() {
        let lines = said(&["django.db.utils.OperationalError: canceling statement due to lock timeout"]);
        assert_eq!(explain(&Recipe::named("django").unwrap(), "", &lines).code, Code::LockTimeout);
        assert_eq!(explain(&Recipe::named("custom").unwrap(), "", &lines).code, Code::LockTimeout);
    }
}
