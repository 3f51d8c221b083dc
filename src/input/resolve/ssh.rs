//! Resolves the SSH inputs to a route.

use crate::{
    fault::{Code, Fault},
    input::{
        findings::Findings,
        names::InputName,
        parse::{
            Address,
            value::{self, InvalidValue},
        },
        scope::input_implying_bastion,
        source::Inputs,
    },
    settings::Settings,
    ssh::{self, CertificateUse, Hop, Login, Route, UserCertificate},
};
use std::fmt;

/// sshd's default port.
const DEFAULT_PORT: u16 = 22;

/// Resolves the route, hop by hop.
pub(crate) fn resolve_route(inputs: &Inputs, findings: &mut Findings) -> Option<Route> {
    let bastion = resolve_bastion(inputs, findings);
    let user = bastion.as_ref().and_then(|bastion| bastion.user.clone());
    let jumps = findings.ok_or_record(resolve_jumps(inputs, user.as_deref()));
    let mut login = findings.ok_or_record(resolve_login(inputs));
    if let Some((key, passphrase)) =
        login.as_ref().and_then(|login| Some((login.key.as_ref()?, login.passphrase.as_ref())))
    {
        findings.ok_or_record(ssh::check_private_key(key, passphrase));
    }
    if let Some(login) = &mut login {
        login.certificate = findings.ok_or_record(resolve_certificate(inputs, login)).flatten();
    }
    findings
        .ok_or_record(ssh::check_pins(inputs.text(InputName::SshKnownHosts), inputs.text(InputName::SshFingerprint)));
    let connect_timeout =
        findings.ok_or_record(inputs.required(InputName::ConnectTimeout, value::parse_positive_duration));
    let keepalive = findings.ok_or_record(inputs.required(InputName::Keepalive, value::parse_interval));
    let (bastion, mut hops) = (bastion?, jumps?);
    hops.push(Hop { host: bastion.host, port: bastion.port.unwrap_or(DEFAULT_PORT), user: bastion.user? });
    Some(Route {
        hops,
        login: login?,
        known_hosts: inputs.text(InputName::SshKnownHosts).map(ToOwned::to_owned),
        fingerprint: inputs.text(InputName::SshFingerprint).map(ToOwned::to_owned),
        connect_timeout: connect_timeout?,
        keepalive: keepalive?,
    })
}

/// Resolves the bastion with its user and port, from `ssh-host` or from the separate inputs.
fn resolve_bastion(inputs: &Inputs, findings: &mut Findings) -> Option<Address> {
    let address = findings.ok_or_record(
        inputs
            .optional(InputName::SshHost, Address::parse)
            .and_then(|host| host.ok_or_else(|| missing_host_fault(inputs))),
    );
    let port = findings.ok_or_record(inputs.optional(InputName::SshPort, value::parse_port));
    let user = findings.ok_or_record(inputs.optional(InputName::SshUser, parse_user));
    let (address, port, user) = (address?, port?, user?);
    let own_port = port.filter(|_| inputs.is_given(InputName::SshPort));
    if let (Some(in_address), Some(in_input)) = (address.port, own_port)
        && in_address != in_input
    {
        let remaining = Address { port: None, ..address };
        return findings.ok_or_record(Err(contradiction_fault(
            inputs,
            InputName::SshPort,
            [&in_address, &in_input],
            &remaining,
        )));
    }
    if let (Some(in_address), Some(in_input)) = (&address.user, &user)
        && in_address != in_input
    {
        let remaining = Address { user: None, host: address.host.clone(), port: address.port };
        return findings.ok_or_record(Err(contradiction_fault(
            inputs,
            InputName::SshUser,
            [in_address, in_input],
            &remaining,
        )));
    }
    let user =
        address.user.or(user).ok_or_else(|| inputs.missing_fault("`ssh-user` has no value", &[InputName::SshUser]));
    Some(Address { user: Some(findings.ok_or_record(user)?), host: address.host, port: address.port.or(port) })
}

/// Returns the fault for a missing `ssh-host` although another input implies a bastion.
fn missing_host_fault(inputs: &Inputs) -> Fault {
    let because = input_implying_bastion(inputs).map(|name| format!(" although {} has one", inputs.label(name)));
    let because = because.unwrap_or_default();
    inputs.missing_fault(format!("`ssh-host` has no value{because}"), &[InputName::SshHost])
}

/// Returns the fault for contradicting values in `ssh-host` and another input; `remaining` is the address without the value.
fn contradiction_fault(inputs: &Inputs, name: InputName, values: [&dyn fmt::Display; 2], remaining: &Address) -> Fault {
    let (host, label, [in_host, in_input]) = (inputs.label(InputName::SshHost), inputs.label(name), values);
    Fault::new(Code::InputInvalid, format!("{host} contains `{in_host}`, but {label} is `{in_input}`"))
        .fix(format!("if `{in_host}` is right, remove `{name}`; if `{in_input}` is, set `ssh-host` to `{remaining}`"))
}

fn parse_user(text: &str) -> Result<String, InvalidValue> {
    if text.chars().any(|character| character.is_whitespace() || character.is_control() || character == '@') {
        return Err(InvalidValue::new("is not the name of a user", "the user alone; the host goes into `ssh-host`"));
    }
    Ok(text.to_owned())
}

/// Resolves the hops before the bastion, in order; without a user they use the bastion's.
fn resolve_jumps(inputs: &Inputs, user: Option<&str>) -> Result<Vec<Hop>, Fault> {
    let addresses = inputs.optional(InputName::SshJump, |text| {
        let jumps = text.split(|character: char| character == ',' || character.is_whitespace());
        jumps.filter(|jump| !jump.is_empty()).map(Address::parse).collect::<Result<Vec<_>, _>>()
    })?;
    let hop = |address: Address| Hop {
        host: address.host,
        port: address.port.unwrap_or(DEFAULT_PORT),
        user: address.user.or_else(|| user.map(ToOwned::to_owned)).unwrap_or_default(),
    };
    Ok(addresses.unwrap_or_default().into_iter().map(hop).collect())
}

/// Reads the certificate; it has to belong to the key of the log-in.
fn resolve_certificate(inputs: &Inputs, login: &Login) -> Result<Option<UserCertificate>, Fault> {
    let text = inputs.text(InputName::SshCertificate);
    text.map(|text| UserCertificate::read(text, login.key.as_ref(), ssh::seconds_since_1970())).transpose()
}

/// Returns the fault of a certificate that forbids what the run does with its connections.
pub(crate) fn certificate_fault(settings: &Settings) -> Option<Fault> {
    let route = settings.route.as_ref()?;
    let forwards = settings.database.is_some() || route.hops.len() > 1;
    let forwarding = forwards.then_some(CertificateUse::Forwarding);
    let commands = settings.server.as_ref().map(|_| CertificateUse::Commands);
    let uses: Vec<CertificateUse> = forwarding.into_iter().chain(commands).collect();
    route.login.certificate.as_ref()?.check_uses(&uses).err()
}

fn resolve_login(inputs: &Inputs) -> Result<Login, Fault> {
    let login = Login {
        key: inputs.secret(InputName::SshPrivateKey),
        certificate: None,
        passphrase: inputs.secret(InputName::SshPassphrase),
        password: inputs.secret(InputName::SshPassword),
    };
    if login.key.is_none() && login.password.is_none() {
        let cause = "neither `ssh-private-key` nor `ssh-password` has a value";
        return Err(inputs.missing_fault(cause, &[InputName::SshPrivateKey, InputName::SshPassword]));
    }
    Ok(login)
}
