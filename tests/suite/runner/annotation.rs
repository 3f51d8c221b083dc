//! Annotations on a pull request and below the log. Source: `ActionCommandManager.cs`, `ExecutionContext.cs`.

use super::{command::Command, mask::Masker, paths::Paths};
use std::collections::BTreeMap;

/// A message about a file or about the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annotation {
    /// `error`, `warning` or `notice`.
    pub(crate) level: String,
    /// Properties with keys in lower case, repaired as the runner does it.
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) message: String,
}

/// Length to which a message is cut, in UTF-16 units.
const MESSAGE_LIMIT: usize = 4096;

impl Annotation {
    /// Creates an annotation from a command. The runner masks the message, but no property.
    pub(super) fn of(command: Command, paths: &Paths, masker: &Masker) -> Self {
        let Command { name, mut properties, data } = command;
        repair(&mut properties);
        if let Some(file) = properties.get_mut("file") {
            *file = paths.in_repository(file);
        }
        Self { level: name, properties, message: clipped(&masker.mask(&data)) }
    }
}

fn clipped(text: &str) -> String {
    let mut units = 0;
    let fits = |letter: &char| {
        units += letter.len_utf16();
        units <= MESSAGE_LIMIT
    };
    text.chars().take_while(fits).collect()
}

/// Makes lines and columns consistent, and drops those that can't be.
fn repair(properties: &mut BTreeMap<String, String>) {
    let number =
        |properties: &BTreeMap<String, String>, key| properties.get(key).and_then(|text| text.parse::<u32>().ok());
    let present = |properties: &BTreeMap<String, String>, key| properties.contains_key(key);
    let mut copy = |from: &str, to: &str| {
        if let (Some(value), false) = (properties.get(from).cloned(), properties.contains_key(to)) {
            properties.insert(to.to_owned(), value);
        }
    };
    copy("endline", "line");
    copy("endcolumn", "col");
    let [line, end_line, column, end_column] =
        ["line", "endline", "col", "endcolumn"].map(|key| number(properties, key));
    let reversed = |start: Option<u32>, end: Option<u32>| start.zip(end).is_some_and(|(start, end)| end < start);
    let several_lines = present(properties, "line") && present(properties, "endline") && line != end_line;
    let mut dropped: Vec<&str> = Vec::new();
    if !present(properties, "line") || several_lines || reversed(column, end_column) {
        dropped.extend(["col", "endcolumn"]);
    }
    if reversed(line, end_line) {
        dropped.extend(["line", "endline"]);
    }
    properties.retain(|key, _| !dropped.contains(&key.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(given: &[(&str, &str)]) -> String {
        let mut properties = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        repair(&mut properties);
        properties.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lines_and_columns_are_repaired() {
        assert_eq!(repaired(&[("endline", "3")]), "endline=3 line=3");
        assert_eq!(repaired(&[("line", "3"), ("endcolumn", "4")]), "col=4 endcolumn=4 line=3");
        assert_eq!(repaired(&[("col", "1"), ("endcolumn", "4")]), "");
        assert_eq!(repaired(&[("line", "1"), ("endline", "2"), ("col", "1"), ("endcolumn", "2")]), "endline=2 line=1");
        assert_eq!(repaired(&[("line", "3"), ("endline", "2")]), "");
        assert_eq!(repaired(&[("line", "1"), ("col", "3"), ("endcolumn", "2")]), "line=1");
        assert_eq!(repaired(&[("line", "2"), ("col", "7"), ("file", "a")]), "col=7 file=a line=2");
    }

    #[test]
    fn a_message_is_cut_to_a_number_of_utf_16_units() {
        assert_eq!(clipped(&"ü".repeat(5000)).chars().count(), 4096);
        assert_eq!(clipped(&"😀".repeat(5000)).chars().count(), 2048);
    }
}
