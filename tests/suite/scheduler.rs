//! The workflows under GitHub's scheduler: no run is cancelled, none waits for a run that nobody has approved, no
//! read-only command waits at all, and each approval is asked for once. `scheduler/queue.rs` has the rules.

mod queue;
mod unit;

use queue::{GateOrder, Scheduler};
use serde_json::Value as Json;
use serde_yaml::Value;
use std::{collections::BTreeSet, fs, path::Path};
use unit::{CommandEffect, Library, Trigger, Unit};

/// The README's first workflow has no room for a group: there the lock in the database puts the runs in order.
const WITHOUT_GROUP: &str = "examples/workflows/migrate.yml";

const BLOCKS: &str = ".github/workflows";
const EXAMPLES: &str = "examples/workflows";

/// A caller of both building blocks.
const CALLER: &str = "
on: { workflow_dispatch: { inputs: { command: { type: choice, options: [migrate, status], default: migrate } } } }
jobs:
  read:
    if: inputs.command == 'status'
    uses: bastion-migrate/bastion-migrate/.github/workflows/plan.yml@v0
    with: { environment: production, command: status }
  write:
    if: inputs.command == 'migrate'
    uses: bastion-migrate/bastion-migrate/.github/workflows/migrate.yml@v0
    with: { environment: production, approval-environment: production-approval }
";

/// A migration and a deployment behind an approval, all in one group.
const FAULTY: &str = "
on: push
concurrency: { group: GROUP }
jobs:
  migrate: { environment: production, steps: [{ uses: bastion-migrate/bastion-migrate@v0, with: {} }] }
  deploy: { needs: migrate, environment: DEPLOY, steps: [{ run: ./deploy.sh }] }
";

/// Read-only commands and migrations in one group.
const ONE_GROUP: &str = "
name: Migrate by hand
on: { workflow_dispatch: { inputs: { command: { type: choice, options: [migrate, status] } } } }
concurrency: { group: 'migrate-${{ inputs.environment }}' }
jobs:
  migrate:
    environment: production
    steps: [{ uses: bastion-migrate/bastion-migrate@v0, with: { command: '${{ inputs.command }}' } }]
";

fn workflows(directory: &str) -> Library {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let files = entries.map(|entry| entry.expect("a directory can be read").path());
    let workflow = |path: &Path| serde_yaml::from_str(&fs::read_to_string(path).expect("a file can be read"));
    let read = |path: &Path| workflow(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    files.map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), read(&path))).collect()
}

/// The runs that a workflow can start, by what they do with a database.
struct Runs {
    writing: Vec<Unit>,
    reading: Vec<Unit>,
    /// What is wrong with a run that is alone in its repository.
    faults: Vec<String>,
}

impl Runs {
    fn of(workflow: &Value, library: &Library) -> Self {
        let mut runs = Self { writing: Vec::new(), reading: Vec::new(), faults: Vec::new() };
        for trigger in triggers(workflow) {
            let run = Unit::run(workflow, &trigger, library);
            let mut alone = Scheduler::new(GateOrder::ReviewFirst, BTreeSet::new());
            let number = alone.submit(&run);
            alone.end_all_but_writers();
            while alone.end_writers() {
                alone.end_all_but_writers();
            }
            assert!(alone.is_over(number), "{}: a run alone does not end", run.name);
            runs.faults.extend(alone.faults());
            let effects = alone.succeeded(number);
            if effects.contains(&CommandEffect::Writes) {
                runs.writing.push(run);
            } else if effects.contains(&CommandEffect::Reads) {
                runs.reading.push(run);
            }
        }
        runs
    }
}

/// Returns each event of a workflow, a manual run with each of its choices.
fn triggers(workflow: &Value) -> Vec<Trigger> {
    let events = match &workflow["on"] {
        Value::String(event) => vec![event.clone()],
        Value::Mapping(events) => events.keys().filter_map(Value::as_str).map(str::to_owned).collect(),
        other => panic!("not understood: {other:?}"),
    };
    let trigger = |event: String, inputs: &[(&str, &str)]| Trigger {
        event,
        inputs: inputs.iter().map(|(name, value)| ((*name).to_owned(), Json::from(*value))).collect(),
    };
    let mut found = Vec::new();
    for event in events {
        let command = &workflow["on"][event.as_str()]["inputs"]["command"];
        let choices = command["options"].as_sequence().into_iter().flatten().filter_map(Value::as_str);
        let choices: Vec<&str> = match event.as_str() {
            "workflow_call" if command["default"] == "migrate" => {
                vec!["migrate", "plan", "status", "verify", "doctor", "history"]
            }
            "workflow_call" => vec!["plan", "status", "verify", "doctor", "history"],
            _ => choices.collect(),
        };
        let environment = ("environment", "production");
        if choices.is_empty() {
            found.push(trigger(event, &[environment]));
        } else {
            found.extend(choices.iter().map(|command| trigger(event.clone(), &[environment, ("command", command)])));
        }
    }
    found
}

fn below(unit: &Unit) -> Vec<&Unit> {
    std::iter::once(unit).chain(unit.children.iter().flat_map(below)).collect()
}

/// Returns the environments that have reviewers: those made for nothing else or, without one, all in which jobs write.
fn reviewed(runs: &Runs) -> BTreeSet<String> {
    let units: Vec<&Unit> = runs.writing.iter().flat_map(below).collect();
    let named = |unit: &&&Unit| unit.environment.as_ref().is_some_and(|name| name.ends_with("-approval"));
    let writes = |unit: &&&Unit| unit.effect == CommandEffect::Writes;
    let has_gate = units.iter().any(|unit| named(&unit));
    let chosen = units.iter().filter(|unit| if has_gate { named(unit) } else { writes(unit) });
    chosen.filter_map(|unit| unit.environment.clone()).collect()
}

/// Returns the orders of the gates in which the workflow is right. GitHub does not document its own; where the job that
/// writes is itself the one with reviewers, it is right in one of them.
fn orders(reviewed: &BTreeSet<String>) -> Vec<GateOrder> {
    let has_gate = reviewed.iter().all(|name| name.ends_with("-approval"));
    if has_gate { vec![GateOrder::ReviewFirst, GateOrder::GroupFirst] } else { vec![GateOrder::ReviewFirst] }
}

/// The scheduler with what was wrong in it so far.
struct Watched {
    scheduler: Scheduler,
    found: BTreeSet<String>,
}

impl Watched {
    fn new(order: GateOrder, reviewed: &BTreeSet<String>) -> Self {
        Self { scheduler: Scheduler::new(order, reviewed.clone()), found: BTreeSet::new() }
    }

    fn look(&mut self) {
        self.found.extend(self.scheduler.faults());
        let written = self.scheduler.written();
        let twice = written.iter().filter(|name| written.iter().filter(|other| other == name).count() > 1);
        self.found.extend(twice.map(|name| format!("two jobs write in `{name}` at once")));
    }

    fn submit(&mut self, run: &Unit) -> usize {
        let number = self.scheduler.submit(run);
        self.look();
        self.scheduler.end_all_but_writers();
        self.look();
        number
    }

    /// Gives reviews until the run needs none; jobs that write keep running.
    fn approve(&mut self, run: usize) {
        while self.scheduler.review(run) {
            self.look();
            self.scheduler.end_all_but_writers();
            self.look();
        }
    }

    /// Ends everything, with every review given.
    fn finish(&mut self, runs: &[usize]) {
        loop {
            runs.iter().for_each(|run| self.approve(*run));
            let ended = self.scheduler.end_writers();
            self.look();
            self.scheduler.end_all_but_writers();
            self.look();
            if !ended {
                break;
            }
        }
        let open = runs.iter().filter(|run| !self.scheduler.is_over(**run));
        self.found.extend(open.map(|run| format!("run {run} never ends")));
    }

    /// Expects that a run has written, and that the reviewers were asked once.
    fn has_written(&mut self, run: usize) {
        if !self.scheduler.succeeded(run).contains(&CommandEffect::Writes) {
            self.found.insert(format!("run {run} has not migrated"));
        }
        if self.scheduler.reviews(run).is_empty() {
            self.found.insert(format!("run {run} has asked for no approval"));
        }
    }
}

/// A run migrates, another one waits for it, and somebody looks at the status.
fn migrate_migrate_status(runs: &Runs, order: GateOrder) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for writing in &runs.writing {
        for third in runs.reading.iter().chain(runs.reading.is_empty().then_some(writing)) {
            let mut watched = Watched::new(order, &reviewed(runs));
            let numbers = [writing, writing].map(|run| {
                let number = watched.submit(run);
                watched.approve(number);
                number
            });
            let last = watched.submit(third);
            if !runs.reading.is_empty() && !watched.scheduler.is_over(last) {
                watched.found.insert("the status waits".to_owned());
            }
            watched.finish(&[numbers[0], numbers[1], last]);
            numbers.into_iter().for_each(|run| watched.has_written(run));
            found.extend(watched.found);
        }
    }
    found
}

/// A run waits for its approval while three more are pushed; the newest is approved first.
fn three_pushes_during_an_approval(runs: &Runs, order: GateOrder) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for run in &runs.writing {
        let mut watched = Watched::new(order, &reviewed(runs));
        let numbers = [run; 4].map(|run| watched.submit(run));
        watched.finish(&[numbers[3]]);
        watched.has_written(numbers[3]);
        watched.finish(&numbers);
        numbers.into_iter().for_each(|run| watched.has_written(run));
        found.extend(watched.found);
    }
    found
}

/// Returns everything that is wrong with a workflow under the scheduler.
fn faults(name: &str, workflow: &Value, library: &Library) -> Vec<String> {
    let runs = Runs::of(workflow, library);
    let mut found: BTreeSet<String> = runs.faults.iter().cloned().collect();
    for order in orders(&reviewed(&runs)) {
        found.extend(migrate_migrate_status(&runs, order).into_iter().map(|fault| format!("{order:?}: {fault}")));
        found.extend(
            three_pushes_during_an_approval(&runs, order).into_iter().map(|fault| format!("{order:?}: {fault}")),
        );
    }
    let found = found.into_iter().filter(|fault| name != WITHOUT_GROUP || !fault.contains("at once"));
    found.map(|fault| format!("{name}: {fault}")).collect()
}

/// Returns everything that is wrong with workflows that are written here.
fn faults_of(text: &str) -> Vec<String> {
    let workflow = serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    faults("a workflow", &workflow, &workflows(BLOCKS))
}

#[test]
fn no_workflow_loses_or_blocks_a_migration() {
    let library = workflows(BLOCKS);
    let named = |directory: &'static str, workflows: Library| {
        workflows.into_iter().map(move |(file, workflow)| (format!("{directory}/{file}"), workflow))
    };
    let is_ours = |(_, workflow): &(String, Value)| workflow["on"].get("workflow_call").is_some();
    let blocks = named(BLOCKS, library.clone()).filter(is_ours);
    let all: Vec<(String, Value)> = named(EXAMPLES, workflows(EXAMPLES)).chain(blocks).collect();
    let found: Vec<String> = all.iter().flat_map(|(name, workflow)| faults(name, workflow, &library)).collect();
    assert!(found.is_empty(), "{found:#?}");
    let writing = all.iter().filter(|(_, workflow)| !Runs::of(workflow, &library).writing.is_empty());
    let count = writing.count();
    assert!(all.len() > 20 && count > 14, "{count} of {} workflows migrate", all.len());
}

#[test]
fn callers_of_the_building_blocks_may_have_groups_of_their_own() {
    for group in ["${{ github.workflow }}", "production", "migrate-production", "${{ inputs.command }}-production"] {
        let job =
            CALLER.replace("    uses:", &format!("    concurrency: {{ group: '{group}', queue: max }}\n    uses:"));
        let runs = Runs::of(&serde_yaml::from_str(&job).unwrap(), &workflows(BLOCKS));
        assert_eq!((runs.writing.len(), runs.reading.len(), runs.faults.len()), (1, 1, 0), "{group}");
    }
    assert_eq!(faults_of(CALLER), [""; 0]);
}

/// The faults that the examples once had; each is found.
#[test]
fn the_known_faults_of_workflows_are_found() {
    let approval = FAULTY.replace("GROUP", "migrate-production").replace("DEPLOY", "production-deploy");
    let asks_twice = FAULTY.replace("concurrency: { group: GROUP }", "").replace("DEPLOY", "production");
    let same_group = format!("concurrency: {{ group: bastion-migrate/production/ }}\n{CALLER}");
    for (workflow, expected) in [
        (&approval, "is cancelled: a newer one waits for the group"),
        (&approval, "for an unapproved run"),
        (&asks_twice, "asks for `production` twice"),
        (&ONE_GROUP.to_owned(), "`Migrate by hand` of run 2 is cancelled: a newer one waits for the group"),
        (&ONE_GROUP.to_owned(), "the status waits"),
        (&ONE_GROUP.replace("}}' }", "}}', queue: max }"), "the status waits"),
        (&ONE_GROUP.replace("concurrency:", "env:"), "two jobs write in `production` at once"),
        (&same_group, "its own run holds its group"),
    ] {
        let found = faults_of(workflow);
        assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}: {found:#?}\n{workflow}");
    }
}

/// An approval behind a job that is in the group already: right in one order of the gates, wrong in the other.
#[test]
fn an_approval_of_the_job_that_writes_may_hold_its_group() {
    let workflow = FAULTY.replace("concurrency: { group: GROUP }\n", "").replace("DEPLOY", "production-deploy");
    let job_group = "environment: production, concurrency: { group: bastion-migrate/production, queue: max }";
    let workflow = serde_yaml::from_str(&workflow.replacen("environment: production", job_group, 1)).unwrap();
    let runs = Runs::of(&workflow, &Library::new());
    assert_eq!(three_pushes_during_an_approval(&runs, GateOrder::ReviewFirst), BTreeSet::new());
    let found = three_pushes_during_an_approval(&runs, GateOrder::GroupFirst);
    assert!(found.iter().any(|fault| fault.contains("for an unapproved run")), "{found:#?}");
}
