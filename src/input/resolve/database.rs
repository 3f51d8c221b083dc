//! Resolves the database inputs to a target.

use super::client_identity::{self, IdentityContext, LoginPlace};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    input::{
        findings::Findings,
        names::InputName,
        parse::{
            Address,
            value::{self, InvalidValue},
        },
        scope::is_bastion_wanted,
        scope_table::DATABASE_INPUTS,
        source::Inputs,
    },
    postgres::{
        ClientIdentity, DatabaseTarget, DatabaseUrl, ParsedUrl, RootCert, SslMode, SslRequest, TlsStart,
        decode_options, tls::check_ca,
    },
    proxy::ClientTls,
};

/// PostgreSQL's default port.
const DEFAULT_PORT: u16 = 5432;

const NO_BASTION: &str =
    "`ssh-host` and the other SSH inputs have no value either: the run would connect without a bastion";

/// Returns whether any database input is given. One is enough: the others may be secrets that did not arrive.
pub(crate) fn is_database_given(inputs: &Inputs) -> bool {
    DATABASE_INPUTS.iter().any(|name| inputs.is_given(*name))
}

/// The database, and how its clients reach it.
#[derive(Debug)]
pub(crate) struct ResolvedDatabase {
    pub(crate) target: DatabaseTarget,
    /// The URL as the user gave it, or composed of its parts.
    pub(crate) url: DatabaseUrl,
    pub(crate) client_tls: ClientTls,
}

/// Resolves the database from the URL, from its parts, or from both if they agree.
pub(super) fn resolve_database(context: IdentityContext<'_>, findings: &mut Findings) -> Option<ResolvedDatabase> {
    let inputs = context.inputs;
    let url = inputs.secret(InputName::DatabaseUrl).map(|text| DatabaseUrl::parse(&text)).transpose();
    let url = findings.ok_or_record(url);
    let target = resolve_target(context, url.as_ref().map(Option::as_ref), findings);
    let (url, target) = (url?, target?);
    let from_input = inputs.text(InputName::DatabaseSslmode).and_then(SslRequest::parse);
    let client_tls = match target.identity.is_given() {
        // Only the proxy can prove the identity.
        true => ClientTls::Terminated,
        false => client_tls(from_input.or_else(|| url.as_ref().and_then(DatabaseUrl::sslmode))),
    };
    let url = url.map(|url| if target.identity.is_given() { url.without_tls() } else { url });
    let url = url.unwrap_or_else(|| match client_tls {
        ClientTls::PassThrough => DatabaseUrl::of_target(&target, Some(target.sslmode)),
        ClientTls::Terminated => DatabaseUrl::of_target(&target, None),
    });
    Some(ResolvedDatabase { target, url, client_tls })
}

/// Returns the treatment of TLS on tools' connections. If TLS is requested explicitly, it goes from end to end;
/// otherwise the local endpoint makes clients use plain text, so that session settings can be inserted.
fn client_tls(request: Option<SslRequest>) -> ClientTls {
    match request {
        Some(SslRequest::Mode(SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull)) => ClientTls::PassThrough,
        Some(SslRequest::Mode(SslMode::Disable) | SslRequest::Prefer) | None => ClientTls::Terminated,
    }
}

/// Resolves the target; `url` is `None` if the URL is invalid.
fn resolve_target(
    context: IdentityContext<'_>,
    url: Option<Option<&DatabaseUrl>>,
    findings: &mut Findings,
) -> Option<DatabaseTarget> {
    let IdentityContext { inputs, runner, .. } = context;
    let url = url.map(|url| url.map(DatabaseUrl::parsed));
    let host = findings.ok_or_record(inputs.optional(InputName::DatabaseHost, parse_host));
    let port = findings.ok_or_record(inputs.optional(InputName::DatabasePort, value::parse_port));
    let sslmode_input = findings.ok_or_record(inputs.optional(InputName::DatabaseSslmode, parse_sslmode));
    let ca = findings.ok_or_record(read_ca(inputs, url.flatten(), runner));
    let certificate = findings.ok_or_record(context.resolve_certificate(url.flatten()));
    let is_identity_given = context.is_identity_given(url.flatten());
    let url = url?;
    for note in url.iter().flat_map(|url| &url.notes) {
        findings.add_warning(Fault::new(Code::InputUnknown, note.clone()));
    }
    let input = |name| inputs.text(name).map(ToOwned::to_owned);
    let from_url = url.cloned().unwrap_or_default();
    let host = host
        .and_then(|input| findings.ok_or_record(agreed_value(inputs, InputName::DatabaseHost, from_url.host, input)));
    let port = port
        .and_then(|input| findings.ok_or_record(agreed_value(inputs, InputName::DatabasePort, from_url.port, input)));
    let user = findings.ok_or_record(agreed_value(
        inputs,
        InputName::DatabaseUser,
        from_url.user,
        input(InputName::DatabaseUser),
    ));
    let name = findings.ok_or_record(agreed_value(
        inputs,
        InputName::DatabaseName,
        from_url.name,
        input(InputName::DatabaseName),
    ));
    let own_password = inputs.secret(InputName::DatabasePassword);
    let password =
        findings.ok_or_record(agreed_value(inputs, InputName::DatabasePassword, from_url.password, own_password));
    // A value in the wrong input is not reported as missing, too.
    let is_misplaced = inputs.text(InputName::DatabaseHost).is_some_and(|host| host.contains("://"));
    let missing = missing_parts_fault(inputs, url, [&host, &user, &name]).filter(|_| !is_misplaced);
    let missing = missing
        .map(|fault| if runner.in_actions && is_nothing_given(inputs) { as_missing_secret(fault) } else { fault });
    // A run without a database usually got no secret at all; the missing bastion would be reported only after this is
    // fixed.
    let nothing_given = url.is_none() && !is_bastion_wanted(inputs);
    findings.faults.extend(missing.map(|fault| if nothing_given { fault.detail(NO_BASTION) } else { fault }));
    let role = findings.ok_or_record(resolve_role(inputs, from_url.options.as_deref()));
    client_identity::check_identity(context, password.as_ref().and_then(Option::as_ref), findings);
    let (host, ca, user) = (host??, ca?, user??);
    let requested_sslmode = sslmode_input?.or(from_url.sslmode);
    let sslmode = match requested_sslmode.unwrap_or(SslRequest::Prefer) {
        // A certificate is a part of TLS, and a token must not be sent in plain text.
        SslRequest::Prefer if is_identity_given => SslMode::Require,
        request => request.mode_for_host(&host),
    };
    if sslmode == SslMode::Disable && is_identity_given {
        findings.faults.push(identity_without_tls_fault());
    } else if sslmode == SslMode::Disable && ca.is_some() {
        findings.faults.push(unused_ca_fault());
    }
    findings.faults.extend(direct_tls_fault(from_url.tls_start, requested_sslmode, sslmode));
    let port = port?.unwrap_or(DEFAULT_PORT);
    let place = LoginPlace { host: &host, port, user: &user };
    let token = context.resolve_token(place, findings)?;
    let identity = ClientIdentity { certificate: certificate?, token };
    Some(DatabaseTarget {
        host,
        port,
        user,
        password: password?,
        name: name??,
        sslmode,
        tls_start: from_url.tls_start,
        ca,
        options: from_url.options,
        role: role?,
        identity,
    })
}

fn parse_host(text: &str) -> Result<String, InvalidValue> {
    if DatabaseUrl::is_url(text) {
        return Err(InvalidValue::new(
            "is a whole URL",
            "the host alone, or leave it out and put the URL into `database-url`",
        ));
    }
    match Address::parse(text)? {
        Address { user: None, host, port: Some(port) } => {
            Err(InvalidValue::new("contains more than a host", format!("`{host}`, and `database-port` to `{port}`")))
        }
        Address { user: None, host, port: None } => Ok(host),
        Address { .. } => Err(InvalidValue::new(
            "contains more than a host",
            "the host alone; port and user go into `database-port` and `database-user`",
        )),
    }
}

fn parse_sslmode(text: &str) -> Result<SslRequest, InvalidValue> {
    SslRequest::parse(text).ok_or_else(|| InvalidValue::new("is not one of the accepted values", SslRequest::ACCEPTED))
}

/// Combines a part of the URL with the input of the same meaning: one of them is given, or both agree.
fn agreed_value<T: PartialEq>(
    inputs: &Inputs,
    name: InputName,
    url_value: Option<T>,
    input_value: Option<T>,
) -> Result<Option<T>, Fault> {
    match (url_value, input_value) {
        (Some(url_value), Some(input_value)) if url_value != input_value => {
            let (url_label, input_label) = (inputs.label(InputName::DatabaseUrl), inputs.label(name));
            Err(Fault::new(Code::InputInvalid, format!("{url_label} and {input_label} contradict each other"))
                .fix(format!("give the value once: in `database-url`, or in `{name}`")))
        }
        (url_value, input_value) => Ok(url_value.or(input_value)),
    }
}

/// Returns the role of the input. The URL's own one is among its options.
fn resolve_role(inputs: &Inputs, options: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(role) = inputs.text(InputName::DatabaseRole).map(ToOwned::to_owned) else { return Ok(None) };
    let settings = decode_options(options.unwrap_or_default()).unwrap_or_default();
    let url_role = settings.into_iter().rfind(|(name, _)| name.eq_ignore_ascii_case("role")).map(|(_, role)| role);
    agreed_value(inputs, InputName::DatabaseRole, url_role, Some(role))
}

/// Returns whether neither a database nor a bastion is given.
fn is_nothing_given(inputs: &Inputs) -> bool {
    !is_database_given(inputs) && !is_bastion_wanted(inputs)
}

/// Rewords a fault for the usual mistake of a first run: no secret arrived.
fn as_missing_secret(fault: Fault) -> Fault {
    Fault { cause: format!("no secret arrived: {}", fault.cause), ..fault }
}

/// Returns one fault for all missing parts; invalid parts have their own. A password may be absent: the server may
/// trust the bastion's address.
fn missing_parts_fault(inputs: &Inputs, url: Option<&ParsedUrl>, parts: [&Option<Option<String>>; 3]) -> Option<Fault> {
    let names = [InputName::DatabaseHost, InputName::DatabaseUser, InputName::DatabaseName];
    let mut missing: Vec<InputName> =
        names.into_iter().zip(parts).filter(|(_, part)| matches!(part, Some(None))).map(|(name, _)| name).collect();
    let missing_names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
    let list = match missing_names.as_slice() {
        [] => return None,
        [single] => format!("{single} has no value"),
        [others @ .., last] => format!("{} and {last} have no value", others.join(", ")),
    };
    let cause = match url {
        Some(_) => format!("{list}, either as an input or in `database-url`"),
        None if missing_names.len() == parts.len() => {
            format!("`database-url` has no value, and {list} either")
        }
        None => format!("{list}, and neither has `database-url`"),
    };
    if url.is_none() {
        missing.insert(0, InputName::DatabaseUrl);
    }
    if url.is_none() && !is_bastion_wanted(inputs) {
        missing.extend([InputName::SshHost, InputName::SshUser, InputName::SshPrivateKey, InputName::SshPassword]);
    }
    let fault = inputs.missing_fault(cause, &missing);
    Some(match url {
        Some(_) => fault.fix(format!(
            "complete `database-url` (postgres://user:password@host:5432/database), or set {}",
            missing_names.join(" and ")
        )),
        None => fault,
    })
}

/// Returns the CA in PEM form, from `database-ca` or from the file that the URL names.
fn read_ca(inputs: &Inputs, url: Option<&ParsedUrl>, runner: &Runner) -> Result<Option<String>, Fault> {
    if let Some(pem) = inputs.text(InputName::DatabaseCa) {
        return check_certificates(pem.to_owned(), &inputs.label(InputName::DatabaseCa)).map(Some);
    }
    let Some(RootCert::File(path)) = url.and_then(|url| url.root_cert.as_ref()) else { return Ok(None) };
    let pem = std::fs::read_to_string(runner.resolve_path(path)).map_err(|error| {
        Fault::new(Code::CaInvalid, format!("the file `{path}` (`sslrootcert` in `database-url`) can't be read here"))
            .fix("put the CA certificate in PEM form into `database-ca`")
            .with_causes(&error)
    })?;
    check_certificates(pem, &format!("the file `{path}` (`sslrootcert` in `database-url`)")).map(Some)
}

fn check_certificates(pem: String, label: &str) -> Result<String, Fault> {
    check_ca(&pem, label).map(|()| pem)
}

fn identity_without_tls_fault() -> Fault {
    Fault::new(
        Code::InputInvalid,
        "`database-cert` and `database-auth` need TLS, and `database-sslmode` (or `sslmode` in `database-url`) is `disable`",
    )
    .fix("set `database-sslmode: verify-full`, or leave it out")
}

/// Returns the fault of a handshake at the start of a connection that need not have TLS: libpq refuses it as well.
fn direct_tls_fault(start: TlsStart, requested: Option<SslRequest>, mode: SslMode) -> Option<Fault> {
    let is_weak = mode == SslMode::Disable || requested == Some(SslRequest::Prefer);
    let fault = Fault::new(
        Code::InputInvalid,
        "`database-url` has `direct` as its `sslnegotiation`, which begins with TLS, and `sslmode` does not demand TLS",
    )
    .fix("set `database-sslmode: verify-full` or `require`, or remove `sslnegotiation` from `database-url`");
    (start == TlsStart::Direct && is_weak).then_some(fault)
}

fn unused_ca_fault() -> Fault {
    Fault::new(
        Code::InputInvalid,
        "a CA is given (in `database-ca`, or as `sslrootcert` in `database-url`), but the connection has no TLS: `database-sslmode` is `disable`, or the host is a loopback address",
    )
    .fix("set `database-sslmode: verify-full`, or remove the CA")
}
