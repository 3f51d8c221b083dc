//! Events that start a workflow, as far as a step can see them.

use serde_json::{Value, json};

/// The event. `workflow_call` has no event of its own: a called workflow sees its caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Push,
    PullRequest,
    WorkflowDispatch,
    Schedule,
    /// A workflow called by one that a push started.
    WorkflowCall,
}

/// Number of the pull request of [`Event::PullRequest`].
const NUMBER: u64 = 3;

impl Event {
    /// Returns the keys of the `github` context that depend on the event.
    pub(super) fn context(self) -> Vec<(&'static str, &'static str)> {
        let workflow = match self {
            Self::WorkflowCall => "octo/app/.github/workflows/caller.yml@refs/heads/main",
            _ => "octo/app/.github/workflows/deploy.yml@refs/heads/main",
        };
        let mut context = match self {
            Self::PullRequest => vec![
                ("base_ref", "main"),
                ("head_ref", "feature"),
                ("ref", "refs/pull/3/merge"),
                ("ref_name", "3/merge"),
                ("ref_protected", "false"),
            ],
            _ => vec![
                ("base_ref", ""),
                ("head_ref", ""),
                ("ref", "refs/heads/main"),
                ("ref_name", "main"),
                ("ref_protected", "true"),
            ],
        };
        context.extend([("ref_type", "branch"), ("event_name", self.name()), ("workflow_ref", workflow)]);
        context
    }

    fn name(self) -> &'static str {
        match self {
            Self::Push | Self::WorkflowCall => "push",
            Self::PullRequest => "pull_request",
            Self::WorkflowDispatch => "workflow_dispatch",
            Self::Schedule => "schedule",
        }
    }

    /// Returns the content of `event.json`.
    pub(crate) fn payload(self) -> Value {
        let repository = json!({ "full_name": "octo/app", "fork": false });
        match self {
            Self::Push | Self::WorkflowCall => {
                json!({ "ref": "refs/heads/main", "repository": repository, "commits": [] })
            }
            Self::PullRequest => json!({
                "action": "synchronize",
                "number": NUMBER,
                "pull_request": { "number": NUMBER, "head": { "sha": "89abcdef0123456789abcdef0123456789abcdef" } },
                "repository": repository,
            }),
            Self::WorkflowDispatch => json!({ "inputs": { "environment": "prod" }, "ref": "refs/heads/main" }),
            Self::Schedule => json!({ "schedule": "0 3 * * *" }),
        }
    }
}
