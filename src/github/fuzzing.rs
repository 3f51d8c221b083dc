//! The runner's side of its protocol, as its sources define it, and properties of any text that is written for it; for
//! `make fuzz` and the tests.

use super::{
    command_file::delimited_entry,
    workflow_command::{
        Annotation, Level, debug_command, group_command, mask_command, needs_fence, without_old_commands,
    },
};
use std::collections::BTreeMap;

/// A parsed workflow command: its name, its properties, its data.
pub(super) type ParsedCommand = (String, BTreeMap<String, String>, String);

/// Parses a line as the runner does (`ActionCommand.TryParseV2` with the unescape tables beside it).
pub(super) fn parse_command(line: &str) -> Option<ParsedCommand> {
    let rest = line.trim_start().strip_prefix("::")?;
    let (header, text) = rest.split_once("::")?;
    let (name, properties) = header.split_once(' ').unwrap_or((header, ""));
    let pairs = properties.trim().split(',').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.filter(|(key, value)| !key.is_empty() && !value.is_empty()).map(|(key, value)| {
        let value = value.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",");
        (key.to_owned(), value.replace("%25", "%"))
    });
    let text = text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%");
    Some((name.to_owned(), pairs.collect(), text))
}

/// Parses a command file as the runner does (`FileCommandManager.cs`); `None` if the runner would reject it.
pub(super) fn parse_entries(text: &str) -> Option<Vec<(String, String)>> {
    let (mut entries, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (head, after) = rest.split_once('\n')?;
        let (name, delimiter) = head.split_once("<<").filter(|(name, _)| !name.contains('='))?;
        let (mut lines, mut remaining) = (Vec::new(), after);
        loop {
            let (line, next) = remaining.split_once('\n')?;
            remaining = next;
            if line == delimiter {
                break;
            }
            lines.push(line);
        }
        entries.push((name.to_owned(), lines.join("\n")));
        rest = remaining;
    }
    Some(entries)
}

/// Writes commands with these texts: each is one line, and the runner reads the same values back. A neutralised text
/// contains no command, unless it is reported to need a fence.
///
/// # Panics
/// If a property is violated.
pub(crate) fn write_commands(file: &str, title: &str, message: &str) {
    for (name, line) in
        [("add-mask", mask_command(message)), ("group", group_command(message)), ("debug", debug_command(message))]
    {
        assert_one_line(&line);
        assert_eq!(parse_command(&line), Some((name.to_owned(), BTreeMap::new(), message.to_owned())));
    }
    let note = Annotation {
        level: Level::Warning,
        file: Some(file.to_owned()),
        line: Some(7),
        column: Some(3),
        title: title.to_owned(),
        message: message.to_owned(),
    };
    let command = note.to_string();
    assert_one_line(&command);
    let given = [("file", file), ("line", "7"), ("col", "3"), ("title", title.trim_end())];
    // The runner trims the list of properties as a whole, and drops an empty one.
    let given = given.into_iter().filter(|(_, value)| !value.is_empty());
    let expected: BTreeMap<String, String> = given.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let (name, mut properties, parsed) = parse_command(&command).unwrap_or_default();
    properties.entry("title".to_owned()).and_modify(|title| title.truncate(title.trim_end().len()));
    properties.retain(|_, value| !value.is_empty());
    assert_eq!((name.as_str(), properties), ("warning", expected));
    assert!(
        message.starts_with(&parsed) && (parsed == message || parsed.len() >= 4096 - 3),
        "{parsed:?} of {message:?}"
    );
    let neutral = without_old_commands(message);
    for line in neutral.split(['\r', '\n']) {
        assert!(!line.contains("##["), "{line:?} is obeyed");
        assert!(needs_fence(&neutral) || parse_command(line).is_none(), "{line:?} is obeyed");
    }
    assert_eq!(without_old_commands(&neutral), neutral);
}

fn assert_one_line(command: &str) {
    assert!(!command.contains(['\r', '\n']), "{command:?} has several lines");
}

/// Writes outputs with these values and any delimiters: the runner reads each value back.
///
/// # Panics
/// If it does not.
pub(crate) fn write_outputs(values: &[String], delimiters: &[String]) {
    let mut guessed =
        delimiters.iter().filter(|delimiter| !delimiter.is_empty() && !delimiter.contains(['\n', '\r'])).cloned();
    let mut number = 0;
    let mut next_token = || {
        number += 1;
        guessed.next().unwrap_or_else(|| format!("{number:032x}"))
    };
    let outputs: Vec<(String, String)> =
        (0..).zip(values).map(|(index, value)| (format!("output-{index}"), value.clone())).collect();
    let text: String = outputs.iter().map(|(name, value)| delimited_entry(name, value, &mut next_token)).collect();
    assert_eq!(parse_entries(&text).as_ref(), Some(&outputs), "{text:?}");
}
