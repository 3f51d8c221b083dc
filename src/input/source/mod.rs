//! The values as written, each from the first source that has one.

pub(crate) mod config_file;
mod environment;
pub(crate) mod flags;
mod yaml_location;

pub(crate) use config_file::Config;
pub(crate) use environment::{Variable, Variables, environment_prefixes};
pub(crate) use flags::Flags;

use super::{
    hints::MissingHints,
    inline_secrets,
    manifest::{Manifest, is_expression},
    names::{InputName, list_quoted},
    parse::{ParsedSteps, YamlOrigin, is_query, parse_error_lines, value::InvalidValue},
    synonyms,
};
use crate::{
    fault::{Code, Fault},
    postgres::DatabaseUrl,
    secret::Secret,
};
use serde_yaml::Value;
use std::{collections::BTreeMap, fmt};

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ValueSource {
    Flag,
    Input,
    Variable(String),
    File(String),
    Default,
}

impl fmt::Display for ValueSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => formatter.write_str("from the command line"),
            Self::Input => formatter.write_str("from the workflow's `with:`"),
            Self::Variable(name) => write!(formatter, "from the environment variable `{name}`"),
            Self::File(path) => write!(formatter, "from `{path}`"),
            Self::Default => formatter.write_str("by default"),
        }
    }
}

/// A value and its source. All values are kept as secrets: a misplaced secret is one, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourcedValue {
    value: Secret,
    pub(super) source: ValueSource,
}

impl SourcedValue {
    /// Removes a byte order mark, which comes from an editor and is never a part of the value.
    fn new(value: &str, source: ValueSource) -> Self {
        Self { value: Secret::new(value.trim_start_matches('\u{feff}')), source }
    }
}

/// The sources of values, in order of precedence: flags, `INPUT_` variables, environment variables, the configuration
/// file, defaults.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) flags: &'a Flags,
    pub(super) variables: &'a Variables,
}

impl Sources<'_> {
    /// Returns the value of a flag or a workflow input. `environment` and `config` come only from these, because they
    /// determine where all other values are found.
    pub(super) fn explicit_value(&self, name: InputName) -> Option<String> {
        let flag = self.flags.values.get(&name).cloned();
        flag.or_else(|| {
            self.workflow_value(name).and_then(Result::ok).map(|sourced| sourced.value.expose().trim().to_owned())
        })
    }

    /// Returns all values of the input, in order of precedence.
    fn candidates(&self, name: InputName, prefixes: &[String], config: &Config) -> Vec<Result<SourcedValue, Fault>> {
        let sourced = |value: &String, source| Ok(SourcedValue::new(value, source));
        let flag = self.flags.values.get(&name).map(|value| sourced(value, ValueSource::Flag));
        let file = config.values.get(&name).map(|value| sourced(value, ValueSource::File(config.path.clone())));
        let default = self.manifest.default_value(name).map(|value| sourced(&value.to_owned(), ValueSource::Default));
        flag.into_iter()
            .chain(self.workflow_value(name))
            .chain(variable_names(name, prefixes).filter_map(|variable| self.variable_value(name, variable)))
            .chain(file)
            .chain(default)
            .collect()
    }

    /// Returns the value from the workflow's `with:`. The runner replaces only spaces in names, so dashes stay; a shell
    /// can't export such names, so underscores are accepted, too.
    fn workflow_value(&self, name: InputName) -> Option<Result<SourcedValue, Fault>> {
        let dashed = format!("INPUT_{}", name.name().to_uppercase());
        let underscored = dashed.replace('-', "_");
        // A misspelt name has its own fault; its value is not reported as missing, too.
        let by_synonym = || {
            synonyms::synonym_variables(name, self.variables)
                .into_iter()
                .find_map(|variable| self.variable_value(name, variable))
        };
        let found =
            self.variable_value(name, dashed).or_else(|| self.variable_value(name, underscored)).or_else(by_synonym)?;
        let default = self.manifest.default_value(name);
        match found {
            Ok(sourced) if default == Some(sourced.value.expose().trim()) || is_expression(sourced.value.expose()) => {
                None
            }
            Ok(sourced) => Some(Ok(SourcedValue { source: ValueSource::Input, ..sourced })),
            Err(fault) => Some(Err(fault)),
        }
    }

    fn variable_value(&self, name: InputName, variable: String) -> Option<Result<SourcedValue, Fault>> {
        match self.variables.get(&variable) {
            Variable::Absent => None,
            Variable::Text(text) => Some(Ok(SourcedValue::new(text, ValueSource::Variable(variable)))),
            Variable::NotUtf8 => Some(Err(Fault::new(
                Code::InputInvalid,
                format!("`{name}`, from the environment variable `{variable}`, is not UTF-8"),
            )
            .fix(format!("save the value of `{name}` as UTF-8")))),
        }
    }
}

/// Returns the environment variables of an input, in order of precedence.
fn variable_names(name: InputName, prefixes: &[String]) -> impl Iterator<Item = String> {
    let behind_prefix = prefixes
        .iter()
        .flat_map(move |prefix| name.prefixed_variables().iter().map(move |variable| format!("{prefix}{variable}")));
    behind_prefix.chain(name.variables().iter().map(|variable| (*variable).to_owned()))
}

/// All inputs that have a value.
#[derive(Debug)]
pub struct Inputs {
    given: BTreeMap<InputName, SourcedValue>,
    secrets: Vec<Secret>,
    prefixes: Vec<String>,
    parsed_steps: ParsedSteps,
    missing_hints: MissingHints,
}

impl Inputs {
    /// Looks up all inputs. A value that can't be read is a fault; the next source is not used instead.
    pub(super) fn from_sources(
        sources: &Sources<'_>,
        environment: Option<&str>,
        config: &Config,
    ) -> (Self, Vec<Fault>) {
        let prefixes = environment.map(environment_prefixes).unwrap_or_default();
        let (mut sourced, mut faults) = (BTreeMap::new(), Vec::new());
        let mut parsed_steps = config.steps.clone();
        let mut secrets = [sources.flags.exposed.clone(), config.exposed.clone()].concat();
        for &name in InputName::ALL {
            let candidates = sources.candidates(name, &prefixes, config);
            if name.is_secret() {
                let values = candidates.iter().flatten().map(|sourced| sourced.value.expose());
                secrets.extend(values.flat_map(|value| inline_secrets::secrets_of(name, value)));
            } else {
                secrets.extend(
                    candidates.iter().flatten().flat_map(|sourced| secrets_inside(name, sourced.value.expose())),
                );
            }
            match candidates.into_iter().next() {
                Some(Ok(first)) => {
                    if name.is_yaml() {
                        parse_yaml(name, &first, &mut parsed_steps, &mut faults);
                    }
                    sourced.insert(name, first);
                }
                Some(Err(fault)) => faults.push(fault),
                None => {}
            }
        }
        (Self { given: sourced, secrets, prefixes, parsed_steps, missing_hints: MissingHints::default() }, faults)
    }

    /// Returns the prefixes of the environment's variables, in order of precedence.
    pub(super) fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    /// Returns the inputs that are written in YAML.
    pub(super) fn parsed_steps(&self) -> &ParsedSteps {
        &self.parsed_steps
    }

    /// Adds hints for inputs without a value.
    pub(super) fn with_missing_hints(self, missing_hints: MissingHints) -> Self {
        Self { missing_hints, ..self }
    }

    /// Returns a fault for inputs without a value. With an environment it lists the variables that were looked up.
    pub(super) fn missing_fault(&self, cause: impl Into<String>, names: &[InputName]) -> Fault {
        let fault = Fault::new(Code::InputMissing, cause).fix(self.missing_hints.fix());
        let looked_up = names.iter().filter(|_| !self.prefixes.is_empty()).filter_map(|name| self.looked_up_as(*name));
        looked_up.chain(self.missing_hints.elsewhere()).fold(fault, Fault::detail)
    }

    fn looked_up_as(&self, name: InputName) -> Option<String> {
        let variables: Vec<String> = variable_names(name, &self.prefixes).collect();
        let list = Some(list_quoted(&variables)).filter(|list| !list.is_empty())?;
        Some(format!("`{name}` was looked for in `with:`, and in the environment as {list}"))
    }

    /// Returns the secrets from all sources, even from one that is overridden or rejected, with the password in each
    /// URL. They are masked before any other output, whether or not the inputs are valid.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let inside = self.secrets.iter().flat_map(DatabaseUrl::possible_passwords);
        self.secrets.iter().cloned().chain(inside).collect()
    }

    /// Returns a text without the space around it.
    pub(super) fn text(&self, name: InputName) -> Option<&str> {
        self.given.get(&name).map(|sourced| sourced.value.expose().trim())
    }

    /// Returns a secret. A single line loses the line break that it has from a file; a key is kept as it is.
    pub(super) fn secret(&self, name: InputName) -> Option<Secret> {
        let value = self.given.get(&name)?.value.expose();
        let line = value.trim_end_matches(['\r', '\n']);
        Some(Secret::new(if line.contains('\n') { value } else { line }))
    }

    /// Returns all values that are not defaults.
    pub(super) fn given_values(&self) -> impl Iterator<Item = (InputName, Secret)> {
        let values = self.given.iter().filter(|(_, values)| values.source != ValueSource::Default);
        values.map(|(name, values)| (*name, values.value.clone()))
    }

    /// Returns the input with its source, as in "`ssh-host` (from the command line)".
    pub(super) fn label(&self, name: InputName) -> String {
        self.given.get(&name).map_or_else(|| format!("`{name}`"), |sourced| format!("`{name}` ({})", sourced.source))
    }

    /// Returns whether the input has a value that is not the default.
    pub(super) fn is_given(&self, name: InputName) -> bool {
        self.source(name).is_some_and(|source| *source != ValueSource::Default)
    }

    /// Returns the source of the value.
    pub(super) fn source(&self, name: InputName) -> Option<&ValueSource> {
        self.given.get(&name).map(|sourced| &sourced.source)
    }

    /// Parses the value of an optional input.
    pub(super) fn optional<T>(
        &self,
        name: InputName,
        parser: impl FnOnce(&str) -> Result<T, InvalidValue>,
    ) -> Result<Option<T>, Fault> {
        self.text(name).map(|text| parser(text).map_err(|invalid| self.invalid_fault(name, text, invalid))).transpose()
    }

    /// Parses the value of a required input.
    pub(super) fn required<T>(
        &self,
        name: InputName,
        parser: impl FnOnce(&str) -> Result<T, InvalidValue>,
    ) -> Result<T, Fault> {
        self.optional(name, parser)?.ok_or_else(|| self.missing_fault(format!("`{name}` has no value"), &[name]))
    }

    fn invalid_fault(&self, name: InputName, text: &str, invalid: InvalidValue) -> Fault {
        let (label, cause) = (self.label(name), invalid.cause);
        let message = if text.len() > MAX_SHOWN_LENGTH || text.contains('\n') {
            format!("{label} {cause}")
        } else {
            format!("{label} is `{text}`: it {cause}")
        };
        Fault::new(Code::InputInvalid, message).fix(format!("set `{name}` to {}", invalid.fix))
    }
}

/// Returns the secrets inside an input that is not a secret itself.
fn secrets_inside(name: InputName, text: &str) -> Vec<Secret> {
    let is_command = name.is_yaml()
        || matches!(name, InputName::Run | InputName::Setup | InputName::CommandPrefix | InputName::Manage);
    let assigned = if is_command { inline_secrets::secrets_in_commands(text) } else { Vec::new() };
    // Its login is a secret also where the scheme is forgotten.
    let proxy = match name {
        InputName::SshProxy if !text.contains("://") => inline_secrets::secrets_in_urls(&format!("://{text}")),
        _ => Vec::new(),
    };
    [inline_secrets::secrets_in_urls(text), assigned, proxy].concat()
}

/// Parses an input that is written in YAML, and records its faults.
fn parse_yaml(name: InputName, sourced: &SourcedValue, parsed_steps: &mut ParsedSteps, faults: &mut Vec<Fault>) {
    let origin = YamlOrigin { title: format!("`{name}` ({})", sourced.source), positions: Vec::new() };
    let text = sourced.value.expose();
    if name == InputName::Tenants && is_query(text) {
        return parsed_steps.replace_list(name, &Value::String(text.to_owned()), &origin, faults);
    }
    let parsed = serde_yaml::from_str(text).and_then(|mut value: Value| value.apply_merge().map(|()| value));
    match parsed {
        Ok(value) => parsed_steps.replace_list(name, &value, &origin, faults),
        Err(error) => {
            let fault = Fault::new(Code::InputInvalid, format!("{} is not valid YAML", origin.title));
            let page = match name {
                InputName::Tenants => "docs/tenants.md",
                InputName::Lint | InputName::Risk => "docs/plan.md",
                InputName::DatabaseAuth | InputName::Via => "docs/ways-in.md",
                _ => "docs/steps.md",
            };
            let fault = fault.fix(format!("write it as in {page}, below `|` in a workflow"));
            parsed_steps.mark_invalid(name);
            faults.push(parse_error_lines(&error).into_iter().fold(fault, Fault::detail));
        }
    }
}

/// Longest value that is shown, in bytes: a longer one is more likely pasted into the wrong input than worth repeating.
const MAX_SHOWN_LENGTH: usize = 60;
