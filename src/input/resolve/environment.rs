//! Resolves the environment variables of tools and steps.

use crate::{
    fault::{Code, Fault},
    input::{
        inline_secrets::{may_be_secret, names_a_secret},
        names::{InputName, list_quoted},
        source::{Inputs, Variable, Variables},
    },
    postgres::{DatabasePlaceholder, DatabaseTarget},
    secret::Secret,
};

/// Returns the secrets among the variables: all values that are passed on, and of the values in `env` those whose names
/// suggest a secret, and passwords in URLs.
pub(crate) fn env_secrets(inputs: &Inputs, variables: &Variables) -> Vec<Secret> {
    let passed = passed_variables(inputs, variables).map(|(_, value)| value.to_owned());
    let secret_pairs = env_lines(inputs).flatten().filter(|pair| names_a_secret(pair.name));
    let values = secret_pairs.flat_map(|pair| match pair.value {
        // References to the database are hidden as the values that they stand for.
        Some(value) if value.contains("://") && !DatabasePlaceholder::find_all(value).is_empty() => Vec::new(),
        Some(value) => DatabasePlaceholder::fill_in(value, |_| "\n".to_owned()).lines().map(str::to_owned).collect(),
        None => match find_variable(inputs, variables, pair.name).1 {
            Variable::Text(text) => vec![text.to_owned()],
            Variable::Absent | Variable::NotUtf8 => Vec::new(),
        },
    });
    let values = values.filter(|value| may_be_secret(value));
    passed.chain(values).map(Secret::new).filter(Secret::can_be_hidden).collect()
}

/// Returns a warning for values that are passed on and are too short to be hidden.
pub(crate) fn short_env_warning(inputs: &Inputs, variables: &Variables) -> Option<Fault> {
    let short = passed_variables(inputs, variables).filter(|(_, value)| !Secret::new(*value).can_be_hidden());
    let names: Vec<String> = short.map(|(name, _)| format!("`{name}`")).collect();
    let cause =
        format!("{} (`pass-env`) has fewer than three characters: it can't be hidden in the log", names.join(", "));
    let fix = "if it is no secret, write the name into `env` and take it out of `pass-env`; else choose a longer value";
    (!names.is_empty()).then(|| Fault::new(Code::InputInvalid, cause).fix(fix))
}

/// Returns the names and values of the variables that are passed on.
fn passed_variables<'v>(inputs: &Inputs, variables: &'v Variables) -> impl Iterator<Item = (String, &'v str)> {
    pass_env_names(inputs).filter_map(|name| match find_variable(inputs, variables, name) {
        (found, Variable::Text(text)) => Some((found, text)),
        (_, Variable::Absent | Variable::NotUtf8) => None,
    })
}

/// Resolves the variables of `env`, then those of `pass-env`; the last value of a name counts.
pub(crate) fn resolve_env(
    inputs: &Inputs,
    variables: &Variables,
    database: Option<&DatabaseTarget>,
) -> Result<Vec<(String, Secret)>, Fault> {
    let (mut env, mut bare_names) = (Vec::new(), Vec::new());
    for pair in env_lines(inputs) {
        // The line may contain a part of a secret.
        let EnvLine { name, value } = pair.map_err(|number| {
            let cause = format!("line {number} of `env` is not `NAME=value`");
            Fault::new(Code::InputInvalid, cause).fix(
                "write one `NAME=value` per line, with `=` and not `:`; put a value of several lines into the step's `env:`, and name \
                 its variable in `pass-env`",
            )
        })?;
        match value {
            Some(value) => {
                check_mentions(name, value, database)?;
                env.push((name.to_owned(), Secret::new(value)));
            }
            None => bare_names.push(name),
        }
    }
    for (input, pass_env_names) in
        [(InputName::Env, bare_names), (InputName::PassEnv, pass_env_names(inputs).collect())]
    {
        env.extend(read_variables(inputs, variables, input, &pass_env_names)?);
    }
    Ok(env)
}

/// Reads the variables with these names from the environment.
fn read_variables(
    inputs: &Inputs,
    variables: &Variables,
    input: InputName,
    names: &[&str],
) -> Result<Vec<(String, Secret)>, Fault> {
    let is_unset = |name: &&str| find_variable(inputs, variables, name).1 == Variable::Absent;
    let unset_names: Vec<&str> = names.iter().copied().filter(is_unset).collect();
    if !unset_names.is_empty() {
        return Err(unset_fault(inputs, input, &unset_names));
    }
    let mut env = Vec::new();
    for name in names {
        match find_variable(inputs, variables, name) {
            (_, Variable::Text(text)) => env.push(((*name).to_owned(), Secret::new(text))),
            // Reported above.
            (_, Variable::Absent) => {}
            (found, Variable::NotUtf8) => {
                let cause = format!("the environment variable `{found}` (`{input}`) is not UTF-8");
                return Err(Fault::new(Code::InputInvalid, cause));
            }
        }
    }
    Ok(env)
}

/// Checks that the references to the database in a value can be replaced.
fn check_mentions(name: &str, value: &str, database: Option<&DatabaseTarget>) -> Result<(), Fault> {
    let invalid = |cause: String, fix: String| Err(Fault::new(Code::InputInvalid, cause).fix(fix));
    if let Some((mistaken, right)) = DatabasePlaceholder::find_mistake(value) {
        let (cause, fix) = match right {
            Some(right) => (
                format!("`{name}` in `env` has `{mistaken}`, which is not expanded"),
                format!("write `{}`, which is replaced by the value of the database", right.braced_name()),
            ),
            None => {
                let placeholders: Vec<String> =
                    DatabasePlaceholder::ALL.iter().map(|(fact, ..)| fact.braced_name()).collect();
                let cause = format!("`{name}` in `env` has `{mistaken}`, which does not exist");
                (cause, format!("write one of {}", list_quoted(&placeholders)))
            }
        };
        return invalid(cause, fix);
    }
    let facts = DatabasePlaceholder::find_all(value);
    let Some(first) = facts.first() else { return Ok(()) };
    let first = first.braced_name();
    match database {
        None => invalid(
            format!("`{name}` in `env` has `{first}`, and no database is given"),
            "give `database-url`, or write the value out".to_owned(),
        ),
        Some(database)
            if facts.contains(&DatabasePlaceholder::Password)
                && database.password.is_none()
                && database.identity.token.is_none() =>
        {
            invalid(
                format!(
                    "`{name}` in `env` has `{}`, and the database is given without one",
                    DatabasePlaceholder::Password.braced_name()
                ),
                "set `database-password`, or leave the line out".to_owned(),
            )
        }
        Some(_) => Ok(()),
    }
}

/// Returns the fault for missing variables: most likely secrets that did not arrive. The app would fail later without a
/// clear reason.
pub(super) fn unset_fault(inputs: &Inputs, input: InputName, unset_names: &[&str]) -> Fault {
    let label = inputs.label(input);
    // The input may contain a pasted value.
    if !unset_names.iter().all(|name| is_likely_variable_name(name)) {
        let cause = format!("{label} has a word that is not the name of a variable");
        let fix = "write only names, as in `SECRET_KEY`, and set their values in the step's `env:`; `NAME=value` belongs in the input `env`";
        return Fault::new(Code::InputInvalid, cause).fix(fix);
    }
    let verb = if unset_names.len() == 1 { "has no value" } else { "have no value" };
    let fix = format!(
        "define each missing variable in the step's `env:`, as in `{0}: ${{{{ secrets.{0} }}}}`, or take it out of `{input}`",
        unset_names.first().copied().unwrap_or_default()
    );
    let looked_up = unset_names.iter().filter(|_| !inputs.prefixes().is_empty()).map(|name| {
        let prefixed = inputs.prefixes().iter().map(|prefix| format!("{prefix}{name}"));
        let names: Vec<String> = prefixed.chain([(*name).to_owned()]).collect();
        format!("`{name}` was looked for in the environment as {}", list_quoted(&names))
    });
    let cause = format!("{label} names {}, which {verb} in the environment", list_quoted(unset_names));
    looked_up.fold(Fault::new(Code::InputMissing, cause).fix(fix), Fault::detail)
}

/// Returns whether the word looks like the name of a variable rather than a value.
pub(super) fn is_likely_variable_name(name: &str) -> bool {
    let is_name_character = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let looks_like_variable = !name.chars().any(|character| character.is_ascii_lowercase()) || name.contains('_');
    name.chars().all(is_name_character)
        && looks_like_variable
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// Finds the variable that is passed on under this name, and returns its own name: one with the environment's prefix
/// takes precedence over the plain one.
pub(super) fn find_variable<'v>(inputs: &Inputs, variables: &'v Variables, name: &str) -> (String, Variable<'v>) {
    let behind_prefix = inputs.prefixes().iter().map(|prefix| format!("{prefix}{name}"));
    let mut found = behind_prefix.map(|prefixed_name| (prefixed_name.clone(), variables.get(&prefixed_name)));
    found.find(|(_, value)| *value != Variable::Absent).unwrap_or_else(|| (name.to_owned(), variables.get(name)))
}

/// A line of `env`.
#[derive(Debug, Clone, Copy)]
struct EnvLine<'i> {
    name: &'i str,
    /// `None` if the variable is passed on as it is.
    value: Option<&'i str>,
}

/// Returns the names and values in `env`, or the number of a line that is not such a pair.
fn env_lines(inputs: &Inputs) -> impl Iterator<Item = Result<EnvLine<'_>, usize>> {
    let lines = (1..).zip(inputs.text(InputName::Env).unwrap_or_default().lines().map(str::trim_end));
    lines.filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| {
        let Some((name, value)) = line.split_once('=') else {
            let name = Some(line.trim()).filter(|name| is_likely_variable_name(name)).ok_or(number)?;
            return Ok(EnvLine { name, value: None });
        };
        let name = name.trim();
        let is_name_character = |character: char| character.is_ascii_alphanumeric() || character == '_';
        if name.is_empty()
            || !name.chars().all(is_name_character)
            || name.starts_with(|first: char| first.is_ascii_digit())
        {
            return Err(number);
        }
        Ok(EnvLine { name, value: Some(value) })
    })
}

fn pass_env_names(inputs: &Inputs) -> impl Iterator<Item = &str> {
    let text = inputs.text(InputName::PassEnv).unwrap_or_default();
    text.split(|character: char| character == ',' || character.is_whitespace()).filter(|name| !name.is_empty())
}
