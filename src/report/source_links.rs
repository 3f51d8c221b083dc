//! Links to the files of the repository, at the commit of the run.

use super::{
    log_lines::format_place,
    markdown::{code_html, escape_markdown},
    run_report::RunReport,
    visible_text::clip_text,
};
use crate::{fault::FilePosition, run::MigrationId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters of a path that are encoded in its URL.
const NOT_IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Returns a file's path as code, linked to the file if it is in the repository.
fn linked_file(report: &RunReport, file: &str) -> String {
    linked(&code_html(file), file_url(report, file))
}

/// Returns the file of a migration, behind the schema of its tenant if it has one. A longer path or name is cut.
pub(super) fn linked_migration(report: &RunReport, id: &MigrationId, longest: usize) -> String {
    let file = linked_file(report, &clip_text(&id.file, longest));
    match id.schema.as_str() {
        "" => file,
        schema => format!("{}: {file}", escape_markdown(&clip_text(schema, longest))),
    }
}

/// Returns a position in a file as code, linked to its line.
pub(super) fn linked_place(report: &RunReport, place: &FilePosition) -> String {
    let line = place.line.map(|line| format!("#L{line}")).unwrap_or_default();
    linked(&code_html(&format_place(place)), file_url(report, &place.file).map(|url| format!("{url}{line}")))
}

/// Returns the page of a run that a ledger names, as the number of the run with a link. The text is not ours: only a page
/// of this repository's runs becomes a link.
pub(super) fn linked_run(report: &RunReport, page: &str) -> String {
    let number = |base: &str| {
        let rest = page.strip_prefix(base)?;
        let (number, attempt) = rest.split_once("/attempts/").unwrap_or((rest, "1"));
        [number, attempt].iter().all(|part| is_number(part)).then_some(number)
    };
    let own_page = report.run_url.as_deref().and_then(|own| own.split_once("/actions/runs/"));
    match own_page.and_then(|(repository, _)| number(&format!("{repository}/actions/runs/"))) {
        Some(number) => format!("[{number}]({page})"),
        None => code_html(page),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
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
    fn links_a_run_of_this_repository_and_no_other_page() {
        let report = sample::report_of(&sample::successful_events());
        let runs = "https://github.com/owner/name/actions/runs";
        assert_eq!(linked_run(&report, &format!("{runs}/17")), format!("[17]({runs}/17)"));
        assert_eq!(linked_run(&report, &format!("{runs}/17/attempts/2")), format!("[17]({runs}/17/attempts/2)"));
        for page in [format!("{runs}/17)[x](evil"), format!("{runs}/"), "https://evil.example/1".to_owned()] {
            assert!(linked_run(&report, &page).starts_with("<code>"), "{page}");
        }
        assert!(linked_run(&RunReport { run_url: None, ..report }, &format!("{runs}/17")).starts_with("<code>"));
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
