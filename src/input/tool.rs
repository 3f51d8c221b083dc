//! The inputs of the tool that applies the migrations.

use super::{
    Site, ToolSettings,
    findings::Findings,
    name::Name,
    raw::Inputs,
    value,
    variables::{Variable, Variables},
};
use crate::{
    fault::{Code, Fault},
    secret::Secret,
    tool::{Line, Recipe, Verb},
};

/// Words in the name of a variable whose value nobody should see.
const TELLING: [&str; 8] = ["SECRET", "PASSWORD", "PASSWD", "TOKEN", "KEY", "CREDENTIAL", "DSN", "_URL"];

/// A shorter value is more likely `true` than a secret.
const SHORTEST_SECRET: usize = 8;

/// Everything about the tool but its environment.
pub(super) fn read(inputs: &Inputs, site: Site, findings: &mut Findings) -> Option<ToolSettings> {
    let run = inputs.text(Name::Run).map(Line::read);
    let recipe = findings.keep(recipe(inputs, run.as_ref()))?;
    Some(ToolSettings { recipe, run, prefix: Vec::new(), target: None, site })
}

/// What the tool is given and nobody else should see.
pub(super) fn secrets(inputs: &Inputs, variables: &Variables) -> Vec<Secret> {
    let passed = names(inputs).filter_map(|name| match variables.get(name) {
        Variable::Text(text) => Some(text.to_owned()),
        Variable::Absent | Variable::NotUtf8 => None,
    });
    let telling = |name: &str| TELLING.iter().any(|word| name.to_uppercase().contains(word));
    let given = pairs(inputs).flatten().filter(|(name, _)| telling(name)).map(|(_, value)| value.to_owned());
    passed.chain(given).filter(|value| value.len() >= SHORTEST_SECRET).map(Secret::new).collect()
}

fn recipe(inputs: &Inputs, run: Option<&Line>) -> Result<Recipe, Fault> {
    let known = Recipe::all();
    let words: Vec<(&str, usize)> = known.iter().enumerate().map(|(at, recipe)| (recipe.name.as_str(), at)).collect();
    let chosen = inputs.optional(Name::Tool, |text| value::choice(text, &words))?;
    let recipe = match (chosen, run) {
        (Some(at), _) => known.get(at).cloned(),
        (None, Some(_)) => Recipe::named("custom"),
        (None, None) => {
            return Err(Fault::new(Code::InputMissing, "`tool` has no value, and neither has `run`")
                .fix("say which tool applies the migrations in the image, as in `tool: django`, or with `run` how to call it"));
        }
    };
    let recipe = recipe.ok_or_else(|| Fault::new(Code::Bug, "a recipe that is known is not there"))?;
    if run.is_none() && recipe.line(Verb::Migrate).is_none() {
        return Err(Fault::new(
            Code::InputMissing,
            format!("`run` has no value, and `tool: {}` does not say what to call", recipe.name),
        )
        .fix("set `run` to the command that applies the migrations"));
    }
    Ok(recipe)
}

/// The variables that are written out, then those that are handed on; a name that stands twice has its last value.
pub(super) fn environment(inputs: &Inputs, variables: &Variables) -> Result<Vec<(String, Secret)>, Fault> {
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
        match variables.get(name) {
            Variable::Text(text) => env.push((name.to_owned(), Secret::new(text))),
            // Unset here is unset there.
            Variable::Absent => {}
            Variable::NotUtf8 => {
                let cause = format!("the environment variable `{name}` (`pass-env`) is not UTF-8");
                return Err(Fault::new(Code::InputInvalid, cause));
            }
        }
    }
    Ok(env)
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
