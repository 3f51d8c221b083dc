//! Resolves the tool that applies the migrations.

use crate::{
    fault::{Code, Fault, FilePosition},
    github::runner::Runner,
    input::{findings::Findings, names::InputName, parse::split_words, source::Inputs},
    settings::{Command, Site, ToolSettings},
    tool::{CommandLine, Recipe, Verb},
};

/// Resolves the tool, except its environment. Without a site the result is `None`, but all faults are recorded.
pub(crate) fn resolve_tool(
    inputs: &Inputs,
    site: Option<Site>,
    command: Option<Command>,
    runner: &Runner,
    findings: &mut Findings,
) -> Option<ToolSettings> {
    let run = inputs.text(InputName::Run).map(CommandLine::from_input);
    if run.is_some() && inputs.parsed_steps().has_steps(InputName::Steps) {
        let cause = "`run` and `steps` both replace the tool's migration command";
        findings.faults.push(Fault::new(Code::InputInvalid, cause).fix("make `run` one of the `steps`"));
    }
    let prefix = findings.ok_or_record(inputs.optional(InputName::CommandPrefix, split_words));
    let manage = findings.ok_or_record(inputs.optional(InputName::Manage, split_words));
    let recipe = findings.ok_or_record(resolve_recipe(inputs, run.as_ref(), runner))?;
    let recipe = findings.ok_or_record(apply_manage(inputs, recipe, manage?))?;
    if let Some(command) = command {
        findings.ok_or_record(check_supported(inputs, &recipe, command));
    }
    let target = inputs.text(InputName::Target).map(ToOwned::to_owned);
    Some(ToolSettings { recipe, run, prefix: prefix?.unwrap_or_default(), target, site: site? })
}

/// Applies the input `manage` to the recipe: the words that start the app's own command line.
fn apply_manage(inputs: &Inputs, recipe: Recipe, program: Option<Vec<String>>) -> Result<Recipe, Fault> {
    let Some(program) = program.filter(|program| !program.is_empty()) else { return Ok(recipe) };
    if recipe.manage.is_empty() {
        let cause = format!("{} has no effect with `tool: {}`", inputs.label(InputName::Manage), recipe.name);
        let fix = "remove it; `command-prefix` puts words in front of a tool's commands, and `run` is a whole command";
        return Err(Fault::new(Code::InputInvalid, cause).fix(fix));
    }
    Ok(recipe.with_program(&program))
}

fn resolve_recipe(inputs: &Inputs, run: Option<&CommandLine>, runner: &Runner) -> Result<Recipe, Fault> {
    let migrates = run.is_some() || inputs.parsed_steps().has_steps(InputName::Steps);
    let recipe = match inputs.text(InputName::Tool) {
        Some(text) => find_builtin_recipe(inputs, text)
            .or_else(|unknown| if is_path(text) { read_recipe_file(text, runner) } else { Err(unknown) })?,
        None if migrates => {
            Recipe::by_name("custom").ok_or_else(|| Fault::new(Code::Bug, "the recipe `custom` is missing"))?
        }
        None => {
            return Err(Fault::new(Code::InputMissing, "neither `tool` nor `run` has a value").fix(
                "set `tool` to the tool that applies the migrations, as in `tool: django`, or `run` to its command",
            ));
        }
    };
    if !migrates && recipe.commands_for(Verb::Migrate).is_empty() {
        let cause = format!("`run` has no value, and `tool: {}` has no migration command of its own", recipe.name);
        return Err(Fault::new(Code::InputMissing, cause).fix("set `run` to the command that applies the migrations"));
    }
    Ok(recipe)
}

fn find_builtin_recipe(inputs: &Inputs, text: &str) -> Result<Recipe, Fault> {
    Recipe::by_name(text).ok_or_else(|| {
        let names: Vec<String> = Recipe::load_all().iter().map(|recipe| format!("`{}`", recipe.name)).collect();
        let cause = format!("{} is `{text}`: there is no such tool", inputs.label(InputName::Tool));
        let fix = format!("set `tool` to {} or the path of a recipe, as in `.github/our-tool.yaml`", names.join(", "));
        Fault::new(Code::InputInvalid, cause).fix(fix)
    })
}

fn is_path(text: &str) -> bool {
    text.contains('/') || text.ends_with(".yaml") || text.ends_with(".yml")
}

/// Reads the user's own recipe.
fn read_recipe_file(given_path: &str, runner: &Runner) -> Result<Recipe, Fault> {
    let path = runner.resolve_path(given_path);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Fault::new(Code::InputInvalid, format!("the recipe `{given_path}` (`tool`) can't be read"))
            .fix("check `tool`, and that actions/checkout ran before this step")
            .with_causes(&error)
    })?;
    Recipe::from_yaml(&text).map_err(|fault| fault.in_file(FilePosition::of_file(&runner.display_path(&path))))
}

/// Checks that the tool supports this command with this target.
fn check_supported(inputs: &Inputs, recipe: &Recipe, command: Command) -> Result<(), Fault> {
    let (target, name) = (inputs.text(InputName::Target), command.name());
    let verb = match (command, target) {
        (Command::Rollback, _) => Verb::Rollback,
        (Command::Baseline, _) => Verb::Baseline,
        // The executor knows the ledger.
        (Command::Resolve(_), _) => return Ok(()),
        (
            Command::Migrate | Command::Plan | Command::Rehearse | Command::Status | Command::Verify | Command::Doctor,
            Some(_),
        ) => {
            let cause = format!(
                "{} has a value, and `command: {name}` with a tool covers all migrations",
                inputs.label(InputName::Target)
            );
            let fix = "remove `target`, or call the tool with its target in `run`";
            return Err(Fault::new(Code::InputInvalid, cause).fix(fix));
        }
        (
            Command::Migrate
            | Command::Plan
            | Command::Rehearse
            | Command::Status
            | Command::Verify
            | Command::Doctor
            | Command::History
            | Command::Tunnel,
            _,
        ) => return Ok(()),
    };
    if recipe.commands_for_docs(verb).is_empty() {
        let cause = format!("`tool: {}` does not support `command: {name}`", recipe.name);
        let fix = "use the tool itself, or name your own recipe that has the command";
        return Err(Fault::new(Code::InputInvalid, cause).fix(fix));
    }
    if command == Command::Rollback && target.is_none() {
        let cause = "`target` has no value: `command: rollback` needs the migration to return to";
        let fix = "set `target` to the migration that will be the last one, written as the tool expects it";
        return Err(Fault::new(Code::InputMissing, cause).fix(fix));
    }
    recipe.commands_with_target(verb, target).map(drop)
}
