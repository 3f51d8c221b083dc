//! The text of the comment on the pull request: the summary, the commit and the time, and an invisible marker by which it
//! is found again.

use super::{markdown::code_html, run_report::RunReport, summary::render_summary};
use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::time::SystemTime;

/// Maximum length of a comment on GitHub, in characters. We count bytes, which are never fewer.
pub(super) const COMMENT_LIMIT: usize = 65_536;

/// Beginning of the marker of every comment.
pub(super) const MARKER_PREFIX: &str = "<!-- bastion-migrate:";

/// Characters of a key that are encoded in the marker: an HTML comment ends at `-->`, and a line at its break.
const NOT_IN_MARKER: &AsciiSet = &CONTROLS.add(b' ').add(b'<').add(b'>').add(b'%').add(b'"').add(b'&');

/// Number of digits of a commit that GitHub shows.
const SHORT_COMMIT: usize = 7;

/// The facts that a comment adds to the summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentStamp {
    /// The key of the comment; `None` if it is unknown.
    pub key: Option<String>,
    /// The commit that the run is about.
    pub commit: Option<String>,
    /// URL of the repository.
    pub repository_url: Option<String>,
    /// The time at which the comment is written.
    pub written_at: SystemTime,
}

impl CommentStamp {
    /// Returns the URL under which GitHub shows the files of the commit.
    fn files_url(&self) -> Option<String> {
        let commit = self.commit.as_deref().filter(|commit| is_commit(commit))?;
        Some(format!("{}/blob/{commit}", self.repository_url.as_deref()?))
    }
}

/// Returns the marker of the comment with this key. Its text can't end the HTML comment early, and differs for every two
/// keys.
#[must_use]
pub fn comment_marker(key: &str) -> String {
    // An HTML comment must not contain two hyphens in a row.
    let encoded = utf8_percent_encode(key, NOT_IN_MARKER).to_string().replace("--", "-%2D");
    format!("{MARKER_PREFIX}{encoded} -->")
}

/// Returns the comment without its marker, at most `budget` bytes long. The report must be redacted.
#[must_use]
pub fn comment_body(report: &RunReport, stamp: &CommentStamp, budget: usize) -> String {
    let command = report.command.map_or("migrate", crate::settings::Command::name);
    let environment = report.environment.as_deref();
    let key = stamp.key.as_deref().filter(|key| Some(*key) != environment);
    let mut parts = vec![match environment {
        Some(name) => format!("bastion-migrate {command} for {}", code_html(name)),
        None => format!("bastion-migrate {command}"),
    }];
    parts.extend(key.map(code_html));
    parts.extend(stamp.commit.as_deref().map(|commit| commit_link(commit, stamp.repository_url.as_deref())));
    parts.push(DateTime::<Utc>::from(stamp.written_at).format("%Y-%m-%d %H:%M:%S UTC").to_string());
    parts.extend(report.run_url.as_deref().map(|url| format!("[run]({url})")));
    let footer = format!("\n<sub>{}</sub>\n", parts.join(" · "));
    match budget.checked_sub(footer.len()) {
        Some(room) => {
            // The run's own commit may be a merge, which is gone as soon as the pull request is merged.
            let files_url = stamp.files_url().or_else(|| report.files_url.clone());
            format!("{}{footer}", render_summary(&RunReport { files_url, ..report.clone() }, room))
        }
        None => String::new(),
    }
}

/// Returns a link to a commit. A text that is no commit is not shown: it comes from the event's payload.
fn commit_link(commit: &str, repository_url: Option<&str>) -> String {
    let known = is_commit(commit);
    let short = if known { commit.get(..SHORT_COMMIT).unwrap_or_default() } else { "unknown" };
    match repository_url.filter(|_| known) {
        Some(url) => format!("commit [{short}]({url}/commit/{commit})"),
        None => format!("commit {short}"),
    }
}

fn is_commit(text: &str) -> bool {
    text.len() >= SHORT_COMMIT && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use std::time::{Duration, UNIX_EPOCH};

    fn stamp() -> CommentStamp {
        CommentStamp {
            key: Some("prod".to_owned()),
            commit: Some("89abcdef0123456789abcdef0123456789abcdef".to_owned()),
            repository_url: Some("https://github.com/owner/name".to_owned()),
            written_at: UNIX_EPOCH + Duration::from_secs(1_795_983_735),
        }
    }

    #[test]
    fn a_key_can_not_end_the_marker() {
        assert_eq!(comment_marker("eu-1.prod"), "<!-- bastion-migrate:eu-1.prod -->");
        assert_eq!(comment_marker("a--><img src=x>\n"), "<!-- bastion-migrate:a-%2D%3E%3Cimg%20src=x%3E%0A -->");
        assert_eq!(comment_marker("a---b").matches("--").count(), 2);
    }

    #[test]
    fn different_keys_have_different_markers() {
        let keys = ["a b", "a-b", "a--b", "a%2Db", "a/b", "a_b", "A B"];
        let markers: std::collections::BTreeSet<String> = keys.iter().map(|key| comment_marker(key)).collect();
        assert_eq!(markers.len(), keys.len());
    }

    #[test]
    fn is_the_summary_with_commit_time_and_run_within_its_budget() {
        let report = sample::report_of(&sample::successful_events());
        let text = comment_body(&report, &stamp(), COMMENT_LIMIT);
        assert!(text.starts_with("## ✅ bastion-migrate · prod · Applied 2 migrations"), "{text}");
        let footer = "<sub>bastion-migrate migrate for <code>prod</code> · commit \
            [89abcde](https://github.com/owner/name/commit/89abcdef0123456789abcdef0123456789abcdef) · \
            2026-11-29 20:22:15 UTC · [run](https://github.com/owner/name/actions/runs/1/attempts/1)</sub>\n";
        assert!(text.ends_with(footer), "{text}");
        assert!((0..2_000).all(|budget| comment_body(&report, &stamp(), budget).len() <= budget));
    }

    #[test]
    fn each_file_is_linked_at_the_commit_of_the_pull_request() {
        let report = sample::report_of(&sample::successful_events());
        let link = |stamp: &CommentStamp| {
            let text = comment_body(&report, stamp, COMMENT_LIMIT);
            let (_, url) = text.split_once("0003\\_add\\_email.sql</code>](").unwrap();
            url.split(')').next().unwrap().to_owned()
        };
        let file = "migrations/0003_add_email.sql";
        let head = "https://github.com/owner/name/blob/89abcdef0123456789abcdef0123456789abcdef";
        assert_eq!(link(&stamp()), format!("{head}/{file}"));
        let own = "https://github.com/owner/name/blob/0123456789abcdef0123456789abcdef01234567";
        assert_eq!(link(&CommentStamp { commit: None, ..stamp() }), format!("{own}/{file}"));
        let odd = CommentStamp { commit: Some("main)".to_owned()), ..stamp() };
        assert_eq!(link(&odd), format!("{own}/{file}"));
    }

    #[test]
    fn shows_a_key_that_is_not_the_environment() {
        let report = sample::report_of(&sample::successful_events());
        let text = comment_body(&report, &CommentStamp { key: Some("eu <b>".to_owned()), ..stamp() }, COMMENT_LIMIT);
        assert!(text.contains("for <code>prod</code> · <code>eu &lt;b&gt;</code> · commit"), "{text}");
        let odd = CommentStamp { commit: Some("](javascript:x)".to_owned()), ..stamp() };
        assert!(comment_body(&report, &odd, COMMENT_LIMIT).contains(" · commit unknown · "));
    }
}
