//! The runner's environment variables that the program uses, read once.

use crate::https::NetworkSettings;
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Component, Path, PathBuf},
};

/// The job's facts from the runner. Outside of Actions everything is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Runner {
    /// `GITHUB_ACTIONS` is `true`.
    pub in_actions: bool,
    /// `RUNNER_DEBUG` is `1`.
    pub debug: bool,
    /// `GITHUB_WORKSPACE`.
    pub workspace: Option<PathBuf>,
    /// The workspace's path on the runner's host, from `RUNNER_WORKSPACE`, which the runner passes on untranslated. It
    /// does not exist in the container.
    pub host_workspace: Option<PathBuf>,
    /// `GITHUB_OUTPUT`.
    pub output_file: Option<PathBuf>,
    /// `GITHUB_STATE`, which passes values from one stage of a step to the next.
    pub state_file: Option<PathBuf>,
    /// `STATE_run`, saved by an earlier stage of this step.
    pub state_run: Option<String>,
    /// `GITHUB_STEP_SUMMARY`.
    pub summary_file: Option<PathBuf>,
    /// `GITHUB_EVENT_PATH`.
    pub event_file: Option<PathBuf>,
    /// `GITHUB_EVENT_NAME`, as in `pull_request`.
    pub event_name: Option<String>,
    /// `GITHUB_SHA`: the commit that the run is about. For a pull request it is a merge that GitHub made.
    pub commit: Option<String>,
    /// `GITHUB_API_URL`.
    pub api_url: Option<String>,
    /// `GITHUB_GRAPHQL_URL`.
    pub graphql_url: Option<String>,
    /// The way to GitHub's API.
    pub network: NetworkSettings,
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
    /// `GITHUB_REF`, as in `refs/heads/main`.
    pub git_ref: Option<String>,
    /// `GITHUB_ACTOR`: the user whose event started the workflow.
    pub actor: Option<String>,
    /// `GITHUB_TRIGGERING_ACTOR`: the user who started this attempt.
    pub triggering_actor: Option<String>,
    /// `GITHUB_JOB`.
    pub job: Option<String>,
}

impl Runner {
    /// Reads the runner's variables from the environment. An empty variable counts as absent, and so does a text that
    /// is not UTF-8.
    #[must_use]
    pub fn from_env(env: &[(OsString, OsString)]) -> Self {
        let env: BTreeMap<&OsStr, &OsStr> =
            env.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (&**name, &**value)).collect();
        let get = |name: &str| env.get(OsStr::new(name)).copied();
        let path = |name: &str| get(name).map(PathBuf::from);
        let text = |name: &str| get(name).and_then(OsStr::to_str).map(ToOwned::to_owned);
        Self {
            in_actions: get("GITHUB_ACTIONS") == Some(OsStr::new("true")),
            debug: get("RUNNER_DEBUG") == Some(OsStr::new("1")),
            workspace: path("GITHUB_WORKSPACE"),
            host_workspace: path("RUNNER_WORKSPACE").as_deref().and_then(workspace_in_pipeline),
            output_file: path("GITHUB_OUTPUT"),
            state_file: path("GITHUB_STATE"),
            state_run: text("STATE_run"),
            summary_file: path("GITHUB_STEP_SUMMARY"),
            event_file: path("GITHUB_EVENT_PATH"),
            event_name: text("GITHUB_EVENT_NAME"),
            commit: text("GITHUB_SHA"),
            api_url: text("GITHUB_API_URL"),
            graphql_url: text("GITHUB_GRAPHQL_URL"),
            network: NetworkSettings::from_variables(text),
            server_url: text("GITHUB_SERVER_URL"),
            repository: text("GITHUB_REPOSITORY"),
            run_id: text("GITHUB_RUN_ID"),
            run_attempt: text("GITHUB_RUN_ATTEMPT"),
            workflow: text("GITHUB_WORKFLOW"),
            git_ref: text("GITHUB_REF"),
            actor: text("GITHUB_ACTOR"),
            triggering_actor: text("GITHUB_TRIGGERING_ACTOR"),
            job: text("GITHUB_JOB"),
        }
    }

    /// Resolves a path from an input: relative to the workspace, or absolute. A workflow may have written it with `${{
    /// github.workspace }}`, which is another directory on the host (`/home/runner/work/r/r`) and in a job's container
    /// (`/__w/r/r`); the same files are in the workspace of this container.
    #[must_use]
    pub fn resolve_path(&self, input_path: &str) -> PathBuf {
        let Some(workspace) = &self.workspace else { return PathBuf::from(input_path) };
        let input_path = Path::new(input_path);
        match self.strip_foreign_workspace(input_path) {
            Some(inside) if self.in_actions => workspace.join(inside),
            _ => workspace.join(input_path),
        }
    }

    /// Returns the path as reports show it: relative to the workspace if it is inside, as annotations need it.
    #[must_use]
    pub fn display_path(&self, path: &Path) -> String {
        let inside = self.workspace.as_deref().and_then(|workspace| path.strip_prefix(workspace).ok());
        let displayed: PathBuf =
            inside.unwrap_or(path).components().filter(|part| *part != Component::CurDir).collect();
        if displayed.as_os_str().is_empty() { ".".to_owned() } else { displayed.display().to_string() }
    }

    /// Returns the part after the workspace in a path that was written for the host or a job's container.
    fn strip_foreign_workspace(&self, path: &Path) -> Option<PathBuf> {
        let on_host = self.host_workspace.as_deref().and_then(|host| path.strip_prefix(host).ok());
        if let Some(inside) = on_host {
            return Some(inside.to_owned());
        }
        let relative = ["/home/runner/work", "/__w"].iter().find_map(|work| path.strip_prefix(work).ok())?;
        let mut parts = relative.components();
        let (_pipeline, _repository) = (parts.next()?, parts.next()?);
        Some(parts.as_path().to_owned())
    }

    /// Returns the URL of this run's page.
    #[must_use]
    pub fn run_url(&self) -> Option<String> {
        let (repository, run) = (self.repository_url()?, self.run_id.as_ref()?);
        let attempt = self.run_attempt.as_deref().unwrap_or("1");
        Some(format!("{repository}/actions/runs/{run}/attempts/{attempt}"))
    }

    /// Returns the URL of the repository's page.
    #[must_use]
    pub fn repository_url(&self) -> Option<String> {
        Some(format!("{}/{}", self.server_url.as_ref()?, self.repository.as_ref()?))
    }

    /// Returns the URL under which GitHub shows the files of the run's commit by their paths.
    #[must_use]
    pub fn files_url(&self) -> Option<String> {
        Some(format!("{}/blob/{}", self.repository_url()?, self.commit.as_ref()?))
    }
}

/// Returns the workspace in the pipeline's directory `<work>/<repo>`: the directory of the same name.
fn workspace_in_pipeline(pipeline: &Path) -> Option<PathBuf> {
    Some(pipeline.join(pipeline.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    fn runner(extra: &[(&str, &str)]) -> Runner {
        let usual = [("GITHUB_ACTIONS", "true"), ("GITHUB_WORKSPACE", "/github/workspace")];
        let env: Vec<(OsString, OsString)> =
            usual.iter().chain(extra).map(|(name, value)| (name.into(), value.into())).collect();
        Runner::from_env(&env)
    }

    #[test]
    fn outside_of_actions_everything_is_absent() {
        assert_eq!(Runner::from_env(&[]), Runner::default());
        let bytes = OsString::from_vec(vec![0xff]);
        let env =
            [("GITHUB_REPOSITORY".into(), bytes.clone()), (bytes.clone(), bytes), ("GITHUB_JOB".into(), "".into())];
        assert_eq!(Runner::from_env(&env), Runner::default());
    }

    #[test]
    fn names_the_page_of_the_run() {
        let runner = runner(&[
            ("GITHUB_SERVER_URL", "https://ghe.example"),
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_RUN_ID", "7"),
            ("GITHUB_RUN_ATTEMPT", "2"),
        ]);
        assert_eq!(runner.run_url().as_deref(), Some("https://ghe.example/o/r/actions/runs/7/attempts/2"));
    }

    #[test]
    fn resolves_the_workspace_in_every_path_it_is_known_by() {
        let runner = runner(&[("RUNNER_WORKSPACE", "/data/_work/r")]);
        for path in
            ["db/x", "/github/workspace/db/x", "/home/runner/work/r/r/db/x", "/__w/r/r/db/x", "/data/_work/r/r/db/x"]
        {
            assert_eq!(runner.resolve_path(path), Path::new("/github/workspace/db/x"), "{path}");
        }
        assert_eq!(runner.resolve_path("/__w/r/r"), Path::new("/github/workspace"));
        assert_eq!(runner.resolve_path("/opt/db"), Path::new("/opt/db"));
        assert_eq!(runner.resolve_path("/__w/r"), Path::new("/__w/r"));
    }

    #[test]
    fn shows_paths_relative_to_the_workspace() {
        let runner = runner(&[]);
        for (path, shown) in [("./db/x/", "db/x"), ("/__w/r/r/db", "db"), ("/opt/db", "/opt/db"), (".", ".")] {
            assert_eq!(runner.display_path(&runner.resolve_path(path)), shown, "{path}");
        }
        assert_eq!(Runner::default().display_path(Path::new("./db")), "db");
    }

    #[test]
    fn leaves_paths_alone_outside_of_actions() {
        assert_eq!(Runner::default().resolve_path("db"), Path::new("db"));
        assert_eq!(Runner::default().resolve_path("/__w/r/r/db"), Path::new("/__w/r/r/db"));
    }
}
