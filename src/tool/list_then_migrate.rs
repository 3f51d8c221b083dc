//! A listing and a migration in one start of the tool, as a start often costs more than the migration. The program
//! prints what `status` prints and then, on a line of its own, [`CONFIRM_PROMPT`]; it reads a line, and migrates if
//! that is [`CONFIRM`].

use super::command_line::CommandLine;
use serde::Deserialize;

/// The prompt that the program prints after the complete list.
pub const CONFIRM_PROMPT: &str = "bastion-migrate: go on?";

/// The line that confirms the migration; everything else, and the end of the input, declines it.
pub const CONFIRM: &str = "yes\n";

/// The placeholder for the program in a command line.
const PROGRAM_PLACEHOLDER: &str = "{program}";

/// The placeholder in the program for the one that lists and prints the SQL: a JSON string, which is a string in the
/// languages of the programs, too.
const LISTING_PLACEHOLDER: &str = "{listing}";

/// A recipe's way to list and migrate in one start.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a command line as in [tool, both], or a mapping of `line` and `program` as in {line: [sh, '{program}'], program: {name: both.sh, option: -c, text: …}}"
)]
pub(super) enum CombinedStart {
    /// A command of the tool itself.
    Line(Vec<String>),
    /// A program from the recipe.
    Program(ProgramStart),
}

/// A command line with `{program}` in it, and the program that replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProgramStart {
    line: Vec<String>,
    program: RecipeProgram,
}

/// A program that the tool's image does not have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeProgram {
    /// Its file name.
    name: String,
    /// The option that takes the text as an argument, where there is no file.
    option: String,
    /// Its text.
    text: String,
}

/// One command that lists and migrates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListThenMigrate {
    words: Vec<String>,
    program: Option<RecipeProgram>,
    /// The command that it replaces for its first part, the listing.
    pub list_command: CommandLine,
}

/// A command line that runs a program from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCommand {
    /// The command line.
    pub command: CommandLine,
    /// The path of the file.
    pub path: String,
    /// The text of the file.
    pub text: String,
}

impl CombinedStart {
    /// Returns whether it can be started: it has words, and the placeholder among them if there is a program.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Line(words) => !words.is_empty(),
            Self::Program(ProgramStart { line, program }) => {
                let is_name = !program.name.is_empty() && !program.name.contains('/');
                is_name
                    && line.iter().any(|word| word == PROGRAM_PLACEHOLDER)
                    && line.first().is_some_and(|word| word != PROGRAM_PLACEHOLDER)
            }
        }
    }

    pub(super) fn with_list_command(
        &self,
        list_command: CommandLine,
        listing_program: Option<&str>,
    ) -> ListThenMigrate {
        let (words, program) = match self.clone() {
            Self::Line(words) => (words, None),
            Self::Program(ProgramStart { line, program }) => {
                let listing = serde_json::Value::from(listing_program.unwrap_or_default()).to_string();
                let text = program.text.replace(LISTING_PLACEHOLDER, &listing);
                (line, Some(RecipeProgram { text, ..program }))
            }
        };
        ListThenMigrate { words, program, list_command }
    }
}

impl ListThenMigrate {
    /// Puts these words in front of the command lines.
    #[must_use]
    pub fn with_prefix(self, prefix: &[String]) -> Self {
        let list_command = self.list_command.behind(prefix);
        Self { words: [prefix.to_vec(), self.words].concat(), program: self.program, list_command }
    }

    /// Returns the command line for use without a file: the program's text is one of its words.
    #[must_use]
    pub fn inline_command(&self) -> CommandLine {
        let text = |program: &RecipeProgram| vec![program.option.clone(), program.text.clone()];
        CommandLine::Program(self.with_program_words(&self.program.as_ref().map(text).unwrap_or_default()))
    }

    /// Returns the command line that runs the program from a file in this directory; `None` if the tool has the command
    /// itself.
    #[must_use]
    pub fn file_command(&self, directory: &str) -> Option<FileCommand> {
        let program = self.program.as_ref()?;
        let path = format!("{directory}/{}", program.name);
        Some(FileCommand {
            command: CommandLine::Program(self.with_program_words(std::slice::from_ref(&path))),
            path,
            text: program.text.clone(),
        })
    }

    /// Returns the words, with these in place of the placeholder.
    fn with_program_words(&self, program: &[String]) -> Vec<String> {
        let expanded =
            |expanded: &String| if expanded == PROGRAM_PLACEHOLDER { program.to_vec() } else { vec![expanded.clone()] };
        self.words.iter().flat_map(expanded).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{printed_sql::OutputMark, recipe::Recipe, sql_listing::SqlRequest};
    use super::*;

    #[test]
    fn an_entrypoint_gets_short_words_if_the_program_can_be_a_file() {
        let request = SqlRequest { mark: OutputMark::new("abcd"), applied: Vec::new() };
        let commands =
            Recipe::by_name("django").unwrap().list_then_migrate(&request).unwrap().with_prefix(&["tini".to_owned()]);
        let FileCommand { command, path, text } = commands.file_command("/run/x").unwrap();
        assert_eq!(command.to_argv().join(" "), "tini python /run/x/manage.py migrate --noinput");
        assert_eq!(path, "/run/x/manage.py");
        assert_eq!(commands.inline_command().to_argv(), ["tini", "python", "-c", &text, "migrate", "--noinput"]);
        assert_eq!(commands.list_command.display_text(), "tini python manage.py showmigrations --plan");
    }

    #[test]
    fn a_command_of_the_tool_itself_needs_no_file() {
        let words = || vec!["tool".to_owned(), "both".to_owned()];
        let starts = CombinedStart::Line(words());
        let commands = starts.with_list_command(CommandLine::Program(Vec::new()), None);
        assert_eq!((commands.file_command("/run/x"), commands.inline_command()), (None, CommandLine::Program(words())));
    }

    #[test]
    fn a_program_needs_its_placeholder_and_a_valid_file_name() {
        let starts = |text: &str| serde_yaml::from_str::<CombinedStart>(text).unwrap().is_complete();
        assert!(starts("[tool]") && starts("{line: [sh, '{program}'], program: {name: x, option: -c, text: y}}"));
        for invalid in [
            "[]",
            "{line: [sh], program: {name: x, option: -c, text: y}}",
            "{line: ['{program}'], program: {name: x, option: -c, text: y}}",
            "{line: [sh, '{program}'], program: {name: ../x, option: -c, text: y}}",
        ] {
            assert!(!starts(invalid), "{invalid}");
        }
    }
}
