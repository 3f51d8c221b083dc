//! The environment of tools and steps.

use super::{
    inline::{is_telling, may_be_secret},
    name::{Name, listed},
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
                "write one `NAME=value` to a line, with `=` and not with `:`; put a value of several lines into an environment variable of the step, and \
                 name that in `pass-env`",
            )
        })?;
        env.push((name.to_owned(), Secret::new(value)));
    }
    let absent = names(inputs).filter(|name| passed(inputs, variables, name).1 == Variable::Absent);
    let absent: Vec<&str> = absent.collect();
    if !absent.is_empty() {
        return Err(unset(inputs, &absent));
    }
    for name in names(inputs) {
        match passed(inputs, variables, name) {
            (_, Variable::Text(text)) => env.push((name.to_owned(), Secret::new(text))),
            // It is told above.
            (_, Variable::Absent) => {}
            (found, Variable::NotUtf8) => {
                let cause = format!("the environment variable `{found}` (`pass-env`) is not UTF-8");
                return Err(Fault::new(Code::InputInvalid, cause));
            }
        }
    }
    Ok(env)
}

/// A secret that did not arrive, most likely: the app would miss it later, and not say why.
fn unset(inputs: &Inputs, absent: &[&str]) -> Fault {
    let named = inputs.named(Name::PassEnv);
    // Somebody may have pasted a value there.
    if !absent.iter().all(|name| is_name(name)) {
        let cause = format!("{named} has a word that is no name of a variable");
        let fix = "write names alone, as in `SECRET_KEY`, and let the step's `env:` have their values; `NAME=value` goes into `env`";
        return Fault::new(Code::InputInvalid, cause).fix(fix);
    }
    let is = if absent.len() == 1 { "has no value" } else { "have no value" };
    let fix = format!(
        "let the step's `env:` set what is missing, as in `{0}: ${{{{ secrets.{0} }}}}`, or take it out of `pass-env`",
        absent.first().copied().unwrap_or_default()
    );
    let sought = absent.iter().filter(|_| !inputs.prefixes().is_empty()).map(|name| {
        let prefixed = inputs.prefixes().iter().map(|prefix| format!("{prefix}{name}"));
        let names: Vec<String> = prefixed.chain([(*name).to_owned()]).collect();
        format!("`{name}` was looked for in the environment as {}", listed(&names))
    });
    let cause = format!("{named} names {}, which {is} in the environment", listed(absent));
    sought.fold(Fault::new(Code::InputMissing, cause).fix(fix), Fault::detail)
}

/// Whether it looks like the name of a variable rather than like a value.
fn is_name(word: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let is_shouted = !word.chars().any(|letter| letter.is_ascii_lowercase()) || word.contains('_');
    word.chars().all(plain) && is_shouted && !word.starts_with(|first: char| first.is_ascii_digit())
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
