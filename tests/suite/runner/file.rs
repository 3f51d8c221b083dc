//! The command files, read when the step has ended. Source: `FileCommandManager.cs`.

use super::{mask::Masker, summary::Summary};
use std::collections::BTreeMap;

/// The purpose of a command file. The runner creates all of them, empty, for every stage of every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Path,
    Env,
    Summary,
    State,
    Output,
    Artifacts,
    ArtifactsList,
}

impl Purpose {
    /// All purposes in the order in which they are processed (`ExtensionManager.cs`).
    pub(crate) const ALL: [Self; 7] =
        [Self::Path, Self::Env, Self::Summary, Self::State, Self::Output, Self::Artifacts, Self::ArtifactsList];

    /// Returns its key in the `github` context.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Env => "env",
            Self::Summary => "step_summary",
            Self::State => "state",
            Self::Output => "output",
            Self::Artifacts => "artifacts",
            Self::ArtifactsList => "artifacts_list",
        }
    }

    /// Returns the prefix of the file's name, which the stage's own guid follows.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Path => "add_path_",
            Self::Env => "set_env_",
            Self::Summary => "step_summary_",
            Self::State => "save_state_",
            Self::Output => "set_output_",
            Self::Artifacts => "artifacts_",
            Self::ArtifactsList => "artifacts_list_",
        }
    }
}

/// Effects of the command files of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Processed {
    pub(crate) path: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) summary: Summary,
    /// State values; their names keep their case.
    pub(crate) state: Vec<(String, String)>,
    /// Outputs; their names are in lower case, because their case does not matter.
    pub(crate) outputs: BTreeMap<String, String>,
    /// Errors that do not fail the step.
    pub(crate) issues: Vec<String>,
    /// Errors that fail the step.
    pub(crate) errors: Vec<String>,
}

impl Processed {
    /// Processes every file, even if another one is malformed, and whatever the step's result.
    pub(crate) fn of(read: impl Fn(Purpose) -> String, masker: &Masker) -> Self {
        let (mut issues, mut errors) = (Vec::new(), Vec::new());
        let path = read(Purpose::Path).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let mut values = |purpose, name| {
            let KeyValues { entries, malformed } = KeyValues::read(&read(purpose));
            let failed = |why| format!("Unable to process file command '{name}' successfully. {why}");
            errors.extend(malformed.map(failed));
            entries
        };
        let (env, state) = (values(Purpose::Env, "env"), values(Purpose::State, "state"));
        let outputs = values(Purpose::Output, "output");
        let (blocked, env): (Vec<_>, Vec<_>) =
            env.into_iter().partition(|(name, _)| name.eq_ignore_ascii_case("NODE_OPTIONS"));
        issues.extend(
            blocked
                .into_iter()
                .map(|(name, _)| format!("Can't store {name} output parameter using '$GITHUB_ENV' command.")),
        );
        let summary = Summary::of(&read(Purpose::Summary), masker);
        if let Summary::Aborted(why) = &summary {
            issues.push(why.clone());
        }
        Self { path, env, summary, state: last_of_each(state), outputs: any_case(outputs), issues, errors }
    }
}

/// `GITHUB_OUTPUT`, `GITHUB_ENV` or `GITHUB_STATE`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KeyValues {
    /// Entries before the first malformed line: they take effect.
    pub(crate) entries: Vec<(String, String)>,
    /// The error that fails the step.
    pub(crate) malformed: Option<String>,
}

impl KeyValues {
    /// Reads a file.
    pub(crate) fn read(text: &str) -> Self {
        let mut read = Self::default();
        let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        while !rest.is_empty() {
            match entry(rest) {
                Ok((found, after)) => {
                    read.entries.extend(found);
                    rest = after;
                }
                Err(why) => {
                    read.malformed = Some(why);
                    break;
                }
            }
        }
        read
    }
}

/// Maps outputs by their names in lower case; the last value of a name wins.
pub(crate) fn any_case(entries: Vec<(String, String)>) -> BTreeMap<String, String> {
    entries.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect()
}

/// Returns the last value of each name; the name keeps the case of its first occurrence.
fn last_of_each(entries: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> = Vec::new();
    for (name, value) in entries {
        match kept.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            Some((_, old)) => *old = value,
            None => kept.push((name, value)),
        }
    }
    kept
}

type Entry<'a> = (Option<(String, String)>, &'a str);

/// Parses the first entry, and returns it with the text that follows.
fn entry(text: &str) -> Result<Entry<'_>, String> {
    let (line, next) = text.split_once('\n').unwrap_or((text, ""));
    let (pair, heredoc) = (line.split_once('='), line.split_once("<<"));
    match (pair, heredoc) {
        _ if line.is_empty() => Ok((None, next)),
        (Some((name, value)), heredoc) if heredoc.is_none_or(|(other, _)| name.len() < other.len()) => {
            named(name, value.to_owned(), next)
        }
        (_, Some((name, delimiter))) => {
            if name.is_empty() || delimiter.is_empty() {
                return Err(format!("Invalid format '{line}'. Name must not be empty and delimiter must not be empty"));
            }
            let (value, after) = until(next, delimiter)?;
            named(name, value, after)
        }
        _ => Err(format!("Invalid format '{line}'")),
    }
}

fn named<'a>(name: &str, value: String, after: &'a str) -> Result<Entry<'a>, String> {
    match name {
        "" => Err("a name is empty".to_owned()),
        name => Ok((Some((name.to_owned(), value)), after)),
    }
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
        let read = KeyValues::read(text);
        assert_eq!(read.malformed, None, "{text}");
        any_case(read.entries).into_values().collect::<Vec<_>>().join("&")
    }

    fn refused(text: &str) -> String {
        KeyValues::read(text).malformed.expect("it is malformed")
    }

    /// Uses the vectors of the runner's own tests (`SetOutputFileCommandL0.cs`).
    #[test]
    fn reads_values() {
        assert_eq!(one("MY_OUTPUT==abc"), "=abc");
        assert_eq!(one("O=a=b"), "a=b");
        assert_eq!(one("O="), "");
        assert_eq!(one(" O = v "), " v ");
        assert_eq!(one("O=a<<b"), "a<<b");
        assert_eq!(one("O<<=EOF\nhello\none\n=EOF\n"), "hello\none");
        assert_eq!(one("O<<<EOF\nhello\n<EOF"), "hello");
        assert_eq!(one("O<<EOF\na\n EOF\n\nEOF\n"), "a\n EOF\n");
        assert_eq!(one("O<<EOF\na\r\n\r\nEOF"), "a\r\n\r");
        assert_eq!(one("O<<EOF\nEOF\n"), "");
        assert_eq!(one("O<<EOF\nO=1\nP<<X\nEOF\nP=2"), "O=1\nP<<X&2");
        assert_eq!(one("\u{feff}o=1\n\nO=2\n"), "2");
    }

    #[test]
    fn refuses_malformed_values() {
        assert_eq!(refused("O<<EOF\nx"), "Invalid value. EOF marker missing new line.");
        assert_eq!(refused("O<<EOF\nx\n"), "Invalid value. Matching delimiter not found 'EOF'");
        assert_eq!(refused("novalue"), "Invalid format 'novalue'");
        let empty = "Name must not be empty and delimiter must not be empty";
        assert_eq!(refused("<<EOF\nx\nEOF"), format!("Invalid format '<<EOF'. {empty}"));
        assert_eq!(refused("O<<\nx\n"), format!("Invalid format 'O<<'. {empty}"));
        refused("=v");
    }

    fn processed(purpose: Purpose, text: &str) -> Processed {
        Processed::of(|other| if other == purpose { text.to_owned() } else { String::new() }, &Masker::default())
    }

    #[test]
    fn entries_before_a_malformed_line_take_effect() {
        let processed = processed(Purpose::Output, "a=1\nbroken\nb=2\n");
        assert_eq!(processed.outputs, [("a".to_owned(), "1".to_owned())].into());
        assert_eq!(processed.errors, ["Unable to process file command 'output' successfully. Invalid format 'broken'"]);
    }

    #[test]
    fn the_other_files_are_processed_if_one_is_malformed() {
        let all = Processed::of(
            |purpose| match purpose {
                Purpose::Path => "/a\n\n/b\n".to_owned(),
                Purpose::Env => "broken".to_owned(),
                Purpose::Summary => "# s\n".to_owned(),
                _ => "Name=1\nname=2\n".to_owned(),
            },
            &Masker::default(),
        );
        assert_eq!(all.path, ["/a", "/b"]);
        assert_eq!(all.state, [("Name".to_owned(), "2".to_owned())]);
        assert_eq!(all.outputs, [("name".to_owned(), "2".to_owned())].into());
        assert_eq!(all.summary, Summary::Shown("# s\n".to_owned()));
        assert_eq!(all.errors.len(), 1);
    }

    #[test]
    fn node_options_can_not_be_set() {
        let processed = processed(Purpose::Env, "A=1\nnode_options=x\nB=2\n");
        assert_eq!(processed.env.len(), 2);
        assert_eq!((processed.issues.len(), processed.errors.len()), (1, 0));
    }
}
