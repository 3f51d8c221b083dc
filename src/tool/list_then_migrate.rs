//! A listing and a migration in one start of the tool, which for many costs more than the migration. The program says what `status`
//! says and then, on a line of its own, [`QUESTION`]; it reads a line, and if that is [`YES`] it migrates.

use super::Line;
use serde::Deserialize;

/// What is said when the list is whole.
pub const QUESTION: &str = "bastion-migrate: go on?";

/// What is written in answer; everything else, and the end of the input, is a no.
pub const YES: &str = "yes\n";

/// The word of a command line in whose place the program comes.
const PROGRAM: &str = "{program}";

/// How a recipe says what lists and migrates in one start.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a command line as in [tool, both], or a mapping of `line` and `program` as in {line: [sh, '{program}'], program: {name: both.sh, option: -c, text: …}}"
)]
pub(super) enum Starts {
    /// A command of the tool's own.
    Line(Vec<String>),
    /// A program of ours.
    Program(Started),
}

/// A command line with `{program}` in it, and what that stands for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Started {
    line: Vec<String>,
    program: Program,
}

/// A program that the tool's image does not have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    /// What its file is called.
    name: String,
    /// What stands before the text where it is no file.
    option: String,
    /// What is in it.
    text: String,
}

/// What does for both, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together {
    words: Vec<String>,
    program: Option<Program>,
    /// What it does first.
    pub status: Line,
    /// What it does then.
    pub migrate: Line,
}

/// A command line that calls a program by its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByFile {
    /// What is started.
    pub line: Line,
    /// The file's path.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl Starts {
    /// Whether it can be started: there are words, and the program's place among them if there is one.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Line(words) => !words.is_empty(),
            Self::Program(Started { line, program }) => {
                let is_name = !program.name.is_empty() && !program.name.contains('/');
                is_name && line.iter().any(|word| word == PROGRAM) && line.first().is_some_and(|word| word != PROGRAM)
            }
        }
    }

    pub(super) fn stands_for(&self, status: Line, migrate: Line) -> Together {
        let (words, program) = match self.clone() {
            Self::Line(words) => (words, None),
            Self::Program(Started { line, program }) => (line, Some(program)),
        };
        Together { words, program, status, migrate }
    }
}

impl Together {
    /// The same behind these words.
    #[must_use]
    pub fn prefixed(self, prefix: &[String]) -> Self {
        let behind = |line: Line| match prefix.is_empty() {
            true => line,
            false => Line::Program([prefix.to_vec(), line.words()].concat()),
        };
        let words = [prefix.to_vec(), self.words].concat();
        Self { words, program: self.program, status: behind(self.status), migrate: behind(self.migrate) }
    }

    /// What is started where there can be no file: the program itself is a word of the line.
    #[must_use]
    pub fn line(&self) -> Line {
        let text = |program: &Program| vec![program.option.clone(), program.text.clone()];
        Line::Program(self.with(&self.program.as_ref().map(text).unwrap_or_default()))
    }

    /// What is started where the program can be a file in this directory; nothing if the tool has it anyway.
    #[must_use]
    pub fn by_file(&self, directory: &str) -> Option<ByFile> {
        let program = self.program.as_ref()?;
        let path = format!("{directory}/{}", program.name);
        Some(ByFile { line: Line::Program(self.with(std::slice::from_ref(&path))), path, text: program.text.clone() })
    }

    /// The words, with these in the program's place.
    fn with(&self, program: &[String]) -> Vec<String> {
        let word = |word: &String| if word == PROGRAM { program.to_vec() } else { vec![word.clone()] };
        self.words.iter().flat_map(word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::Recipe;

    #[test]
    fn an_entrypoint_is_handed_short_words_where_there_can_be_a_file() {
        let together = Recipe::named("django").unwrap().together().unwrap().prefixed(&["tini".to_owned()]);
        let ByFile { line, path, text } = together.by_file("/run/x").unwrap();
        assert_eq!(line.words().join(" "), "tini python /run/x/manage.py migrate --noinput");
        assert_eq!(path, "/run/x/manage.py");
        assert_eq!(together.line().words(), ["tini", "python", "-c", &text, "migrate", "--noinput"]);
        assert_eq!(together.status.shown(), "tini python manage.py showmigrations --plan");
    }

    #[test]
    fn a_command_of_the_tools_own_needs_no_file() {
        let words = || vec!["tool".to_owned(), "both".to_owned()];
        let starts = Starts::Line(words());
        let together = starts.stands_for(Line::Program(Vec::new()), Line::Program(Vec::new()));
        assert_eq!((together.by_file("/run/x"), together.line()), (None, Line::Program(words())));
    }

    #[test]
    fn a_program_needs_its_place_and_a_name_that_is_one() {
        let starts = |text: &str| serde_yaml::from_str::<Starts>(text).unwrap().is_whole();
        assert!(starts("[tool]") && starts("{line: [sh, '{program}'], program: {name: x, option: -c, text: y}}"));
        for wrong in [
            "[]",
            "{line: [sh], program: {name: x, option: -c, text: y}}",
            "{line: ['{program}'], program: {name: x, option: -c, text: y}}",
            "{line: [sh, '{program}'], program: {name: ../x, option: -c, text: y}}",
        ] {
            assert!(!starts(wrong), "{wrong}");
        }
    }
}
