//! Reads the inputs: their names from `action.yml`, their values from every source, and reports all faults at once.
//!
//! The sources, in order of precedence, are the command line, the workflow's `with:`, environment variables with the
//! environment's prefix, plain environment variables, the configuration file, and the defaults in `action.yml`. An
//! empty value counts as absent everywhere. The only I/O here is reading the configuration file, a recipe and the CA
//! that a URL names, and checking that a step's file exists.

mod findings;
mod handover;
mod hints;
mod inline_secrets;
#[cfg(test)]
mod inputs_page;
mod manifest;
mod missing;
mod names;
mod parse;
mod resolve;
mod scope;
mod scope_table;
mod source;
mod synonyms;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tool_and_step_tests;

pub use source::Inputs;

use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    secret::Secret,
    settings::{Command, ReportSettings, Settings},
};
use findings::Findings;
use manifest::Manifest;
use names::InputName;
use resolve::{client_identity, command::resolve_command, environment, placeholders, way};
use source::{
    Variables, config_file,
    flags::{self, Flags, ParsedArgs},
};
use std::{collections::BTreeMap, ffi::OsString};

/// The purpose for which the process was started.
#[derive(Debug)]
pub enum StartMode {
    /// A run.
    Run(Box<Invocation>),
    /// The process that keeps a tunnel open for later steps; its inputs are on its standard input.
    Sidecar,
    /// The post stage of a step, which removes leftovers of the main stage.
    PostStage(Box<Runner>),
    /// Printing a text and nothing else: help or version.
    Print {
        /// The text.
        text: String,
        /// The exit code of the process.
        exit: u8,
    },
}

/// The inputs of a run. Known facts are present even if the settings are invalid, because the report needs them.
#[derive(Debug)]
pub struct Invocation {
    /// The settings, or all faults in them.
    pub settings: Result<Settings, Vec<Fault>>,
    /// The surfaces besides the log.
    pub report: ReportSettings,
    /// Warnings, which do not prevent the run.
    pub warnings: Vec<Fault>,
    /// Secrets to mask before any other output.
    pub secrets: Vec<Secret>,
    /// The runner's facts about the job.
    pub runner: Runner,
    /// The command, if it is valid.
    pub command: Option<Command>,
    /// Name of the environment.
    pub environment: Option<String>,
    /// The variable of the environment that the workflow maps to the pinned host keys, if it does.
    pub pin_variable: Option<String>,
    /// Environment variables for the sidecar, a process of this program in another container.
    pub handover: Vec<(String, Secret)>,
}

/// Name under which `action.yml` starts the program after the job. The name selects the post stage even if the runner
/// passes no state (act does not), so that the program does not migrate again.
const POST_STAGE_PROGRAM: &str = "bastion-migrate-sweep";

/// Name under which the program starts itself to keep a tunnel open.
const SIDECAR_PROGRAM: &str = "bastion-migrate-tunnel";

/// Reads the inputs that another process of this program handed over.
#[must_use]
pub fn read_handover(inputs: &BTreeMap<String, String>) -> Invocation {
    let env = inputs.iter().map(|(name, value)| (name.into(), value.into())).collect();
    read_invocation(&Manifest::parse_embedded(), Flags::default(), env)
}

/// Reads the arguments (the program's own name first) and the environment.
#[must_use]
pub fn read_start_mode(args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> StartMode {
    let called = args.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    if called.ends_with(POST_STAGE_PROGRAM) {
        return StartMode::PostStage(Box::new(Runner::from_env(&env)));
    }
    if called.ends_with(SIDECAR_PROGRAM) {
        return StartMode::Sidecar;
    }
    let manifest = Manifest::parse_embedded();
    if args.len() < 2 && is_bare_call(&env) {
        return StartMode::Print {
            text: flags::help_text(&manifest) + NOTHING_DONE,
            exit: Code::InputMissing.class().exit_code(),
        };
    }
    match flags::parse_args(args, &manifest) {
        ParsedArgs::Print(text) => StartMode::Print { text, exit: 0 },
        ParsedArgs::Run(flags) => StartMode::Run(Box::new(read_invocation(&manifest, flags, env))),
    }
}

/// Text below the help when no input is given.
const NOTHING_DONE: &str = "\nNothing was done. Name a command to begin: `bastion-migrate plan` only reads, `bastion-migrate migrate` migrates.\n";

/// Returns whether there is nothing to do: there is no workflow, and no input variable is set by hand.
fn is_bare_call(env: &[(OsString, OsString)]) -> bool {
    let is_input = |(name, value): &(OsString, OsString)| {
        let name = name.to_string_lossy().to_lowercase().replace('_', "-");
        !value.is_empty() && name.strip_prefix("input-").and_then(InputName::from_name).is_some()
    };
    !Runner::from_env(env).in_actions && !env.iter().any(is_input)
}

fn read_invocation(manifest: &Manifest, mut flags: Flags, env: Vec<(OsString, OsString)>) -> Invocation {
    let runner = Runner::from_env(&env);
    let variables = Variables::new(env);
    let mut findings = Findings { faults: std::mem::take(&mut flags.faults), warnings: Vec::new() };
    let sources = source::Sources { manifest, flags: &flags, variables: &variables };
    findings.faults.extend(synonyms::unknown_input_faults(&variables));
    let environment = sources.explicit_value(InputName::Environment);
    let file = sources.explicit_value(InputName::Config);
    let mut config = config_file::Config::read_file(&runner, file.as_deref(), environment.as_deref());
    findings.faults.append(&mut config.faults);
    findings.faults.extend(config.unchosen_environment_fault(environment.as_deref()));
    let (inputs, faults) = Inputs::from_sources(&sources, environment.as_deref(), &config);
    let inputs =
        inputs.with_missing_hints(missing::look_for_hints(&runner, &variables, environment.as_deref(), &config));
    findings.faults.extend(faults);
    let (settings, report) =
        resolve::resolve_settings(&inputs, environment.as_deref(), &runner, &variables, &mut findings);
    findings.faults.extend(settings.as_ref().and_then(resolve::certificate_fault));
    let reported = [flags.refused.as_slice(), config.invalid.as_slice()].concat();
    findings.faults = missing::merge_missing(std::mem::take(&mut findings.faults), &reported);
    let command = resolve_command(&inputs).ok();
    let mut secrets = inputs.secrets();
    secrets.extend(environment::env_secrets(&inputs, &variables));
    secrets.extend(client_identity::auth_secrets(&inputs, &variables));
    // `sslkey` in the URL may name a file.
    let target = settings.as_ref().and_then(|settings| settings.database.as_ref());
    secrets.extend(target.and_then(|target| target.identity.certificate.as_ref()).map(|found| found.key.clone()));
    secrets.extend(placeholders::placeholder_secrets(&inputs, &variables));
    secrets.extend(way::way_secrets(&inputs, &runner, &variables));
    if secrets.iter().any(|secret| !secret.can_be_hidden()) {
        findings.warnings.push(short_secret_warning());
    }
    findings.warnings.extend(environment::short_env_warning(&inputs, &variables));
    let Findings { faults, warnings } = findings;
    let pin_variable = missing::pin_variable(&variables, environment.as_deref());
    let handover = handover::handover_variables(&inputs, settings.as_ref(), (&runner, &variables));
    let settings = settings.filter(|_| faults.is_empty()).ok_or(faults);
    Invocation { settings, report, warnings, secrets, runner, command, environment, pin_variable, handover }
}

fn short_secret_warning() -> Fault {
    Fault::new(Code::InputInvalid, "a secret has fewer than three characters: it can't be hidden in the log")
        .fix("choose a longer password")
}
