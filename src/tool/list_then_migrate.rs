//! A listing and a migration in one start of the tool, as a start often costs more than the migration. The program
//! prints what `status` prints and then, on a line of its own, [`CONFIRM_PROMPT`]; it reads a line, and migrates if
//! that is [`CONFIRM`]. If the migration is several commands, it does so before each of them.

use super::{command_line::CommandLine, sql_listing::embedded_program};
use serde::Deserialize;

/// The prompt that the program prints after the complete list.
pub const CONFIRM_PROMPT: &str = "bastion-migrate: go on?";

/// The line that confirms the migration; everything else, and the end of the input, declines it.
pub const CONFIRM: &str = "yes\n";

/// The placeholder for the program in a command line.
const PROGRAM_PLACEHOLDER: &str = "{program}";

/// The placeholder for the words of the first command behind those that start the tool, as words of a command line.
const COMMAND_PLACEHOLDER: &str = "{command}";

/// The placeholder in the program for such words of all commands, which it runs in this order: JSON, as below.
const COMMANDS_PLACEHOLDER: &str = "{commands}";

/// The placeholder in the program for the words that start the tool.
const MANAGE_PLACEHOLDER: &str = "{manage}";

/// The placeholder in the program for the applied migrations.
const APPLIED_PLACEHOLDER: &str = "{applied}";

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
    #[serde(default)]
    text: String,
    /// The name of a file in `programs` that has the text.
    from: Option<String>,
}

/// One command that lists and migrates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListThenMigrate {
    words: Vec<String>,
    program: Option<RecipeProgram>,
    /// The commands that it replaces for its first part, the listing.
    pub list_command: CommandLine,
    /// Number of commands of the migration, each of which it runs after a confirmation.
    pub commands: usize,
}

/// The commands that one start replaces.
#[derive(Debug)]
pub(super) struct CombinedCommands {
    /// The command for the listing.
    pub(super) list_command: CommandLine,
    /// The commands before the first confirmation, for display.
    pub(super) shown_list: String,
    /// The words that start the tool.
    pub(super) manage: Vec<String>,
    /// The commands of the migration, without these words.
    pub(super) commands: Vec<Vec<String>>,
    /// The program that lists and prints the SQL.
    pub(super) listing_program: Option<String>,
    /// The applied migrations.
    pub(super) applied: Vec<String>,
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
                    && program.text().is_some()
                    && line.iter().any(|word| word == PROGRAM_PLACEHOLDER)
                    && line.first().is_some_and(|word| word != PROGRAM_PLACEHOLDER)
            }
        }
    }

    /// Returns whether it runs the commands that it is given: several in their order, or a rollback. Otherwise it runs the
    /// command of `migrate`.
    pub(super) fn runs_any_command(&self) -> bool {
        matches!(self, Self::Program(start) if start.program.contains(COMMANDS_PLACEHOLDER))
    }

    /// Returns it for a tool that is started by these words, if its program can start it in the same process: by a file,
    /// or by the name of a module, in the language of the program.
    pub(super) fn with_program_words(self, words: &[String]) -> Option<Self> {
        let Self::Program(mut start) = self else { return None };
        let is_inside = match words {
            [_, file] => !file.starts_with('-'),
            [_, option, _] => option == "-m",
            _ => false,
        };
        if !is_inside || !start.program.contains(MANAGE_PLACEHOLDER) {
            return None;
        }
        if let (Some(first), Some(interpreter)) = (start.line.first_mut(), words.first()) {
            first.clone_from(interpreter);
        }
        Some(Self::Program(start))
    }

    /// Returns it with the commands that it runs.
    pub(super) fn for_commands(&self, combined: &CombinedCommands) -> ListThenMigrate {
        let json = |words: &[String]| serde_json::Value::from(words.to_vec()).to_string();
        let (words, program) = match self.clone() {
            Self::Line(words) => (words, None),
            Self::Program(ProgramStart { line, program }) => {
                let listing = serde_json::Value::from(combined.listing_program.as_deref().unwrap_or_default());
                let text = program
                    .text()
                    .unwrap_or_default()
                    .replace(MANAGE_PLACEHOLDER, &json(&combined.manage))
                    .replace(COMMANDS_PLACEHOLDER, &serde_json::Value::from(combined.commands.clone()).to_string())
                    .replace(APPLIED_PLACEHOLDER, &json(&combined.applied))
                    .replace(LISTING_PLACEHOLDER, &listing.to_string());
                let first = combined.commands.first().cloned().unwrap_or_default();
                let expand = |word: String| if word == COMMAND_PLACEHOLDER { first.clone() } else { vec![word] };
                (line.into_iter().flat_map(expand).collect(), Some(RecipeProgram { text, ..program }))
            }
        };
        let (words_of_list, shown) = (combined.list_command.to_argv(), combined.shown_list.clone());
        let list_command = CommandLine::Substitute { words: words_of_list, shown };
        ListThenMigrate { words, program, list_command, commands: combined.commands.len() }
    }
}

impl RecipeProgram {
    /// Returns its text; `None` if there is none, or if there is no such file.
    fn text(&self) -> Option<&str> {
        match &self.from {
            Some(name) => embedded_program(name).filter(|_| self.text.is_empty()),
            None => Some(self.text.as_str()).filter(|text| !text.is_empty()),
        }
    }

    fn contains(&self, placeholder: &str) -> bool {
        self.text().is_some_and(|text| text.contains(placeholder))
    }
}

impl ListThenMigrate {
    /// Puts these words in front of the command lines.
    #[must_use]
    pub fn with_prefix(self, prefix: &[String]) -> Self {
        let list_command = self.list_command.behind(prefix);
        Self { words: [prefix.to_vec(), self.words].concat(), list_command, ..self }
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
    use super::super::{commands::Verb, printed_sql::OutputMark, recipe::Recipe, sql_listing::ListingRequest};
    use super::*;

    #[test]
    fn an_entrypoint_gets_short_words_if_the_program_can_be_a_file() {
        let request = ListingRequest::for_scripts(OutputMark::new("abcd"), Vec::new());
        let django = Recipe::by_name("django").unwrap();
        let commands = django.list_then_migrate(&request, Verb::Migrate).unwrap().with_prefix(&["tini".to_owned()]);
        let FileCommand { command, path, text } = commands.file_command("/run/x").unwrap();
        assert_eq!(command.to_argv().join(" "), "tini python /run/x/manage.py migrate --noinput");
        assert_eq!(path, "/run/x/manage.py");
        assert_eq!(commands.inline_command().to_argv(), ["tini", "python", "-c", &text, "migrate", "--noinput"]);
        assert_eq!(commands.list_command.display_text(), "tini python manage.py showmigrations --plan");
    }

    #[test]
    fn a_command_of_the_tool_itself_needs_no_file() {
        let words = || vec!["tool".to_owned(), "both".to_owned()];
        let combined = CombinedCommands {
            list_command: CommandLine::Program(words()),
            shown_list: "tool list".to_owned(),
            manage: Vec::new(),
            commands: vec![vec!["migrate".to_owned()]],
            listing_program: None,
            applied: Vec::new(),
        };
        let commands = CombinedStart::Line(words()).for_commands(&combined);
        assert_eq!((commands.file_command("/run/x"), commands.inline_command()), (None, CommandLine::Program(words())));
        assert_eq!((commands.list_command.display_text().as_str(), commands.commands), ("tool list", 1));
    }

    #[test]
    fn a_start_has_several_commands_if_its_program_runs_them() {
        let request = ListingRequest { target: Some("a 0001".to_owned()), ..request_of(&["x"]) };
        let tenants = Recipe::by_name("django-tenants").unwrap();
        let migrate = tenants.list_then_migrate(&request, Verb::Migrate).unwrap();
        assert_eq!(migrate.commands, 2);
        let text = migrate.inline_command().to_argv()[2].clone();
        assert!(
            text.contains(r#"[["migrate_schemas","--shared","--noinput"],["migrate_schemas","--tenant""#),
            "{text}"
        );
        let back = tenants.list_then_migrate(&request, Verb::Rollback).unwrap().inline_command().to_argv();
        assert_eq!(back[3..], ["migrate_schemas", "--tenant", "a", "0001", "--noinput"]);
        let own = "name: x\nabout: y\nlisting: {pending: '(.)'}\ntogether: [x]\nverbs: {status: [x], migrate: [y], rollback: [z]}\n";
        let own = Recipe::from_yaml(own).unwrap();
        assert_eq!(own.list_then_migrate(&request, Verb::Migrate).map(|combined| combined.commands), Some(1));
        assert_eq!(own.list_then_migrate(&request, Verb::Rollback), None);
    }

    fn request_of(applied: &[&str]) -> ListingRequest {
        let applied = applied.iter().map(|name| (*name).to_owned()).collect();
        ListingRequest::for_scripts(OutputMark::new("abcd"), applied)
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
