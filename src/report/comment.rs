//! The comment on the pull request: the summary, with an invisible marker by which it is found and updated.

use super::{run_report::RunReport, summary::render_summary};

/// Maximum length of a comment on GitHub, in characters. We count bytes, which are never fewer.
pub(super) const COMMENT_LIMIT: usize = 65_536;

/// Returns the marker of the comment of this environment. Its text can't end the HTML comment early.
#[must_use]
pub fn comment_marker(environment: Option<&str>) -> String {
    let safe = |letter: char| if letter.is_alphanumeric() || "_.".contains(letter) { letter } else { '-' };
    let name: String = environment.unwrap_or("default").chars().take(100).map(safe).collect();
    // An HTML comment must not contain two hyphens in a row.
    let parts: Vec<&str> = name.split('-').filter(|part| !part.is_empty()).collect();
    format!("<!-- bastion-migrate:{} -->", parts.join("-"))
}

/// Returns the comment without its marker, at most `budget` bytes long. The report must be redacted.
#[must_use]
pub fn comment_body(report: &RunReport, budget: usize) -> String {
    let environment =
        report.environment.as_deref().map(|name| format!(" for {}", crate::report::markdown::code_html(name)));
    let command = report.command.map_or("migrate", crate::settings::Command::name);
    let run = report.run_url.as_deref().map(|url| format!(" · [run]({url})")).unwrap_or_default();
    let footer = format!("\n<sub>bastion-migrate {command}{}{run}</sub>\n", environment.unwrap_or_default());
    match budget.checked_sub(footer.len()) {
        Some(room) => format!("{}{footer}", render_summary(report, room)),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    #[test]
    fn an_environment_name_can_not_end_the_marker() {
        assert_eq!(comment_marker(None), "<!-- bastion-migrate:default -->");
        assert_eq!(comment_marker(Some("eu-1.prod")), "<!-- bastion-migrate:eu-1.prod -->");
        assert_eq!(comment_marker(Some("a--><img src=x>")), "<!-- bastion-migrate:a-img-src-x -->");
    }

    #[test]
    fn is_the_summary_with_a_link_to_the_run_within_its_budget() {
        let report = sample::report_of(&sample::successful_events());
        let text = comment_body(&report, COMMENT_LIMIT);
        assert!(text.starts_with("## Applied 2 migrations"), "{text}");
        let footer = "<sub>bastion-migrate migrate for <code>prod</code> · [run](https://github.com/owner/name/actions/runs/1/attempts/1)</sub>\n";
        assert!(text.ends_with(footer), "{text}");
        assert!((0..2_000).all(|budget| comment_body(&report, budget).len() <= budget));
    }
}
