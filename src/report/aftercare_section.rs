//! The after-care in the summary: what was done, and what is left to mend.

use super::{markdown::code_html, run_report::RunReport, visible_text::clip_text};
use crate::run::{AftercareFacts, CareFinding};

/// Maximum number of tables and of constraints that are named; `report` has all.
const MAX_NAMED: usize = 20;

/// Maximum length of a text in the table, in characters.
const MAX_TEXT: usize = 1_000;

/// Returns the section as pieces that may be left out one by one.
pub(super) fn aftercare_section(report: &RunReport) -> Vec<String> {
    let Some(AftercareFacts { analyzed, validated, findings }) = &report.aftercare else { return Vec::new() };
    let done = [("Analyzed", analyzed), ("Validated", validated)].into_iter().filter(|(_, names)| !names.is_empty());
    let done: String = done.map(|(word, names)| format!("{word}: {}\n\n", named(names))).collect();
    let table = if findings.is_empty() { "" } else { "| To mend | | SQL |\n|---|---|---|\n" };
    if done.is_empty() && table.is_empty() {
        return Vec::new();
    }
    let rows = findings.iter().map(|CareFinding { kind, object, problem, sql }| {
        let [object, problem, sql] =
            [object.as_str(), problem.as_str(), &format!("{sql};")].map(|text| code_html(&clip_text(text, MAX_TEXT)));
        format!("| {} {object} | {problem} | {sql} |\n", kind.title())
    });
    let end = if findings.is_empty() { "" } else { "\n" };
    [format!("### After-care\n\n{done}{table}")].into_iter().chain(rows).chain([end.to_owned()]).collect()
}

fn named(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(MAX_NAMED).map(|name| code_html(&clip_text(name, MAX_TEXT))).collect();
    match names.len().saturating_sub(MAX_NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    #[test]
    fn shows_what_was_done_and_the_sql_that_is_left() {
        let report = RunReport { aftercare: Some(sample::aftercare_facts()), ..RunReport::default() };
        insta::assert_snapshot!(aftercare_section(&report).concat(), @r#"
        ### After-care

        Analyzed: <code>public.orders</code>, <code>public.users</code>

        Validated: <code>positive on public.orders</code>

        | To mend | | SQL |
        |---|---|---|
        | INVALID index <code>public."a\|b"</code> | <code>no query uses it, and every write maintains it</code> | <code>REINDEX INDEX CONCURRENTLY public."a\|b";</code> |
        "#);
    }

    #[test]
    fn without_a_result_there_is_no_section() {
        let report = RunReport { aftercare: Some(AftercareFacts::default()), ..RunReport::default() };
        assert!(aftercare_section(&report).is_empty() && aftercare_section(&RunReport::default()).is_empty());
    }

    #[test]
    fn many_names_are_counted() {
        let names: Vec<String> = (0..23).map(|number| format!("t{number}")).collect();
        assert!(named(&names).ends_with("<code>t19</code> and 3 more"), "{}", named(&names));
    }
}
