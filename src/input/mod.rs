//! What the user asked for: names from `action.yml`, values from every place they can come from, all faults at once.
//!
//! A value is looked for on the command line, in the workflow's `with:`, in environment variables behind the prefix of the
//! environment, in environment variables as they are, in the configuration file, and in `action.yml`. An empty value counts
//! as absent everywhere. Reading the configuration file, a recipe and the CA that a URL names, and looking whether a step's file
//! is there, is the only I/O here.

#[cfg(test)]
mod call_tests;
mod findings;
mod handover;
mod inline_secrets;
mod manifest;
mod missing;
mod names;
mod parse;
mod resolve;
mod scope;
mod source;
mod synonyms;
#[cfg(test)]
mod tests;

pub use source::Inputs;

use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    secret::Secret,
    settings::{Command, Settings},
};
use findings::Findings;
use manifest::Manifest;
use names::Name;
use resolve::{command, environment};
use source::{Flags, Line, Variables, config_file, flags};
use std::{collections::BTreeMap, ffi::OsString};

/// What the process was started for.
#[derive(Debug)]
pub enum Request {
    /// A run.
    Run(Box<Ask>),
    /// The process that keeps a tunnel for later steps; what it has to know is on its standard input.
    Sidecar,
    /// The post stage of a step, which removes what the main stage left behind.
    Sweep(Box<Runner>),
    /// A text to print and nothing else: help or version.
    Print {
        /// The text.
        text: String,
        /// The exit code of the process.
        exit: u8,
    },
}

/// What the user asked for. What is known is there even if the settings are not valid: a report needs it.
#[derive(Debug)]
pub struct Ask {
    /// The settings, or everything that is wrong with them.
    pub settings: Result<Settings, Vec<Fault>>,
    /// What the user should know although the run goes on.
    pub warnings: Vec<Fault>,
    /// To be masked before anything else is said.
    pub secrets: Vec<Secret>,
    /// What the runner told about the job.
    pub runner: Runner,
    /// The command, if it could be read.
    pub command: Option<Command>,
    /// The name of the environment.
    pub environment: Option<String>,
    /// What a process of ours in another container has to be told, as environment variables.
    pub handover: Vec<(String, Secret)>,
}

/// The other name of the program, under which `action.yml` calls it after the job: a runner that hands over no state (act does
/// not) must not have it migrate again.
const SWEEPER: &str = "bastion-migrate-sweep";

/// The name under which we start ourselves to keep a tunnel.
const SIDECAR: &str = "bastion-migrate-tunnel";

/// The same from what another process of ours handed over.
#[must_use]
pub fn handed_over(inputs: &BTreeMap<String, String>) -> Ask {
    let env = inputs.iter().map(|(name, value)| (name.into(), value.into())).collect();
    ask(&Manifest::embedded(), Flags::default(), env)
}

/// Reads the arguments (the program's own name first) and the environment.
#[must_use]
pub fn read(args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> Request {
    let called = args.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    if called.ends_with(SWEEPER) {
        return Request::Sweep(Box::new(Runner::from_env(&env)));
    }
    if called.ends_with(SIDECAR) {
        return Request::Sidecar;
    }
    let manifest = Manifest::embedded();
    if args.len() < 2 && is_bare(&env) {
        return Request::Print { text: flags::help(&manifest) + NOTHING, exit: Code::InputMissing.class().exit_code() };
    }
    match flags::read(args, &manifest) {
        Line::Print(text) => Request::Print { text, exit: 0 },
        Line::Run(flags) => Request::Run(Box::new(ask(&manifest, flags, env))),
    }
}

/// Said below the help where nothing was asked.
const NOTHING: &str = "\nNothing was done. Name a command to begin: `bastion-migrate plan` only looks, `bastion-migrate migrate` migrates.\n";

/// Whether nobody has asked for anything: there is no workflow, and no variable in the place of one.
fn is_bare(env: &[(OsString, OsString)]) -> bool {
    let is_input = |(name, value): &(OsString, OsString)| {
        let name = name.to_string_lossy().to_lowercase().replace('_', "-");
        !value.is_empty() && name.strip_prefix("input-").and_then(Name::of).is_some()
    };
    !Runner::from_env(env).in_actions && !env.iter().any(is_input)
}

fn ask(manifest: &Manifest, mut flags: Flags, env: Vec<(OsString, OsString)>) -> Ask {
    let runner = Runner::from_env(&env);
    let variables = Variables::new(env);
    let mut findings = Findings { faults: std::mem::take(&mut flags.faults), warnings: Vec::new() };
    let places = source::Places { manifest, flags: &flags, variables: &variables };
    findings.faults.extend(synonyms::faults(&variables));
    let environment = places.asked(Name::Environment);
    let file = places.asked(Name::Config);
    let mut config = config_file::Config::read(&runner, file.as_deref(), environment.as_deref());
    findings.faults.append(&mut config.faults);
    findings.faults.extend(config.unchosen(environment.as_deref()));
    let (inputs, faults) = Inputs::gather(&places, environment.as_deref(), &config);
    let inputs = inputs.found_by(missing::Sought::new(&runner, &variables, environment.as_deref(), &config));
    findings.faults.extend(faults);
    let settings = resolve::settings(&inputs, environment.as_deref(), &runner, &variables, &mut findings);
    let told = [flags.refused.as_slice(), config.spoilt.as_slice()].concat();
    findings.faults = missing::together(std::mem::take(&mut findings.faults), &told);
    let command = command(&inputs).ok();
    let mut secrets = inputs.secrets();
    secrets.extend(environment::secrets(&inputs, &variables));
    if secrets.iter().any(|secret| !secret.can_be_hidden()) {
        findings.warnings.push(too_short());
    }
    findings.warnings.extend(environment::too_short(&inputs, &variables));
    let Findings { faults, warnings } = findings;
    let handover = handover::of(&inputs, settings.as_ref(), &runner);
    let settings = settings.filter(|_| faults.is_empty()).ok_or(faults);
    Ask { settings, warnings, secrets, runner, command, environment, handover }
}

fn too_short() -> Fault {
    Fault::new(Code::InputInvalid, "a secret has less than three characters: it can't be hidden in the log")
        .fix("choose a longer password")
}
