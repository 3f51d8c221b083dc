//! Parses a program of the user's: its words, its image and its variables.

use super::{
    image_reference::parse_image_reference,
    mapping::{MappingReader, scalar_text},
    words::split_words,
};
use crate::{fault::FilePosition, tool::CommandLine};
use serde_yaml::Value;

/// The keys of a program.
pub(super) const PROGRAM_KEYS: [&str; 4] = ["command", "image", "env", "pass-env"];

/// A program, and the names of its variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedProgram {
    pub(crate) title: String,
    pub(crate) position: Option<FilePosition>,
    pub(crate) argv: Vec<String>,
    pub(crate) image: Option<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) pass_env: Vec<String>,
}

/// Reads the program; `form` shows the whole setting as it should be.
pub(super) fn read_program(fields: &mut MappingReader<'_>, form: &str) -> Option<ParsedProgram> {
    let argv = read_argv(fields, form);
    let image = fields.read_value("image", parse_image_reference);
    let (env, pass_env) = (read_env(fields), read_pass_env(fields));
    let (title, position) = (fields.title.clone(), fields.position.clone());
    Some(ParsedProgram { title, position, argv: argv?, image, env, pass_env })
}

fn read_argv(fields: &mut MappingReader<'_>, form: &str) -> Option<Vec<String>> {
    if !fields.has_key("command") {
        // A misspelt key is reported once.
        if fields.faults.is_empty() {
            fields.add_invalid("it has no `command`", form);
        }
        return None;
    }
    match fields.read_command_line("command")? {
        CommandLine::Program(argv) => Some(argv),
        CommandLine::Shell(text) => match split_words(&text) {
            Ok(argv) if argv.iter().any(|word| is_of_a_shell(word)) && !is_shell(&argv) => {
                let fix = "write it as `command: [sh, -c, '…']`, if it is a line for a shell; a list of words is taken as it is";
                fields.add_invalid("`command` is no line for a shell, and has what only a shell replaces", fix);
                None
            }
            Ok(argv) if !argv.is_empty() => Some(argv),
            _ => {
                fields.add_invalid("`command` can't be split into a program and its arguments", form);
                None
            }
        },
        CommandLine::Substitute { .. } => None,
    }
}

/// Returns whether a word means something to a shell alone: an operator, or a variable.
fn is_of_a_shell(word: &str) -> bool {
    matches!(word, "|" | "||" | "&&" | "&" | ";" | ">" | ">>" | "<" | "2>&1")
        || word.starts_with('$')
        || word.ends_with(';')
}

fn is_shell(argv: &[String]) -> bool {
    argv.first().is_some_and(|program| program.ends_with("sh"))
}

/// Reads the variables with their values, which no fault repeats.
fn read_env(fields: &mut MappingReader<'_>) -> Vec<(String, String)> {
    const ENV_FIX: &str = "write it as `env: { AWS_REGION: eu-central-1 }`; a secret goes into the step's `env:`, and its name into `pass-env`";
    let mapping = match fields.value("env") {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Mapping(mapping)) => mapping,
        Some(_) => {
            fields.add_invalid("`env` is not a mapping of names to values", ENV_FIX);
            return Vec::new();
        }
    };
    let mut env = Vec::new();
    for (name, value) in mapping {
        let name = scalar_text(name).ok().flatten().filter(|name| is_variable_name(name));
        match (name, scalar_text(value)) {
            (Some(name), Ok(value)) => env.push((name, value.unwrap_or_default())),
            _ => fields.add_invalid("`env` has an entry that is not a name and a single value", ENV_FIX),
        }
    }
    env
}

fn read_pass_env(fields: &mut MappingReader<'_>) -> Vec<String> {
    let names: Vec<String> = match fields.value("pass-env") {
        Some(Value::Sequence(list)) => {
            list.iter().map(|name| scalar_text(name).ok().flatten().unwrap_or_default().trim().to_owned()).collect()
        }
        _ => {
            let text = fields.read_text("pass-env").unwrap_or_default();
            let names = text.split(|letter: char| letter == ',' || letter.is_whitespace());
            names.filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
        }
    };
    if !names.iter().all(|name| is_variable_name(name)) {
        // The word may be a pasted value.
        let fix = "write only names, as in `pass-env: [AWS_ACCESS_KEY_ID]`, and set their values in the step's `env:`";
        fields.add_invalid("`pass-env` has a word that is not the name of a variable", fix);
    }
    names
}

fn is_variable_name(name: &str) -> bool {
    let is_name_character = |character: char| character.is_ascii_alphanumeric() || character == '_';
    !name.is_empty() && name.chars().all(is_name_character) && !name.starts_with(|first: char| first.is_ascii_digit())
}
