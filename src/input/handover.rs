//! Inputs for the sidecar, a process of this program in another container: the values as they were resolved here, from
//! any source, because the other container has no workspace, no configuration file and no environment of the step.

use super::{
    names::InputName,
    parse::ParsedAuth,
    resolve::client_identity::AUTH_VARIABLES,
    scope_table::scope_of,
    source::{Inputs, Variable, Variables},
};
use crate::{
    github::runner::Runner,
    secret::Secret,
    settings::{Command, Settings},
    token_login::{TokenLogin, TokenMethod},
    way::WayIn,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Inputs that count for a tunnel but matter only to this process: where to find other values, GitHub's API and
/// summary, and files in the workspace.
const NOT_HANDED_OVER: [InputName; 9] = [
    InputName::Environment,
    InputName::Config,
    InputName::GithubToken,
    InputName::Comment,
    InputName::CommentKey,
    InputName::Summary,
    InputName::DatabaseCa,
    InputName::DatabaseCert,
    InputName::DatabaseKey,
];

/// Returns the inputs as environment variables.
pub(super) fn handover_variables(
    inputs: &Inputs,
    settings: Option<&Settings>,
    (runner, variables): (&Runner, &Variables),
) -> Vec<(String, Secret)> {
    let is_handed_over =
        |name: InputName| !NOT_HANDED_OVER.contains(&name) && scope_of(name).0.includes(Command::Tunnel);
    let values = inputs.given_values().filter(|(name, _)| is_handed_over(*name));
    let values = values.map(|(name, value)| (input_variable(name), value));
    // A URL may name files in the workspace.
    let database = settings.and_then(|settings| settings.database.as_ref());
    let ca = database.and_then(|database| database.ca.clone());
    let ca = ca.map(|pem| (input_variable(InputName::DatabaseCa), Secret::new(pem)));
    let identity = database.map(|database| &database.identity);
    let certificate = identity.and_then(|identity| identity.certificate.as_ref());
    let certificate = certificate.into_iter().flat_map(|certificate| {
        let chain = (input_variable(InputName::DatabaseCert), Secret::new(certificate.chain.clone()));
        [chain, (input_variable(InputName::DatabaseKey), certificate.key.clone())]
    });
    let token_variables = identity.and_then(|identity| identity.token.as_ref()).map(|_| AUTH_VARIABLES);
    let token_variables = token_variables.map(|names| {
        names.into_iter().filter_map(|name| match variables.get(name) {
            Variable::Text(text) => Some((name.to_owned(), Secret::new(text))),
            Variable::Absent | Variable::NotUtf8 => None,
        })
    });
    let auth = inputs.parsed_steps().database_auth.as_ref().filter(|_| token_variables.is_some());
    let auth = auth.map(|auth| (input_variable(InputName::DatabaseAuth), Secret::new(auth_setting(auth).to_string())));
    let passed = match identity.and_then(|identity| identity.token.as_ref()).map(TokenLogin::method) {
        Some(TokenMethod::Command(command)) => command.program.passed.clone(),
        _ => Vec::new(),
    };
    let way = settings.map(|settings| way_variables(&settings.way)).unwrap_or_default();
    let facts = [
        ("GITHUB_RUN_ID", &runner.run_id),
        ("GITHUB_RUN_ATTEMPT", &runner.run_attempt),
        ("GITHUB_REPOSITORY", &runner.repository),
        ("GITHUB_SERVER_URL", &runner.server_url),
    ];
    let facts = facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Secret::new(value.clone()?))));
    values
        .chain(ca)
        .chain(certificate)
        .chain(token_variables.into_iter().flatten())
        .chain(auth)
        .chain(passed)
        .chain(way)
        .chain(network_variables(runner))
        .chain(facts)
        .collect()
}

/// Returns `via`, which may be in the configuration file, and the variables that are passed to its command.
fn way_variables(way: &WayIn) -> Vec<(String, Secret)> {
    let command = match way {
        WayIn::Command(command) => command,
        WayIn::Runner { port } => {
            return vec![(input_variable(InputName::Via), Secret::new(format!("runner:{port}")))];
        }
        WayIn::Direct | WayIn::DirectOrProxy(_) | WayIn::Proxy(_) => return Vec::new(),
    };
    let image = command.image.as_ref().map(|image| image.reference.as_str());
    let env = command.env.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    let names: Vec<&str> = command.passed.iter().map(|(name, _)| name.as_str()).collect();
    let setting = program_setting(&command.argv, image, &env, &names);
    let via = (input_variable(InputName::Via), Secret::new(setting.to_string()));
    std::iter::once(via).chain(command.passed.iter().cloned()).collect()
}

/// Returns `database-auth`, which may be in the configuration file.
fn auth_setting(auth: &ParsedAuth) -> Value {
    let mut setting = match &auth.program {
        Some(program) => {
            let env = program.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            program_setting(&program.argv, program.image.as_deref(), &env, &program.pass_env)
        }
        None => json!({}),
    };
    let keys = [
        ("method", Some(auth.method.name())),
        ("role", auth.role.as_deref()),
        ("region", auth.region.as_deref()),
        ("provider", auth.provider.as_deref()),
        ("tenant", auth.tenant.as_deref()),
        ("client-id", auth.client_id.as_deref()),
        ("file", auth.file.as_deref()),
    ];
    for (key, value) in keys {
        if let (Some(value), Value::Object(setting)) = (value, &mut setting) {
            setting.insert(key.to_owned(), value.into());
        }
    }
    setting
}

/// Returns the keys of a program. JSON is YAML.
fn program_setting(
    argv: &[String],
    image: Option<&str>,
    env: &BTreeMap<&str, &str>,
    names: &[impl Serialize],
) -> Value {
    json!({ "command": argv, "image": image, "env": env, "pass-env": names })
}

/// Returns the environment's proxy, which stands by for the first hop.
fn network_variables(runner: &Runner) -> impl Iterator<Item = (String, Secret)> {
    let proxy = runner.network.https_proxy.clone().map(|proxy| ("https_proxy".to_owned(), proxy));
    let excepted = runner.network.no_proxy.clone().map(|hosts| ("no_proxy".to_owned(), Secret::new(hosts)));
    proxy.into_iter().chain(excepted)
}

fn input_variable(name: InputName) -> String {
    format!("INPUT_{}", name.name().to_uppercase())
}
