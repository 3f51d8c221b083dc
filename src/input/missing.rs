//! Required inputs without a value: reasons why a secret did not arrive, and other names under which it may be set.

use super::{
    hints::MissingHints,
    names::{InputName, list_quoted},
    source::{Variables, config_file::Config, environment_prefixes},
};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
};
use std::collections::BTreeMap;

/// Fix outside of a workflow, where the usual reasons don't apply.
const FIX_OUTSIDE_WORKFLOW: &str = "set it: as an environment variable, as a flag if it is no secret, or in the configuration file if it is none; see \
    `bastion-migrate --help`";

/// Prefixes that many programs use for variables unrelated to an environment.
const UNRELATED_PREFIXES: [&str; 6] = ["INPUT", "GITHUB", "RUNNER", "ACTIONS", "DOCKER", "POSTGRES"];

/// Looks for variables of other environments.
pub(super) fn look_for_hints(
    runner: &Runner,
    variables: &Variables,
    environment: Option<&str>,
    config: &Config,
) -> MissingHints {
    let usual = (!runner.in_actions).then(|| FIX_OUTSIDE_WORKFLOW.to_owned());
    let own = environment.map(environment_prefixes).unwrap_or_default();
    let is_own = |name: &str| own.iter().any(|prefix| name.starts_with(prefix.as_str()));
    if variables.names_with_value().any(|name| is_own(name) && prefixed_part(name).is_some()) {
        return MissingHints { fix_text: usual, elsewhere: Vec::new() };
    }
    let others = environment_like_variables(variables);
    let told = |(word, names): (&String, &Vec<&str>)| {
        let are = if names.len() == 1 { "is" } else { "are" };
        format!("{} {are} set, but {are} read only with `environment: {}`", list_quoted(names), environment_name(word))
    };
    let mut akin = others.keys().filter(|word| environment.is_none_or(|name| is_similar_prefix(word, name)));
    let only = akin.next().filter(|_| akin.next().is_none());
    let fix = only.map(|word| environment_fix(word, environment, config));
    MissingHints { fix_text: fix.or(usual), elsewhere: others.iter().map(told).collect() }
}

/// Returns the fix for variables with another prefix than the environment's: renaming one of the two is enough.
fn environment_fix(word: &str, environment: Option<&str>, config: &Config) -> String {
    let set = format!("set `environment: {}`", environment_name(word));
    let Some(prefix) = environment.and_then(|name| environment_prefixes(name).into_iter().next()) else { return set };
    let rename = format!("rename the variables so that they begin with `{prefix}` instead of `{word}_`");
    if config.environments.is_empty() { format!("{set}, or {rename}") } else { rename }
}

fn environment_name(word: &str) -> String {
    word.to_lowercase().replace('_', "-")
}

/// Returns the part after the prefix in the name of a variable that could be an environment's.
fn prefixed_part(name: &str) -> Option<&'static str> {
    let parts = InputName::ALL.iter().flat_map(|name| name.prefixed_variables()).copied();
    parts.filter(|part| name.strip_suffix(part).is_some_and(|rest| rest.ends_with('_'))).max_by_key(|part| part.len())
}

/// Returns the variables that look like those of environments, by their prefix. `HOST` and `USER` alone mean something
/// else to other programs.
fn environment_like_variables(variables: &Variables) -> BTreeMap<String, Vec<&str>> {
    let mut found: BTreeMap<String, (bool, Vec<&str>)> = BTreeMap::new();
    for name in variables.names_with_value() {
        let Some(part) = prefixed_part(name) else { continue };
        let word = name.strip_suffix(part).unwrap_or_default().trim_end_matches('_');
        if word.is_empty()
            || UNRELATED_PREFIXES.contains(&word)
            || InputName::ALL.iter().any(|input| input.variables().contains(&name))
        {
            continue;
        }
        let (is_clear, names) = found.entry(word.to_owned()).or_default();
        *is_clear |= !["HOST", "USER"].contains(&part);
        names.push(name);
    }
    found.into_iter().filter(|(_, (is_clear, _))| *is_clear).map(|(word, (_, names))| (word, names)).collect()
}

/// Returns whether a prefix may be meant for the environment: one is the beginning of the other, or they differ by a
/// typo.
fn is_similar_prefix(word: &str, environment: &str) -> bool {
    let own = environment_prefixes(environment);
    let mut own = own.iter().map(|prefix| prefix.trim_end_matches('_'));
    own.any(|own| own.starts_with(word) || word.starts_with(own) || strsim::damerau_levenshtein(own, word) == 1)
}

/// Merges the faults of missing inputs into one, because they usually have one reason. Drops faults of inputs in
/// `told`, which have a fault of their own.
pub(super) fn merge_missing(faults: Vec<Fault>, told: &[InputName]) -> Vec<Fault> {
    let is_told = |fault: &Fault| told.iter().any(|name| fault.cause.contains(&format!("`{name}`")));
    let is_missing = |fault: &Fault| fault.code == Code::InputMissing && fault.place.is_none();
    let mut kept: Vec<Fault> = Vec::new();
    for fault in faults.into_iter().filter(|fault| !(is_missing(fault) && is_told(fault))) {
        let first = kept.iter_mut().find(|first| is_missing(first) && is_missing(&fault) && first.fix == fault.fix);
        match first {
            Some(first) => {
                first.cause = format!("{}; {}", first.cause, fault.cause);
                let more: Vec<String> = fault.detail.into_iter().filter(|line| !first.detail.contains(line)).collect();
                first.detail.extend(more);
            }
            None => kept.push(fault),
        }
    }
    kept
}
