//! The runner's side of the protocol: how it reads a step's log and its command files. Written from the sources of
//! actions/runner (`ActionCommand.cs`, `ActionCommandManager.cs`, `FileCommandManager.cs`), not from our own writer.

use std::collections::BTreeMap;

/// What the runner shows on a pull request and under the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annotation {
    /// `error`, `warning` or `notice`.
    pub(crate) level: String,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) message: String,
}

/// A step's log as the runner understands it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Log {
    pub(crate) annotations: Vec<Annotation>,
    /// What is shown as `***` from then on.
    pub(crate) masks: Vec<String>,
    /// The lines without the commands that told the masks.
    pub(crate) without_masks: String,
    /// What makes the runner fail the step whatever the exit code is.
    pub(crate) errors: Vec<String>,
}

const COMMANDS: [&str; 15] = [
    "set-env",
    "set-output",
    "save-state",
    "add-path",
    "add-mask",
    "add-matcher",
    "remove-matcher",
    "warning",
    "error",
    "notice",
    "debug",
    "group",
    "endgroup",
    "echo",
    "stop-commands",
];

/// Annotations of a level that one step may have; further ones stay in the log alone.
const ANNOTATIONS_KEPT: usize = 10;

impl Log {
    /// Reads a log. CR ends a line as LF does.
    pub(crate) fn read(text: &str) -> Self {
        let mut log = Self::default();
        let mut stopped: Option<String> = None;
        for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
            if let Some(token) = &stopped {
                if line.trim_start().eq_ignore_ascii_case(&format!("::{token}::")) {
                    stopped = None;
                }
            } else if let Some((name, properties, data)) = command(line) {
                match name.as_str() {
                    "add-mask" => {
                        log.mask(&data);
                        continue;
                    }
                    "stop-commands" if data.is_empty() || COMMANDS.contains(&data.as_str()) => {
                        log.errors.push(line.to_owned());
                    }
                    "stop-commands" => stopped = Some(data),
                    "error" | "warning" | "notice" => log.annotate(name, properties, &data),
                    "set-env" | "add-path" | "set-output" | "save-state" => log.errors.push(line.to_owned()),
                    _ => {}
                }
            }
            log.without_masks.push_str(line);
            log.without_masks.push('\n');
        }
        if let Some(token) = stopped {
            log.errors.push(format!("commands were stopped with `{token}` and never resumed"));
        }
        log
    }

    fn mask(&mut self, data: &str) {
        if data.trim().is_empty() {
            self.errors.push("an empty mask".to_owned());
        } else {
            self.masks.push(data.to_owned());
            let lines = data.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty() && *line != data);
            self.masks.extend(lines.map(str::to_owned));
        }
    }

    fn annotate(&mut self, level: String, properties: BTreeMap<String, String>, message: &str) {
        let same = self.annotations.iter().filter(|annotation| annotation.level == level).count();
        if same < ANNOTATIONS_KEPT {
            let message = message.chars().take(4096).collect();
            self.annotations.push(Annotation { level, properties, message });
        }
    }
}

fn command(line: &str) -> Option<(String, BTreeMap<String, String>, String)> {
    version_2(line).or_else(|| version_1(line))
}

/// `::name key=value,key=value::data`, at the start of a line.
fn version_2(line: &str) -> Option<(String, BTreeMap<String, String>, String)> {
    let (header, data) = line.trim_start().strip_prefix("::")?.split_once("::")?;
    let (name, properties) = header.split_once(' ').unwrap_or((header, ""));
    let unescape = |value: &str| data_unescaped(&value.replace("%3A", ":").replace("%2C", ","));
    known(name, properties, ',', unescape).map(|(name, properties)| (name, properties, data_unescaped(data)))
}

/// `##[name key=value;key=value]data`, anywhere in a line.
fn version_1(line: &str) -> Option<(String, BTreeMap<String, String>, String)> {
    let (_, rest) = line.split_once("##[")?;
    let (header, data) = rest.split_once(']')?;
    let (name, properties) = header.split_once(' ').unwrap_or((header, ""));
    let unescape = |value: &str| data_unescaped(&value.replace("%3B", ";").replace("%5D", "]"));
    known(name, properties, ';', unescape).map(|(name, properties)| (name, properties, unescape(data)))
}

fn known(
    name: &str,
    properties: &str,
    separator: char,
    unescape: impl Fn(&str) -> String,
) -> Option<(String, BTreeMap<String, String>)> {
    let name = name.to_lowercase();
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        (!key.is_empty() && !value.is_empty()).then(|| (key.to_owned(), unescape(value)))
    };
    COMMANDS.contains(&name.as_str()).then(|| (name, properties.trim().split(separator).filter_map(pair).collect()))
}

fn data_unescaped(value: &str) -> String {
    value.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
}

/// Reads `GITHUB_OUTPUT`, `GITHUB_ENV` or `GITHUB_STATE`. Names don't mind case; the last value of a name wins.
pub(crate) fn key_values(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut values = BTreeMap::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() {
        let (line, next) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = next;
        let (pair, heredoc) = (line.split_once('='), line.split_once("<<"));
        match (pair, heredoc) {
            _ if line.is_empty() => {}
            (Some((name, value)), heredoc) if heredoc.is_none_or(|(other, _)| name.len() < other.len()) => {
                insert(&mut values, name, value)?;
            }
            (_, Some((_, ""))) | (None, None) => return Err(format!("Invalid format '{line}'")),
            (_, Some((name, delimiter))) => {
                let (value, after) = until(next, delimiter)?;
                insert(&mut values, name, &value)?;
                rest = after;
            }
            (Some(_), None) => unreachable!("a pair without a heredoc is a pair"),
        }
    }
    Ok(values)
}

fn insert(values: &mut BTreeMap<String, String>, name: &str, value: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a name is empty".to_owned());
    }
    values.insert(name.to_lowercase(), value.to_owned());
    Ok(())
}

fn until<'a>(text: &'a str, delimiter: &str) -> Result<(String, &'a str), String> {
    let (mut value, mut rest) = (Vec::new(), text);
    loop {
        match rest.split_once('\n') {
            Some((line, next)) if line == delimiter => return Ok((value.join("\n"), next)),
            Some((line, next)) => {
                value.push(line);
                rest = next;
            }
            None if rest == delimiter => return Ok((value.join("\n"), "")),
            None if rest.is_empty() => {
                return Err(format!("Invalid value. Matching delimiter not found '{delimiter}'"));
            }
            None => return Err("Invalid value. EOF marker missing new line.".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        key_values(text).unwrap().into_values().collect::<Vec<_>>().join("&")
    }

    /// The vectors are those of the runner's own tests (`SetOutputFileCommandL0.cs`).
    #[test]
    fn reads_command_files_as_the_runner_does() {
        assert_eq!(one("MY_OUTPUT==abc"), "=abc");
        assert_eq!(one("O<<=EOF\nhello\none\n=EOF\n"), "hello\none");
        assert_eq!(one("O<<<EOF\nhello\n<EOF"), "hello");
        assert_eq!(one("O<<EOF\na\n EOF\n\nEOF\n"), "a\n EOF\n");
        assert_eq!(one("\u{feff}o=1\n\nO=2\n"), "2");
        assert_eq!(one("O<<EOF\nEOF\n"), "");
        assert_eq!(key_values("O<<EOF\nx").unwrap_err(), "Invalid value. EOF marker missing new line.");
        assert_eq!(key_values("O<<EOF\nx\n").unwrap_err(), "Invalid value. Matching delimiter not found 'EOF'");
        assert!(key_values("=v").is_err());
        assert_eq!(key_values("novalue").unwrap_err(), "Invalid format 'novalue'");
    }

    #[test]
    fn reads_annotations_as_the_runner_does() {
        let log =
            Log::read("  ::error file=a.sql,line=2,title=x%3A%3Ab::m%0An %2525\n>>> ::error::no\n>>> ##[warning]yes");
        assert_eq!(log.annotations.len(), 2);
        assert_eq!(log.annotations[0].message, "m\nn %25");
        assert_eq!(log.annotations[0].properties["title"], "x::b");
        assert_eq!(log.annotations[0].properties["line"], "2");
        assert_eq!((log.annotations[1].level.as_str(), log.annotations[1].message.as_str()), ("warning", "yes"));
        let spaced = Log::read("::error file=a, line=2::m");
        assert!(!spaced.annotations[0].properties.contains_key("line"), "keys are not trimmed");
    }

    #[test]
    fn a_carriage_return_begins_a_line() {
        assert_eq!(Log::read("50 %\r::error::hidden").annotations.len(), 1);
    }

    #[test]
    fn stopped_commands_are_text() {
        let log =
            Log::read("::stop-commands::tok123\n::error::no\n##[error]no\n::add-mask::x\n::TOK123::\n::error::yes");
        assert_eq!(log.annotations.len(), 1);
        assert_eq!(log.masks, [""; 0]);
        assert_eq!(log.errors, [""; 0]);
        assert_eq!(Log::read("::stop-commands::tok123\n").errors.len(), 1);
    }

    #[test]
    fn a_mask_of_several_lines_hides_each() {
        let log = Log::read("::add-mask::one%0Atwo\nafter");
        assert_eq!(log.masks, ["one\ntwo", "one", "two"]);
        assert_eq!(log.without_masks, "after\n");
    }
}
