//! The scheduler of GitHub Actions as rules: needs, conditions, concurrency groups and reviews of environments. Nothing
//! happens by itself but what needs no decision; a test ends jobs and gives reviews.

use super::unit::{CommandEffect, ConcurrencyGroup, Unit};
use crate::expression::is_met;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// GitHub's limit of a group with `queue: max`.
const LONGEST_QUEUE: usize = 100;

/// The order of the two gates of a job. GitHub does not document it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GateOrder {
    ReviewFirst,
    GroupFirst,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobGate {
    Review,
    Group,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum UnitProgress {
    Blocked,
    At(JobGate),
    Running,
    Ended(&'static str),
}

#[derive(Debug)]
struct Scheduled {
    unit: Unit,
    run: usize,
    parent: Option<usize>,
    children: Vec<usize>,
    progress: UnitProgress,
    passed: BTreeSet<&'static str>,
}

#[derive(Debug, Default)]
struct Line {
    holder: Option<usize>,
    pending: VecDeque<usize>,
}

/// The runs of one repository.
#[derive(Debug)]
pub(crate) struct Scheduler {
    order: GateOrder,
    reviewed: BTreeSet<String>,
    units: Vec<Scheduled>,
    lines: BTreeMap<String, Line>,
    runs: usize,
    reviews: Vec<(usize, String)>,
    cancelled: Vec<String>,
}

impl Scheduler {
    /// Creates a repository in which these environments have reviewers.
    pub(crate) fn new(order: GateOrder, reviewed: BTreeSet<String>) -> Self {
        Self {
            order,
            reviewed,
            units: Vec::new(),
            lines: BTreeMap::new(),
            runs: 0,
            reviews: Vec::new(),
            cancelled: Vec::new(),
        }
    }

    /// Starts a run and returns its number.
    pub(crate) fn submit(&mut self, run: &Unit) -> usize {
        self.runs += 1;
        self.add(run, None);
        self.settle();
        self.runs
    }

    fn add(&mut self, unit: &Unit, parent: Option<usize>) -> usize {
        let place = self.units.len();
        let (progress, passed) = (UnitProgress::Blocked, BTreeSet::new());
        self.units.push(Scheduled {
            unit: unit.clone(),
            run: self.runs,
            parent,
            children: Vec::new(),
            progress,
            passed,
        });
        let children = unit.children.iter().map(|child| self.add(child, Some(place))).collect();
        self.units[place].children = children;
        place
    }

    /// Ends every running job but those that write.
    pub(crate) fn end_all_but_writers(&mut self) {
        while let Some(place) = self.running(|effect| effect != CommandEffect::Writes).first() {
            self.end(*place, "success");
            self.settle();
        }
    }

    /// Ends the running jobs that write; returns whether there were any.
    pub(crate) fn end_writers(&mut self) -> bool {
        let writers = self.running(|effect| effect == CommandEffect::Writes);
        for place in &writers {
            self.end(*place, "success");
        }
        self.settle();
        !writers.is_empty()
    }

    /// Gives the review that a run waits for; returns whether it waited for one.
    pub(crate) fn review(&mut self, run: usize) -> bool {
        let waits = |unit: &Scheduled| unit.run == run && unit.progress == UnitProgress::At(JobGate::Review);
        let waiting: Vec<usize> = (0..self.units.len()).filter(|place| waits(&self.units[*place])).collect();
        for place in &waiting {
            self.pass(*place, JobGate::Review);
        }
        self.settle();
        !waiting.is_empty()
    }

    /// Returns the running jobs that write to a database, or those that don't.
    fn running(&self, is_wanted: impl Fn(CommandEffect) -> bool) -> Vec<usize> {
        let is_running = |unit: &Scheduled| unit.progress == UnitProgress::Running && unit.children.is_empty();
        let places = (0..self.units.len()).filter(|place| is_running(&self.units[*place]));
        places.filter(|place| is_wanted(self.units[*place].unit.effect)).collect()
    }

    /// Does everything that needs no decision.
    fn settle(&mut self) {
        while let Some(place) = (0..self.units.len()).find(|place| self.is_due(*place)) {
            if self.units[place].progress == UnitProgress::Running {
                let results = self.results(place);
                let worst =
                    ["cancelled", "failure"].into_iter().find(|bad| results.values().any(|result| result == bad));
                self.end(place, worst.unwrap_or("success"));
            } else if self.is_wanted(place) {
                self.approach(place);
            } else {
                self.end(place, "skipped");
            }
        }
    }

    /// Returns whether a unit can start, or all of its children have ended.
    fn is_due(&self, place: usize) -> bool {
        let unit = &self.units[place];
        let has_ended = |place: &usize| matches!(self.units[*place].progress, UnitProgress::Ended(_));
        match unit.progress {
            UnitProgress::Blocked => {
                let parent_runs = unit.parent.is_none_or(|parent| self.units[parent].progress == UnitProgress::Running);
                parent_runs && self.needed(place).iter().all(has_ended)
            }
            UnitProgress::Running => !unit.children.is_empty() && unit.children.iter().all(has_ended),
            UnitProgress::At(_) | UnitProgress::Ended(_) => false,
        }
    }

    fn needed(&self, place: usize) -> Vec<usize> {
        let siblings = self.units[place].parent.map(|parent| self.units[parent].children.clone()).unwrap_or_default();
        let needs = &self.units[place].unit.needs;
        siblings.into_iter().filter(|sibling| needs.contains(&self.units[*sibling].unit.name)).collect()
    }

    /// Returns the results of the jobs that a job needs, or of the jobs of a run.
    fn results(&self, place: usize) -> BTreeMap<String, String> {
        let unit = &self.units[place];
        let of = if unit.progress == UnitProgress::Running { unit.children.clone() } else { self.needed(place) };
        let result = |place: usize| match self.units[place].progress {
            UnitProgress::Ended(result) => Some((self.units[place].unit.name.clone(), result.to_owned())),
            _ => None,
        };
        of.into_iter().filter_map(result).collect()
    }

    fn is_wanted(&self, place: usize) -> bool {
        let unit = &self.units[place].unit;
        let condition = unit.condition.as_deref().unwrap_or("success()");
        unit.with_values(&self.results(place), |values| is_met(condition, values))
    }

    /// Takes a unit to its next gate, or starts it.
    fn approach(&mut self, place: usize) {
        let gates = match self.order {
            GateOrder::ReviewFirst => [JobGate::Review, JobGate::Group],
            GateOrder::GroupFirst => [JobGate::Group, JobGate::Review],
        };
        let scheduled = &self.units[place];
        let next = gates.into_iter().find(|gate| !scheduled.passed.contains(gate.name()));
        let group = scheduled.unit.group.clone();
        let environment = scheduled.unit.environment.clone().filter(|name| self.reviewed.contains(name));
        match (next, group, environment) {
            (None, ..) => self.units[place].progress = UnitProgress::Running,
            (Some(JobGate::Group), Some(group), _) => self.line_up(place, &group),
            (Some(JobGate::Review), _, Some(environment)) => self.ask_for_review(place, environment),
            (Some(gate), ..) => self.pass(place, gate),
        }
    }

    fn pass(&mut self, place: usize, gate: JobGate) {
        self.units[place].passed.insert(gate.name());
        self.approach(place);
    }

    /// Asks the reviewers of an environment, once for all jobs that wait for them at the same time.
    fn ask_for_review(&mut self, place: usize, environment: String) {
        let run = self.units[place].run;
        let is_asked = self.units.iter().any(|unit| {
            unit.run == run
                && unit.progress == UnitProgress::At(JobGate::Review)
                && unit.unit.environment.as_ref() == Some(&environment)
        });
        if !is_asked {
            self.reviews.push((run, environment));
        }
        self.units[place].progress = UnitProgress::At(JobGate::Review);
    }

    fn line_up(&mut self, place: usize, group: &ConcurrencyGroup) {
        let line = self.lines.entry(group.name.clone()).or_default();
        let holder = line.holder;
        let Some(holder) = holder else {
            line.holder = Some(place);
            return self.pass(place, JobGate::Group);
        };
        let evicted: Vec<usize> = if group.has_long_queue { Vec::new() } else { line.pending.drain(..).collect() };
        if line.pending.len() >= LONGEST_QUEUE || self.ancestors(place).contains(&holder) {
            return self.cancel(place, "its own run holds its group, or the queue is full");
        }
        evicted.into_iter().for_each(|evicted| self.cancel(evicted, "a newer one waits for the group"));
        self.units[place].progress = UnitProgress::At(JobGate::Group);
        self.lines.entry(group.name.clone()).or_default().pending.push_back(place);
        if group.cancels_running {
            self.cancel(holder, "a newer one takes the group");
        }
    }

    fn ancestors(&self, place: usize) -> Vec<usize> {
        std::iter::successors(self.units[place].parent, |place| self.units[*place].parent).collect()
    }

    fn cancel(&mut self, place: usize, reason: &str) {
        self.cancelled.push(format!("{} is cancelled: {reason}", self.label(place)));
        self.end(place, "cancelled");
    }

    /// Ends a unit with everything in it, and lets the next one into its group.
    fn end(&mut self, place: usize, result: &'static str) {
        for child in self.units[place].children.clone() {
            if !matches!(self.units[child].progress, UnitProgress::Ended(_)) {
                self.end(child, result);
            }
        }
        self.units[place].progress = UnitProgress::Ended(result);
        let Some(group) = self.units[place].unit.group.clone() else { return };
        let line = self.lines.entry(group.name).or_default();
        line.pending.retain(|pending| *pending != place);
        if line.holder == Some(place) {
            line.holder = line.pending.pop_front();
            if let Some(next) = line.holder {
                self.pass(next, JobGate::Group);
            }
        }
    }

    fn label(&self, place: usize) -> String {
        format!("`{}` of run {}", self.units[place].unit.name, self.units[place].run)
    }
}

impl JobGate {
    fn name(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Group => "group",
        }
    }
}

/// Observations.
impl Scheduler {
    /// Returns what must not be at any time.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut found = self.cancelled.clone();
        for (name, line) in &self.lines {
            let Some(holder) = line.holder else { continue };
            let unapproved = self.below(holder).into_iter().any(|place| self.awaits_review(place));
            for pending in &line.pending {
                if unapproved {
                    found.push(format!("{} waits in `{name}` for an unapproved run", self.label(*pending)));
                }
                if self.below(*pending).into_iter().all(|place| self.units[place].unit.effect != CommandEffect::Writes)
                {
                    found.push(format!("{} reads and waits in `{name}`", self.label(*pending)));
                }
            }
        }
        let asked_twice =
            self.reviews.iter().filter(|review| self.reviews.iter().filter(|other| other == review).count() > 1);
        found.extend(asked_twice.map(|(run, environment)| format!("run {run} asks for `{environment}` twice")));
        found
    }

    fn below(&self, place: usize) -> Vec<usize> {
        let children = self.units[place].children.iter().flat_map(|child| self.below(*child));
        std::iter::once(place).chain(children).collect()
    }

    fn awaits_review(&self, place: usize) -> bool {
        self.units[place].progress == UnitProgress::At(JobGate::Review)
    }

    /// Returns the environments in which jobs write at this moment, one for each job.
    pub(crate) fn written(&self) -> Vec<String> {
        let writers = self.running(|effect| effect == CommandEffect::Writes).into_iter();
        writers.map(|place| self.units[place].unit.environment.clone().unwrap_or_default()).collect()
    }

    /// Returns how often the reviewers of each environment were asked by a run.
    pub(crate) fn reviews(&self, run: usize) -> Vec<String> {
        self.reviews.iter().filter(|(asking, _)| *asking == run).map(|(_, environment)| environment.clone()).collect()
    }

    /// Returns the jobs of a run that have ended well, with their effect.
    pub(crate) fn succeeded(&self, run: usize) -> Vec<CommandEffect> {
        let units = self.units.iter().filter(|unit| unit.run == run && unit.children.is_empty());
        units.filter(|unit| unit.progress == UnitProgress::Ended("success")).map(|unit| unit.unit.effect).collect()
    }

    /// Returns whether the whole run has ended.
    pub(crate) fn is_over(&self, run: usize) -> bool {
        let mut units = self.units.iter().filter(|unit| unit.run == run);
        units.all(|unit| matches!(unit.progress, UnitProgress::Ended(_)))
    }
}
