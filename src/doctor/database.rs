//! The findings about the database: the session, TLS, version, role and rights. Pure functions.

use super::{
    database_examination::{ExaminedCatalog, ExaminedDatabase},
    end_of_life::judge_version,
    health::{judge_health, judge_sequences},
    ledger::LedgerExpectation,
    route::{is_about_forwarding, is_about_way},
    wording::{count_of, format_day},
};
use crate::{
    audit::RIGHT_TO_RECORD,
    fault::{Code, Fault},
    postgres::{DatabaseTarget, RoleRights, ServerCertificate, quote_identifier},
    run::{Check, DatabaseFacts, DoctorFinding},
    settings::{Policy, Settings},
    transport::is_loopback,
};
use std::time::{Duration, SystemTime};

/// The mode of a session without TLS, as `DatabaseFacts` has it.
const TLS_OFF: &str = "off";

/// Time before the end of a certificate from which on it is a warning.
const CERTIFICATE_NOTICE: Duration = Duration::from_secs(30 * 86_400);

/// Returns the findings about a database that was asked.
pub(super) fn judge_database(
    settings: &Settings,
    target: &DatabaseTarget,
    examined: &ExaminedDatabase,
    expectation: &LedgerExpectation<'_>,
) -> Vec<DoctorFinding> {
    let mut findings = judge_session(target, examined, settings.route.is_some());
    match &examined.catalog {
        Some(Ok(catalog)) => {
            findings.extend(judge_rights(settings, catalog, expectation));
            findings.extend(expectation.judge(&catalog.survey, &catalog.rows));
            findings.push(match &catalog.lock_holder {
                Some(fault) => DoctorFinding::warning_of(Check::RunLock, fault.clone()),
                None => DoctorFinding::good(Check::RunLock, "free"),
            });
            let run = (&settings.executor, target.name.as_str());
            findings.extend(judge_health(&catalog.health, &catalog.invalid_indexes, run));
            findings.push(judge_sequences(&catalog.sequences));
        }
        Some(Err(fault)) => {
            findings.push(DoctorFinding::not_checked(Check::Rights, format!("the catalog: {}", fault.cause)));
        }
        None => {}
    }
    findings
}

/// Judges the session, and the facts that come with it.
fn judge_session(target: &DatabaseTarget, examined: &ExaminedDatabase, has_bastion: bool) -> Vec<DoctorFinding> {
    let connected = DoctorFinding::good(Check::Session, format!("`{}` accepts `{}`", target.name, target.user));
    let facts = match &examined.session {
        Ok(facts) => facts,
        Err(fault) if has_bastion && is_about_forwarding(fault) => {
            return vec![DoctorFinding::not_checked(
                Check::Session,
                format!("it needs the way from the bastion to `{}:{}`", target.host, target.port),
            )];
        }
        Err(fault) if is_about_way(fault) => {
            return vec![DoctorFinding::not_checked(Check::Session, "it needs the way in")];
        }
        Err(fault) => {
            let check = failed_check(fault);
            let mut findings = Vec::new();
            if examined.catalog.is_some() && check != Check::Session {
                findings.push(connected);
            }
            findings.push(DoctorFinding::failed(check, fault.clone()));
            findings.extend(judge_certificate(&examined.certificate));
            return findings;
        }
    };
    let mut findings = vec![connected, judge_tls(target, facts, examined.certificate.is_ok())];
    if facts.tls != TLS_OFF {
        findings.extend(judge_certificate(&examined.certificate));
    }
    findings.push(judge_version(&facts.version, examined.version, SystemTime::now()));
    findings.push(DoctorFinding::good(Check::Primary, "it accepts writes"));
    findings.push(match &facts.pooler {
        Some(mode) => DoctorFinding::good(Check::Pooler, format!("in {mode} mode, which keeps the run lock")),
        None => DoctorFinding::good(Check::Pooler, "none"),
    });
    let acting = facts.acting_role.as_ref().map(|role| format!(", and acts as `{role}`")).unwrap_or_default();
    findings.push(DoctorFinding::good(Check::Role, format!("`{}` logs in{acting}", facts.role)));
    findings
}

/// Returns the check that a fault of the session belongs to.
fn failed_check(fault: &Fault) -> Check {
    match fault.code {
        Code::TlsUnavailable | Code::TlsUntrusted | Code::TlsWrongName | Code::TlsExpired | Code::CaInvalid => {
            Check::Tls
        }
        Code::DatabaseTooOld => Check::Version,
        Code::DatabaseStandby => Check::Primary,
        Code::DatabasePooler => Check::Pooler,
        Code::DatabaseRole => Check::Role,
        _ => Check::Session,
    }
}

fn judge_tls(target: &DatabaseTarget, facts: &DatabaseFacts, is_offered: bool) -> DoctorFinding {
    if facts.tls != TLS_OFF {
        return DoctorFinding::good(Check::Tls, facts.tls.clone());
    }
    match is_offered && !is_loopback(&target.host) {
        true => DoctorFinding::warning(
            Check::Tls,
            "off, although the server offers it: whoever is between bastion and database can read everything",
            "set `database-sslmode: require`, or `verify-full` with the server's CA in `database-ca`",
        ),
        false => DoctorFinding::good(Check::Tls, "off"),
    }
}

fn judge_certificate(certificate: &Result<Option<ServerCertificate>, Fault>) -> Option<DoctorFinding> {
    let ServerCertificate { subject, issuer, valid_until } = certificate.as_ref().ok()?.as_ref()?;
    let (day, now) = (format_day(*valid_until), SystemTime::now());
    let detail = format!("of `{subject}`, by `{issuer}`, valid until {day}");
    Some(match valid_until.duration_since(now) {
        Ok(left) if left > CERTIFICATE_NOTICE => DoctorFinding::good(Check::Certificate, detail),
        _ => DoctorFinding::warning_of(Check::Certificate, Fault::new(Code::TlsExpired, detail)),
    })
}

/// Judges the rights that this configuration needs.
fn judge_rights(
    settings: &Settings,
    catalog: &ExaminedCatalog,
    expectation: &LedgerExpectation<'_>,
) -> Vec<DoctorFinding> {
    let rights = &catalog.health.rights;
    let mut missing = Vec::new();
    match catalog.survey.search_path().first() {
        Some(schema) if rights.closed_schemas.contains(schema) => missing.push(closed_schema_fault(rights, schema)),
        Some(_) => {}
        None => missing.push(
            Fault::new(Code::StatementFailed, "no schema on the search path exists that the role may use, so nothing can be created")
                .fix("create the schema, grant USAGE and CREATE on it, or set the search path of the role: `ALTER ROLE … SET search_path = …`"),
        ),
    }
    if let Some(schema) = expectation.missing_schema(&catalog.survey).filter(|_| !rights.creates_schemas) {
        missing.push(missing_schema_fault(settings, rights, &schema));
    }
    if catalog.writes_ledger == Some(false) {
        let role = &rights.role;
        let cause = format!("`{role}` may read the ledger, and not write to it");
        let fix = "use the role that owns the ledger, or set `database-role` to it";
        missing.push(Fault::new(Code::PermissionDenied, cause).fix(fix));
    }
    let mut findings: Vec<DoctorFinding> =
        missing.into_iter().map(|fault| DoctorFinding::failed(Check::Rights, fault)).collect();
    if settings.safety.audit == Policy::Allow && !rights.records_runs && findings.is_empty() {
        let cause = format!("`{}` may not record the run in `bastion_migrate.runs`", rights.role);
        let fault = Fault::new(Code::AuditUnwritten, cause).fix(RIGHT_TO_RECORD);
        findings.push(DoctorFinding::warning_of(Check::Rights, fault));
    }
    if let Some(schema) = rights.closed_schemas.first().filter(|_| expectation.is_of_each_schema()) {
        findings.push(DoctorFinding::warning_of(Check::Rights, closed_schema_fault(rights, schema)));
    }
    if findings.is_empty() {
        let detail = format!("`{}` may create objects and write to the ledger", rights.role);
        findings.push(DoctorFinding::good(Check::Rights, detail));
    }
    findings.push(judge_owners(rights));
    findings
}

fn closed_schema_fault(rights: &RoleRights, schema: &str) -> Fault {
    let role = &rights.role;
    let cause = format!("`{role}` may not create objects in the schema `{schema}`");
    let fix = format!(
        "let the owner of the schema run `GRANT USAGE, CREATE ON SCHEMA {} TO {}`",
        quote_identifier(schema),
        quote_identifier(role)
    );
    Fault::new(Code::PermissionDenied, cause).fix(fix)
}

fn missing_schema_fault(settings: &Settings, rights: &RoleRights, schema: &str) -> Fault {
    let database = settings.database.as_ref().map(|database| quote_identifier(&database.name)).unwrap_or_default();
    let role = &rights.role;
    let cause = format!("`{role}` may not create the schema `{schema}`, in which the ledger will be");
    let fix = format!(
        "let the owner of the database run `GRANT CREATE ON DATABASE {database} TO {}`, or name a table in a schema of \
         the role in `ledger-table`",
        quote_identifier(role)
    );
    Fault::new(Code::PermissionDenied, cause).fix(fix)
}

fn judge_owners(rights: &RoleRights) -> DoctorFinding {
    let role = &rights.role;
    let Some((owner, count, first)) = rights.other_owners.first() else {
        return DoctorFinding::good(Check::Owners, format!("`{role}` may change every relation"));
    };
    let relations = count_of(usize::try_from(*count).unwrap_or(usize::MAX), "relation");
    DoctorFinding::warning(
        Check::Owners,
        format!("{relations} of `{owner}`, the first is `{first}`: `{role}` may not alter or drop them"),
        format!(
            "log in as the owner, or let a superuser run `GRANT {} TO {}`, and set `database-role: {owner}`",
            quote_identifier(owner),
            quote_identifier(role)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::SslMode;

    #[test]
    fn plain_text_to_another_machine_is_a_warning_if_the_server_offers_tls() {
        let state = |host: &str, mode: SslMode, tls: &str, is_offered| {
            let (host, name) = (host.to_owned(), "shop".to_owned());
            let (user, password, port, ca, options, role) = ("app".to_owned(), None, 5432, None, None, None);
            let identity = crate::postgres::ClientIdentity::default();
            let tls_start = crate::postgres::TlsStart::Requested;
            let target = DatabaseTarget {
                host,
                port,
                user,
                password,
                name,
                sslmode: mode,
                tls_start,
                ca,
                options,
                role,
                identity,
            };
            let facts = DatabaseFacts {
                host: target.host.clone(),
                port,
                name: target.name.clone(),
                role: target.user.clone(),
                acting_role: None,
                version: "16.4".to_owned(),
                tls: tls.to_owned(),
                pooler: None,
            };
            judge_tls(&target, &facts, is_offered).state.name()
        };
        assert_eq!(state("db.internal", SslMode::Disable, TLS_OFF, true), "warning");
        assert_eq!(state("db.internal", SslMode::Disable, TLS_OFF, false), "good");
        assert_eq!(state("localhost", SslMode::Disable, TLS_OFF, true), "good");
        assert_eq!(state("db.internal", SslMode::Require, "require", true), "good");
    }
}
