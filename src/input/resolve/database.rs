//! Resolves the database inputs to a target.

use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    input::{
        findings::Findings,
        names::Name,
        parse::{
            Address,
            value::{self, Misfit},
        },
        scope::is_wanted,
        source::Inputs,
    },
    postgres::{
        DatabaseTarget, RootCert, SslMode, SslRequest,
        tls::check_ca,
        url::{self, ParsedUrl},
    },
};

/// PostgreSQL's default port.
const PORT: u16 = 5432;

const NO_BASTION: &str =
    "`ssh-host` and the other SSH inputs have no value either: the run would connect without a bastion";

/// Inputs that describe the database.
const OF_DATABASE: [Name; 8] = [
    Name::DatabaseUrl,
    Name::DatabaseHost,
    Name::DatabasePort,
    Name::DatabaseUser,
    Name::DatabasePassword,
    Name::DatabaseName,
    Name::DatabaseSslmode,
    Name::DatabaseCa,
];

/// Returns whether any database input is given. One is enough: the others may be secrets that did not arrive.
pub(crate) fn is_given(inputs: &Inputs) -> bool {
    OF_DATABASE.iter().any(|name| inputs.is_given(*name))
}

/// Resolves the database from the URL, from its parts, or from both if they agree.
pub(crate) fn read(inputs: &Inputs, runner: &Runner, findings: &mut Findings) -> Option<DatabaseTarget> {
    let url = findings.keep(inputs.secret(Name::DatabaseUrl).map(|url| url::parse_url(&url)).transpose());
    let host = findings.keep(inputs.optional(Name::DatabaseHost, host));
    let port = findings.keep(inputs.optional(Name::DatabasePort, value::port));
    let wish = findings.keep(inputs.optional(Name::DatabaseSslmode, sslmode));
    let ca = findings.keep(authority(inputs, url.as_ref().and_then(Option::as_ref), runner));
    let url = url?;
    for note in url.iter().flat_map(|url| &url.notes) {
        findings.warning(Fault::new(Code::InputUnknown, note.clone()));
    }
    let own = |name| inputs.text(name).map(ToOwned::to_owned);
    let said = url.clone().unwrap_or_default();
    let host = host.and_then(|own| findings.keep(agreed(inputs, Name::DatabaseHost, said.host, own)));
    let port = port.and_then(|own| findings.keep(agreed(inputs, Name::DatabasePort, said.port, own)));
    let user = findings.keep(agreed(inputs, Name::DatabaseUser, said.user, own(Name::DatabaseUser)));
    let name = findings.keep(agreed(inputs, Name::DatabaseName, said.name, own(Name::DatabaseName)));
    let own_password = inputs.secret(Name::DatabasePassword);
    let password = findings.keep(agreed(inputs, Name::DatabasePassword, said.password, own_password));
    // A value in the wrong input is not reported as missing, too.
    let is_misplaced = inputs.text(Name::DatabaseHost).is_some_and(|host| host.contains("://"));
    let missing = missing(inputs, url.as_ref(), [&host, &user, &name]).filter(|_| !is_misplaced);
    let missing = missing.map(|fault| if runner.in_actions && is_nothing(inputs) { arrived(fault) } else { fault });
    // A run without a database usually got no secret at all; the missing bastion would be reported only after this is
    // fixed.
    let is_all = url.is_none() && !is_wanted(inputs);
    findings.faults.extend(missing.map(|fault| if is_all { fault.detail(NO_BASTION) } else { fault }));
    let (host, ca) = (host??, ca?);
    let sslmode = wish?.or(said.sslmode).unwrap_or(SslRequest::Prefer).mode_for_host(&host);
    if sslmode == SslMode::Disable && ca.is_some() {
        findings.faults.push(unused_authority());
    }
    let port = port?.unwrap_or(PORT);
    Some(DatabaseTarget {
        host,
        port,
        user: user??,
        password: password?,
        name: name??,
        sslmode,
        ca,
        options: said.options,
    })
}

fn host(text: &str) -> Result<String, Misfit> {
    if ["postgres", "postgresql"].into_iter().any(|scheme| text.split("://").next() == Some(scheme)) {
        return Err(Misfit::new(
            "is a whole URL",
            "the host alone, or leave it out and put the URL into `database-url`",
        ));
    }
    match Address::parse(text)? {
        Address { user: None, host, port: Some(port) } => {
            Err(Misfit::new("contains more than a host", format!("`{host}`, and `database-port` to `{port}`")))
        }
        Address { user: None, host, port: None } => Ok(host),
        Address { .. } => Err(Misfit::new(
            "contains more than a host",
            "the host alone; port and user go into `database-port` and `database-user`",
        )),
    }
}

fn sslmode(text: &str) -> Result<SslRequest, Misfit> {
    SslRequest::parse(text).ok_or_else(|| Misfit::new("does not exist", SslRequest::ACCEPTED))
}

/// Combines a part of the URL with the input of the same meaning: one of them is given, or both agree.
fn agreed<T: PartialEq>(inputs: &Inputs, name: Name, url: Option<T>, own: Option<T>) -> Result<Option<T>, Fault> {
    match (url, own) {
        (Some(url), Some(own)) if url != own => {
            let (whole, part) = (inputs.named(Name::DatabaseUrl), inputs.named(name));
            Err(Fault::new(Code::InputInvalid, format!("{whole} and {part} contradict each other"))
                .fix(format!("give the value once: in `database-url`, or in `{name}`")))
        }
        (url, own) => Ok(url.or(own)),
    }
}

/// Returns whether neither a database nor a bastion is given.
fn is_nothing(inputs: &Inputs) -> bool {
    !is_given(inputs) && !is_wanted(inputs)
}

/// Rewords a fault for the usual mistake of a first run: no secret arrived.
fn arrived(fault: Fault) -> Fault {
    Fault { cause: format!("no secret arrived: {}", fault.cause), ..fault }
}

/// Returns one fault for all missing parts; invalid parts have their own. A password may be absent: the server may
/// trust the bastion's address.
fn missing(inputs: &Inputs, url: Option<&ParsedUrl>, parts: [&Option<Option<String>>; 3]) -> Option<Fault> {
    let names = [Name::DatabaseHost, Name::DatabaseUser, Name::DatabaseName];
    let mut sought: Vec<Name> =
        names.into_iter().zip(parts).filter(|(_, part)| matches!(part, Some(None))).map(|(name, _)| name).collect();
    let absent: Vec<String> = sought.iter().map(|name| format!("`{name}`")).collect();
    let list = match absent.as_slice() {
        [] => return None,
        [one] => format!("{one} has no value"),
        [several @ .., last] => format!("{} and {last} have no value", several.join(", ")),
    };
    let cause = match url {
        Some(_) => format!("{list}, and `database-url` leaves that out"),
        None if absent.len() == parts.len() => {
            format!("`database-url` has no value, and {list} either")
        }
        None => format!("{list}, and neither has `database-url`"),
    };
    if url.is_none() {
        sought.insert(0, Name::DatabaseUrl);
    }
    if url.is_none() && !is_wanted(inputs) {
        sought.extend([Name::SshHost, Name::SshUser, Name::SshPrivateKey, Name::SshPassword]);
    }
    let fault = inputs.missing(cause, &sought);
    Some(match url {
        Some(_) => fault.fix(format!(
            "complete `database-url` (postgres://user:password@host:5432/database), or set {}",
            absent.join(" and ")
        )),
        None => fault,
    })
}

/// Returns the CA in PEM form, from `database-ca` or from the file that the URL names.
fn authority(inputs: &Inputs, url: Option<&ParsedUrl>, runner: &Runner) -> Result<Option<String>, Fault> {
    if let Some(pem) = inputs.text(Name::DatabaseCa) {
        return certificates(pem.to_owned(), &inputs.named(Name::DatabaseCa)).map(Some);
    }
    let Some(RootCert::File(path)) = url.and_then(|url| url.root_cert.as_ref()) else { return Ok(None) };
    let pem = std::fs::read_to_string(runner.path(path)).map_err(|error| {
        Fault::new(Code::CaInvalid, format!("the file `{path}` (`sslrootcert` in `database-url`) can't be read here"))
            .fix("put the CA certificate in PEM form into `database-ca`")
            .because(&error)
    })?;
    certificates(pem, &format!("the file `{path}` (`sslrootcert` in `database-url`)")).map(Some)
}

fn certificates(pem: String, named: &str) -> Result<String, Fault> {
    check_ca(&pem, named).map(|()| pem)
}

fn unused_authority() -> Fault {
    Fault::new(
        Code::InputInvalid,
        "a CA is given, but there is no TLS: `database-sslmode` is `disable`, or the host is loopback",
    )
    .fix("set `database-sslmode: verify-full`, or remove the CA")
}
