//! Resolves the values of placeholders in SQL files. A line may contain a secret, so no message shows its value.

use super::environment::{find_variable, is_likely_variable_name, unset_fault};
use crate::{
    fault::{Code, Fault},
    input::{
        inline_secrets::{may_be_secret, names_a_secret},
        names::InputName,
        source::{Inputs, Variable, Variables},
    },
    secret::Secret,
    settings::{Placeholder, Placeholders, Visibility},
};

/// Resolves the values of placeholders: `NAME=value`, or `NAME` for the value of that environment variable.
///
/// # Errors
/// `input-invalid` for a line that is neither, and for a value with a line break; `input-missing` for a variable without
/// a value.
pub(crate) fn resolve_placeholders(inputs: &Inputs, variables: &Variables) -> Result<Placeholders, Fault> {
    let mut placeholders = Vec::new();
    for (number, line) in lines(inputs) {
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.trim(), value.to_owned()),
            None if is_likely_variable_name(line.trim()) => {
                let name = line.trim();
                (name, variable_value(inputs, variables, name)?)
            }
            None => return Err(not_a_pair_fault(number)),
        };
        if name.is_empty() || name.contains(|letter: char| letter.is_whitespace() || "{}$".contains(letter)) {
            return Err(not_a_pair_fault(number));
        }
        if value.contains(['\r', '\n', '\0']) {
            let cause = format!("the value of `{name}` in `placeholders` has a line break");
            let fix =
                "give a value of one line: the positions in messages are those of the file only if no line is added";
            return Err(Fault::new(Code::InputInvalid, cause).fix(fix));
        }
        let visibility = visibility_of(line, &value);
        placeholders.push(Placeholder { name: name.to_owned(), value: Secret::new(value), visibility });
    }
    Ok(Placeholders::new(placeholders))
}

/// Returns the values that are hidden: those of variables, and those whose names suggest a secret.
pub(crate) fn placeholder_secrets(inputs: &Inputs, variables: &Variables) -> Vec<Secret> {
    let values = lines(inputs).filter_map(|(_, line)| {
        let value = match line.split_once('=') {
            Some((_, value)) => value.to_owned(),
            None => variable_value(inputs, variables, line.trim()).ok()?,
        };
        (visibility_of(line, &value) == Visibility::Hidden && !value.is_empty()).then(|| Secret::new(value))
    });
    values.collect()
}

fn lines(inputs: &Inputs) -> impl Iterator<Item = (usize, &str)> {
    let text = inputs.text(InputName::Placeholders).unwrap_or_default();
    (1..).zip(text.lines().map(str::trim_end)).filter(|(_, line)| !line.trim().is_empty())
}

fn visibility_of(line: &str, value: &str) -> Visibility {
    match line.split_once('=') {
        Some((name, _)) if !(names_a_secret(name.trim()) && may_be_secret(value)) => Visibility::Public,
        _ => Visibility::Hidden,
    }
}

fn variable_value(inputs: &Inputs, variables: &Variables, name: &str) -> Result<String, Fault> {
    match find_variable(inputs, variables, name) {
        (_, Variable::Text(text)) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        (_, Variable::Absent) => Err(unset_fault(inputs, InputName::Placeholders, &[name])),
        (found, Variable::NotUtf8) => {
            let cause = format!("the environment variable `{found}` (`placeholders`) is not UTF-8");
            Err(Fault::new(Code::InputInvalid, cause))
        }
    }
}

fn not_a_pair_fault(number: usize) -> Fault {
    Fault::new(Code::InputInvalid, format!("line {number} of `placeholders` is not `NAME=value`")).fix(
        "write one `NAME=value` per line, or `NAME` alone for the value of that variable of the step's `env:`, which is then hidden",
    )
}
