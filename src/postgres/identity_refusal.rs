//! Faults of a server that refuses our client certificate, or our token.

use super::target::DatabaseTarget;
use crate::fault::{Code, Fault};
use rustls::AlertDescription;

/// PostgreSQL's `invalid_authorization_specification` and `invalid_password`.
const LOGIN_REFUSED: [&str; 2] = ["28000", "28P01"];

/// Returns the fault for a TLS alert about the client certificate; none for another error. With TLS 1.3 a server looks at
/// it after the client's handshake has ended, so the alert arrives in place of the first message (RFC 8446, 4.4.2 and 6.2).
pub(crate) fn alert_fault(error: &rustls::Error, target: &DatabaseTarget) -> Option<Fault> {
    let rustls::Error::AlertReceived(alert) = error else { return None };
    let at = format!("`{}:{}`", target.host, target.port);
    if target.identity.certificate.is_none() {
        let cause = format!("the server at {at} demands a client certificate, and none is given");
        return (*alert == AlertDescription::CertificateRequired).then(|| Fault::new(Code::ClientCertMissing, cause));
    }
    let refused =
        |code, reason: &str| Fault::new(code, format!("the server at {at} refuses `database-cert`: {reason}"));
    Some(match alert {
        AlertDescription::CertificateExpired => {
            refused(Code::ClientCertExpired, "to the server's clock it has expired or is not valid yet, or its CA")
                .in_stage(Code::ClientCertUntrusted.stage())
        }
        AlertDescription::CertificateRevoked => refused(Code::ClientCertRevoked, "it has been revoked"),
        AlertDescription::UnknownCA => refused(
            Code::ClientCertUntrusted,
            "the server does not know its CA, or has no current revocation list of it",
        ),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => {
            refused(Code::ClientCertUntrusted, "it is not one for a client of this server")
        }
        _ => return None,
    })
}

/// Returns the fault for a refused log-in by a certificate or by a token; none if the server's message is about something
/// else.
pub(crate) fn login_fault(sqlstate: &str, message: &str, target: &DatabaseTarget) -> Option<Fault> {
    if !LOGIN_REFUSED.contains(&sqlstate) {
        return None;
    }
    let role = &target.user;
    // PostgreSQL, `ClientAuthentication`: before any method.
    if message.contains("requires a valid client certificate") {
        let cause = match &target.identity.certificate {
            None => format!("the server demands a client certificate of `{role}`, and none is given"),
            Some(_) => format!(
                "the server demands a client certificate of `{role}`, and has not taken `database-cert` for one"
            ),
        };
        return Some(Fault::new(Code::ClientCertMissing, cause));
    }
    if is_pg_hba_rejection(message) {
        return None;
    }
    if let Some(fault) = name_fault(message, target) {
        return Some(fault);
    }
    let login = target.identity.token.as_ref()?;
    Some(login.refusal_fault(role))
}

/// Returns whether no line of `pg_hba.conf`, or one with `reject`, is for this client.
fn is_pg_hba_rejection(message: &str) -> bool {
    message.contains("pg_hba.conf")
}

/// Returns the fault for a certificate of another role. For `clientcert=verify-full` the server names the method, not the
/// certificate (PostgreSQL, `auth_failed`).
fn name_fault(message: &str, target: &DatabaseTarget) -> Option<Fault> {
    let certificate = target.identity.certificate.as_ref()?;
    let name = certificate.common_name.as_deref().unwrap_or_default();
    let is_about_certificate = message.contains("certificate authentication failed");
    if name == target.user && !is_about_certificate {
        return None;
    }
    let cause = match name {
        "" => format!("`database-cert` has no common name, and the role is `{}`", target.user),
        name if name == target.user => {
            format!("the server does not map the common name `{name}` of `database-cert` to the role `{name}`")
        }
        name => format!("`database-cert` has the common name `{name}`, and the role is `{}`", target.user),
    };
    Some(Fault::new(Code::ClientCertName, cause))
}
