//! The environment of tools and steps.

use super::{
    inline::{is_telling, may_be_secret},
    name::Name,
    raw::Inputs,
    variables::{Variable, Variables},
};
use crate::{
    fault::{Code, Fault},
    secret::Secret,
};

/// What tools and steps are given and nobody else should see: every value that is handed on, and of those that are written
/// out the ones whose names say so, and the passwords in URLs.
pub(super) fn secrets(inputs: &Inputs, variables: &Variables) -> Vec<Secret> {
    let passed = handed_on(inputs, variables).map(|(_, value)| value.to_owned());
    let given = pairs(inputs).flatten().filter(|(name, value)| is_telling(name) && may_be_secret(value));
    passed.chain(given.map(|(_, value)| value.to_owned())).map(Secret::new).filter(Secret::can_be_hidden).collect()
}

/// A warning for values that are handed on and are too short to be hidden.
pub(super) fn too_short(inputs: &Inputs, variables: &Variables) -> Option<Fault> {
    let short = handed_on(inputs, variables).filter(|(_, value)| !Secret::new(*value).can_be_hidden());
    let names: Vec<String> = short.map(|(name, _)| format!("`{name}`")).collect();
    let cause =
        format!("{} (`pass-env`) has less than three characters: it can't be hidden in the log", names.join(", "));
    let fix = "if it is no secret, write `NAME=value` into `env` and take the name out of `pass-env`; else choose a longer value";
    (!names.is_empty()).then(|| Fault::new(Code::InputInvalid, cause).fix(fix))
}

/// Names and values of the variables that are handed on.
fn handed_on<'v>(inputs: &Inputs, variables: &'v Variables) -> impl Iterator<Item = (String, &'v str)> {
    names(inputs).filter_map(|name| match passed(inputs, variables, name) {
        (found, Variable::Text(text)) => Some((found, text)),
        (_, Variable::Absent | Variable::NotUtf8) => None,
    })
}

/// The variables that are written out, then those that are handed on; a name that stands twice has its last value.
pub(super) fn of(inputs: &Inputs, variables: &Variables) -> Result<Vec<(String, Secret)>, Fault> {
    let mut env: Vec<(String, Secret)> = Vec::new();
    for pair in pairs(inputs) {
        // The line may be a part of a secret.
        let (name, value) = pair.map_err(|number| {
            let cause = format!("`env` has a line that is no `NAME=value`: line {number}");
            Fault::new(Code::InputInvalid, cause).fix(
                "write one `NAME=value` to a line; put a value of several lines into an environment variable of the step, and \
                 name that in `pass-env`",
            )
        })?;
        env.push((name.to_owned(), Secret::new(value)));
    }
    for name in names(inputs) {
        match passed(inputs, variables, name) {
            (_, Variable::Text(text)) => env.push((name.to_owned(), Secret::new(text))),
            // Unset here is unset there.
            (_, Variable::Absent) => {}
            (found, Variable::NotUtf8) => {
                let cause = format!("the environment variable `{found}` (`pass-env`) is not UTF-8");
                return Err(Fault::new(Code::InputInvalid, cause));
            }
        }
    }
    Ok(env)
}

/// The variable that is handed on under this name, by its own: the environment's comes before what all have in common.
fn passed<'v>(inputs: &Inputs, variables: &'v Variables, name: &str) -> (String, Variable<'v>) {
    let behind_prefix = inputs.prefixes().iter().map(|prefix| format!("{prefix}{name}"));
    let mut found = behind_prefix.map(|own| (own.clone(), variables.get(&own)));
    found.find(|(_, value)| *value != Variable::Absent).unwrap_or_else(|| (name.to_owned(), variables.get(name)))
}

/// Names and values as they are written, or the number of a line that is no such pair.
fn pairs(inputs: &Inputs) -> impl Iterator<Item = Result<(&str, &str), usize>> {
    let lines = (1..).zip(inputs.text(Name::Env).unwrap_or_default().lines().map(str::trim_end));
    lines.filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| {
        let (name, value) = line.split_once('=').ok_or(number)?;
        let name = name.trim();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if name.is_empty() || !name.chars().all(plain) || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(number);
        }
        Ok((name, value))
    })
}

fn names(inputs: &Inputs) -> impl Iterator<Item = &str> {
    let text = inputs.text(Name::PassEnv).unwrap_or_default();
    text.split(|letter: char| letter == ',' || letter.is_whitespace()).filter(|name| !name.is_empty())
}
