//! Resolves the way to the first machine.

use super::environment::{find_variable, is_likely_variable_name};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    input::{
        findings::Findings,
        inline_secrets::{may_be_secret, names_a_secret, secrets_in_urls},
        names::{InputName, list_quoted},
        parse::{ParsedVia, ParsedViaCommand, fault_about, parse_proxy},
        source::{Inputs, ValueSource, Variable, Variables},
    },
    secret::Secret,
    ssh::Route,
    way::{ProxyServer, ViaCommand, WayIn},
};

/// Variables that every process on a machine has and that no secret is in; the rest of a job's environment is not the
/// command's business.
const INHERITED: [&str; 9] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"];

/// Resolves the way; `None` if it has faults, which are recorded.
pub(super) fn resolve_way(
    inputs: &Inputs,
    route: Option<&Route>,
    (runner, variables): (&Runner, &Variables),
    findings: &mut Findings,
) -> Option<WayIn> {
    let via = inputs.parsed_steps().via.as_ref();
    let proxy = findings.ok_or_record(resolve_proxy(inputs))?;
    if proxy.is_some() && matches!(via, Some(ParsedVia::Runner(_) | ParsedVia::Command(_))) {
        let cause = format!("{} and `via` are both a way to the first SSH server", inputs.label(InputName::SshProxy));
        let fix = "remove one of them: a command passes the proxy by itself, as in `nc -X 5 -x proxy:1080 %h %p`";
        findings.faults.push(Fault::new(Code::InputInvalid, cause).fix(fix));
        return None;
    }
    match (via, proxy) {
        (Some(ParsedVia::Runner(port)), _) => Some(WayIn::Runner { port: *port }),
        (Some(ParsedVia::Command(command)), _) => {
            findings.ok_or_record(resolve_command(inputs, command, variables)).map(WayIn::Command)
        }
        (Some(ParsedVia::Off) | None, Some(proxy)) => Some(WayIn::Proxy(proxy)),
        (Some(ParsedVia::Off) | None, None) => Some(usual_way(route, runner)),
    }
}

/// Returns the proxy of the input.
fn resolve_proxy(inputs: &Inputs) -> Result<Option<ProxyServer>, Fault> {
    let proxy = inputs.optional(InputName::SshProxy, |text| parse_proxy(text, "`ssh-proxy`"))?;
    let is_readable = matches!(inputs.source(InputName::SshProxy), Some(ValueSource::Flag | ValueSource::File(_)));
    if is_readable && proxy.as_ref().is_some_and(|proxy| proxy.login.is_some()) {
        let cause = format!("{} contains a login, which others can read there", inputs.label(InputName::SshProxy));
        let fix = "put the URL into a secret and pass it with `with:`, or set the environment variable `SSH_PROXY`";
        return Err(Fault::new(Code::InputInvalid, cause).fix(fix));
    }
    Ok(proxy)
}

/// Returns the way without any input: the environment's proxy stands by, for the first hop alone.
fn usual_way(route: Option<&Route>, runner: &Runner) -> WayIn {
    let proxy = route.and_then(|route| route.hops.first()).and_then(|hop| {
        let url = runner.network.proxy_for(&hop.host, hop.port)?;
        parse_proxy(url.expose().trim(), "`HTTPS_PROXY`").ok()
    });
    proxy.map_or(WayIn::Direct, WayIn::DirectOrProxy)
}

fn resolve_command(inputs: &Inputs, parsed: &ParsedViaCommand, variables: &Variables) -> Result<ViaCommand, Fault> {
    let unset: Vec<&String> = parsed
        .pass_env
        .iter()
        .filter(|name| !matches!(find_variable(inputs, variables, name).1, Variable::Text(_)))
        .collect();
    if !unset.is_empty() {
        let verb = if unset.len() == 1 { "has no value" } else { "have no value" };
        let cause = match unset.iter().all(|name| is_likely_variable_name(name)) {
            true => format!("`pass-env` names {}, which {verb} in the environment", list_quoted(&unset)),
            false => "`pass-env` names variables without a value in the environment".to_owned(),
        };
        let fix = "set each of them in the step's `env:`, or take it out of `pass-env` of `via`";
        let fault = fault_about(Code::InputMissing, &parsed.title, parsed.position.as_ref(), &cause);
        return Err(fault.fix(fix));
    }
    let inherited = INHERITED.into_iter().filter(|_| parsed.image.is_none());
    Ok(ViaCommand {
        argv: parsed.argv.clone(),
        image: parsed.image.clone(),
        inherited: inherited.filter_map(|name| Some((name.to_owned(), text_of(&variables.get(name))?))).collect(),
        env: parsed.env.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone()))).collect(),
        passed: passed_variables(inputs, parsed, variables),
    })
}

fn passed_variables(inputs: &Inputs, parsed: &ParsedViaCommand, variables: &Variables) -> Vec<(String, Secret)> {
    let values = parsed
        .pass_env
        .iter()
        .filter_map(|name| Some((name.clone(), text_of(&find_variable(inputs, variables, name).1)?)));
    values.collect()
}

fn text_of(variable: &Variable<'_>) -> Option<Secret> {
    match variable {
        Variable::Text(text) => Some(Secret::new(*text)),
        Variable::Absent | Variable::NotUtf8 => None,
    }
}

/// Returns the secrets of the way: the values that are passed to its command, those in its `env` whose names suggest a
/// secret, and the password of the environment's proxy.
pub(crate) fn way_secrets(inputs: &Inputs, runner: &Runner, variables: &Variables) -> Vec<Secret> {
    let mut secrets: Vec<Secret> =
        runner.network.https_proxy.iter().flat_map(|proxy| secrets_in_urls(proxy.expose())).collect();
    if let Some(ParsedVia::Command(parsed)) = &inputs.parsed_steps().via {
        secrets.extend(passed_variables(inputs, parsed, variables).into_iter().map(|(_, value)| value));
        let named = parsed.env.iter().filter(|(name, value)| names_a_secret(name) && may_be_secret(value));
        secrets.extend(named.map(|(_, value)| Secret::new(value.clone())));
        secrets.extend(parsed.env.iter().flat_map(|(_, value)| secrets_in_urls(value)));
    }
    secrets.into_iter().filter(Secret::can_be_hidden).collect()
}
