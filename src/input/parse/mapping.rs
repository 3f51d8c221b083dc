//! Reads a YAML mapping key by key and collects its faults.

use super::value::Misfit;
use crate::{
    fault::{Code, Fault, Place},
    input::names::{listed, nearest},
    tool::CommandLine,
};
use serde_yaml::{Mapping, Value};

/// The origin of a piece of YAML.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Title for messages, as in "`before` (from the workflow's `with:`)".
    pub(crate) title: String,
    /// Positions of the items of a list; empty if the YAML is not in a file.
    pub(crate) places: Vec<Place>,
}

/// Returns the YAML parser's message, or only its position if the message quotes the text: a part of a secret would not
/// be recognised by the redactor.
pub(crate) fn what_is_wrong(error: &serde_yaml::Error) -> Vec<String> {
    let said = Some(error.to_string()).filter(|said| !said.contains(['"', '`', '\'']));
    let place = error.location().map(|place| format!("line {}, column {}", place.line(), place.column()));
    vec![said.or(place).unwrap_or_default()]
}

/// A mapping, and the faults found in it.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    mapping: &'a Mapping,
    /// Title of the mapping for messages.
    pub(crate) title: String,
    pub(crate) place: Option<Place>,
    pub(crate) faults: Vec<Fault>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(mapping: &'a Mapping, title: String, place: Option<Place>) -> Self {
        Self { mapping, title, place, faults: Vec::new() }
    }

    /// Records a fault for every key that is not one of these.
    pub(crate) fn only(&mut self, known: &[&str]) {
        for key in self.mapping.keys().map(written) {
            if known.contains(&key.as_str()) {
                continue;
            }
            // `rnu` is too short for a similarity score, but its meaning is clear.
            let swapped = || known.iter().copied().find(|name| strsim::damerau_levenshtein(&key, name) == 1);
            let fix = match nearest(&key, known.iter().copied()).or_else(swapped) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("remove it; the keys are {}", listed(known)),
            };
            self.fault(Code::InputUnknown, &format!("there is no key `{key}`"), fix);
        }
    }

    /// Returns whether the key has a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.mapping.get(key).is_some_and(|value| !matches!(scalar(value), Ok(None)))
    }

    /// Returns a text, a number, true or false as text.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        match scalar(self.mapping.get(key)?) {
            Ok(text) => text.map(|text| text.trim().to_owned()).filter(|text| self.is_evaluated(key, text)),
            Err(NotScalar) => {
                self.invalid(&format!("`{key}` is not a text, a number, true or false"), "write a single value");
                None
            }
        }
    }

    /// Returns a value, parsed by `parser`.
    pub(crate) fn value<T>(&mut self, key: &str, parser: impl FnOnce(&str) -> Result<T, Misfit>) -> Option<T> {
        let text = self.text(key)?;
        match parser(&text) {
            Ok(value) => Some(value),
            Err(Misfit { cause, fix }) => {
                self.invalid(&format!("`{key}` is `{text}`: it {cause}"), format!("set `{key}` to {fix}"));
                None
            }
        }
    }

    /// Returns a command: a text is a shell command, a list is a program and its arguments.
    pub(crate) fn line(&mut self, key: &str) -> Option<CommandLine> {
        let Some(Value::Sequence(list)) = self.mapping.get(key) else { return self.text(key).map(CommandLine::Shell) };
        let word = |word: &Value| word.as_str().map(ToOwned::to_owned).or_else(|| scalar(word).ok().flatten());
        let words: Option<Vec<String>> = list.iter().map(word).collect();
        match words {
            Some(words) if words.first().is_some_and(|program| !program.trim().is_empty()) => {
                words.iter().all(|word| self.is_evaluated(key, word)).then_some(CommandLine::Program(words))
            }
            _ => {
                let fix = "write a program and its arguments, each a text, as in `[python, manage.py, check]`";
                self.invalid(&format!("`{key}` is a list, but not of a program and its arguments"), fix);
                None
            }
        }
    }

    /// Returns whether the text has no expression, and records a fault otherwise. Only the runner evaluates
    /// expressions, in a workflow, and there they have become values by now.
    fn is_evaluated(&mut self, key: &str, text: &str) -> bool {
        let open = text.contains("${{");
        if open {
            let fix = "let the workflow set an environment variable, name it in `pass-env`, and use the variable";
            self.invalid(&format!("`{key}` has an expression (`${{{{ … }}}}`), which is not evaluated here"), fix);
        }
        !open
    }

    pub(crate) fn invalid(&mut self, cause: &str, fix: impl Into<String>) {
        self.fault(Code::InputInvalid, cause, fix);
    }

    pub(crate) fn fault(&mut self, code: Code, cause: &str, fix: impl Into<String>) {
        self.faults.push(about(code, &self.title, self.place.as_ref(), cause).fix(fix));
    }
}

/// Creates a fault with the title and the position of the YAML that it is about.
pub(crate) fn about(code: Code, title: &str, place: Option<&Place>, cause: &str) -> Fault {
    place.cloned().into_iter().fold(Fault::new(code, format!("{title}: {cause}")), Fault::in_file)
}

/// The error for a list, a mapping or a tagged value in place of a plain value.
#[derive(Debug)]
pub(crate) struct NotScalar;

/// Returns a value as the text that would be written in `with:`; null and blanks count as no value.
pub(crate) fn scalar(value: &Value) -> Result<Option<String>, NotScalar> {
    let text = match value {
        Value::Null => None,
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => return Err(NotScalar),
    };
    Ok(text.filter(|text| !text.trim().is_empty()))
}

/// Returns a key as text, for messages.
pub(crate) fn written(key: &Value) -> String {
    scalar(key).ok().flatten().unwrap_or_default()
}
