//! Reads a YAML mapping key by key and collects its faults.

use super::value::InvalidValue;
use crate::{
    fault::{Code, Fault, FilePosition},
    input::names::{list_quoted, nearest_candidate},
    tool::CommandLine,
};
use serde_yaml::{Mapping, Value};

/// The origin of a piece of YAML.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct YamlOrigin {
    /// Title for messages, as in "`before` (from the workflow's `with:`)".
    pub(crate) title: String,
    /// Positions of the items of a list; empty if the YAML is not in a file.
    pub(crate) positions: Vec<FilePosition>,
}

/// Returns the YAML parser's message, or only its position if the message quotes the text: a part of a secret would not
/// be recognised by the redactor.
pub(crate) fn parse_error_lines(error: &serde_yaml::Error) -> Vec<String> {
    let message = Some(error.to_string()).filter(|message| !message.contains(['"', '`', '\'']));
    let position = error.location().map(|position| format!("line {}, column {}", position.line(), position.column()));
    vec![message.or(position).unwrap_or_default()]
}

/// A mapping, and the faults found in it.
#[derive(Debug)]
pub(crate) struct MappingReader<'a> {
    mapping: &'a Mapping,
    /// Title of the mapping for messages.
    pub(crate) title: String,
    pub(crate) position: Option<FilePosition>,
    pub(crate) faults: Vec<Fault>,
}

impl<'a> MappingReader<'a> {
    pub(crate) fn new(mapping: &'a Mapping, title: String, position: Option<FilePosition>) -> Self {
        Self { mapping, title, position, faults: Vec::new() }
    }

    /// Records a fault for every key that is not one of these.
    pub(crate) fn reject_unknown_keys(&mut self, known_keys: &[&str]) {
        for key in self.mapping.keys().map(key_text) {
            if known_keys.contains(&key.as_str()) {
                continue;
            }
            // `rnu` is too short for a similarity score, but its meaning is clear.
            let one_edit_away = || known_keys.iter().copied().find(|name| strsim::damerau_levenshtein(&key, name) == 1);
            let fix = match nearest_candidate(&key, known_keys.iter().copied()).or_else(one_edit_away) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("remove it; the keys are {}", list_quoted(known_keys)),
            };
            self.add_fault(Code::InputUnknown, &format!("there is no key `{key}`"), fix);
        }
    }

    /// Returns whether the key is there with anything but null.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.mapping.get(key).is_some_and(|value| !value.is_null())
    }

    /// Returns the value under this key, as it is written.
    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.mapping.get(key)
    }

    /// Returns whether the key has a value.
    pub(crate) fn has_value(&self, key: &str) -> bool {
        self.mapping.get(key).is_some_and(|value| !matches!(scalar_text(value), Ok(None)))
    }

    /// Returns a text, a number, true or false as text.
    pub(crate) fn read_text(&mut self, key: &str) -> Option<String> {
        match scalar_text(self.mapping.get(key)?) {
            Ok(text) => text.map(|text| text.trim().to_owned()).filter(|text| self.reject_expression(key, text)),
            Err(NotScalar) => {
                self.add_invalid(&format!("`{key}` must be text, a number, true or false"), "write a single value");
                None
            }
        }
    }

    /// Returns a value, parsed by `parser`.
    pub(crate) fn read_value<T>(
        &mut self,
        key: &str,
        parser: impl FnOnce(&str) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        let text = self.read_text(key)?;
        match parser(&text) {
            Ok(value) => Some(value),
            Err(InvalidValue { cause, fix }) => {
                self.add_invalid(&format!("`{key}` is `{text}`: it {cause}"), format!("set `{key}` to {fix}"));
                None
            }
        }
    }

    /// Returns a command: a text is a shell command, a list is a program and its arguments.
    pub(crate) fn read_command_line(&mut self, key: &str) -> Option<CommandLine> {
        let Some(Value::Sequence(list)) = self.mapping.get(key) else {
            return self.read_text(key).map(CommandLine::Shell);
        };
        let as_text =
            |as_text: &Value| as_text.as_str().map(ToOwned::to_owned).or_else(|| scalar_text(as_text).ok().flatten());
        let argv: Option<Vec<String>> = list.iter().map(as_text).collect();
        match argv {
            Some(argv) if argv.first().is_some_and(|program| !program.trim().is_empty()) => {
                argv.iter().all(|as_text| self.reject_expression(key, as_text)).then_some(CommandLine::Program(argv))
            }
            _ => {
                let fix = "write a program and its arguments, each a text, as in `[python, manage.py, check]`";
                self.add_invalid(&format!("`{key}` is a list, but not of a program and its arguments"), fix);
                None
            }
        }
    }

    /// Returns whether the text has no expression, and records a fault otherwise. Only the runner evaluates
    /// expressions, in a workflow, and there they have become values by now.
    fn reject_expression(&mut self, key: &str, text: &str) -> bool {
        let is_expression = text.contains("${{");
        if is_expression {
            let fix = "let the workflow set an environment variable, name it in `pass-env`, and use the variable";
            self.add_invalid(&format!("`{key}` has an expression (`${{{{ … }}}}`), which is not evaluated here"), fix);
        }
        !is_expression
    }

    pub(crate) fn add_invalid(&mut self, cause: &str, fix: impl Into<String>) {
        self.add_fault(Code::InputInvalid, cause, fix);
    }

    pub(crate) fn add_fault(&mut self, code: Code, cause: &str, fix: impl Into<String>) {
        self.faults.push(fault_about(code, &self.title, self.position.as_ref(), cause).fix(fix));
    }
}

/// Creates a fault with the title and the position of the YAML that it is about.
pub(crate) fn fault_about(code: Code, title: &str, position: Option<&FilePosition>, cause: &str) -> Fault {
    position.cloned().into_iter().fold(Fault::new(code, format!("{title}: {cause}")), Fault::in_file)
}

/// The error for a list, a mapping or a tagged value in place of a plain value.
#[derive(Debug)]
pub(crate) struct NotScalar;

/// Returns a value as the text that would be written in `with:`; null and blanks count as no value.
pub(crate) fn scalar_text(value: &Value) -> Result<Option<String>, NotScalar> {
    let text = match value {
        Value::Null => None,
        Value::Bool(value_of_bool) => Some(value_of_bool.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => return Err(NotScalar),
    };
    Ok(text.filter(|text| !text.trim().is_empty()))
}

/// Returns a key as text, for messages.
pub(crate) fn key_text(key: &Value) -> String {
    scalar_text(key).ok().flatten().unwrap_or_default()
}
