//! Links to the files of the repository, at the commit of the run.

use super::{log_lines::format_place, markdown::code_html, run_report::RunReport};
use crate::fault::FilePosition;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters of a path that are encoded in its URL.
const NOT_IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Returns a file's path as code, linked to the file if it is in the repository.
pub(super) fn linked_file(report: &RunReport, file: &str) -> String {
    linked(&code_html(file), file_url(report, file))
}

/// Returns a position in a file as code, linked to its line.
pub(super) fn linked_place(report: &RunReport, place: &FilePosition) -> String {
    let line = place.line.map(|line| format!("#L{line}")).unwrap_or_default();
    linked(&code_html(&format_place(place)), file_url(report, &place.file).map(|url| format!("{url}{line}")))
}

fn linked(code: &str, url: Option<String>) -> String {
    url.map_or_else(|| code.to_owned(), |url| format!("[{code}]({url})"))
}

/// Returns the URL of a file; none if the commit is unknown, or if the path leads out of the repository or was cut.
fn file_url(report: &RunReport, file: &str) -> Option<String> {
    let files = report.files_url.as_ref()?;
    let is_inside = !file.is_empty() && !file.starts_with('/') && !file.split('/').any(|part| part == "..");
    (is_inside && !file.ends_with('…')).then(|| format!("{files}/{}", utf8_percent_encode(file, NOT_IN_URL)))
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    #[test]
    fn links_a_file_of_the_repository_and_its_line() {
        let report = sample::report_of(&sample::successful_events());
        let url = "https://github.com/owner/name/blob/0123456789abcdef0123456789abcdef01234567";
        assert_eq!(linked_file(&report, "db/a b).sql"), format!("[<code>db/a b).sql</code>]({url}/db/a%20b%29.sql)"));
        let place = FilePosition { line: Some(7), ..FilePosition::of_file("a.sql") };
        assert_eq!(linked_place(&report, &place), format!("[<code>a.sql:7</code>]({url}/a.sql#L7)"));
    }

    #[test]
    fn links_no_file_outside_of_the_repository_and_none_without_a_commit() {
        let mut report = sample::report_of(&sample::successful_events());
        for file in ["/tmp/a.sql", "../a.sql", "db/../../a.sql", "cut…"] {
            assert_eq!(linked_file(&report, file), format!("<code>{file}</code>"));
        }
        report.files_url = None;
        assert_eq!(linked_file(&report, "a.sql"), "<code>a.sql</code>");
    }
}
