//! Workflows in documents and examples: the step that uses the action, and the expressions in `${{ … }}`.

use crate::expression::{Values, interpolate, to_text};
use serde_yaml::Value;
use std::collections::BTreeMap;

/// The values that expressions read, by their names: `secrets.SSH_HOST`.
pub(crate) type Context = BTreeMap<String, String>;

/// Replaces every expression in a text by its value. An unknown name is a failure.
pub(crate) fn evaluate(text: &str, context: &Context) -> String {
    let value = |name: &str| context.get(name).unwrap_or_else(|| panic!("the context lacks `{name}`")).clone().into();
    to_text(&interpolate(text, &Values { lookup: &value, status: &|_| true }))
}

/// Returns the step of this job that uses the action.
pub(crate) fn our_step(workflow: &str, job: &str) -> Value {
    let workflow: Value = serde_yaml::from_str(workflow).expect("a workflow is YAML");
    let steps = workflow["jobs"][job]["steps"].as_sequence().unwrap_or_else(|| panic!("no job `{job}`"));
    steps.iter().find(|step| is_ours(step)).expect("the job uses the action").clone()
}

/// Returns whether the step uses the action.
pub(crate) fn is_ours(step: &Value) -> bool {
    // The building blocks name the repository that they are in.
    step["uses"].as_str().is_some_and(|uses| uses.starts_with("bastion-migrate/bastion-migrate@") || uses == "$/")
}

/// Returns the fenced blocks in this language, without the indentation of a surrounding list.
pub(crate) fn fenced(document: &str, language: &str) -> Vec<String> {
    let blocks = document.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix(language));
    let block = |block: &str| {
        let (body, indent) = block.rsplit_once('\n').expect("a fence stands on a line of its own");
        let lines = body.lines().skip(1);
        lines.map(|line| format!("{}\n", line.strip_prefix(indent).unwrap_or(line))).collect()
    };
    blocks.map(block).collect()
}
