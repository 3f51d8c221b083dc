//! The values as they were written, each from the first place that has one.

pub(crate) mod config_file;
mod environment;
pub(crate) mod flags;
mod yaml_location;

pub(crate) use config_file::Config;
pub(crate) use environment::{Variable, Variables, prefixes};
pub(crate) use flags::{Flags, Line};

use super::{
    inline_secrets,
    manifest::{Manifest, is_expression},
    missing::Sought,
    names::{Name, listed},
    parse::{Drafts, Origin, value::Misfit, what_is_wrong},
    synonyms,
};
use crate::{
    fault::{Code, Fault},
    postgres::url,
    secret::Secret,
};
use serde_yaml::Value;
use std::{collections::BTreeMap, fmt};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Flag,
    Input,
    Variable(String),
    File(String),
    Default,
}

impl fmt::Display for Source {
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

/// A value and its place. Every value is held blind: a misplaced secret is a secret too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    value: Secret,
    pub(super) source: Source,
}

impl Given {
    /// The byte order mark is an editor's, and never a part of a value.
    fn new(value: &str, source: Source) -> Self {
        Self { value: Secret::new(value.trim_start_matches('\u{feff}')), source }
    }
}

/// The places in which values are looked for, in this order: flags, `INPUT_` variables, environment variables, the
/// configuration file, defaults.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) flags: &'a Flags,
    pub(super) variables: &'a Variables,
}

impl Places<'_> {
    /// What was asked for explicitly, by flag or by input. `environment` and `config` come from here alone: they decide
    /// where everything else is looked for.
    pub(super) fn asked(&self, name: Name) -> Option<String> {
        let flag = self.flags.values.get(&name).cloned();
        flag.or_else(|| self.input(name).and_then(Result::ok).map(|given| given.value.expose().trim().to_owned()))
    }

    /// Every value of the input, the one that counts first.
    fn candidates(&self, name: Name, prefixes: &[String], config: &Config) -> Vec<Result<Given, Fault>> {
        let given = |value: &String, source| Ok(Given::new(value, source));
        let flag = self.flags.values.get(&name).map(|value| given(value, Source::Flag));
        let file = config.values.get(&name).map(|value| given(value, Source::File(config.path.clone())));
        let default = self.manifest.default(name).map(|value| given(&value.to_owned(), Source::Default));
        flag.into_iter()
            .chain(self.input(name))
            .chain(variables(name, prefixes).filter_map(|variable| self.variable(name, variable)))
            .chain(file)
            .chain(default)
            .collect()
    }

    /// The runner replaces spaces in names and nothing else, so dashes stay; a shell can't export those, so underscores do
    /// too.
    fn input(&self, name: Name) -> Option<Result<Given, Fault>> {
        let dashed = format!("INPUT_{}", name.name().to_uppercase());
        let underscored = dashed.replace('-', "_");
        // What stands under a name that does not exist is refused elsewhere; it is not missing, too.
        let meant =
            || synonyms::variables(name, self.variables).into_iter().find_map(|other| self.variable(name, other));
        let found = self.variable(name, dashed).or_else(|| self.variable(name, underscored)).or_else(meant)?;
        let default = self.manifest.default(name);
        match found {
            Ok(given) if default == Some(given.value.expose().trim()) || is_expression(given.value.expose()) => None,
            Ok(given) => Some(Ok(Given { source: Source::Input, ..given })),
            Err(fault) => Some(Err(fault)),
        }
    }

    fn variable(&self, name: Name, variable: String) -> Option<Result<Given, Fault>> {
        match self.variables.get(&variable) {
            Variable::Absent => None,
            Variable::Text(text) => Some(Ok(Given::new(text, Source::Variable(variable)))),
            Variable::NotUtf8 => Some(Err(Fault::new(
                Code::InputInvalid,
                format!("`{name}`, from the environment variable `{variable}`, is not UTF-8"),
            )
            .fix(format!("save the value of `{name}` as UTF-8")))),
        }
    }
}

/// The environment variables that an input is looked for in, in this order.
fn variables(name: Name, prefixes: &[String]) -> impl Iterator<Item = String> {
    let behind_prefix = prefixes
        .iter()
        .flat_map(move |prefix| name.prefixed_variables().iter().map(move |variable| format!("{prefix}{variable}")));
    behind_prefix.chain(name.variables().iter().map(|variable| (*variable).to_owned()))
}

/// Every input that has a value.
#[derive(Debug)]
pub struct Inputs {
    given: BTreeMap<Name, Given>,
    secrets: Vec<Secret>,
    prefixes: Vec<String>,
    drafts: Drafts,
    sought: Sought,
}

impl Inputs {
    /// Looks everything up; a value that can't be read is a fault, and the next place is not asked in its stead.
    pub(super) fn gather(places: &Places<'_>, environment: Option<&str>, config: &Config) -> (Self, Vec<Fault>) {
        let prefixes = environment.map(prefixes).unwrap_or_default();
        let (mut given, mut faults) = (BTreeMap::new(), Vec::new());
        let mut drafts = config.drafts.clone();
        let mut secrets = [places.flags.exposed.clone(), config.exposed.clone()].concat();
        for &name in Name::ALL {
            let candidates = places.candidates(name, &prefixes, config);
            if name.is_secret() {
                secrets.extend(candidates.iter().flatten().map(|given| given.value.clone()));
            } else {
                secrets.extend(candidates.iter().flatten().flat_map(|given| inside(name, given.value.expose())));
            }
            match candidates.into_iter().next() {
                Some(Ok(first)) => {
                    if name.is_yaml() {
                        faults.extend(yaml(name, &first, &mut drafts));
                    }
                    given.insert(name, first);
                }
                Some(Err(fault)) => faults.push(fault),
                None => {}
            }
        }
        (Self { given, secrets, prefixes, drafts, sought: Sought::default() }, faults)
    }

    /// The prefixes of the environment's variables, the one that counts first.
    pub(super) fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    /// The inputs that are written in YAML.
    pub(super) fn drafts(&self) -> &Drafts {
        &self.drafts
    }

    /// The same, with what can be said of inputs that have no value.
    pub(super) fn found_by(self, sought: Sought) -> Self {
        Self { sought, ..self }
    }

    /// A fault for inputs that have no value; of an environment with the names of the variables that would have been theirs.
    pub(super) fn missing(&self, cause: impl Into<String>, names: &[Name]) -> Fault {
        let fault = Fault::new(Code::InputMissing, cause).fix(self.sought.fix());
        let sought = names.iter().filter(|_| !self.prefixes.is_empty()).filter_map(|name| self.sought(*name));
        sought.chain(self.sought.elsewhere()).fold(fault, Fault::detail)
    }

    fn sought(&self, name: Name) -> Option<String> {
        let variables: Vec<String> = variables(name, &self.prefixes).collect();
        let list = Some(listed(&variables)).filter(|list| !list.is_empty())?;
        Some(format!("`{name}` was looked for in `with:`, and in the environment as {list}"))
    }

    /// Every secret that was found in any place, also in one that does not count or is refused, with the password inside of
    /// each URL. They are to be masked before anything else is said, whether or not the inputs are valid.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let inside = self.secrets.iter().flat_map(url::passwords);
        self.secrets.iter().cloned().chain(inside).collect()
    }

    /// A text without the space around it.
    pub(super) fn text(&self, name: Name) -> Option<&str> {
        self.given.get(&name).map(|given| given.value.expose().trim())
    }

    /// A secret; a single line without the line break that came with it from a file, a key as it is.
    pub(super) fn secret(&self, name: Name) -> Option<Secret> {
        let whole = self.given.get(&name)?.value.expose();
        let line = whole.trim_end_matches(['\r', '\n']);
        Some(Secret::new(if line.contains('\n') { whole } else { line }))
    }

    /// Every value that somebody gave, as an input of a workflow.
    pub(super) fn written(&self) -> impl Iterator<Item = (Name, Secret)> {
        let given = self.given.iter().filter(|(_, given)| given.source != Source::Default);
        given.map(|(name, given)| (*name, given.value.clone()))
    }

    /// The input with its place, as in "`ssh-host` (from the command line)".
    pub(super) fn named(&self, name: Name) -> String {
        self.given.get(&name).map_or_else(|| format!("`{name}`"), |given| format!("`{name}` ({})", given.source))
    }

    /// Whether somebody gave it, rather than `action.yml`.
    pub(super) fn is_given(&self, name: Name) -> bool {
        self.source(name).is_some_and(|source| *source != Source::Default)
    }

    /// Where its value was written.
    pub(super) fn source(&self, name: Name) -> Option<&Source> {
        self.given.get(&name).map(|given| &given.source)
    }

    /// The value of an optional input.
    pub(super) fn optional<T>(
        &self,
        name: Name,
        parser: impl FnOnce(&str) -> Result<T, Misfit>,
    ) -> Result<Option<T>, Fault> {
        self.text(name).map(|text| parser(text).map_err(|misfit| self.misfit(name, text, misfit))).transpose()
    }

    /// The value of an input that must have one.
    pub(super) fn required<T>(&self, name: Name, parser: impl FnOnce(&str) -> Result<T, Misfit>) -> Result<T, Fault> {
        self.optional(name, parser)?.ok_or_else(|| self.missing(format!("`{name}` has no value"), &[name]))
    }

    fn misfit(&self, name: Name, text: &str, misfit: Misfit) -> Fault {
        let (named, cause) = (self.named(name), misfit.cause);
        let shown = if text.len() > LONGEST_SHOWN || text.contains('\n') {
            format!("{named} {cause}")
        } else {
            format!("{named} is `{text}`: it {cause}")
        };
        Fault::new(Code::InputInvalid, shown).fix(format!("set `{name}` to {}", misfit.fix))
    }
}

/// The secrets inside of an input that is none itself.
fn inside(name: Name, text: &str) -> Vec<Secret> {
    let is_command = name.is_yaml() || matches!(name, Name::Run | Name::Setup | Name::CommandPrefix | Name::Manage);
    let given = if is_command { inline_secrets::in_commands(text) } else { Vec::new() };
    [inline_secrets::in_urls(text), given].concat()
}

/// Reads an input that is written in YAML; every fault of what stands in the configuration file is told with the file.
fn yaml(name: Name, given: &Given, drafts: &mut Drafts) -> Vec<Fault> {
    let origin = Origin { title: format!("`{name}` ({})", given.source), places: Vec::new() };
    let parsed =
        serde_yaml::from_str(given.value.expose()).and_then(|mut value: Value| value.apply_merge().map(|()| value));
    match parsed {
        Ok(value) => drafts.replace(name, &value, &origin),
        Err(error) => {
            let fault = Fault::new(Code::InputInvalid, format!("{} is not valid YAML", origin.title));
            let fault = fault.fix("write it as in docs/steps.md, below `|` in a workflow");
            drafts.spoil(name);
            vec![what_is_wrong(&error).into_iter().fold(fault, Fault::detail)]
        }
    }
}

/// A longer value is more likely something pasted into the wrong input than something worth repeating.
const LONGEST_SHOWN: usize = 60;
