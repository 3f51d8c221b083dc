//! The runner's log commands, one line each. Grammar: actions/runner, `ActionCommand.cs` and `OutputManager.cs`.

use crate::random::random_token;
use std::fmt;

/// Longest message of an annotation, in UTF-16 units; the runner cuts the rest (`ExecutionContext.cs`).
pub const MESSAGE_LIMIT: usize = 4096;

/// Severity of an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Red.
    Error,
    /// Yellow.
    Warning,
    /// Blue.
    Notice,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// A message at a file, or at the run if it has no file. Its `Display` is the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Severity.
    pub level: Level,
    /// Relative to the repository.
    pub file: Option<String>,
    /// 1-based. The runner drops a column that has no line.
    pub line: Option<usize>,
    /// 1-based.
    pub column: Option<usize>,
    /// Title.
    pub title: String,
    /// Message. It must not be only white space: the runner drops such an annotation.
    pub message: String,
}

impl fmt::Display for Annotation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let located = self.file.as_ref().and(self.line);
        let properties = [
            ("file", self.file.clone()),
            ("line", located.map(|line| line.to_string())),
            ("col", located.and(self.column).map(|column| column.to_string())),
            ("title", Some(self.title.clone())),
        ];
        // The runner drops a property without a value and trims nothing: no space after the comma.
        let pairs: Vec<String> = properties
            .into_iter()
            .filter_map(|(key, value)| value.filter(|value| !value.is_empty()).map(|value| (key, value)))
            .map(|(key, value)| format!("{key}={}", escape_property(&value)))
            .collect();
        let space = if pairs.is_empty() { "" } else { " " };
        let message = escape_data(clip_message(&self.message));
        write!(formatter, "::{}{space}{}::{message}", self.level.name(), pairs.join(","))
    }
}

/// Cuts a message to the runner's limit.
fn clip_message(text: &str) -> &str {
    let mut units = 0;
    let end = text.char_indices().find(|(_, character)| {
        units += character.len_utf16();
        units > MESSAGE_LIMIT
    });
    end.and_then(|(index, _)| text.get(..index)).unwrap_or(text)
}

/// Returns the command that masks a value in the rest of the job's log.
#[must_use]
pub fn mask_command(value: &str) -> String {
    format!("::add-mask::{}", escape_data(value))
}

/// Returns the command that opens a foldable group; groups don't nest.
#[must_use]
pub fn group_command(title: &str) -> String {
    format!("::group::{}", escape_data(title))
}

/// The command that closes a group.
pub const END_GROUP: &str = "::endgroup::";

/// Returns the command for a line that is shown only with debug logging.
#[must_use]
pub fn debug_command(text: &str) -> String {
    format!("::debug::{}", escape_data(text))
}

/// A pair of lines between which the runner executes no commands.
#[derive(Debug)]
pub struct Fence(String);

impl Fence {
    /// Creates a fence with a random token, so that the text inside can't end it.
    #[must_use]
    pub fn new() -> Self {
        Self(random_token())
    }

    /// Returns the line before the text.
    #[must_use]
    pub fn opening_line(&self) -> String {
        format!("::stop-commands::{}", self.0)
    }

    /// Returns the line after the text.
    #[must_use]
    pub fn closing_line(&self) -> String {
        format!("::{}::", self.0)
    }
}

impl Default for Fence {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns whether the runner could take a line of the text for a command in its present form, which starts at the
/// beginning of a line, after anything that .NET counts as white space (`ActionCommand.TryParseV2`). Everything that is
/// not visible ASCII is skipped here, so that the definition of white space does not matter.
#[must_use]
pub fn needs_fence(text: &str) -> bool {
    let is_command =
        |line: &str| line.trim_start_matches(|character: char| !character.is_ascii_graphic()).starts_with("::");
    text.split(['\r', '\n']).any(is_command)
}

/// Breaks commands in their old form, which the runner executes anywhere in a line and, unlike the present form, also
/// prints as a heading inside a fence. A plain space breaks them, not an invisible one, so that the shown text is the
/// copied text.
#[must_use]
pub fn without_old_commands(text: &str) -> String {
    text.replace("##[", "# #[")
}

fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::{super::fuzzing::parse_command as parse, *};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const HOSTILE: &str = "(?s)([%:,=; \r\n#\\[\\]]|::|%0A|%25|%3A|##\\[|[a-zA-Zü😀])*";

    proptest! {
        #[test]
        fn the_runner_reads_the_same_values_back(file in HOSTILE, title in HOSTILE, message in HOSTILE, line in 1usize..9999) {
            // The runner trims the whole list of properties, so the last one must not end in a space.
            let title = format!("{title}!");
            let file = format!("f{file}");
            let note = Annotation {
                level: Level::Error, file: Some(file.clone()), line: Some(line), column: Some(7), title: title.clone(), message: message.clone(),
            };
            let command = note.to_string();
            prop_assert!(!command.contains(['\r', '\n']));
            let (name, properties, text) = parse(&command).unwrap();
            prop_assert_eq!(name, "error");
            prop_assert_eq!(&properties["file"], &file);
            prop_assert_eq!(&properties["line"], &line.to_string());
            prop_assert_eq!(&properties["col"], "7");
            prop_assert_eq!(&properties["title"], &title);
            prop_assert_eq!(text, message);
        }

        #[test]
        fn simple_commands_carry_any_text(text in HOSTILE) {
            for (name, line) in [("add-mask", mask_command(&text)), ("group", group_command(&text)), ("debug", debug_command(&text))] {
                prop_assert_eq!(parse(&line).unwrap(), (name.to_owned(), BTreeMap::new(), text.clone()));
            }
        }

        #[test]
        fn text_that_needs_no_fence_is_no_command(text in HOSTILE) {
            for line in without_old_commands(&text).split(['\r', '\n']) {
                prop_assert!(!line.contains("##["));
                prop_assert!(needs_fence(&text) || parse(line).is_none());
            }
        }
    }

    #[test]
    fn only_a_line_that_begins_as_a_command_needs_a_fence() {
        for harmless in
            ["PG::UndefinedTable: ERROR", "a::b", "`[2001:db8::1]`", "  | ::error::x", "x ::error::y", ": :", ""]
        {
            assert!(!needs_fence(harmless), "{harmless}");
        }
        let blanks =
            [" ", "\t", "\u{a0}", "\u{85}", "\u{3000}", "\u{feff}", "\u{180e}", "\u{200b}", "\u{fffd}", "\u{b}"];
        for blank in blanks {
            assert!(needs_fence(&format!("{blank} ::error::x")), "{blank:?}");
        }
        assert!(needs_fence("a\n::error::x") && needs_fence("a\r ::Error::x") && needs_fence("::"));
    }

    #[test]
    fn breaks_an_old_command_behind_more_hashes() {
        assert_eq!(without_old_commands(">>> ###[error]x ##[group]"), ">>> ## #[error]x # #[group]");
    }

    #[test]
    fn a_column_without_a_line_is_left_out() {
        let note = Annotation {
            level: Level::Warning,
            file: Some("a.sql".to_owned()),
            line: None,
            column: Some(3),
            title: "t".to_owned(),
            message: "m".to_owned(),
        };
        assert_eq!(note.to_string(), "::warning file=a.sql,title=t::m");
    }

    #[test]
    fn cuts_a_message_where_the_runner_would() {
        assert_eq!(clip_message(&"ü".repeat(5000)).chars().count(), 4096);
        assert_eq!(clip_message(&"😀".repeat(5000)).chars().count(), 2048);
        assert_eq!(clip_message("short"), "short");
    }

    #[test]
    fn a_fence_has_a_token_of_its_own() {
        let (first, second) = (Fence::new(), Fence::new());
        assert_ne!(first.opening_line(), second.opening_line());
        let token = first.opening_line().replace("::stop-commands::", "");
        assert_eq!(first.closing_line(), format!("::{token}::"));
    }
}
