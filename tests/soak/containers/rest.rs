//! What a step leaves with the engine, and the secrets in the engine's records.

use crate::{
    engine::{command, docker, siblings, try_docker},
    lab::poll,
    leak,
};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// The label of the action's containers.
const RUN_LABEL: &str = "dev.bastion-migrate.run";

/// Networks that every engine has.
const OF_THE_ENGINE: [&str; 3] = ["bridge", "host", "none"];

/// The events of the engine since the start of this value.
#[derive(Debug)]
pub(super) struct EngineEvents {
    docker: Child,
    events: Arc<Mutex<Vec<Value>>>,
}

/// The names of a step by which the engine's records of it are found.
#[derive(Debug, Clone)]
pub(super) struct StepNames {
    /// The run that the step has saved in its state.
    pub(super) run: Option<String>,
    /// The marker of a tool's containers.
    pub(super) marker: String,
    /// The network of the job.
    pub(super) network: String,
}

impl EngineEvents {
    pub(super) fn begin() -> Self {
        let mut docker = command(&["events", "--format", "{{json .}}"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker was there a moment ago");
        let pipe = BufReader::new(docker.stdout.take().expect("stdout is a pipe"));
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        let read = move || {
            let parsed = pipe.lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok());
            parsed.for_each(|event: Value| sink.lock().unwrap_or_else(PoisonError::into_inner).push(event));
        };
        thread::Builder::new().name("events".to_owned()).spawn(read).expect("a thread can start");
        Self { docker, events }
    }

    /// Takes the events so far.
    pub(super) fn take(&self) -> Vec<Value> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for EngineEvents {
    fn drop(&mut self) {
        drop(self.docker.kill());
        drop(self.docker.wait());
    }
}

/// Finds what is left of a step after its post stage, and removes it.
pub(super) fn find_containers(names: &StepNames) -> Vec<String> {
    let of_run = || {
        let run = names.run.iter().flat_map(|run| labelled(&format!("{RUN_LABEL}={run}"), None));
        let in_network = labelled("dev.bastion-migrate.kind=tunnel", Some(&names.network));
        run.chain(siblings(&names.marker)).chain(in_network).collect::<Vec<_>>()
    };
    // The engine removes a container a moment after its end.
    poll(Duration::from_secs(5), || of_run().is_empty().then_some(()));
    let left = of_run();
    for id in &left {
        drop(try_docker(&["rm", "--force", "--volumes", id]));
    }
    left.into_iter().map(|id| format!("after the post stage, the container {id} is left")).collect()
}

fn labelled(label: &str, network: Option<&str>) -> Vec<String> {
    let (label, network) = (format!("label={label}"), network.map(|network| format!("network={network}")));
    let mut list = vec!["ps", "--all", "--quiet", "--no-trunc", "--filter", &label];
    list.extend(network.iter().flat_map(|network| ["--filter", network.as_str()]));
    docker(&list).lines().map(str::to_owned).collect()
}

/// Finds secrets in the descriptions and the logs of these containers. The environment of a tool has the URL of the
/// database by its nature.
pub(super) fn find_secrets(containers: &[String], secrets: &[String]) -> Vec<String> {
    let found = |text: String| {
        let forms = secrets.iter().filter_map(|secret| leak::find_secret(&text, secret));
        forms.map(|form| format!("a secret is in the engine's record of a container: {form}")).collect::<Vec<_>>()
    };
    let texts = containers.iter().flat_map(|id| {
        let mut described: Value = serde_json::from_slice(&try_docker(&["inspect", id]).stdout).unwrap_or_default();
        if let Some(environment) = described.pointer_mut("/0/Config/Env") {
            environment.take();
        }
        let log = try_docker(&["logs", id]);
        let log = [log.stdout, log.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        [described.to_string(), log]
    });
    texts.flat_map(found).collect()
}

/// Checks the events of a step's containers: their volumes and networks are gone, and no secret is in them.
pub(super) fn check_events(events: &[Value], names: &StepNames, secrets: &[String]) -> Vec<String> {
    let text = |event: &Value, path: &str| event.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let id = |event: &Value| text(event, "/Actor/ID").unwrap_or_default();
    let attribute = |event: &Value, name: &str| text(event, &format!("/Actor/Attributes/{name}"));
    let is_of_run = |event: &&Value| names.run.is_some() && attribute(event, RUN_LABEL) == names.run;
    let own: Vec<&Value> = events.iter().filter(is_of_run).collect();
    let ids: Vec<String> = own.iter().map(|event| id(event)).collect();
    let connected = |kind: &'static str| {
        let of_ours = |event: &Value| attribute(event, "container").is_some_and(|id| ids.contains(&id));
        let of_kind = events
            .iter()
            .filter(move |event| text(event, "/Type").as_deref() == Some(kind))
            .filter(move |event| of_ours(event));
        of_kind.collect::<Vec<_>>()
    };
    let mut wrong = Vec::new();
    for event in connected("volume") {
        let name = id(event);
        if try_docker(&["volume", "inspect", &name]).status.success() {
            wrong.push(format!("the volume {name} is left"));
        }
    }
    for event in connected("network") {
        let name = attribute(event, "name").unwrap_or_default();
        let is_known = name == names.network || OF_THE_ENGINE.contains(&name.as_str());
        if !is_known && try_docker(&["network", "inspect", &name]).status.success() {
            wrong.push(format!("the network {name} is left"));
        }
    }
    for event in own {
        let text = event.to_string();
        let forms = secrets.iter().filter_map(|secret| leak::find_secret(&text, secret));
        wrong.extend(forms.map(|form| format!("a secret is in an event of the engine: {form}: {text}")));
    }
    wrong
}
