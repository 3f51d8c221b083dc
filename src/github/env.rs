//! The runner's variables that we use, read once.

use std::path::PathBuf;

/// What the runner told about this job. Outside of Actions everything is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Runner {
    /// `GITHUB_ACTIONS` is `true`.
    pub in_actions: bool,
    /// `RUNNER_DEBUG` is `1`.
    pub debug: bool,
    /// `GITHUB_WORKSPACE`.
    pub workspace: Option<PathBuf>,
    /// `GITHUB_OUTPUT`.
    pub output_file: Option<PathBuf>,
    /// `GITHUB_STEP_SUMMARY`.
    pub summary_file: Option<PathBuf>,
    /// `GITHUB_EVENT_PATH`.
    pub event_file: Option<PathBuf>,
    /// `GITHUB_API_URL`.
    pub api_url: Option<String>,
    /// `GITHUB_SERVER_URL`.
    pub server_url: Option<String>,
    /// `GITHUB_REPOSITORY`, as in `owner/name`.
    pub repository: Option<String>,
    /// `GITHUB_RUN_ID`.
    pub run_id: Option<String>,
    /// `GITHUB_RUN_ATTEMPT`.
    pub run_attempt: Option<String>,
    /// `GITHUB_WORKFLOW`.
    pub workflow: Option<String>,
    /// `GITHUB_JOB`.
    pub job: Option<String>,
}

impl Runner {
    /// The address of this run's page.
    #[must_use]
    pub fn run_url(&self) -> Option<String> {
        let (server, repository, run) = (self.server_url.as_ref()?, self.repository.as_ref()?, self.run_id.as_ref()?);
        let attempt = self.run_attempt.as_deref().unwrap_or("1");
        Some(format!("{server}/{repository}/actions/runs/{run}/attempts/{attempt}"))
    }
}
