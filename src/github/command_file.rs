//! The runner's command files: outputs and the job summary. Grammar: actions/runner, `FileCommandManager.cs`.

use crate::{
    fault::{Code, Fault},
    random::random_token,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// Largest summary of one step that the runner uploads, in bytes; it uploads nothing of a larger one.
pub const SUMMARY_LIMIT: usize = 1_048_576;

/// Appends outputs to `GITHUB_OUTPUT`: all of them or none.
///
/// # Errors
/// `report-unwritten` when the file can't be written.
pub fn append_outputs(path: &Path, outputs: &[(&str, String)]) -> Result<(), Fault> {
    let text: String = outputs.iter().map(|(name, value)| delimited_entry(name, value, random_token)).collect();
    append_or_undo(path, &text, "the outputs (`GITHUB_OUTPUT`)")
}

/// Saves state for the later stages of this step, which see it as `STATE_<name>`.
///
/// # Errors
/// `report-unwritten` when the file can't be written.
pub fn append_state(path: &Path, state: &[(&str, String)]) -> Result<(), Fault> {
    let text: String = state.iter().map(|(name, value)| delimited_entry(name, value, random_token)).collect();
    append_or_undo(path, &text, "the state (`GITHUB_STATE`)")
}

/// Formats one output between delimiters. A value that contained its delimiter would end early, so another one is
/// drawn.
pub(super) fn delimited_entry(name: &str, value: &str, mut next_token: impl FnMut() -> String) -> String {
    let mut delimiter = next_token();
    while value.contains(&delimiter) || name.contains(&delimiter) {
        delimiter = next_token();
    }
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

/// Returns the number of bytes that still fit into the summary.
///
/// # Errors
/// `report-unwritten` when the file does not exist.
pub fn summary_room(path: &Path) -> Result<usize, Fault> {
    let found = path.metadata().map_err(|error| write_fault("the job summary (`GITHUB_STEP_SUMMARY`)", &error))?;
    let used = usize::try_from(found.len()).unwrap_or(usize::MAX);
    Ok(SUMMARY_LIMIT.saturating_sub(used))
}

/// Appends to the job summary.
///
/// # Errors
/// `report-unwritten` when the file can't be written, or would exceed the runner's limit.
pub fn append_summary(path: &Path, markdown: &str) -> Result<(), Fault> {
    if markdown.len() > summary_room(path)? {
        let cause = format!("the job summary would be longer than the {SUMMARY_LIMIT} bytes that the runner takes");
        return Err(Fault::new(Code::ReportUnwritten, cause)
            .fix("write less to `GITHUB_STEP_SUMMARY` in this step; the migration itself is not affected"));
    }
    append_or_undo(path, markdown, "the job summary (`GITHUB_STEP_SUMMARY`)")
}

/// Appends the text, and truncates the file again if not all was written: half an output fails the whole step.
fn append_or_undo(path: &Path, text: &str, purpose: &str) -> Result<(), Fault> {
    // It is not created: if it is missing, the runner won't read it.
    let mut file = OpenOptions::new().append(true).open(path).map_err(|error| write_fault(purpose, &error))?;
    let before = file.metadata().map_err(|error| write_fault(purpose, &error))?.len();
    file.write_all(text.as_bytes()).map_err(|error| undo_append(&file, before, write_fault(purpose, &error)))
}

fn undo_append(file: &File, length: u64, fault: Fault) -> Fault {
    match file.set_len(length) {
        Ok(()) => fault,
        Err(error) => fault.detail(format!("the part that was written could not be removed again: {error}")),
    }
}

fn write_fault(purpose: &str, error: &io::Error) -> Fault {
    let fault = Fault::new(Code::ReportUnwritten, format!("can't write {purpose}: {error}"));
    if error.kind() != io::ErrorKind::NotFound {
        return fault;
    }
    // The engine creates an empty directory for a mount source that does not exist.
    fault.fix(
        "the runner's files are not in this container; if the runner itself runs in one, mount its work directory there \
         under the same path that it has on the engine's host",
    )
}

#[cfg(test)]
mod tests {
    use super::{super::fuzzing::parse_entries, *};
    use proptest::prelude::*;
    use std::io::Read as _;

    proptest! {
        #[test]
        fn the_runner_reads_back_every_value(values in prop::collection::vec("(?s)([\r\n=<]|<<|EOF|[a-z%ü])*", 1..5)) {
            let file = tempfile::NamedTempFile::new().unwrap();
            let outputs: Vec<(&str, String)> = values.iter().map(|value| ("name", value.clone())).collect();
            append_outputs(file.path(), &outputs).unwrap();
            let mut text = String::new();
            File::open(file.path()).unwrap().read_to_string(&mut text).unwrap();
            let read: Vec<String> = parse_entries(&text).unwrap().into_iter().map(|(_, value)| value).collect();
            prop_assert_eq!(read, values);
        }
    }

    #[test]
    fn draws_another_delimiter_for_a_value_that_contains_it() {
        let mut tokens = ["one", "two"].into_iter().map(ToOwned::to_owned);
        let entry = delimited_entry("name", "value with one inside", || tokens.next().unwrap());
        assert_eq!(entry, "name<<two\nvalue with one inside\ntwo\n");
    }

    #[test]
    fn counts_the_existing_content_of_the_summary() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x".repeat(SUMMARY_LIMIT - 10)).unwrap();
        assert_eq!(summary_room(file.path()).unwrap(), 10);
        assert_eq!(append_summary(file.path(), &"y".repeat(11)).unwrap_err().code, Code::ReportUnwritten);
        append_summary(file.path(), &"y".repeat(10)).unwrap();
        assert_eq!(file.path().metadata().unwrap().len(), 1_048_576);
    }

    #[test]
    fn names_the_purpose_of_a_file_that_is_missing_or_full() {
        let fault = append_outputs(Path::new("/nonexistent/output"), &[]).unwrap_err();
        assert!(fault.cause.contains("GITHUB_OUTPUT") && fault.fix.contains("are not in this container"), "{fault}");
        let fault = append_outputs(Path::new("/dev/full"), &[("a", "b".to_owned())]).unwrap_err();
        assert_eq!(fault.code, Code::ReportUnwritten);
        assert!(fault.cause.contains("No space left"), "{fault}");
        let fault = append_summary(Path::new("/nonexistent/summary"), "x").unwrap_err();
        assert!(fault.cause.contains("GITHUB_STEP_SUMMARY"), "{fault}");
    }
}
