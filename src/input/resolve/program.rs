//! Resolves a program of the user's: the values of its variables.

use super::environment::{find_variable, is_likely_variable_name};
use crate::{
    fault::{Code, Fault},
    input::{
        inline_secrets::{may_be_secret, names_a_secret, secrets_in_urls},
        names::list_quoted,
        parse::{ParsedProgram, fault_about},
        source::{Inputs, Variable, Variables},
    },
    program::{ProgramImage, UserProgram},
    secret::Secret,
};

/// Variables that every process on a machine has and that no secret is in; the rest of a job's environment is not the
/// command's business.
const INHERITED: [&str; 9] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"];

/// Resolves the program of the input; `image` is where it runs.
///
/// # Errors
/// `input-missing` for a variable without a value.
pub(super) fn resolve_program(
    inputs: &Inputs,
    parsed: &ParsedProgram,
    input: &'static str,
    image: Option<ProgramImage>,
    variables: &Variables,
) -> Result<UserProgram, Fault> {
    let unset: Vec<&String> = parsed
        .pass_env
        .iter()
        .filter(|name| !matches!(find_variable(inputs, variables, name).1, Variable::Text(_)))
        .collect();
    if !unset.is_empty() {
        let verb = if unset.len() == 1 { "has no value" } else { "have no value" };
        let cause = match unset.iter().all(|name| is_likely_variable_name(name)) {
            true => format!("`pass-env` names {}, which {verb} in the environment", list_quoted(&unset)),
            false => "`pass-env` names variables without a value in the environment".to_owned(),
        };
        let fix = format!("set each of them in the step's `env:`, or take it out of `pass-env` of `{input}`");
        let fault = fault_about(Code::InputMissing, &parsed.title, parsed.position.as_ref(), &cause);
        return Err(fault.fix(fix));
    }
    let inherited: Vec<(String, Secret)> = match &image {
        Some(_) => Vec::new(),
        None => {
            let names = INHERITED.into_iter();
            names.filter_map(|name| Some((name.to_owned(), text_of(&variables.get(name))?))).collect()
        }
    };
    Ok(UserProgram {
        input,
        argv: parsed.argv.clone(),
        image,
        inherited,
        env: parsed.env.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone()))).collect(),
        passed: passed_variables(inputs, parsed, variables),
    })
}

fn passed_variables(inputs: &Inputs, parsed: &ParsedProgram, variables: &Variables) -> Vec<(String, Secret)> {
    let values = parsed
        .pass_env
        .iter()
        .filter_map(|name| Some((name.clone(), text_of(&find_variable(inputs, variables, name).1)?)));
    values.collect()
}

fn text_of(variable: &Variable<'_>) -> Option<Secret> {
    match variable {
        Variable::Text(text) => Some(Secret::new(*text)),
        Variable::Absent | Variable::NotUtf8 => None,
    }
}

/// Returns the secrets of a program: the values that are passed to it, and those in its `env` whose names suggest a secret.
pub(super) fn program_secrets<'a>(
    inputs: &'a Inputs,
    parsed: &'a ParsedProgram,
    variables: &'a Variables,
) -> impl Iterator<Item = Secret> + use<'a> {
    let passed = passed_variables(inputs, parsed, variables).into_iter().map(|(_, value)| value);
    let named = parsed.env.iter().filter(|(name, value)| names_a_secret(name) && may_be_secret(value));
    let named = named.map(|(_, value)| Secret::new(value.clone()));
    let in_urls = parsed.env.iter().flat_map(|(_, value)| secrets_in_urls(value));
    passed.chain(named).chain(in_urls).filter(Secret::can_be_hidden)
}
