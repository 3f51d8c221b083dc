//! Environment of an action's container, layer by layer. Source: `ContainerActionHandler.cs`, `Handler.cs`,
//! `GitHubContext.cs`, `RunnerContext.cs`, `DockerCommandManager.cs`.

use super::{event::Event, file::Purpose, log::Debug, paths::Paths};
use std::{collections::BTreeMap, path::Path};

/// Live credentials of the job, which no step may pass on.
const RUNTIME_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.cnVudGltZS10b2tlbg.c2lnbmF0dXJl";
const ID_TOKEN_REQUEST_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.aWQtdG9rZW4tcmVxdWVzdA.c2lnbmF0dXJl";

/// State of a job at the start of one of its steps.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) event: Event,
    /// `https://github.com`, or a GitHub Enterprise Server.
    pub(crate) server_url: String,
    pub(crate) api_url: String,
    /// `env:` of workflow, job and step, and what earlier steps wrote to `GITHUB_ENV`.
    pub(crate) env: BTreeMap<String, String>,
    /// `runs.env` of `action.yml`.
    pub(crate) action_env: BTreeMap<String, String>,
    pub(crate) inputs: BTreeMap<String, String>,
    /// State that an earlier stage of the same step has saved.
    pub(crate) state: Vec<(String, String)>,
    pub(crate) debug: Debug,
    /// Proxy in the configuration of a self-hosted runner.
    pub(crate) proxy: Option<String>,
}

impl Job {
    /// A job on github.com, started by a push.
    pub(crate) fn new(inputs: BTreeMap<String, String>) -> Self {
        Self {
            event: Event::Push,
            server_url: "https://github.com".to_owned(),
            api_url: "https://api.github.com".to_owned(),
            env: BTreeMap::new(),
            action_env: BTreeMap::new(),
            inputs,
            state: Vec::new(),
            debug: Debug::Off,
            proxy: None,
        }
    }

    /// Returns the variables that are passed by name, translated. `GITHUB_ACTIONS` and `CI` are on the command line.
    pub(crate) fn environment(&self, work: &Path, guid: &str, paths: &Paths) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        env.extend(self.state.iter().map(|(name, value)| (format!("STATE_{name}"), value.clone())));
        env.extend(self.inputs.iter().map(|(name, value)| (variable(name), value.clone())));
        for (name, value) in &self.action_env {
            env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let temp = work.join("_temp");
        env.insert("HOME".to_owned(), temp.join("_github_home").display().to_string());
        env.extend(
            self.github(work, guid).into_iter().map(|(key, value)| (format!("GITHUB_{}", key.to_uppercase()), value)),
        );
        env.extend(self.runner(work).into_iter().map(|(key, value)| (format!("RUNNER_{}", key.to_uppercase()), value)));
        env.extend(credentials().map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (name, value) in self.proxies() {
            env.entry(name.to_owned()).or_insert(value);
        }
        env.into_iter().map(|(name, value)| (name, paths.to_container(&value))).collect()
    }

    /// Returns the exported part of the `github` context, which has neither the token nor the event.
    fn github(&self, work: &Path, guid: &str) -> BTreeMap<&'static str, String> {
        let temp = work.join("_temp");
        let mut context: BTreeMap<_, _> = FIXED.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        context.extend(self.event.context().into_iter().map(|(key, value)| (key, value.to_owned())));
        context.extend([
            ("api_url", self.api_url.clone()),
            ("graphql_url", format!("{}/graphql", self.api_url)),
            ("server_url", self.server_url.clone()),
            ("workspace", work.join(REPOSITORY).join(REPOSITORY).display().to_string()),
            ("event_path", temp.join("_github_workflow/event.json").display().to_string()),
        ]);
        for purpose in Purpose::ALL {
            let file = temp.join("_runner_file_commands").join(format!("{}{guid}", purpose.prefix()));
            context.insert(purpose.key(), file.display().to_string());
        }
        context
    }

    /// Returns the `runner` context, all of which is exported.
    fn runner(&self, work: &Path) -> BTreeMap<&'static str, String> {
        let mut context: BTreeMap<_, _> = [
            ("os", "Linux".to_owned()),
            ("arch", "X64".to_owned()),
            ("name", "GitHub Actions 7".to_owned()),
            ("environment", "github-hosted".to_owned()),
            ("tool_cache", "/opt/hostedtoolcache".to_owned()),
            ("temp", work.join("_temp").display().to_string()),
            ("workspace", work.join(REPOSITORY).display().to_string()),
        ]
        .into();
        if self.debug == Debug::On {
            context.insert("debug", "1".to_owned());
        }
        context
    }

    fn proxies(&self) -> Vec<(&'static str, String)> {
        let both = |name: [&'static str; 2], value: &str| name.map(|name| (name, value.to_owned()));
        let Some(proxy) = &self.proxy else { return Vec::new() };
        let named = [both(["HTTP_PROXY", "http_proxy"], proxy), both(["HTTPS_PROXY", "https_proxy"], proxy)];
        named.into_iter().flatten().chain(both(["NO_PROXY", "no_proxy"], "localhost")).collect()
    }
}

/// Name of the repository, and therefore of two directories.
pub(crate) const REPOSITORY: &str = "app";

/// Context values that are the same in every job of these tests.
const FIXED: [(&str, &str); 18] = [
    ("action", "__octo_bastion-migrate"),
    ("action_ref", "v1"),
    ("action_repository", "bastion-migrate/bastion-migrate"),
    ("actor", "octocat"),
    ("actor_id", "583231"),
    ("job", "migrate"),
    ("repository", "octo/app"),
    ("repository_id", "1296269"),
    ("repository_owner", "octo"),
    ("repository_owner_id", "9919"),
    ("retention_days", "90"),
    ("run_attempt", "1"),
    ("run_id", "4711"),
    ("run_number", "7"),
    ("sha", "0123456789abcdef0123456789abcdef01234567"),
    ("triggering_actor", "octocat"),
    ("workflow", "deploy"),
    ("workflow_sha", "0123456789abcdef0123456789abcdef01234567"),
];

/// Returns the credentials that every step gets.
pub(crate) fn credentials() -> [(&'static str, &'static str); 6] {
    [
        ("ACTIONS_RUNTIME_URL", "https://pipelines.actions.githubusercontent.com/x/"),
        ("ACTIONS_RUNTIME_TOKEN", RUNTIME_TOKEN),
        ("ACTIONS_CACHE_URL", "https://artifactcache.actions.githubusercontent.com/x/"),
        ("ACTIONS_RESULTS_URL", "https://results-receiver.actions.githubusercontent.com/"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://pipelines.actions.githubusercontent.com/x/idtoken"),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", ID_TOKEN_REQUEST_TOKEN),
    ]
}

/// Returns the secrets among the credentials.
pub(crate) fn secrets() -> [&'static str; 2] {
    [RUNTIME_TOKEN, ID_TOKEN_REQUEST_TOKEN]
}

/// Returns the variable of an input: blanks become underscores and letters upper case, nothing else changes.
pub(crate) fn variable(input: &str) -> String {
    format!("INPUT_{}", input.replace(' ', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::{super::paths::Temp, *};

    fn environment(job: &Job) -> BTreeMap<String, String> {
        let work = Path::new("/home/runner/work");
        job.environment(work, "guid", &Paths::of(work, REPOSITORY, Temp::Mounted))
    }

    fn job(inputs: &[(&str, &str)], env: &[(&str, &str)]) -> Job {
        let owned =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Job { env: owned(env), ..Job::new(owned(inputs)) }
    }

    #[test]
    fn the_variables_of_inputs_have_the_runners_names() {
        assert_eq!(variable("ssh-known-hosts"), "INPUT_SSH-KNOWN-HOSTS");
        assert_eq!(variable("two words.x"), "INPUT_TWO_WORDS.X");
    }

    #[test]
    fn paths_are_those_in_the_container() {
        let env = environment(&job(&[("migrations", "/home/runner/work/app/app/db")], &[]));
        for (name, value) in [
            ("GITHUB_WORKSPACE", "/github/workspace"),
            ("HOME", "/github/home"),
            ("GITHUB_EVENT_PATH", "/github/workflow/event.json"),
            ("GITHUB_OUTPUT", "/github/file_commands/set_output_guid"),
            ("GITHUB_ENV", "/github/file_commands/set_env_guid"),
            ("GITHUB_PATH", "/github/file_commands/add_path_guid"),
            ("GITHUB_STATE", "/github/file_commands/save_state_guid"),
            ("GITHUB_STEP_SUMMARY", "/github/file_commands/step_summary_guid"),
            ("GITHUB_ARTIFACTS_LIST", "/github/file_commands/artifacts_list_guid"),
            ("RUNNER_TEMP", "/github/runner_temp"),
            ("RUNNER_WORKSPACE", "/home/runner/work/app"),
            ("RUNNER_TOOL_CACHE", "/opt/hostedtoolcache"),
            ("INPUT_MIGRATIONS", "/github/workspace/db"),
        ] {
            assert_eq!(env[name], value, "{name}");
        }
    }

    #[test]
    fn a_later_layer_wins_except_the_actions_own_env() {
        let mut job = job(
            &[("a", "input")],
            &[
                ("INPUT_A", "env"),
                ("HOME", "/mine"),
                ("GITHUB_SHA", "mine"),
                ("RUNNER_OS", "mine"),
                ("X", "user"),
                ("CI", "no"),
            ],
        );
        job.state = vec![("Token".to_owned(), "kept".to_owned())];
        job.action_env = [("X", "action"), ("Y", "action"), ("HOME", "/action")]
            .map(|(key, value)| (key.into(), value.into()))
            .into();
        let env = environment(&job);
        let got = ["INPUT_A", "HOME", "RUNNER_OS", "X", "Y", "STATE_Token", "CI"].map(|name| env[name].as_str());
        assert_eq!(got, ["input", "/github/home", "Linux", "user", "action", "kept", "no"]);
        assert_ne!(env["GITHUB_SHA"], "mine");
    }

    #[test]
    fn tokens_and_the_runners_own_variables_are_not_passed() {
        let env = environment(&job(&[], &[]));
        for name in ["GITHUB_TOKEN", "GITHUB_EVENT", "RUNNER_DEBUG", "PATH", "GITHUB_ACTIONS", "CI", "HTTP_PROXY"] {
            assert!(!env.contains_key(name), "{name}");
        }
        assert_eq!(env["GITHUB_BASE_REF"], "");
        assert_eq!(env["ACTIONS_RUNTIME_TOKEN"], RUNTIME_TOKEN);
        let proxied = Job { proxy: Some("http://proxy:3128".to_owned()), ..job(&[], &[("HTTP_PROXY", "mine")]) };
        assert_eq!(environment(&proxied)["HTTP_PROXY"], "mine");
        assert_eq!(environment(&proxied)["https_proxy"], "http://proxy:3128");
    }

    #[test]
    fn every_event_has_its_values() {
        let of = |event| environment(&Job { event, ..job(&[], &[]) });
        let pull = of(Event::PullRequest);
        assert_eq!((pull["GITHUB_REF_NAME"].as_str(), pull["GITHUB_HEAD_REF"].as_str()), ("3/merge", "feature"));
        assert_eq!(of(Event::WorkflowCall)["GITHUB_EVENT_NAME"], "push");
        assert!(of(Event::WorkflowCall)["GITHUB_WORKFLOW_REF"].contains("caller.yml"));
        for event in [Event::WorkflowDispatch, Event::Schedule, Event::Push] {
            assert_eq!(of(event)["GITHUB_REF"], "refs/heads/main");
        }
    }
}
