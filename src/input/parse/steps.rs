//! Resolves the parsed steps with the defaults that they take from the inputs.

use super::{
    mapping::{Origin, about},
    site::{Executor, Own},
    step::{self, Draft, Task},
};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    input::{findings::Findings, names::Name, resolve::health},
    settings::{Need, Place, Settings, Site, Step, StepSettings, Work},
    tool::Line,
};
use serde_yaml::Value;
use std::collections::{BTreeMap, BTreeSet};

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

    /// Resolves all steps and completes them with the defaults.
    pub(crate) fn resolve(&self, around: &Around<'_>, findings: &mut Findings) -> StepSettings {
        let mut list = |name| self.list(name).flatten().filter_map(|draft| around.step(draft, findings)).collect();
        let steps = StepSettings {
            before: list(Name::Before),
            migrate: list(Name::Steps),
            after: list(Name::After),
            health: None,
        };
        if self.has(Name::Steps) && around.own.executor == Some(Executor::Sql) {
            let cause = "`steps` replace a tool's migration command, and `executor: sql` has no tool";
            let fix = "move them to `before` or `after`, or set `executor` to `image` or `server`";
            findings.faults.push(Fault::new(Code::InputInvalid, cause).fix(fix));
        }
        steps
    }
}

/// Defaults of steps that come from the inputs.
#[derive(Debug)]
pub(crate) struct Around<'a> {
    pub(crate) own: Own<'a>,
    pub(crate) retries: u32,
    pub(crate) runner: &'a Runner,
}

impl Around<'_> {
    fn step(&self, draft: &Draft, findings: &mut Findings) -> Option<Step> {
        let work = match &draft.work {
            Task::Command { line, wish } => {
                let site =
                    wish.site(self.own).map_err(|misfit| wrong(draft, &format!("it {}", misfit.cause)).fix(misfit.fix));
                findings.warnings.extend(swallowed(draft, line));
                Work::Command { line: line.clone(), site: findings.keep(site)?? }
            }
            Task::Sql(written) => findings.keep(self.file(draft, written))?,
        };
        let Draft { name, timeout, need, when, .. } = draft;
        let retries = draft.retries.unwrap_or(self.retries);
        Some(Step { name: name.clone(), work, timeout: *timeout, retries, need: *need, when: *when })
    }

    fn file(&self, draft: &Draft, written: &str) -> Result<Work, Fault> {
        let path = self.runner.path(written);
        if path.is_file() {
            return Ok(Work::Sql { shown: self.runner.shown(&path), path });
        }
        if path.is_dir() {
            return Err(wrong(draft, &format!("`{written}` is a directory, and a step runs one file of SQL"))
                .fix("name a file in it; for several, write a step for each"));
        }
        Err(wrong(draft, &format!("there is no file `{written}`")).fix(
            "check the path, which begins at the top of the repository, and that actions/checkout ran before this step",
        ))
    }
}

fn wrong(draft: &Draft, cause: &str) -> Fault {
    about(Code::InputInvalid, &draft.title, draft.place.as_ref(), cause)
}

/// Returns a warning for a command whose shell text hides its failure; the failure of an optional step is in the
/// summary.
fn swallowed(draft: &Draft, line: &Line) -> Option<Fault> {
    let Line::Shell(text) = line else { return None };
    let forgets = |line: &str| line.trim_end().strip_suffix("true").is_some_and(|rest| rest.trim_end().ends_with("||"));
    let cause = "`|| true` hides failures";
    let fix = match draft.need {
        Need::Required => "remove it and set `optional: true`: the run goes on, and the summary shows the failure",
        Need::Optional => "remove it: with `optional: true` the run goes on, and the summary shows the failure",
    };
    text.lines().any(forgets).then(|| wrong(draft, cause).fix(fix))
}

impl Settings {
    /// Returns all images in which commands run.
    #[must_use]
    pub fn images(&self) -> BTreeSet<&str> {
        let tool = match &self.place {
            Place::Tool(tool) => Some(&tool.site),
            Place::Sql => None,
        };
        let sites = tool.into_iter().chain(self.steps.sites().map(|(_, site)| site));
        sites
            .filter_map(|site| match site {
                Site::Image(reference) => Some(reference.as_str()),
                Site::Server => None,
            })
            .collect()
    }
}

impl StepSettings {
    /// Returns the sites that the steps and the health check use, each with a description of its user.
    pub fn sites(&self) -> impl Iterator<Item = (String, &Site)> {
        let steps = self.all().filter_map(|step| match &step.work {
            Work::Command { site, .. } => Some((format!("the step `{}`", step.name), site)),
            Work::Sql { .. } => None,
        });
        steps.chain(self.health.iter().map(|health| ("`health`".to_owned(), &health.site)))
    }

    /// Returns the first step that is a SQL file.
    pub(crate) fn sql(&self) -> Option<&Step> {
        self.all().find(|step| matches!(step.work, Work::Sql { .. }))
    }

    fn all(&self) -> impl Iterator<Item = &Step> {
        self.before.iter().chain(&self.migrate).chain(&self.after)
    }
}
