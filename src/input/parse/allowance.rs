//! Parses the input `allow`: one line for each thing that is accepted, with the reason behind a colon.

use super::{lint::parse_rule, value::InvalidValue};
use crate::{
    input::names::nearest_candidate,
    settings::{Allowance, AllowedSubject, DestructiveVerb},
};

const FORM: &str = "lines as `drop users.legacy_email: moved to accounts` or \
                    `ban-drop-column 0042_drop_email: nobody reads it any more`";

/// Parses all lines.
///
/// # Errors
///
/// The first line that is not an allowance.
pub(crate) fn parse_allowances(text: &str) -> Result<Vec<Allowance>, InvalidValue> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(parse_line).collect()
}

fn parse_line(line: &str) -> Result<Allowance, InvalidValue> {
    // A quoted name may contain a colon.
    let colon = line.match_indices(": ").map(|(at, _)| at).find(|at| line.get(..*at).is_some_and(has_closed_quotes));
    let (subject, reason) = match colon.and_then(|at| Some((line.get(..at)?, line.get(at + 2..)?.trim()))) {
        Some((subject, reason)) if !reason.is_empty() => (subject, reason),
        _ => return Err(InvalidValue::new(format!("has no reason in the line `{line}`"), FORM)),
    };
    let (first, rest) = subject.trim().split_once(char::is_whitespace).unwrap_or((subject.trim(), ""));
    let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
    if rest.is_empty() {
        let cause = format!("names nothing behind `{first}` in the line `{line}`");
        return Err(InvalidValue::new(cause, FORM));
    }
    let verb = DestructiveVerb::NAMES.iter().find(|(name, _)| first.eq_ignore_ascii_case(name));
    let subject = match (verb, parse_rule(first)) {
        (Some((_, verb)), _) => AllowedSubject::Destruction { verb: *verb, name: rest },
        (None, Ok(rule)) => AllowedSubject::Finding { rule, migration: rest },
        (None, Err(InvalidValue { fix, .. })) => {
            let verbs: Vec<&str> = DestructiveVerb::NAMES.iter().map(|(name, _)| *name).collect();
            let fix = match nearest_candidate(first, verbs.iter().copied()) {
                Some(verb) => format!("{FORM}; did you mean `{verb}`?"),
                None if fix.starts_with("did") => format!("{FORM}; {fix}"),
                None => FORM.to_owned(),
            };
            let cause = format!(
                "begins the line `{line}` with `{first}`, which is neither a rule of squawk nor one of {}",
                verbs.join(", ")
            );
            return Err(InvalidValue::new(cause, fix));
        }
    };
    Ok(Allowance { subject, reason: reason.to_owned() })
}

fn has_closed_quotes(text: &str) -> bool {
    text.matches('"').count().is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use squawk_linter::Rule;

    fn destruction(verb: DestructiveVerb, name: &str, reason: &str) -> Allowance {
        let subject = AllowedSubject::Destruction { verb, name: name.to_owned() };
        Allowance { subject, reason: reason.to_owned() }
    }

    #[test]
    fn each_line_names_a_thing_and_a_reason() {
        let text = "drop users.legacy_email: moved to accounts: see #12\n\n# a remark\n  TRUNCATE  \"A: b\".t : old rows\n\
                    ban-drop-column 0042_drop_email: nobody reads it";
        assert_eq!(
            parse_allowances(text),
            Ok(vec![
                destruction(DestructiveVerb::Drop, "users.legacy_email", "moved to accounts: see #12"),
                destruction(DestructiveVerb::Truncate, "\"A: b\".t", "old rows"),
                Allowance {
                    subject: AllowedSubject::Finding {
                        rule: Rule::BanDropColumn,
                        migration: "0042_drop_email".to_owned()
                    },
                    reason: "nobody reads it".to_owned()
                }
            ])
        );
    }

    #[test]
    fn reports_a_line_that_allows_nothing() {
        for (text, cause, fix) in [
            ("drop users.legacy_email", "has no reason", "moved to accounts"),
            ("drop users.legacy_email: ", "has no reason", "moved to accounts"),
            ("drop: it", "names nothing behind `drop`", "moved to accounts"),
            ("dorp users: it", "neither a rule of squawk nor one of drop", "did you mean `drop`?"),
            ("ban-drop-colum 0042: it", "neither a rule of squawk nor one of drop", "did you mean `ban-drop-column`?"),
        ] {
            let invalid = parse_allowances(text).unwrap_err();
            assert!(invalid.cause.contains(cause) && invalid.fix.contains(fix), "{text}: {invalid:?}");
        }
    }
}
