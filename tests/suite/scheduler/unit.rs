//! A workflow as the scheduler sees it: a tree of units. A run, a job, a call and a called workflow are units; each may
//! be in a concurrency group.

use crate::expression::{Values, interpolate, to_text};
use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};
use std::collections::BTreeMap;

/// The workflows that a job can call, by file name.
pub(crate) type Library = BTreeMap<String, Value>;

/// The event that starts a run, and the inputs of a manual one.
#[derive(Debug, Clone)]
pub(crate) struct Trigger {
    pub(crate) event: String,
    pub(crate) inputs: BTreeMap<String, Json>,
}

/// The values that the expressions of a unit read; those of `needs.….result` are the scheduler's.
#[derive(Debug, Clone)]
struct Scope {
    event: String,
    inputs: BTreeMap<String, Json>,
    matrix: BTreeMap<String, Json>,
}

/// The concurrency group of a unit.
#[derive(Debug, Clone)]
pub(crate) struct ConcurrencyGroup {
    /// The name, in lower case: GitHub compares without case.
    pub(crate) name: String,
    pub(crate) has_long_queue: bool,
    pub(crate) cancels_running: bool,
}

/// The effect of a job's command on the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandEffect {
    None,
    Reads,
    Writes,
}

/// A node of the tree.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) needs: Vec<String>,
    pub(crate) condition: Option<String>,
    pub(crate) group: Option<ConcurrencyGroup>,
    pub(crate) environment: Option<String>,
    pub(crate) effect: CommandEffect,
    pub(crate) children: Vec<Self>,
    scope: Scope,
}

impl Unit {
    /// Builds the run of a workflow.
    pub(crate) fn run(workflow: &Value, trigger: &Trigger, library: &Library) -> Self {
        let kind = if trigger.event == "workflow_call" { "workflow_call" } else { "workflow_dispatch" };
        let mut inputs: BTreeMap<String, Json> = mapping(&workflow["on"][kind]["inputs"])
            .iter()
            .map(|(name, input)| (text(name), json(&input["default"])))
            .collect();
        inputs.extend(trigger.inputs.clone());
        let scope = Scope { event: trigger.event.clone(), inputs, matrix: BTreeMap::new() };
        let jobs = mapping(&workflow["jobs"]);
        let children = jobs.iter().flat_map(|(name, job)| Self::jobs(&text(name), job, &scope, library)).collect();
        let group = group(&workflow["concurrency"], &scope);
        let name = workflow["name"].as_str().unwrap_or("workflow").to_owned();
        Self {
            name,
            needs: Vec::new(),
            condition: None,
            group,
            environment: None,
            effect: CommandEffect::None,
            children,
            scope,
        }
    }

    /// Builds a job, once for each combination of its matrix.
    fn jobs(name: &str, job: &Value, scope: &Scope, library: &Library) -> Vec<Self> {
        let combinations = combinations(&job["strategy"]["matrix"]);
        let job_of = |matrix| Self::job(name, job, Scope { matrix, ..scope.clone() }, library);
        combinations.into_iter().map(job_of).collect()
    }

    fn job(name: &str, job: &Value, scope: Scope, library: &Library) -> Self {
        let needs = match &job["needs"] {
            Value::Sequence(names) => names.iter().map(text).collect(),
            Value::String(name) => vec![name.clone()],
            _ => Vec::new(),
        };
        let environment = job["environment"].get("name").unwrap_or(&job["environment"]);
        let environment = environment.as_str().map(|name| scope.text(name)).filter(|name| !name.is_empty());
        let called = job["uses"].as_str().map(|uses| called(uses, &job["with"], &scope, library));
        Self {
            name: name.to_owned(),
            needs,
            condition: job.get("if").map(text),
            group: group(&job["concurrency"], &scope),
            effect: effect(job, environment.as_deref(), &scope),
            environment,
            children: called.into_iter().collect(),
            scope,
        }
    }

    /// Evaluates an expression of this unit; `results` has the results of the jobs that it needs.
    pub(crate) fn with_values<T>(&self, results: &BTreeMap<String, String>, work: impl Fn(&Values<'_>) -> T) -> T {
        let lookup = |name: &str| {
            let job = name.strip_prefix("needs.").and_then(|name| name.strip_suffix(".result"));
            job.map_or_else(|| self.scope.lookup(name), |job| results.get(job).cloned().unwrap_or_default().into())
        };
        let status = |name: &str| match name {
            "success" => results.values().all(|result| result == "success"),
            "failure" => results.values().any(|result| result == "failure"),
            "cancelled" => false,
            _ => true,
        };
        work(&Values { lookup: &lookup, status: &status })
    }
}

impl Scope {
    fn lookup(&self, name: &str) -> Json {
        let (context, key) = name.split_once('.').unwrap_or((name, ""));
        match context {
            "inputs" => self.inputs.get(key).cloned().unwrap_or_default(),
            "matrix" => self.matrix.get(key).cloned().unwrap_or_default(),
            "needs" => match key.rsplit('.').next().unwrap_or_default() {
                "outcome" => "pending".into(),
                "pending-count" => "1".into(),
                output => output.into(),
            },
            "github" => match key {
                "event_name" => self.event.clone().into(),
                "repository" | "event.pull_request.head.repo.full_name" => "octo/app".into(),
                "ref" => "refs/heads/main".into(),
                "workflow" => "the caller".into(),
                other => other.into(),
            },
            "vars" | "secrets" | "env" => key.into(),
            other => panic!("`{other}.{key}` can't be read here"),
        }
    }

    fn evaluate(&self, text: &str) -> Json {
        interpolate(text, &Values { lookup: &|name| self.lookup(name), status: &|_| true })
    }

    fn text(&self, text: &str) -> String {
        to_text(&self.evaluate(text))
    }
}

/// Builds a called workflow with the inputs of the call.
fn called(uses: &str, with: &Value, scope: &Scope, library: &Library) -> Unit {
    let file = uses.split('@').next().and_then(|path| path.rsplit('/').next()).expect("a call names a file");
    let workflow = library.get(file).unwrap_or_else(|| panic!("no workflow `{file}` to call"));
    let value = |value: &Value| value.as_str().map_or_else(|| json(value), |text| scope.evaluate(text));
    let given = mapping(with).iter().map(|(name, given)| (text(name), value(given))).collect::<BTreeMap<_, _>>();
    let defaults = mapping(&workflow["on"]["workflow_call"]["inputs"]);
    let known = |name: &String| defaults.contains_key(Value::String(name.clone()));
    assert!(given.keys().all(known), "{file} has other inputs than {:?}", given.keys());
    let mut inputs: BTreeMap<_, _> =
        defaults.iter().map(|(name, input)| (text(name), json(&input["default"]))).collect();
    inputs.extend(given);
    // In a called workflow `github` is the caller's.
    let unit = Unit::run(workflow, &Trigger { event: "workflow_call".to_owned(), inputs }, library);
    unit.of_event(&scope.event)
}

impl Unit {
    fn of_event(mut self, event: &str) -> Self {
        event.clone_into(&mut self.scope.event);
        self.children = self.children.into_iter().map(|child| child.of_event(event)).collect();
        self
    }
}

fn group(concurrency: &Value, scope: &Scope) -> Option<ConcurrencyGroup> {
    let name = concurrency.get("group").unwrap_or(concurrency).as_str()?;
    let cancels = concurrency.get("cancel-in-progress").map(|value| scope.text(&text(value)));
    Some(ConcurrencyGroup {
        name: scope.text(name).to_lowercase(),
        has_long_queue: concurrency.get("queue").and_then(Value::as_str) == Some("max"),
        cancels_running: cancels.as_deref() == Some("true"),
    })
}

/// Returns the strongest effect of the job's steps that use the action. The database of `services:` ends with the job. A
/// tunnel is as good as a migration, unless its environment is for a role that may only read.
fn effect(job: &Value, environment: Option<&str>, scope: &Scope) -> CommandEffect {
    if job.get("services").is_some() {
        return CommandEffect::None;
    }
    let may_only_read = environment.is_some_and(|name| name.ends_with("-plan"));
    let steps = job["steps"].as_sequence().into_iter().flatten();
    let ours = steps.filter(|step| {
        let uses = step["uses"].as_str().unwrap_or_default();
        uses.starts_with("bastion-migrate/bastion-migrate@") || uses == "$/"
    });
    let commands = ours.map(|step| scope.text(step["with"]["command"].as_str().unwrap_or("migrate")));
    let effects = commands.map(|command| match command.as_str() {
        "plan" | "rehearse" | "status" | "verify" | "doctor" | "history" => CommandEffect::Reads,
        "tunnel" if may_only_read => CommandEffect::Reads,
        _ => CommandEffect::Writes,
    });
    effects.fold(
        CommandEffect::None,
        |strongest, effect| if strongest == CommandEffect::Writes { strongest } else { effect },
    )
}

/// Returns the combinations of a matrix: of its lists, and those that `include` adds.
fn combinations(matrix: &Value) -> Vec<BTreeMap<String, Json>> {
    let mut found = vec![BTreeMap::new()];
    for (name, values) in mapping(matrix).iter().filter(|(name, _)| name.as_str() != Some("include")) {
        let values = values.as_sequence().expect("a matrix has lists");
        let with = |combination: &BTreeMap<String, Json>, value: &Value| {
            let mut combination = combination.clone();
            combination.insert(text(name), json(value));
            combination
        };
        found = found.iter().flat_map(|before| values.iter().map(move |value| with(before, value))).collect();
    }
    let included = matrix["include"].as_sequence().into_iter().flatten();
    let mut included =
        included.map(|row| mapping(row).iter().map(|(name, value)| (text(name), json(value))).collect()).peekable();
    if included.peek().is_some() { included.collect() } else { found }
}

fn mapping(value: &Value) -> Mapping {
    value.as_mapping().cloned().unwrap_or_default()
}

fn text(value: &Value) -> String {
    to_text(&json(value))
}

fn json(value: &Value) -> Json {
    serde_json::to_value(value).expect("YAML of a workflow is JSON")
}
