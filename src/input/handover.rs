//! What a process of ours in another container has to be told: the inputs as they were resolved here, whatever place they came
//! from, because there is no workspace, no configuration file and no environment of the step's there.

use super::{names::Name, scope, source::Inputs};
use crate::{
    github::runner::Runner,
    secret::Secret,
    settings::{Command, Settings},
};

/// What is only for this process although it counts for a tunnel: where else to look, GitHub's surfaces, and what is named of the
/// workspace.
const OURS: [Name; 6] =
    [Name::Environment, Name::Config, Name::GithubToken, Name::Comment, Name::Summary, Name::DatabaseCa];

/// As environment variables.
pub(super) fn of(inputs: &Inputs, settings: Option<&Settings>, runner: &Runner) -> Vec<(String, Secret)> {
    let counts = |name: Name| !OURS.contains(&name) && scope::of(name).0.have(Command::Tunnel);
    let given = inputs.written().filter(|(name, _)| counts(*name));
    let given = given.map(|(name, value)| (variable(name), value));
    // A URL may have named a file of the workspace.
    let ca = settings.and_then(|settings| settings.database.as_ref()?.ca.clone());
    let ca = ca.map(|pem| (variable(Name::DatabaseCa), Secret::new(pem)));
    let facts = [
        ("GITHUB_RUN_ID", &runner.run_id),
        ("GITHUB_RUN_ATTEMPT", &runner.run_attempt),
        ("GITHUB_REPOSITORY", &runner.repository),
        ("GITHUB_SERVER_URL", &runner.server_url),
    ];
    let facts = facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Secret::new(value.clone()?))));
    given.chain(ca).chain(facts).collect()
}

fn variable(name: Name) -> String {
    format!("INPUT_{}", name.name().to_uppercase())
}
