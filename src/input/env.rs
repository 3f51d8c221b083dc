//! The environment of tools and steps.

use super::{
    name::Name,
    raw::Inputs,
    variables::{Variable, Variables},
};
use crate::{
    fault::{Code, Fault},
    secret::Secret,
};

/// Words in the name of a variable whose value nobody should see.
const TELLING: [&str; 8] = ["SECRET", "PASSWORD", "PASSWD", "TOKEN", "KEY", "CREDENTIAL", "DSN", "_URL"];

/// A shorter value is more likely `true` than a secret.
const SHORTEST_SECRET: usize = 8;

/// What tools and steps are given and nobody else should see.
pub(super) fn secrets(inputs: &Inputs, variables: &Variables) -> Vec<Secret> {
    let passed = names(inputs).filter_map(|name| match passed(inputs, variables, name) {
        (_, Variable::Text(text)) => Some(text.to_owned()),
        (_, Variable::Absent | Variable::NotUtf8) => None,
    });
    let telling = |name: &str| TELLING.iter().any(|word| name.to_uppercase().contains(word));
    let given = pairs(inputs).flatten().filter(|(name, _)| telling(name)).map(|(_, value)| value.to_owned());
    passed.chain(given).filter(|value| value.len() >= SHORTEST_SECRET).map(Secret::new).collect()
}

/// The variables that are written out, then those that are handed on; a name that stands twice has its last value.
pub(super) fn of(inputs: &Inputs, variables: &Variables) -> Result<Vec<(String, Secret)>, Fault> {
    let mut env: Vec<(String, Secret)> = Vec::new();
    for pair in pairs(inputs) {
        let (name, value) = pair.map_err(|line| {
            let cause = format!(
                "`env` has a line that is no `NAME=value`: it begins with `{}`",
                line.chars().take(20).collect::<String>()
            );
            Fault::new(Code::InputInvalid, cause).fix("write one `NAME=value` to a line")
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

fn pairs(inputs: &Inputs) -> impl Iterator<Item = Result<(&str, &str), &str>> {
    let lines = inputs.text(Name::Env).unwrap_or_default().lines().map(str::trim_end);
    lines.filter(|line| !line.trim().is_empty()).map(|line| {
        let (name, value) = line.split_once('=').ok_or(line)?;
        let name = name.trim();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if name.is_empty() || !name.chars().all(plain) || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(line);
        }
        Ok((name, value))
    })
}

fn names(inputs: &Inputs) -> impl Iterator<Item = &str> {
    let text = inputs.text(Name::PassEnv).unwrap_or_default();
    text.split(|letter: char| letter == ',' || letter.is_whitespace()).filter(|name| !name.is_empty())
}
