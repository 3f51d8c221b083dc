//! Faults from the errors of PostgreSQL and of its driver.

use super::{
    identity_refusal, message_treatment::MAX_ROW, protocol_violation::ProtocolViolation, sent_requests::NO_COPY_ROWS,
    sqlstate_hint, target::DatabaseTarget, tls,
};
use crate::{
    fault::{Code, Fault},
    postgres::quote_identifier,
};
use std::{error::Error as StdError, io};
use tokio_postgres::error::{DbError, Error, SqlState};

/// Returns the fault for a connection that could not be established.
pub(super) fn connection_fault(error: &Error, target: &DatabaseTarget) -> Fault {
    if let Some(server) = error.as_db_error() {
        return refusal_fault(server, target);
    }
    if let Some(fault) = find_source(error).map(|error: &rustls::Error| tls::tls_fault(error, target)) {
        return fault;
    }
    if let Some(fault) = find_source(error).and_then(|error: &io::Error| tls::direct_tls_fault(error, target)) {
        return fault;
    }
    let address = format!("`{}:{}`", target.host, target.port);
    if let Some(ProtocolViolation::PlainText(message)) = find_source(error) {
        return Fault::new(Code::DatabaseUnready, format!("{address} can't take a connection now: {message}"));
    }
    let text = format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default());
    if text.contains("password missing") {
        Fault::new(Code::DatabaseLogin, format!("{address} asks for a password and none is given"))
            .fix("set `database-password`, or put the password into `database-url`")
    } else if find_source::<ProtocolViolation>(error).is_some()
        || text.contains("unexpected message")
        || text.contains("parsing response")
    {
        tls::not_postgres_fault(target).with_causes(error)
    } else {
        Fault::new(Code::DatabaseUnready, format!("{address} closed the connection before it was ready"))
            .with_causes(error)
    }
}

/// Returns the fault for a proxied connection that fails before the server's first response.
pub(crate) fn handshake_fault(error: &io::Error, target: &DatabaseTarget) -> Fault {
    match error.get_ref().and_then(|wrapped| wrapped.downcast_ref::<rustls::Error>()) {
        Some(error) => tls::tls_fault(error, target),
        None if let Some(fault) = tls::direct_tls_fault(error, target) => fault,
        None => {
            let at = format!("`{}:{}`", target.host, target.port);
            Fault::new(Code::DatabaseUnready, format!("{at} closed the connection before it was ready"))
                .with_causes(error)
        }
    }
}

/// Finds an error of this type among the sources of the driver's error.
fn find_source<E: StdError + 'static>(error: &Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(source) = next {
        if let Some(found) = source.downcast_ref::<E>() {
            return Some(found);
        }
        // An io::Error does not expose the error that it wraps: its source() is the source of the wrapped one.
        if let Some(found) = source
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .and_then(|wrapped| wrapped.downcast_ref::<E>())
        {
            return Some(found);
        }
        next = source.source();
    }
    None
}

fn refusal_fault(server: &DbError, target: &DatabaseTarget) -> Fault {
    let (role, database) = (&target.user, &target.name);
    if let Some(fault) = identity_refusal::login_fault(server.code().code(), server.message(), target) {
        return with_server_message(fault, server);
    }
    let fault = match server.code() {
        _ if is_about_role(server, target) => role_fault(server.code(), server.message(), target),
        state if *state == SqlState::INVALID_CATALOG_NAME => {
            Fault::new(Code::DatabaseMissing, format!("there is no database `{database}`"))
        }
        // A party that terminates our TLS and opens its own can't present the certificate that our login is bound to.
        _ if server.message().contains("channel binding") => Fault::new(
            Code::TlsUntrusted,
            format!("the TLS connection does not end at the server that `{role}` logs in to: something stands between"),
        )
        .fix("find out what answers in the database's place; a proxy that ends TLS itself can't be used"),
        state if *state == SqlState::INVALID_PASSWORD || *state == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            Fault::new(Code::DatabaseLogin, format!("the server refused the login of the role `{role}`"))
        }
        state if *state == SqlState::TOO_MANY_CONNECTIONS => {
            Fault::new(Code::DatabaseUnready, format!("the server has no free connection: {}", server.message()))
        }
        state if *state == SqlState::CANNOT_CONNECT_NOW => {
            Fault::new(Code::DatabaseUnready, format!("the server is not ready: {}", server.message()))
        }
        // PgBouncer and other poolers refuse our start-up settings (measured with 1.18; see its issues 907 and 1500).
        _ if server.message().contains("unsupported startup parameter") => Fault::new(
            Code::DatabasePooler,
            format!("a connection pooler answers at `{}:{}`", target.host, target.port),
        ),
        state if state.code().starts_with("57P") => Fault::new(Code::DatabaseUnready, "the server is shutting down"),
        _ => Fault::new(Code::DatabaseLogin, "the server refused the connection"),
    };
    with_server_message(fault, server)
}

/// Returns whether the server has refused `database-role`.
fn is_about_role(server: &DbError, target: &DatabaseTarget) -> bool {
    let is_refusal = [&SqlState::INVALID_PARAMETER_VALUE, &SqlState::INSUFFICIENT_PRIVILEGE].contains(&server.code());
    let named = |role: &String| server.message().contains(&format!("\"{role}\""));
    is_refusal && target.role.as_ref().is_some_and(named)
}

/// Returns the fault of a role that can't be taken (PostgreSQL, `check_role`).
fn role_fault(state: &SqlState, message: &str, target: &DatabaseTarget) -> Fault {
    let role = target.role.as_deref().unwrap_or_default();
    let grant = format!("GRANT {} TO {}", quote_identifier(role), quote_identifier(&target.user));
    let fault = Fault::new(Code::DatabaseRole, format!("`{}` can't take the role `{role}`: {message}", target.user));
    match *state == SqlState::INSUFFICIENT_PRIVILEGE {
        true => fault.fix(format!("run `{grant}` as a role that may grant it, or correct `database-role`")),
        false => fault.fix(format!(
            "correct `database-role`; or create the role, and then run `{grant}`: `CREATE ROLE {}`",
            quote_identifier(role)
        )),
    }
    .sqlstate(state.code())
}

/// Returns the fault of a setting that a statement can't set, behind a pooler.
pub(super) fn setting_fault(error: &Error, target: &DatabaseTarget) -> Fault {
    if let Some(server) = error.as_db_error().filter(|server| is_about_role(server, target)) {
        return role_fault(server.code(), server.message(), target);
    }
    let fault = statement_fault(error);
    if fault.code.ends_session() {
        return fault;
    }
    let cause = format!("a setting of `options` can't be set behind a connection pooler: {}", fault.cause);
    Fault { cause, ..fault.code(Code::DatabasePooler) }.fix("remove the setting from `options`, or use the direct port")
}

/// Returns the fault for a failed statement, or for the connection that broke while it ran.
pub(crate) fn statement_fault(error: &Error) -> Fault {
    let Some(server) = error.as_db_error() else { return no_answer_fault(error) };
    let state = server.code();
    if server.message().contains(NO_COPY_ROWS) {
        let cause = "there are no rows for a `COPY … FROM STDIN`, which was not recognized as one";
        return Fault::new(Code::StatementFailed, cause).fix(COPY_FIX).sqlstate(state.code());
    }
    let code = match state {
        _ if *state == SqlState::INSUFFICIENT_PRIVILEGE => Code::PermissionDenied,
        _ if state.code() == LOCK_LOST => Code::LockLost,
        _ if *state == SqlState::LOCK_NOT_AVAILABLE => Code::LockTimeout,
        _ if *state == SqlState::QUERY_CANCELED && server.message().contains("statement timeout") => {
            Code::StatementTimeout
        }
        _ if ends_session(state) => Code::DatabaseLost,
        _ => Code::StatementFailed,
    };
    if code == Code::LockLost {
        return Fault::new(code, "our session has released the run lock, and another session has taken it");
    }
    let fault = Fault::new(code, server.message()).sqlstate(state.code());
    let fault = match sqlstate_hint::sqlstate_fix(state.code()) {
        Some(fix) => fault.fix(fix),
        None => fault,
    };
    [("detail", server.detail()), ("hint", server.hint()), ("where", server.where_())]
        .into_iter()
        .filter_map(|(label, text)| Some(format!("{label}: {}", text?)))
        .fold(fault, Fault::detail)
}

/// Returns the fault for a query of our own. It runs with `row_security` off, so the server fails rather than hide rows
/// (PostgreSQL, `check_enable_rls`).
pub(crate) fn query_fault(error: &Error) -> Fault {
    let hidden = error.as_db_error().is_some_and(|server| server.routine() == Some("check_enable_rls"));
    let fault = statement_fault(error);
    if hidden { fault.code(Code::LedgerHidden) } else { fault }
}

/// The form in which a COPY is recognized.
const COPY_FIX: &str = "write it as `COPY table (columns) FROM stdin;` at the beginning of a line, its rows on the lines behind it and \
    `\\.` on the line behind them, in a file with a transaction; or use INSERT";

/// Returns the fault for a query without a response, or with an unreadable one.
fn no_answer_fault(error: &Error) -> Fault {
    if let Some(violation) = find_source::<ProtocolViolation>(error) {
        return Fault::new(Code::DatabaseProtocol, violation.to_string());
    }
    let text = error.to_string();
    if text.contains("deserializing column") {
        // The message filter makes all other rows readable.
        let cause = format!("a row of the database's answer is longer than {} MiB", MAX_ROW >> 20);
        return Fault::new(Code::DatabaseProtocol, cause);
    }
    match text.contains("unexpected message") || text.contains("parsing response") {
        true => Fault::new(Code::DatabaseProtocol, "the database's answer can't be understood").with_causes(error),
        false => Fault::new(Code::DatabaseLost, "the connection to the database broke").with_causes(error),
    }
}

/// Returns the fault for an error that ended the session.
pub(super) fn session_fault(error: &Error) -> Fault {
    let fault = statement_fault(error);
    if fault.code == Code::DatabaseProtocol { fault } else { fault.code(Code::DatabaseLost) }
}

/// Reports whether the server ended the session with this error: shutdown, crash, fatal timeouts, connection failures
/// (PostgreSQL manual, appendix A, classes 08 and 57, 25P03, 25P04).
fn ends_session(state: &SqlState) -> bool {
    let code = state.code();
    code.starts_with("57P") || code.starts_with("08") || matches!(code, "25P03" | "25P04")
}

fn with_server_message(fault: Fault, server: &DbError) -> Fault {
    let fault = fault.sqlstate(server.code().code()).detail(format!("server: {}", server.message()));
    match server.hint() {
        Some(hint) => fault.detail(format!("hint: {hint}")),
        None => fault,
    }
}

/// The SQLSTATE raised when the run lock is lost; PostgreSQL does not use class BM (PostgreSQL manual, appendix A).
pub(crate) const LOCK_LOST: &str = "BM002";
