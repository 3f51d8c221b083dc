//! Resolves the SSH inputs to a route.

use crate::{
    fault::{Code, Fault},
    input::{
        findings::Findings,
        names::Name,
        parse::{
            Address,
            value::{self, Misfit},
        },
        scope::only_with_bastion,
        source::Inputs,
    },
    ssh::{self, Hop, Login, Route},
};
use std::fmt;

/// sshd's default port.
const PORT: u16 = 22;

/// Resolves the route, hop by hop.
pub(crate) fn read(inputs: &Inputs, findings: &mut Findings) -> Option<Route> {
    let bastion = bastion(inputs, findings);
    let user = bastion.as_ref().and_then(|bastion| bastion.user.clone());
    let jumps = findings.keep(jumps(inputs, user.as_deref()));
    let login = findings.keep(login(inputs));
    if let Some((key, passphrase)) =
        login.as_ref().and_then(|login| Some((login.key.as_ref()?, login.passphrase.as_ref())))
    {
        findings.keep(ssh::check_private_key(key, passphrase));
    }
    findings.keep(ssh::check_pins(inputs.text(Name::SshKnownHosts), inputs.text(Name::SshFingerprint)));
    let connect_timeout = findings.keep(inputs.required(Name::ConnectTimeout, value::positive_duration));
    let keepalive = findings.keep(inputs.required(Name::Keepalive, value::interval));
    let (bastion, mut hops) = (bastion?, jumps?);
    hops.push(Hop { host: bastion.host, port: bastion.port.unwrap_or(PORT), user: bastion.user? });
    Some(Route {
        hops,
        login: login?,
        known_hosts: inputs.text(Name::SshKnownHosts).map(ToOwned::to_owned),
        fingerprint: inputs.text(Name::SshFingerprint).map(ToOwned::to_owned),
        connect_timeout: connect_timeout?,
        keepalive: keepalive?,
    })
}

/// Resolves the bastion with its user and port, from `ssh-host` or from the separate inputs.
fn bastion(inputs: &Inputs, findings: &mut Findings) -> Option<Address> {
    let written = findings
        .keep(inputs.optional(Name::SshHost, Address::parse).and_then(|host| host.ok_or_else(|| absent(inputs))));
    let port = findings.keep(inputs.optional(Name::SshPort, value::port));
    let user = findings.keep(inputs.optional(Name::SshUser, user));
    let (written, port, user) = (written?, port?, user?);
    let own_port = port.filter(|_| inputs.is_given(Name::SshPort));
    if let (Some(one), Some(other)) = (written.port, own_port)
        && one != other
    {
        let rest = Address { port: None, ..written };
        return findings.keep(Err(contradiction(inputs, Name::SshPort, [&one, &other], &rest)));
    }
    if let (Some(one), Some(other)) = (&written.user, &user)
        && one != other
    {
        let rest = Address { user: None, host: written.host.clone(), port: written.port };
        return findings.keep(Err(contradiction(inputs, Name::SshUser, [one, other], &rest)));
    }
    let user = written.user.or(user).ok_or_else(|| inputs.missing("`ssh-user` has no value", &[Name::SshUser]));
    Some(Address { user: Some(findings.keep(user)?), host: written.host, port: written.port.or(port) })
}

/// Returns the fault for a missing `ssh-host` although another input implies a bastion.
fn absent(inputs: &Inputs) -> Fault {
    let because = only_with_bastion(inputs).map(|name| format!(" although {} has one", inputs.named(name)));
    let because = because.unwrap_or_default();
    inputs.missing(format!("`ssh-host` has no value{because}"), &[Name::SshHost])
}

/// Returns the fault for contradicting values in `ssh-host` and another input; `rest` is the address without the value.
fn contradiction(inputs: &Inputs, name: Name, says: [&dyn fmt::Display; 2], rest: &Address) -> Fault {
    let (host, other, [one, two]) = (inputs.named(Name::SshHost), inputs.named(name), says);
    Fault::new(Code::InputInvalid, format!("{host} contains `{one}`, and {other} is `{two}`"))
        .fix(format!("if `{one}` is right, remove `{name}`; if `{two}` is, set `ssh-host` to `{rest}`"))
}

fn user(text: &str) -> Result<String, Misfit> {
    if text.chars().any(|letter| letter.is_whitespace() || letter.is_control() || letter == '@') {
        return Err(Misfit::new("is not the name of a user", "the user alone; the host goes into `ssh-host`"));
    }
    Ok(text.to_owned())
}

/// Resolves the hops before the bastion, in order; without a user they use the bastion's.
fn jumps(inputs: &Inputs, user: Option<&str>) -> Result<Vec<Hop>, Fault> {
    let addresses = inputs.optional(Name::SshJump, |text| {
        let written = text.split(|letter: char| letter == ',' || letter.is_whitespace());
        written.filter(|jump| !jump.is_empty()).map(Address::parse).collect::<Result<Vec<_>, _>>()
    })?;
    let hop = |address: Address| Hop {
        host: address.host,
        port: address.port.unwrap_or(PORT),
        user: address.user.or_else(|| user.map(ToOwned::to_owned)).unwrap_or_default(),
    };
    Ok(addresses.unwrap_or_default().into_iter().map(hop).collect())
}

fn login(inputs: &Inputs) -> Result<Login, Fault> {
    let login = Login {
        key: inputs.secret(Name::SshPrivateKey),
        passphrase: inputs.secret(Name::SshPassphrase),
        password: inputs.secret(Name::SshPassword),
    };
    if login.key.is_none() && login.password.is_none() {
        let cause = "neither `ssh-private-key` nor `ssh-password` has a value";
        return Err(inputs.missing(cause, &[Name::SshPrivateKey, Name::SshPassword]));
    }
    Ok(login)
}
