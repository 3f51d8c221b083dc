//! A run of the past, as `command: history` lists it.

/// A run that has worked on the database. Its texts are untrusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct PastRun {
    /// The time at which it began to work, in UTC to the second (ISO 8601).
    pub started_at: String,
    /// The time at which it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// The outcome.
    pub outcome: PastOutcome,
    /// The code and the cause of the fault that decided it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The command.
    pub command: String,
    /// The reason for the decision of `command: resolve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The executor.
    pub executor: String,
    /// Number of planned migrations; absent if it ended before there was a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned: Option<u64>,
    /// Number of migrations that were applied, recorded or rolled back; absent if it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// The digest of the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<String>,
    /// The environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The image in which the tool ran, with its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The database role of the session.
    pub role: String,
    /// The user whose event started the workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The user who started this attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub triggering_actor: Option<String>,
    /// The users who approved the deployment, separated by commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// The repository, as in `owner/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The branch or tag, as in `refs/heads/main`.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<String>,
    /// The workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The page of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The number of the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// The outcome of a run of the past.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PastOutcome {
    /// It is at work.
    Working,
    /// Its end was never recorded: it was killed, or lost the database for good.
    #[default]
    EndUnknown,
    /// It has recorded this outcome. Untrusted text.
    Recorded(String),
}

impl PastOutcome {
    /// Returns the outcome as reports show it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Working => "at work",
            Self::EndUnknown => "end not recorded",
            Self::Recorded(outcome) => outcome,
        }
    }
}

impl serde::Serialize for PastOutcome {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
