//! The lists of steps as they were written.

use super::{
    backup, database_auth, health, lint,
    mapping::YamlOrigin,
    risk,
    site::ExecutorChoice,
    step::{self, ParsedStep, ParsedWork},
    tenants, via,
};
use crate::{
    fault::Fault,
    input::names::InputName,
    settings::{LintSettings, RiskSettings, TenantSettings},
};
use serde_yaml::Value;
use std::collections::BTreeMap;

/// The inputs that are written in YAML: step lists, in which `None` marks a step that did not parse, and others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ParsedSteps {
    lists: BTreeMap<InputName, Vec<Option<ParsedStep>>>,
    pub(crate) health: Option<health::ParsedHealth>,
    pub(crate) tenants: Option<TenantSettings>,
    pub(crate) lint: Option<LintSettings>,
    pub(crate) risk: Option<RiskSettings>,
    pub(crate) backup: Option<backup::ParsedBackup>,
    pub(crate) database_auth: Option<database_auth::ParsedAuth>,
    pub(crate) via: Option<via::ParsedVia>,
}

impl ParsedSteps {
    /// Replaces the list under this input, and records the faults of the new one.
    pub(crate) fn replace_list(
        &mut self,
        name: InputName,
        value: &Value,
        origin: &YamlOrigin,
        faults: &mut Vec<Fault>,
    ) {
        if name == InputName::Health {
            self.health = health::parse_health(value, origin, faults);
            return;
        }
        if name == InputName::Tenants {
            self.tenants = tenants::parse_tenants(value, origin, faults);
            return;
        }
        if name == InputName::Lint {
            self.lint = lint::parse_lint(value, origin, faults);
            return;
        }
        if name == InputName::Risk {
            self.risk = risk::parse_risk(value, origin, faults);
            return;
        }
        if name == InputName::Backup {
            self.backup = backup::parse_backup(value, origin, faults);
            return;
        }
        if name == InputName::DatabaseAuth {
            self.database_auth = database_auth::parse_database_auth(value, origin, faults);
            return;
        }
        if name == InputName::Via {
            self.via = via::parse_via(value, origin, faults);
            return;
        }
        self.lists.insert(name, step::parse_step_list(name, value, origin, faults));
    }

    /// Records that the list under this input can't be parsed.
    pub(crate) fn mark_invalid(&mut self, name: InputName) {
        self.lists.insert(name, vec![None]);
    }

    /// Replaces the lists with those of `other` that are set, list by list.
    pub(crate) fn extend(&mut self, other: Self) {
        self.lists.extend(other.lists);
        self.health = other.health.or(self.health.take());
        self.tenants = other.tenants.or(self.tenants.take());
        self.lint = other.lint.or(self.lint.take());
        self.risk = other.risk.or(self.risk.take());
        self.backup = other.backup.or(self.backup.take());
        self.database_auth = other.database_auth.or(self.database_auth.take());
        self.via = other.via.or(self.via.take());
    }

    /// Returns the list under this input; `None` marks an invalid step.
    pub(crate) fn steps_of(&self, name: InputName) -> impl Iterator<Item = Option<&ParsedStep>> {
        self.lists.get(&name).into_iter().flatten().map(Option::as_ref)
    }

    /// Returns whether there is a list under this input, valid or not.
    pub(crate) fn has_steps(&self, name: InputName) -> bool {
        self.steps_of(name).next().is_some()
    }

    /// Returns the executors that the run uses; `None` if a step is invalid, because its executor is unknown.
    pub(crate) fn executors_in_use(&self, default_executor: ExecutorChoice) -> Option<Vec<ExecutorChoice>> {
        let steps: Option<Vec<&ParsedStep>> = self.lists.values().flatten().map(Option::as_ref).collect();
        let of_step = |step: &ParsedStep| match &step.work {
            ParsedWork::Command { site_override, .. } => Some(site_override.intended_executor(default_executor)),
            ParsedWork::Sql(_) => None,
        };
        let of_steps = steps?.into_iter().filter_map(of_step);
        let of_health = self.health.as_ref().and_then(|health| health.executor_in_use(default_executor));
        let of_backup = self.backup.as_ref().and_then(|backup| backup.executor_in_use(default_executor));
        Some(of_steps.chain(of_health).chain(of_backup).chain([default_executor]).collect())
    }
}
