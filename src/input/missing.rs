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
    let prefixes = environment.map(environment_prefixes).unwrap_or_default();
    let is_own = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
    if variables.names_with_value().any(|name| is_own(name) && prefixed_part(name).is_some()) {
        return MissingHints { fix_text: usual, elsewhere: Vec::new() };
    }
    let other_prefixes = environment_like_variables(variables);
    let hint = |(unknown_prefix, names): (&String, &Vec<&str>)| {
        let verb = if names.len() == 1 { "is" } else { "are" };
        format!(
            "{} {verb} set, but {verb} read only with `environment: {}`",
            list_quoted(names),
            environment_name(unknown_prefix)
        )
    };
    let mut similar = other_prefixes
        .keys()
        .filter(|unknown_prefix| environment.is_none_or(|name| is_similar_prefix(unknown_prefix, name)));
    let single = similar.next().filter(|_| similar.next().is_none());
    let fix = single.map(|unknown_prefix| environment_fix(unknown_prefix, environment, config));
    MissingHints { fix_text: fix.or(usual), elsewhere: other_prefixes.iter().map(hint).collect() }
}

/// Returns the variable with the environment's prefix that the workflow maps to the pinned host keys, also if it has no
/// value yet.
pub(super) fn pin_variable(variables: &Variables, environment: Option<&str>) -> Option<String> {
    let prefixes = environment.map(environment_prefixes).unwrap_or_default();
    let suffixes = InputName::SshKnownHosts.prefixed_variables();
    let names = prefixes.iter().flat_map(|prefix| suffixes.iter().map(move |suffix| format!("{prefix}{suffix}")));
    names.into_iter().find(|name| variables.is_named(name))
}

/// Returns the fix for variables with another prefix than the environment's: renaming one of the two is enough.
fn environment_fix(unknown_prefix: &str, environment: Option<&str>, config: &Config) -> String {
    let set_environment = format!("set `environment: {}`", environment_name(unknown_prefix));
    let Some(own_prefix) = environment.and_then(|name| environment_prefixes(name).into_iter().next()) else {
        return set_environment;
    };
    let rename = format!("rename the variables so that they begin with `{own_prefix}` instead of `{unknown_prefix}_`");
    if config.environments.is_empty() { format!("{set_environment}, or {rename}") } else { rename }
}

fn environment_name(prefix: &str) -> String {
    prefix.to_lowercase().replace('_', "-")
}

/// Returns the part after the prefix in the name of a variable that could be an environment's.
fn prefixed_part(name: &str) -> Option<&'static str> {
    let suffixes = InputName::ALL.iter().flat_map(|name| name.prefixed_variables()).copied();
    suffixes
        .filter(|suffix| name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('_')))
        .max_by_key(|suffix| suffix.len())
}

/// Returns the variables that look like those of environments, by their prefix. `HOST` and `USER` alone mean something
/// else to other programs.
fn environment_like_variables(variables: &Variables) -> BTreeMap<String, Vec<&str>> {
    let mut found: BTreeMap<String, (bool, Vec<&str>)> = BTreeMap::new();
    for name in variables.names_with_value() {
        let Some(suffix) = prefixed_part(name) else { continue };
        let prefix = name.strip_suffix(suffix).unwrap_or_default().trim_end_matches('_');
        if prefix.is_empty()
            || UNRELATED_PREFIXES.contains(&prefix)
            || InputName::ALL.iter().any(|input| input.variables().contains(&name))
        {
            continue;
        }
        let (is_unambiguous, names) = found.entry(prefix.to_owned()).or_default();
        *is_unambiguous |= !["HOST", "USER"].contains(&suffix);
        names.push(name);
    }
    found
        .into_iter()
        .filter(|(_, (is_unambiguous, _))| *is_unambiguous)
        .map(|(prefix, (_, names))| (prefix, names))
        .collect()
}

/// Returns whether a prefix may be meant for the environment: one is the beginning of the other, or they differ by a
/// typo.
fn is_similar_prefix(unknown_prefix: &str, environment: &str) -> bool {
    let own_prefixes = environment_prefixes(environment);
    let mut own_prefixes = own_prefixes.iter().map(|prefix| prefix.trim_end_matches('_'));
    own_prefixes.any(|own_prefix| {
        own_prefix.starts_with(unknown_prefix)
            || unknown_prefix.starts_with(own_prefix)
            || strsim::damerau_levenshtein(own_prefix, unknown_prefix) == 1
    })
}

/// Merges the faults of missing inputs into one, because they usually have one reason. Drops faults of inputs in
/// `reported`, which have a fault of their own.
pub(super) fn merge_missing(faults: Vec<Fault>, reported: &[InputName]) -> Vec<Fault> {
    let is_reported = |fault: &Fault| reported.iter().any(|name| fault.cause.contains(&format!("`{name}`")));
    let is_missing = |fault: &Fault| fault.code == Code::InputMissing && fault.place.is_none();
    let mut merged: Vec<Fault> = Vec::new();
    for fault in faults.into_iter().filter(|fault| !(is_missing(fault) && is_reported(fault))) {
        let first = merged.iter_mut().find(|first| is_missing(first) && is_missing(&fault) && first.fix == fault.fix);
        match first {
            Some(first) => {
                first.cause = format!("{}; {}", first.cause, fault.cause);
                let new_details: Vec<String> =
                    fault.detail.into_iter().filter(|line| !first.detail.contains(line)).collect();
                first.detail.extend(new_details);
            }
            None => merged.push(fault),
        }
    }
    merged
}
