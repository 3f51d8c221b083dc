//! The after-care in the log: what was done is logged while it is done; this is its result.

use super::wording::{count_of, indent_further_lines};
use crate::run::{AftercareFacts, CareFinding};

/// Returns the lines.
pub(super) fn aftercare_lines(facts: &AftercareFacts) -> Vec<String> {
    let AftercareFacts { analyzed, validated, findings } = facts;
    let mut lines = Vec::new();
    if !analyzed.is_empty() || !validated.is_empty() {
        let (tables, constraints) = (count_of(analyzed.len(), "table"), count_of(validated.len(), "constraint"));
        lines.push(format!("  after-care: {tables} analyzed, {constraints} validated"));
    }
    for CareFinding { kind, object, problem, sql } in findings {
        let text = format!("{} {object}: {problem}\n{sql};", kind.title());
        lines.push(format!("  to mend: {}", indent_further_lines(&text)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    #[test]
    fn shows_what_was_done_and_the_sql_that_is_left() {
        assert_eq!(
            aftercare_lines(&sample::aftercare_facts()).join("\n"),
            "  after-care: 2 tables analyzed, 1 constraint validated\n  \
             to mend: INVALID index public.\"a|b\": no query uses it, and every write maintains it\n    \
             REINDEX INDEX CONCURRENTLY public.\"a|b\";"
        );
        assert!(aftercare_lines(&AftercareFacts::default()).is_empty());
    }
}
