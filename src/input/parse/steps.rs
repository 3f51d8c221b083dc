//! The lists of steps as they were written.

use super::{
    health,
    mapping::Origin,
    site::Executor,
    step::{self, Draft, Task},
};
use crate::{fault::Fault, input::names::Name};
use serde_yaml::Value;
use std::collections::BTreeMap;

/// Parsed step lists; `None` marks a step that did not parse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Drafts {
    lists: BTreeMap<Name, Vec<Option<Draft>>>,
    pub(crate) health: Option<health::Draft>,
}

impl Drafts {
    /// Replaces the list under this input, and returns the faults of the new one.
    pub(crate) fn replace(&mut self, name: Name, value: &Value, origin: &Origin) -> Vec<Fault> {
        if name == Name::Health {
            let (draft, faults) = health::read(value, origin);
            self.health = draft;
            return faults;
        }
        let (list, faults) = step::list(name, value, origin);
        self.lists.insert(name, list);
        faults
    }

    /// Records that the list under this input can't be parsed.
    pub(crate) fn spoil(&mut self, name: Name) {
        self.lists.insert(name, vec![None]);
    }

    /// Replaces the lists with those of `other` that are set, list by list.
    pub(crate) fn extend(&mut self, other: Self) {
        self.lists.extend(other.lists);
        self.health = other.health.or(self.health.take());
    }

    /// Returns the list under this input; `None` marks an invalid step.
    pub(crate) fn list(&self, name: Name) -> impl Iterator<Item = Option<&Draft>> {
        self.lists.get(&name).into_iter().flatten().map(Option::as_ref)
    }

    /// Returns whether there is a list under this input, valid or not.
    pub(crate) fn has(&self, name: Name) -> bool {
        self.list(name).next().is_some()
    }

    /// Returns the executors that the run uses; `None` if a step is invalid, because its executor is unknown.
    pub(crate) fn executors(&self, own: Executor) -> Option<Vec<Executor>> {
        let drafts: Option<Vec<&Draft>> = self.lists.values().flatten().map(Option::as_ref).collect();
        let of_step = |draft: &Draft| match &draft.work {
            Task::Command { wish, .. } => Some(wish.meant(own)),
            Task::Sql(_) => None,
        };
        let of_steps = drafts?.into_iter().filter_map(of_step);
        let of_health = self.health.as_ref().and_then(|health| health.meant(own));
        Some(of_steps.chain(of_health).chain([own]).collect())
    }
}
