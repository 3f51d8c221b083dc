//! Resolves the way to the first machine.

use super::program::{program_secrets, resolve_program};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    input::{
        findings::Findings,
        inline_secrets::secrets_in_urls,
        names::InputName,
        parse::{ParsedVia, parse_proxy},
        source::{Inputs, ValueSource, Variables},
    },
    program::ProgramImage,
    secret::Secret,
    ssh::Route,
    way::{ProxyServer, WayIn},
};

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
            let image = command.image.clone().map(|reference| ProgramImage { reference, credentials: None });
            let program = resolve_program(inputs, command, "via", image, variables);
            findings.ok_or_record(program).map(WayIn::Command)
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

/// Returns the secrets of the way: those of its command, and the password of the environment's proxy.
pub(crate) fn way_secrets(inputs: &Inputs, runner: &Runner, variables: &Variables) -> Vec<Secret> {
    let proxy = runner.network.https_proxy.iter().flat_map(|proxy| secrets_in_urls(proxy.expose()));
    let mut secrets: Vec<Secret> = proxy.filter(Secret::can_be_hidden).collect();
    if let Some(ParsedVia::Command(parsed)) = &inputs.parsed_steps().via {
        secrets.extend(program_secrets(inputs, parsed, variables));
    }
    secrets
}
